"""Nobody gets in from outside: the stack listens on 127.0.0.1, and Airflow's API wants a login."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from stack.airflow_api import AirflowApi
from stack.errors import StackError
from stack.stack import Stack

pytestmark = pytest.mark.e2e

LISTENS = "0A"


def listening(pids: set[int]) -> dict[tuple[str, int], int]:
    """Where these processes listen by TCP: (address, port) → pid."""
    found = {}
    for pid in pids:
        inodes = _sockets(pid)
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENS and fields[9] in inodes:
                    address, port = fields[1].split(":")
                    found[_address(address), int(port, 16)] = pid
    return found


def _sockets(pid: int) -> set[str]:
    links = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(str(path.readlink()))
    return {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}


def _address(text: str) -> str:
    """An address as /proc/net has it: words of 32 bits in this machine's byte order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    packed = b"".join(struct.pack("=I", word) for word in words)
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def test_a_listener_on_every_interface_would_be_seen() -> None:
    places = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6, "::ffff:127.0.0.1": socket.AF_INET6}  # noqa: S104
    for place, family in places.items():
        with socket.socket(family) as server:
            server.bind((place, 0))
            server.listen()
            assert (place.removeprefix("::ffff:"), server.getsockname()[1]) in listening({os.getpid()})


def test_every_server_listens_on_127_0_0_1_only(stack: Stack, api: AirflowApi) -> None:  # noqa: ARG001 (it is up)
    found: dict[tuple[str, int], int] = {}
    for server in stack.servers:
        for process in {process for daemon in server.daemons() for process in daemon.members()}:
            with suppress(FileNotFoundError):  # it has ended
                found |= listening({process.pid})
    ours = [server for server in stack.servers if server.process_names()]
    ports = {stack.home.port(name) for server in ours for name in server.ports}
    assert ports <= {port for _, port in found}, "each server's ports are among them"
    assert {address for address, _ in found} == {"127.0.0.1"}, found


def test_the_docker_engine_listens_nowhere_but_in_a_folder_of_its_owners(stack: Stack) -> None:
    processes = {process.pid for daemon in stack.docker.daemons() for process in daemon.members()}
    assert listening(processes) == {}
    if processes:  # else it is the machine's own
        folder = Path(stack.docker.address.removeprefix("unix://")).parent
        assert folder.stat().st_mode & 0o077 == 0


def test_airflow_answers_nobody_without_a_login(stack: Stack, api: AirflowApi) -> None:
    assert api.call("GET", "dags")["total_entries"] >= 8
    doors = [f"/api/v2/{name}" for name in ("dags", "variables", "connections", "config", "pools", "eventLogs")]
    doors += ["/api/v2/dags/tripclick_load_postgres/dagRuns", "/ui/config", "/execution/variables/KAFKA_BROKERS"]
    for door in doors:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(stack.airflow.address + door, timeout=30)  # noqa: S310 (our own stack's)
        assert refused.value.code in {401, 403}, door
        refused.value.close()
    url, user, password = stack.airflow.login
    for name, word in ((user, f"{password}x"), (user, ""), ("nobody", password)):
        with pytest.raises(StackError, match=r"40[01]"):
            AirflowApi(url, name, word).call("GET", "dags")
