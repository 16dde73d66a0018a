"""What a Docker connection means: the engine's URL, and the certificates of both sides where it speaks TLS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from docker import APIClient
from docker.tls import TLSConfig

# Extras of the connection: paths of PEM files on the Airflow host, named as DockerOperator's own arguments.
TLS_EXTRAS = ("tls_ca_cert", "tls_client_cert", "tls_client_key")


def engine_url(host: str | None, port: int | None, extra: Mapping[str, Any]) -> str:
    """The engine's URL; the host may be one already (`tcp://…`, `unix://…`)."""
    host = host or ""
    if "://" not in host:
        return f"tcp://{host}:{port or (2376 if _given(extra) else 2375)}"
    return f"{host}:{port}" if port else host


class Tls(TLSConfig):  # type: ignore[misc]  # docker-py has no types
    """The engine is checked by its authority's certificate, and is shown ours."""

    def configure_client(self, client: APIClient) -> None:
        """Also keep REQUESTS_CA_BUNDLE of the environment out: requests would believe it before our authority."""
        super().configure_client(client)
        client.trust_env = False


def engine_tls(extra: Mapping[str, Any]) -> Tls | Literal[False]:
    """As docker-py's clients take it: False where the connection names no file.

    ValueError when only some of the three are named; docker-py's TLSParameterError when a file is not there.
    """
    given = _given(extra)
    if not given:
        return False
    if missing := [name for name in TLS_EXTRAS if name not in given]:
        raise ValueError(f"TLS needs {', '.join(missing)} too: add it to the connection's extra")
    authority, certificate, key = (str(extra[name]) for name in TLS_EXTRAS)
    return Tls(client_cert=(certificate, key), ca_cert=authority, verify=True)


def _given(extra: Mapping[str, Any]) -> list[str]:
    return [name for name in TLS_EXTRAS if extra.get(name)]
