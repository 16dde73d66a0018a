"""TLS for Kafka clients: CA and client certificates in PEM, as files or in the settings themselves."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

HOST_CHECK = "ssl.endpoint.identification.algorithm"
TRUST, OWN = "ssl.truststore", "ssl.keystore"
# The settings of a PEM store that is not a file, per store, in the order in which they are concatenated.
INLINE = {TRUST: (f"{TRUST}.certificates",), OWN: (f"{OWN}.key", f"{OWN}.certificate.chain")}
SECRETS = (f"{OWN}.key", "ssl.key.password")
KEYS = (
    *(f"{store}.{part}" for store in INLINE for part in ("type", "location")),
    *(key for keys in INLINE.values() for key in keys),
    "ssl.key.password",
    HOST_CHECK,
)
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_OTHER_STORES = {".jks": "JKS", ".p12": "PKCS12", ".pfx": "PKCS12", ".pkcs12": "PKCS12"}
# Only Java reads these; librdkafka and kafka-python require PEM.
_CONVERSIONS = {
    (TRUST, "JKS"): "keytool -list -rfc -keystore {file} > {stem}.pem",
    (TRUST, "PKCS12"): "openssl pkcs12 -in {file} -nokeys -out {stem}.pem",
    (OWN, "JKS"): "keytool -importkeystore -srckeystore {file} -destkeystore {stem}.p12 -deststoretype PKCS12 && "
    "openssl pkcs12 -in {stem}.p12 -out {stem}.pem",
    (OWN, "PKCS12"): "openssl pkcs12 -in {file} -out {stem}.pem",
}


def problems(values: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the stores, without opening files; `values` are those of client.properties."""
    for store, keys in INLINE.items():
        there = [key for key in keys if key in values]
        location = values.get(f"{store}.location")
        if location and there:
            yield f"{store}.location and {there[0]} both define the store: remove one of them"
        elif location or there:
            yield from _type(store, values, location)
        if there and len(there) < len(keys):
            missing = next(key for key in keys if key not in values)
            yield f"{missing} is missing: set it together with {there[0]}"
        for key in there:
            if not _BLOCK.search(values[key]):
                yield f"{key} contains no PEM block: -----BEGIN …-----, base64, -----END …-----"
    if values.get(HOST_CHECK, "https") not in ("https", ""):
        yield f"{HOST_CHECK} has an unsupported value: set it to https or nothing"


def _type(store: str, values: Mapping[str, str], location: str | None) -> Iterator[str]:
    """What is wrong if a store is not PEM, and how to convert it."""
    kind = values.get(f"{store}.type")
    if other := other_kind(values, store):
        stem = Path(location or "").with_suffix("")
        how = _CONVERSIONS[store, other].format(file=location, stem=stem)
        yield (
            f"{store}.location {location} is {other}, which only Java reads: convert it once with `{how}`, then set "
            f"{store}.location={stem}.pem and {store}.type=PEM, without {store}.password"
            f"{', or remove the store if this host trusts the CA' if store == TRUST else ''}"
        )
    elif kind != "PEM":
        yield f"{store}.type {'has an unsupported value' if kind else 'is missing'}: set it to PEM"


def other_kind(values: Mapping[str, str], store: str) -> str:
    """JKS or PKCS12, by the store's type or else by its file name; "" for PEM and unknown types."""
    kind = values.get(f"{store}.type")
    if kind is None:
        return _OTHER_STORES.get(Path(values.get(f"{store}.location", "")).suffix.lower(), "")
    return kind if kind in _OTHER_STORES.values() else ""


def pem(text: str) -> str:
    """The blocks of a PEM text as OpenSSL reads them: Java also accepts them on one line."""
    blocks = []
    for kind, body in _BLOCK.findall(text):
        base64 = "".join(body.split())
        lines = [base64[start : start + 64] for start in range(0, len(base64), 64)]
        blocks.append("\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----\n"]))
    return "".join(blocks)


def inline(values: Mapping[str, str], store: str) -> str:
    """A store given in the settings, as PEM; "" if there is none."""
    return "".join(pem(values.get(key, "")) for key in INLINE[store])


def context(values: Mapping[str, str]) -> ssl.SSLContext | str:
    """TLS as the settings define it, or what is wrong; without a truststore, this host's CAs are trusted."""
    import ssl  # noqa: PLC0415  (slow, and of no use to a job whose options are only read)

    try:
        result = ssl.create_default_context(
            cafile=values.get(f"{TRUST}.location"), cadata=inline(values, TRUST) or None
        )
    except OSError as error:
        return _unreadable(values, TRUST, "a CA certificate", error)
    result.check_hostname = values.get(HOST_CHECK, "https") == "https"
    try:
        _load_own(result, values)
    except OSError as error:
        return _unreadable(values, OWN, "a private key and its certificate", error)
    return result


def _load_own(result: ssl.SSLContext, values: Mapping[str, str]) -> None:
    # A function, since OpenSSL would prompt at the terminal for the password of an encrypted key.
    def password() -> str:
        return values.get("ssl.key.password", "")

    if location := values.get(f"{OWN}.location"):
        result.load_cert_chain(location, password=password)
    elif text := inline(values, OWN):
        # Python reads a key only from a file: here one in memory, never on disk.
        with os.fdopen(os.memfd_create("keystore"), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            result.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=password)


def _unreadable(values: Mapping[str, str], store: str, needed: str, error: OSError) -> str:
    where = f"{store}.location"
    what = f"{where} {values[where]} is not a readable PEM file" if where in values else f"{INLINE[store][0]} is wrong"
    return f"{what} ({error.strerror or error}): put {needed} there, for an encrypted key with its ssl.key.password"
