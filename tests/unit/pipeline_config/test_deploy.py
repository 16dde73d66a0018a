"""`deploy`: in real repositories of git, what moves the branch that Airflow follows, and what does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_config.command_line import main
from pipeline_config.project import ROOT

BAKERY = ROOT / "tests/bakery"
FILE = "bakery/pipelines/daily/bread.yaml"
PIPELINE = (ROOT / "tests" / FILE).read_text(encoding="utf-8")
BROKEN = PIPELINE.replace("schedule:", "schedul:")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of git but these, and the check of this repository in the clones."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def git(folder: Path, *arguments: str, who: str = "Kim") -> str:
    """What git says to somebody."""
    person = ["-c", f"user.name={who}", "-c", "user.email=somebody@example.org"]
    done = subprocess.run(["git", *person, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, text: str, subject: str, who: str = "Kim") -> str:
    """A commit that gives the pipeline this text."""
    (folder / FILE).write_text(text, encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", subject, who=who)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose project is in a folder below its top; the check passes."""
    git(tmp_path, "init", "--quiet", "--bare", "origin.git")
    git(tmp_path, "clone", "--quiet", "origin.git", "here")
    root = tmp_path / "here/bakery"
    shutil.copytree(BAKERY, root, ignore=shutil.ignore_patterns("__pycache__"))
    (root.parent / ".gitignore").write_text("generated/\n", encoding="utf-8")
    commit(root.parent, PIPELINE, "Hello")
    monkeypatch.chdir(root)
    return root.parent


def deployed(here: Path) -> str:
    """The commit that Airflow would get; nothing without one."""
    return git(here, "ls-remote", "origin", "refs/heads/deployed").partition("\t")[0]


def test_a_commit_that_passes_moves_the_branch_and_one_that_does_not_leaves_it(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = git(here, "rev-parse", "HEAD")
    assert main(["deploy", "--run", f"{sys.executable} -c 'raise SystemExit(3)'"]) == 1
    assert "SystemExit(3)'` failed; origin/deployed is not created" in capfd.readouterr().err
    assert not deployed(here)
    assert main(["deploy", "--run", "git diff --quiet HEAD"]) == 0
    assert capfd.readouterr().out.endswith(f"origin/deployed is now at {first[:7]} “Hello” ({who_and_when(here)})\n")
    assert deployed(here) == first

    commit(here, BROKEN, "A typing mistake")
    assert main(["deploy"]) == 1
    out, err = capfd.readouterr()
    assert "pipelines/daily/bread.yaml:4:1: " in out
    assert err.startswith(f"error: `check` failed; origin/deployed stays at {first[:7]} “Hello”")
    assert deployed(here) == first

    third = commit(here, PIPELINE.replace("0 3", "0 4"), "An hour later")
    assert main(["deploy"]) == 0
    assert '~ bread: schedule "0 3 * * *" → "0 4 * * *"' in capfd.readouterr().out
    assert deployed(here) == third


def who_and_when(here: Path) -> str:
    return git(here, "log", "-1", "--format=%an, %as")


def test_what_is_not_committed_is_not_deployed(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / FILE).write_text(BROKEN, encoding="utf-8")
    assert main(["deploy"]) == 2
    assert f"{FILE} is not committed: commit it" in capfd.readouterr().err
    assert main(["deploy", "HEAD"]) == 0
    assert deployed(here) == git(here, "rev-parse", "HEAD")


def test_a_commit_pushed_past_the_check_is_reported_and_never_lost(
    here: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", "--status"]) == 1
    assert "there is no origin/deployed" in capfd.readouterr().out
    git(here, "push", "--quiet", "origin", "HEAD:deployed")
    assert main(["deploy", "--status"]) == 0
    git(tmp_path, "clone", "--quiet", "--branch", "deployed", "origin.git", "there")
    theirs = commit(tmp_path / "there", BROKEN, "Quick fix", who="Lee")
    git(tmp_path / "there", "push", "--quiet", "origin", "deployed")
    ours = commit(here, PIPELINE, "Slow fix")
    capfd.readouterr()

    assert main(["deploy", "--status"]) == 1
    said = capfd.readouterr().out
    assert "pipelines/daily/bread.yaml:4:1: " in said
    assert f"origin/deployed is at {theirs[:7]} “Quick fix” (Lee, " in said
    assert "which fails the check" in said
    assert f"1 commit that HEAD does not contain: merge origin/deployed, take back what is wrong (`git revert`), and " \
        f"deploy again\n  {theirs[:7]} Lee: Quick fix\n" in said  # fmt: skip
    assert f"HEAD has 1 commit that origin/deployed does not have yet:\n  {ours[:7]} Kim: Slow fix\n" in said

    assert main(["deploy"]) == 2
    assert f"{theirs[:7]} Lee: Quick fix" in capfd.readouterr().err
    assert deployed(here) == theirs

    git(here, "merge", "--quiet", "--strategy", "ours", "--message", "Without the quick fix", "origin/deployed")
    assert main(["deploy"]) == 0
    assert main(["deploy", ours]) == 0
    assert "origin/deployed already has this commit" in capfd.readouterr().out
    assert deployed(here) == git(here, "rev-parse", "HEAD")


def test_a_push_that_somebody_else_overtakes_is_refused(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    overtakes = "git push --quiet {} {}:refs/heads/deployed"
    other = git(here, "commit-tree", "-m", "Theirs", "HEAD^{tree}")
    remote = git(here, "remote", "get-url", "origin")
    assert main(["deploy", "--run", overtakes.format(remote, other)]) == 2
    assert "nothing was deployed" in capfd.readouterr().err
    assert deployed(here) == other


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "deployed"], "write it as REMOTE/BRANCH; the remotes of this repository: origin"),
        (["--to", "github/deployed"], "the remotes of this repository: origin"),
        (["nothing"], "git has no revision 'nothing'"),
        (["--run", "no-such-program --fast"], "--run: cannot start no-such-program: No such file or directory"),
    ],
)
def test_what_cannot_be_deployed_is_reported(
    here: Path, arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", *arguments]) == 2
    assert said in capfd.readouterr().err
    assert not deployed(here)
