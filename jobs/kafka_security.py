"""How a job signs in to Kafka: the `client.properties` of Kafka's own tools, for kafka-python, librdkafka and Java.

The file lies on the job's host, so that no secret travels; no message holds a value of it.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.cli import JobError

FILE = "client.properties"
PROTOCOLS = ("SSL", "SASL_SSL", "SASL_PLAINTEXT")
LOGIN_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
STORES = ("ssl.truststore", "ssl.keystore")
SECRETS = ("sasl.jaas.config", "ssl.key.password")
HOST_CHECK = "ssl.endpoint.identification.algorithm"
KEYS = (
    "security.protocol",
    "sasl.mechanism",
    *SECRETS,
    *(f"{store}.{part}" for store in STORES for part in ("location", "type")),
    HOST_CHECK,
)
# Java reads the secrets itself: they are in no option of Spark's, which plans and errors may show.
PROVIDER = {
    "config.providers": "file",
    "config.providers.file.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
}

_BLANKS = " \t\f"
_KEY_VALUE = re.compile(r"((?:\\.|[^\\=: \t\f])+)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
_CONTINUED = re.compile(r"(?<!\\)(?:\\\\)*\\$")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_WORD = r"""[\w.$-]+|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
_OPTION = re.compile(rf"([\w.$-]+)\s*=\s*({_WORD})")
_JAAS = re.compile(rf"\s*([\w.]+)\s+\w+((?:\s+{_OPTION.pattern})+)\s*;\s*")
_NAME = re.compile(r"(security|sasl|ssl)(\.[a-z]+)+")


@dataclass(frozen=True)
class Security:
    """What kafka-python's, librdkafka's and Java's clients of Kafka are told; nothing for plaintext.

    `file` is what they come from, for messages.
    """

    python: Mapping[str, Any] = field(default_factory=dict, repr=False)
    librdkafka: Mapping[str, str] = field(default_factory=dict, repr=False)
    java: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None

    @property
    def fix(self) -> str:
        """What to look at when Kafka refuses us."""
        if self.file:
            return f"look at {self.file} on this host"
        return "if it wants TLS or a login, give them by the variable KAFKA_SECURITY_PATH"


PLAINTEXT = Security()


def read(folder: str) -> Security:
    """What client.properties in `folder` says; PLAINTEXT for an empty `folder`.

    PEM files that it names by a relative path lie in `folder`. JobError says the file, the key and the fix.
    """
    if not folder:
        return PLAINTEXT
    file = (Path(folder) / FILE).absolute()
    values = _checked(file)
    python: dict[str, Any] = {"security_protocol": values["security.protocol"]}
    if python["security_protocol"].startswith("SASL"):
        name, password = _login(file, values)
        python |= {"sasl_mechanism": values["sasl.mechanism"]}
        python |= {"sasl_plain_username": name, "sasl_plain_password": password}
    if python["security_protocol"].endswith("SSL"):
        python["ssl_context"] = _context(file, values)
    java = {key: f"${{file:{file}:{key}}}" if key in SECRETS else value for key, value in values.items()}
    return Security(python, _librdkafka(values, python), {**PROVIDER, **java}, file)


def refusal(brokers: str, security: Security, seconds: float = 5) -> str:
    """Why brokers refuse this login or this certificate; nothing when they do not within so many seconds.

    By librdkafka, which says it; kafka-python tries on and tells nobody.
    """
    from confluent_kafka import KafkaError, KafkaException, Producer  # not where Java alone speaks to Kafka

    refusing = (KafkaError._AUTHENTICATION, KafkaError._SSL)
    found: list[KafkaError] = []
    asked = {"bootstrap.servers": brokers, "log_level": 0, "error_cb": found.append}
    deadline = time.monotonic() + seconds
    try:
        client = Producer({**asked, **security.librdkafka})
        while time.monotonic() < deadline:
            client.poll(0.1)
            said = {error.code(): error.str() for error in reversed(found)}
            refused = [text for code, text in said.items() if code in refusing or "SSL alert" in text]
            if refused or KafkaError._ALL_BROKERS_DOWN in said:
                return "".join(refused[:1])
    except KafkaException:  # what is no address
        pass
    return ""


def _checked(file: Path) -> dict[str, str]:
    """The file's keys and values: known ones, of the right kind, PEM paths made absolute."""
    values: dict[str, str] = {}
    for number, key, value in _properties(_text(file)):
        if key not in KEYS:
            name = key if _NAME.fullmatch(key) else f"line {number}"  # which may begin in the midst of a secret
            raise JobError(f"{file}: {name} is not one of the keys it may have: {', '.join(KEYS)}; remove it")
        values[key] = value
    _one_of(file, values, "security.protocol", PROTOCOLS)
    if values["security.protocol"].startswith("SASL"):
        _one_of(file, values, "sasl.mechanism", LOGIN_MODULES)
    for store in STORES:
        if f"{store}.location" in values:
            _one_of(file, values, f"{store}.type", ("PEM",))
            values[f"{store}.location"] = str(file.parent / values[f"{store}.location"])
    if HOST_CHECK in values:
        _one_of(file, values, HOST_CHECK, ("https", ""))
    return values


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except PermissionError:
        raise JobError(
            f"{file} is not readable by uid {os.getuid()}: let that user, and nobody else, read it"
        ) from None
    except OSError as error:
        raise JobError(
            f"{file}: {error.strerror}; put Kafka's client settings there, on this host, or correct the variable "
            "KAFKA_SECURITY_PATH (empty: Kafka speaks plaintext)"
        ) from None
    except UnicodeDecodeError:
        raise JobError(f"{file} is not UTF-8: write it as text") from None


def _one_of(file: Path, values: Mapping[str, str], key: str, allowed: Mapping[str, str] | tuple[str, ...]) -> None:
    if values.get(key) not in allowed:
        wrong = "has another value" if key in values else "is missing"
        raise JobError(f"{file}: {key} {wrong}: set it to {' or '.join(word or 'nothing' for word in allowed)}")


def _properties(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, key and value, as java.util.Properties reads them."""
    lines = enumerate(re.split(r"\r\n|\r|\n", text), 1)
    for number, raw in lines:
        line = raw.lstrip(_BLANKS)
        if not line or line[0] in "#!":
            continue
        while _CONTINUED.search(line):
            line = line[:-1] + next(lines, (0, ""))[1].lstrip(_BLANKS)
        match = _KEY_VALUE.fullmatch(line)
        key, value = match.groups() if match else ("", "")
        yield number, _unescaped(key), _unescaped(value)


def _unescaped(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        return chr(int(match[1], 16)) if match[1] else _CONTROL.get(match[2], match[2])

    return _ESCAPED.sub(character, text)


def _login(file: Path, values: Mapping[str, str]) -> tuple[str, str]:
    """User name and password of sasl.jaas.config."""
    module = LOGIN_MODULES[values["sasl.mechanism"]]
    match = _JAAS.fullmatch(values.get("sasl.jaas.config", ""))
    words = _OPTION.findall(match[2]) if match else []
    options = {name: _unescaped(word[1:-1]) if word[0] in "\"'" else word for name, word in words}
    if not match or match[1] != module or not options.get("username") or not options.get("password"):
        raise JobError(
            f"{file}: sasl.jaas.config is missing or has another form: write it as "
            f'{module} required username="…" password="…"; (with the semicolon)'
        )
    return options["username"], options["password"]


def _librdkafka(values: Mapping[str, str], python: Mapping[str, Any]) -> dict[str, str]:
    """The same by librdkafka's names; kafka-python's are given, since login and PEM files are checked there."""
    names = {
        "security.protocol": values["security.protocol"],
        "sasl.mechanism": values.get("sasl.mechanism"),
        "sasl.username": python.get("sasl_plain_username"),
        "sasl.password": python.get("sasl_plain_password"),
        "ssl.ca.location": values.get("ssl.truststore.location"),
        "ssl.certificate.location": values.get("ssl.keystore.location"),
        "ssl.key.location": values.get("ssl.keystore.location"),
        "ssl.key.password": values.get("ssl.key.password"),
        HOST_CHECK: values.get(HOST_CHECK, "https") or "none",
    }
    return {name: value for name, value in names.items() if value is not None}


def _context(file: Path, values: Mapping[str, str]) -> ssl.SSLContext:
    """TLS as the file wants it; without a truststore, authorities are this host's."""
    key = "ssl.truststore.location"
    try:
        context = ssl.create_default_context(cafile=values.get(key))
        context.check_hostname = values.get(HOST_CHECK, "https") == "https"
        key = "ssl.keystore.location"
        if key in values:
            # A function: for an encrypted key without a password OpenSSL would ask at the terminal.
            context.load_cert_chain(values[key], password=lambda: values.get("ssl.key.password", ""))
    except OSError as error:
        needed = "an authority's certificate" if "trust" in key else "a private key and its certificate"
        raise JobError(
            f"{file}: {key} {values[key]} is no PEM file that can be read ({error.strerror or error}): put {needed} "
            "there, for a locked key with its ssl.key.password"
        ) from None
    return context
