"""`deploy`: the branch that Airflow follows moves only to a commit that passes the check and the tests.

Both run in a clone of their own: what is not committed has no part in them. The branch moves fast-forward only, so it
never loses a commit, and the way back is a commit, too (`git revert`).
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline_config.errors import CommandError
from pipeline_config.problem import plural
from pipeline_config.revision import commit_of, git, prefix_of, top_of

_OURS = (sys.executable, "-m", "pipeline_config")


@dataclass(frozen=True)
class Branch:
    """A branch of a remote of the repository that `root` is in."""

    root: Path
    remote: str
    name: str

    @classmethod
    def of(cls, root: Path, text: str) -> Branch:
        """The branch that `REMOTE/BRANCH` names; raises CommandError."""
        top_of(root)
        remote, slash, name = text.partition("/")
        remotes = (git(root, "remote") or b"").decode().split()
        if not slash or not name or remote not in remotes:
            known = ", ".join(remotes) or "none: add one with `git remote add`"
            raise CommandError(f"--to {text}: write it as REMOTE/BRANCH; the remotes of this repository: {known}")
        return cls(root, remote, name)

    def __str__(self) -> str:
        return f"{self.remote}/{self.name}"

    def fetch(self) -> str | None:
        """Fetch the branch, and return its commit; None if there is no such branch. Raises CommandError."""
        reference = f"refs/heads/{self.name}"
        if not _remotely(self.root, "ls-remote", self.remote, reference):
            return None
        _remotely(self.root, "fetch", "--quiet", self.remote, f"+{reference}:refs/remotes/{self}")
        return commit_of(self.root, f"refs/remotes/{self}")


def deploy(branch: Branch, revision: str | None, tests: Sequence[str]) -> int:
    """Move the branch to a revision; 0 if it is there, 1 if the check or one of `tests` fails.

    Raises CommandError: uncommitted changes while no revision is named, or a branch with commits of its own.
    """
    root = branch.root
    if revision is None and (changed := git(root, "status", "--porcelain")):
        first = changed.decode().splitlines()[0][3:]
        raise CommandError(f"{first} is not committed: commit it, or name what to deploy: `deploy HEAD`")
    commit, before = commit_of(root, revision or "HEAD"), branch.fetch()
    if before and (theirs := _commits(root, commit, before)):
        if not _commits(root, before, commit):
            print(f"{branch} already has this commit, and is at {_described(root, before)}")  # noqa: T201
            return 0
        raise CommandError(_not_contained(branch, theirs, revision or "HEAD"))
    if before == commit:
        print(f"{branch} is already at {_described(root, commit)}")  # noqa: T201
        return 0
    if failed := _failed(branch, commit, before, tests):
        stays = f"{branch} stays at {_described(root, before)}" if before else f"{branch} is not created"
        print(f"error: `{failed}` failed; {stays}", file=sys.stderr)  # noqa: T201
        return 1
    _remotely(root, "push", "--quiet", branch.remote, f"{commit}:refs/heads/{branch.name}")
    print(f"{branch} is now at {_described(root, commit)}")  # noqa: T201
    return 0


def status(branch: Branch, revision: str) -> int:
    """Say where the branch is, whether that passes the check, and what it and a revision have of their own.

    0 if it passes and the revision contains it; 1 if somebody has pushed past the check, or nothing is deployed.
    """
    root, here, commit = branch.root, commit_of(branch.root, revision), branch.fetch()
    if commit is None:
        print(f"there is no {branch}: `python -m pipeline_config deploy` creates it")  # noqa: T201
        return 1
    with _clone(root, commit) as folder:
        passes = not _run(folder, (*_OURS, "check"))
    print(f"{branch} is at {_described(root, commit)}, which {'passes' if passes else 'fails'} the check")  # noqa: T201
    theirs, ours = _commits(root, here, commit), _commits(root, commit, here)
    if theirs:
        print(_not_contained(branch, theirs, revision))  # noqa: T201
    if ours:
        print(f"{revision} has {plural(len(ours), 'commit')} that {branch} does not have yet:{_listed(ours)}")  # noqa: T201
    return 0 if passes and not theirs else 1


def _failed(branch: Branch, commit: str, before: str | None, tests: Sequence[str]) -> str:
    """The command that fails in a clone of the commit; empty if none does. Says what the commit changes."""
    with _clone(branch.root, commit) as folder:
        if _run(folder, (*_OURS, "check")):
            return "check"
        if before:
            _run(folder, (*_OURS, "plan", "--against", before))  # refuses nothing: it fails if `before` is broken
        return next((test for test in tests if _run(folder, shlex.split(test))), "")


@contextmanager
def _clone(root: Path, commit: str) -> Iterator[Path]:
    """The project as it is at a commit, in a folder of its own."""
    with TemporaryDirectory() as folder:
        _remotely(root, "clone", "--quiet", "--shared", "--no-checkout", str(top_of(root)), folder)
        _remotely(Path(folder), "checkout", "--quiet", "--detach", commit)
        yield Path(folder) / prefix_of(root)


def _run(folder: Path, command: Sequence[str]) -> int:
    """Run a command there, with the programs of our own Python first; its exit code. Raises CommandError."""
    sys.stdout.flush()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        return subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, check=False).returncode
    except OSError as error:
        raise CommandError(f"--run: cannot start {command[0]}: {error.strerror}") from error


def _remotely(folder: Path, *arguments: str) -> str:
    """What git says; raises CommandError with git's own reason when it refuses."""
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"`git {' '.join(arguments)}` failed, and nothing was deployed:\n{done.stderr.strip()}")
    return done.stdout


def _commits(root: Path, without: str, of: str) -> list[str]:
    """`1a2b3c4 Kim: Subject` for each commit that `of` has and `without` has not, newest first."""
    return (git(root, "log", "--format=%h %an: %s", f"{without}..{of}") or b"").decode().splitlines()


def _not_contained(branch: Branch, theirs: list[str], revision: str) -> str:
    many = plural(len(theirs), "commit")
    advice = f"merge {branch}, take back what is wrong (`git revert`), and deploy again"
    return f"{branch} has {many} that {revision} does not contain: {advice}{_listed(theirs)}"


def _listed(commits: list[str], most: int = 10) -> str:
    more = [f"… and {len(commits) - most} more"] if len(commits) > most else []
    return "".join(f"\n  {line}" for line in [*commits[:most], *more])


def _described(root: Path, commit: str) -> str:
    return (git(root, "log", "-1", "--format=%h “%s” (%an, %as)", commit) or b"").decode()
