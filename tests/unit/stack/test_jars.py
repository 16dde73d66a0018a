"""Jars are those of a list, to the byte; one of our own is built when its sources have changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stack import jars
from stack.errors import StackError


def test_jars_are_those_of_the_list_to_the_byte(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def download(*_: object, **__: object) -> None:
        for name, content in repository.items():
            (folder / name).write_text(content, encoding="ascii")

    monkeypatch.setattr(jars, "run", download)
    monkeypatch.setattr(jars, "REPOSITORY", tmp_path)
    pom, folder = tmp_path / "job" / "pom.xml", tmp_path / "job" / "jars"
    pom.parent.mkdir()
    pom.write_text("<project/>", encoding="ascii")
    right = {"a-1.jar": "a", "b-1.jar": "b"}
    lines = [f"{hashlib.sha256(content.encode()).hexdigest()}  jars/{name}\n" for name, content in right.items()]
    (pom.parent / "jars.sha256").write_text("".join(lines), encoding="ascii")
    for held, wrong in (
        (right | {"a-1.jar": "evil"}, "jars/a-1.jar: not as job/jars.sha256 lists it"),
        (right | {"c-1.jar": "c"}, "jars/c-1.jar: not as"),
        ({"a-1.jar": "a"}, "jars/b-1.jar: not as"),
    ):
        repository = held
        with pytest.raises(StackError, match=wrong):
            jars.install_jars(pom, folder)
        assert not (folder / ".stamp").exists()
    repository = right
    jars.install_jars(pom, folder)
    assert (folder / ".stamp").exists()


def test_a_jar_of_our_own_is_built_when_its_sources_have_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    built = []

    def build(_: str, command: list[str], *__: object) -> None:
        built.append(all(goal in command for goal in jars.BUILD))
        (folder / "tripclick-a.jar").touch()

    monkeypatch.setattr(jars, "run", build)
    monkeypatch.setattr(jars, "REPOSITORY", tmp_path)
    folder, source = tmp_path / "jars", tmp_path / "java" / "A.java"
    source.parent.mkdir()
    (tmp_path / "pom.xml").touch()
    (tmp_path / "jars.sha256").touch()
    for text in ("class A {}", "class A {}", "class A { }"):
        source.write_text(text, encoding="ascii")
        jars.install_jars(tmp_path / "pom.xml", folder)
    assert built == [True, True]
