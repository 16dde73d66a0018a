"""A Docker engine for tests that also accepts TLS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import docker

from pipeline_config.docker_connection import engine_tls
from stack.docker_engine import DockerEngine


class TlsEngine(DockerEngine):
    """An engine that also accepts TCP from clients with a certificate of its authority."""

    ports = ("docker",)

    @property
    def tls_address(self) -> str:
        """What DOCKER_HOST would be by TLS."""
        return f"tcp://{self.host}:{self.home.port('docker')}"

    def commands(self) -> dict[str, Sequence[str]]:
        """dockerd with --tlsverify."""
        files = {"tlscacert": "ca.pem", "tlscert": "server.pem", "tlskey": "server.key"}
        tls = ["--tlsverify", *(f"--{name}={self.certificates / file}" for name, file in files.items())]
        return {self.name: [*super().commands()[self.name], f"--host={self.tls_address}", *tls]}

    def connect(self) -> docker.DockerClient:
        """A client by TLS."""
        tls = engine_tls(self.tls_address, tls_extra(self.certificates))
        return docker.DockerClient(base_url=self.tls_address, tls=tls)

    def probe(self) -> bool:
        """It answers a ping by its socket and by TLS."""
        client = self.connect()
        try:
            return super().probe() and bool(client.ping())
        finally:
            client.close()

    @property
    def certificates(self) -> Path:
        """Folder of all certificates and keys."""
        return self.home.folder("certificates")


def tls_extra(folder: Path) -> dict[str, str]:
    """What the connection's extra holds."""
    names = {"tls_ca_cert": "ca.pem", "tls_client_cert": "client.pem", "tls_client_key": "client.key"}
    return {extra: str(folder / file) for extra, file in names.items()}
