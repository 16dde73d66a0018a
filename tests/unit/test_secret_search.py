"""The search for secrets finds a planted one, in whatever form and place."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import sys
import urllib.parse
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.secret_search import Samples, Secrets, files_below, key_lines, rows_of

PASSWORD = "p/w+ü =7_Zx-\"Q'%"
SECRETS = Secrets({"password": PASSWORD, "other": "never planted"})


@pytest.mark.parametrize("before", ["", "x", "xy", "user:"])
@pytest.mark.parametrize("after", ["", "z", "@host", "\n\n"])
def test_a_secret_is_found_as_it_is_in_base64_url_quoted_and_as_json(before: str, after: str) -> None:
    text = f"{before}{PASSWORD}{after}"
    written = {
        text.encode(),
        base64.b64encode(text.encode()),
        base64.urlsafe_b64encode(text.encode()),
        urllib.parse.quote(text, safe="").encode(),
        urllib.parse.urlencode({"password": text}).encode(),
        json.dumps({"password": text}).encode(),
    }
    for data in written:
        assert SECRETS.found_in(b"\0before " + data + b" after") == {"password"}, data
    assert SECRETS.found_in(text.replace(PASSWORD[-1], "").encode()) == set()


def test_places_are_named_and_the_secret_is_not(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    for name in ("secrets/password", "log", "clean"):
        (tmp_path / name).write_text("" if name == "clean" else PASSWORD, encoding="utf-8")
    assert SECRETS.found(files_below(tmp_path, but=["secrets/"])) == ["password in log"]


def test_every_line_of_a_private_key_is_a_secret(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    lines = key.read_text(encoding="ascii").splitlines()[1:-1]
    secrets = Secrets(key_lines(key))
    assert len(lines) == len(key_lines(key)) > 3
    for number, line in enumerate(lines, 1):
        assert secrets.found_in(line.encode()) == {f"key, line {number}"}
    assert secrets.found_in(key.with_suffix(".pub").read_bytes()) == set()


def test_a_long_value_in_a_database_is_found(tmp_path: Path) -> None:
    path = tmp_path / "airflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA page_size = 512")
        database.execute("CREATE TABLE xcom (number INTEGER, value JSON)")
        database.execute("INSERT INTO xcom VALUES (1, ?)", ("x" * 480 + PASSWORD * 40,))
        database.commit()
    assert SECRETS.found(rows_of(path)) == ["password in table xcom"]


def test_command_lines_and_containers_are_sampled() -> None:
    inspected = {"Config": {"Env": [f"PASSWORD={PASSWORD}"]}}
    api = SimpleNamespace(containers=lambda **_: [{"Id": "c" * 64}], inspect_container=lambda _: inspected)
    client: Any = SimpleNamespace(api=api, close=lambda: None)
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.read()", f"--password={PASSWORD}"]
    with Samples(client) as samples, subprocess.Popen(sleeper, stdin=subprocess.PIPE) as process:
        while len(SECRETS.found(samples.places())) < 2:
            assert process.poll() is None
        process.communicate()
    found = SECRETS.found(samples.places())
    assert f"password in docker inspect of {'c' * 12}" in found
    assert any(line.startswith("password in command line of ") for line in found)


def test_samples_that_fail_are_not_silent() -> None:
    def broken(**_: Any) -> None:
        raise OSError("no engine")

    client: Any = SimpleNamespace(api=SimpleNamespace(containers=broken), close=lambda: None)
    with pytest.raises(OSError, match="no engine"), Samples(client) as samples:
        samples._thread.join()
