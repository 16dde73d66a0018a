"""What a Docker connection means: the engine's URL, and the certificates of both sides where it speaks TLS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from docker.tls import TLSConfig

if TYPE_CHECKING:
    from docker import APIClient

# Extras of the connection: paths of PEM files on the Airflow host, named as DockerOperator's own arguments.
TLS_EXTRAS = ("tls_ca_cert", "tls_client_cert", "tls_client_key")
PLAINTEXT = "plaintext"  # the extra that says: TCP without TLS is meant


def engine_url(host: str | None, port: int | None, extra: Mapping[str, Any]) -> str:
    """The engine's URL; the host may be one already (`tcp://…`, `unix://…`)."""
    host = host or ""
    if "://" not in host:
        return f"tcp://{host}:{port or (2376 if _given(extra) else 2375)}"
    return f"{host}:{port}" if port else host


def is_plaintext(url: str, extra: Mapping[str, Any]) -> bool:
    """Whether everybody who reaches the engine, or sits between, may do with it what we do."""
    return url.startswith(("tcp://", "http://")) and not _given(extra)


class Tls(TLSConfig):  # type: ignore[misc]  # docker-py has no types
    """The engine is checked by its authority's certificate, and is shown ours."""

    def configure_client(self, client: APIClient) -> None:
        """Also keep REQUESTS_CA_BUNDLE of the environment out: requests would believe it before our authority."""
        super().configure_client(client)
        client.trust_env = False


class Plaintext(Tls):
    """No TLS, as docker-py's `tls=False`; and no proxy of the environment is told what the engine is told."""

    def __bool__(self) -> bool:
        return False

    def configure_client(self, client: APIClient) -> None:
        """Keep the environment out."""
        client.trust_env = False


def engine_tls(url: str, extra: Mapping[str, Any]) -> Tls:
    """As docker-py's clients take it: Plaintext where the connection names no file.

    ValueError when only some of the three are named, or the URL is plaintext and the extra does not say that this is
    meant; docker-py's TLSParameterError when a file is not there.
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
    authority, certificate, key = (str(extra[name]) for name in TLS_EXTRAS)
    return Tls(client_cert=(certificate, key), ca_cert=authority, verify=True)


def how_to_build(image: str, dockerfile: str) -> str:
    """What to do when the engine has no such image."""
    return f"build it there: docker build -f {dockerfile} -t {image} ." if dockerfile else "build it there, or pull it"


def _given(extra: Mapping[str, Any]) -> list[str]:
    return [name for name in TLS_EXTRAS if extra.get(name)]
