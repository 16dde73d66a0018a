"""A server that runs jobs over SSH: its login, the variables that it accepts, and the folders of commands."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial

from pipeline_config.connection_types import ACCEPTED, CONNECTION_TYPES
from pipeline_config.preflight.probe import LIMIT_SECONDS, Failure, Once, Probe
from pipeline_config.preflight.settings import Settings
from pipeline_config.preflight.ssh import Login
from pipeline_config.preflight.uses import Asked


def ask(asked: Asked) -> list[Probe]:
    """The login first; the others wait for it."""
    uses = [use for use in asked.uses if use.connection == asked.name]
    types = [kind for use in uses for kind in use.connections.values()]
    server = SshServer(asked.settings, asked.name)
    folders = Asked(asked.root, asked.settings, asked.name, uses).commands_read("path")
    return [server.signs_in(), *server.accepts(types), *server.folders(folders)] if uses else []


class SshServer:
    """The probes of one server, of which more may be asked by its `login`."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.login = Once(name, lambda: Login(name, settings.connection(name)))
        self._fix = f"check sshd and the firewall there, and the address in {name}"

    def signs_in(self) -> Probe:
        """The login itself."""
        return Probe(self.name, lambda: f"{self.login.own().address}, host key as expected", self._fix)

    def probe(self, what: str, run: Callable[[], str], limit: float = 2 * LIMIT_SECONDS) -> Probe:
        """A probe of something on this server, which may take as long as two logins."""
        return Probe(f"{self.name} {what}", run, f"{self.name} is slow or hangs: log in and check", limit)

    def accepts(self, types: list[str]) -> list[Probe]:
        """Whether the passwords of these types of connections reach the jobs."""
        environments = [CONNECTION_TYPES[kind].environment for kind in dict.fromkeys(types)]
        names = [name for each in environments for name, field in each.items() if field == "password"]
        return [self.probe("AcceptEnv", partial(self._accepted, sorted(names, reverse=True)))] if names else []

    def folders(self, variables: list[str]) -> list[Probe]:
        """Of each variable, that it names a folder there."""
        return [Probe(name, partial(self._folder, name), self._fix, 2 * LIMIT_SECONDS) for name in variables]

    def _accepted(self, names: list[str]) -> str:
        """The jobs' secrets are environment variables, which sshd drops silently unless configured otherwise."""
        # printenv would show secrets that the server itself sets; this shows whether ours arrived.
        command = "; ".join(f'test "${name}" = preflight || echo {name}' for name in names)
        said = self.login.needed().run(command, environment=dict.fromkeys(names, "preflight")).output.split()
        if missing := [name for name in names if name in said]:
            fix = f"add `AcceptEnv {ACCEPTED}` to sshd_config there and reload sshd"
            raise Failure(f"sshd does not accept {', '.join(missing)}", fix)
        return f"sshd accepts {', '.join(names)}"

    def _folder(self, variable: str) -> str:
        path = self.settings.variable(variable)
        done = self.login.needed().run(f"cd {shlex.quote(path)}")
        if done.code:
            raise Failure(done.last_line, f"put the repository there, or correct {variable}")
        return f"{path}, a folder on {self.name}"
