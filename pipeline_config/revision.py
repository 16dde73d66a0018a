"""What git knows of the project: commits, and files at a revision."""

from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path

from pipeline_config.errors import CommandError


def files_at(root: Path, revision: str, folder: Path) -> None:
    """Write `root`/pipelines of a revision into `folder`; nothing when there was none. Raises CommandError."""
    top = top_of(root)
    commit = commit_of(root, revision)
    tree = git(root, "rev-parse", "--verify", "--quiet", f"{commit}:{prefix_of(root)}pipelines")
    if tree is None:
        return
    # From the top, since git archive takes a tree for one of the whole repository.
    archive = git(top, "archive", "--format=zip", "--prefix=pipelines/", tree.decode())
    if archive is None:
        raise CommandError(f"git cannot read pipelines/ at {revision}: `git fsck` says why")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)


def top_of(root: Path) -> Path:
    """The folder of the repository that `root` is in; raises CommandError."""
    top = git(root, "rev-parse", "--show-toplevel")
    if top is None:
        raise CommandError(f"{root} is not in a git repository that git can read: `git -C {root} status` says why")
    return Path(top.decode())


def prefix_of(root: Path) -> str:
    """`root` below the repository's folder, as `a/b/`; empty if it is that folder."""
    return (git(root, "rev-parse", "--show-prefix") or b"").decode()


def commit_of(root: Path, revision: str) -> str:
    """The hash of a revision's commit; raises CommandError."""
    commit = git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        raise CommandError(
            f"git has no revision {revision!r}: fetch it (in CI with its whole history), or name another one"
        )
    return commit.decode()


def git(folder: Path, *arguments: str) -> bytes | None:
    """What git says, without the end of its line; nothing when it refuses."""
    try:
        result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise CommandError("git is not installed: install it") from error
    if result.returncode:
        return None
    return result.stdout if arguments[0] == "archive" else result.stdout.rstrip(b"\n")
