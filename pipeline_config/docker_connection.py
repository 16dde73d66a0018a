"""A Docker connection: the engine's URL and, with TLS, the certificates of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.tls import TLSConfig

from pipeline_config.connection_types import PLAINTEXT, TLS_EXTRAS

if TYPE_CHECKING:
    from docker import APIClient


def engine_url(host: str | None, port: int | None, extra: Mapping[str, Any]) -> str:
    """The engine's URL; the host may already be one (`tcp://…`, `unix://…`)."""
    host = host or ""
    if "://" not in host:
        return f"tcp://{host}:{port or (2376 if _given(extra) else 2375)}"
    return f"{host}:{port}" if port else host


def is_plaintext(url: str, extra: Mapping[str, Any]) -> bool:
    """Whether anybody who reaches the engine, or the network between, can do with it what we do."""
    return url.startswith(("tcp://", "http://")) and not _given(extra)


class Tls(TLSConfig):  # type: ignore[misc]  # docker-py has no types
    """Verify the engine by its CA's certificate, and present ours."""

    def configure_client(self, client: APIClient) -> None:
        """Ignore REQUESTS_CA_BUNDLE of the environment: requests would prefer it to our CA."""
        super().configure_client(client)
        client.trust_env = False


class Plaintext(Tls):
    """No TLS, like docker-py's `tls=False`; and no proxy of the environment in between."""

    def __bool__(self) -> bool:
        return False

    def configure_client(self, client: APIClient) -> None:
        """Ignore the environment."""
        client.trust_env = False


def engine_tls(url: str, extra: Mapping[str, Any]) -> Tls:
    """For docker-py's clients: Plaintext if the connection names no file.

    ValueError when only some of the three are named, one of them is not a file here, or the URL is plaintext and the
    extra does not say that this is meant.
    """
    given = _given(extra)
    if not given:
        if is_plaintext(url, extra) and str(extra.get(PLAINTEXT)).lower() != "true":
            raise ValueError(
                f"without TLS whoever reaches it is root on its host: name {', '.join(TLS_EXTRAS)} in the connection's "
                f'extra, or use ssh:// or unix://; if it is intended, set "{PLAINTEXT}": true there'
            )
        return Plaintext()
    if missing := [name for name in TLS_EXTRAS if name not in given]:
        raise ValueError(f"TLS needs {', '.join(missing)} too: add it to the connection's extra")
    if gone := [f"{name} {extra[name]}" for name in TLS_EXTRAS if not Path(str(extra[name])).is_file()]:
        raise ValueError(f"there is no such file on this host: {', '.join(gone)}; put it there, or correct the extra")
    authority, certificate, key = (str(extra[name]) for name in TLS_EXTRAS)
    return Tls(client_cert=(certificate, key), ca_cert=authority, verify=True)


def how_to_build(image: str, dockerfile: str) -> str:
    """What to do if the engine has no such image."""
    return f"build it there: docker build -f {dockerfile} -t {image} ." if dockerfile else "build it there, or pull it"


def _given(extra: Mapping[str, Any]) -> list[str]:
    return [name for name in TLS_EXTRAS if extra.get(name)]
