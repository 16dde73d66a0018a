"""`python -m stack status`: what runs, where, with how much memory."""

from __future__ import annotations

from stack.docker_engine import NONE, DockerEngine
from stack.errors import StackError
from stack.process import memory
from stack.server import Server
from stack.settings import HOST
from stack.stack import Stack

MIB = 2**20


def show(stack: Stack) -> bool:
    """Print what runs, and where; returns whether all of it is ready."""
    servers = [*stack.servers, *([stack.superset] if stack.superset.is_running() else [])]
    states = {server.name: _state(server) for server in servers}
    for server in servers:
        stack.progress.line(server.name, f"{states[server.name]:9} {_address(server)}")
        for daemon in server.daemons():
            used = memory(daemon.members()) // MIB
            words = f"pid {daemon.pid}, {used} MiB, " if daemon.pid else ""
            stack.progress.line("", f"{words}log {daemon.log}")
    if stack.docker.why_unavailable:
        stack.warn_no_docker()
    if states["airflow"] == "ready":
        url, user, password = stack.airflow.login
        stack.progress.line("", f"Airflow: {url}  user {user}  password {password}")
    if stack.superset in servers:
        stack.say_dashboards()
    total = sum(server.memory() for server in servers) / 2**30
    stack.progress.line("", f"{total:.1f} GiB of memory in total; everything is in {stack.home.root}")
    return set(states.values()) <= {"ready", NONE}


def _state(server: Server) -> str:
    if isinstance(server, DockerEngine) and server.why_unavailable:
        return NONE
    if server.is_ready():
        return "ready"
    return "not ready" if any(daemon.pid for daemon in server.daemons()) else "stopped"


def _address(server: Server) -> str:
    try:
        return server.address
    except StackError:
        return f"on {HOST}, never started"
