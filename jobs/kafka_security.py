"""How a job logs in to Kafka: the `client.properties` of Kafka's own tools, for kafka-python, librdkafka and Java.

The file is on the job's host, so that no secret is transferred; no message contains a value from it.
"""

from __future__ import annotations

import os
import re
import time
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs import kafka_tls, properties
from jobs.errors import NonRetryableError

FILE = "client.properties"
BYTE_ORDER_MARK = "\ufeff"
PROTOCOLS = ("SSL", "SASL_SSL", "SASL_PLAINTEXT")
_LOGIN = "org.apache.kafka.common.security"
LOGIN_MODULES = {
    "PLAIN": f"{_LOGIN}.plain.PlainLoginModule",
    "SCRAM-SHA-256": f"{_LOGIN}.scram.ScramLoginModule",
    "SCRAM-SHA-512": f"{_LOGIN}.scram.ScramLoginModule",
    "OAUTHBEARER": f"{_LOGIN}.oauthbearer.OAuthBearerLoginModule",
}
HOST_CHECK = kafka_tls.HOST_CHECK
ENDPOINT = "sasl.oauthbearer.token.endpoint.url"
HANDLER = "sasl.login.callback.handler.class"
HANDLERS = (
    f"{_LOGIN}.oauthbearer.OAuthBearerLoginCallbackHandler",
    f"{_LOGIN}.oauthbearer.secured.OAuthBearerLoginCallbackHandler",  # Kafka before 4.0
)
LIBRDKAFKA_LOGIN = ("sasl.username", "sasl.password")  # instead of sasl.jaas.config
SECRETS = ("sasl.jaas.config", *kafka_tls.SECRETS)
KEYS = (
    "security.protocol",
    "sasl.mechanism",
    "sasl.jaas.config",
    *LIBRDKAFKA_LOGIN,
    ENDPOINT,
    HANDLER,
    *kafka_tls.KEYS,
)
ALIASES = {"sasl.mechanisms": "sasl.mechanism"}  # librdkafka's name by Java's
# Java reads the secrets itself: they are in no option of Spark, which plans and errors may show.
PROVIDER = {
    "config.providers": "file",
    "config.providers.file.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
}
# What else a cluster's operator puts into the file: addresses, timeouts, the schema registry. Not part of the login.
_OTHERS = re.compile(r"(?!(?:security|sasl|ssl)\.)[a-z][a-z0-9]*(?:\.[a-z0-9]+)+|acks|retries")
_TIMES = re.compile(r"sasl\.login\.[a-z.]+\.ms")
_NAME = re.compile(r"(security|sasl|ssl)(\.[a-z]+)+")
_WORD = r"""[\w.$-]+|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
_OPTION = re.compile(rf"([\w.$-]+)\s*=\s*({_WORD})")
_JAAS = re.compile(rf"\s*([\w.]+)\s+\w+((?:\s+{_OPTION.pattern})+)\s*;\s*")
_PLACEHOLDER = re.compile(r"\{\{.*\}\}|<.*>")
_EXTENSION = "extension_"


@dataclass(frozen=True)
class Security:
    """The settings of kafka-python's, librdkafka's and Java's Kafka clients; empty for plaintext.

    `file` is where they come from, for messages.
    """

    python: Mapping[str, Any] = field(default_factory=dict, repr=False)
    librdkafka: Mapping[str, str] = field(default_factory=dict, repr=False)
    java: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None

    @property
    def fix(self) -> str:
        """What to check when Kafka refuses the login."""
        if self.file:
            return f"check {self.file} on this host"
        return "if it requires TLS or a login, set --kafka-security-path"


PLAINTEXT = Security()


def read(folder: str) -> Security:
    """The settings of client.properties in `folder`; PLAINTEXT for an empty `folder`.

    Relative paths of PEM files are below `folder`. JobError names the file and, for everything that is wrong in it,
    the key and the fix.
    """
    if not folder:
        return PLAINTEXT
    file = (Path(folder) / FILE).absolute()
    values, wrong = _values(file)
    login, found = _login(values)
    wrong += found
    protocol = values.get("security.protocol", "")
    python: dict[str, Any] = {"security_protocol": protocol, **_for_python(values, login)}
    if not (stores := list(kafka_tls.problems(values))) and protocol.endswith("SSL"):
        context = kafka_tls.context(values)
        stores = [context] if isinstance(context, str) else []
        python["ssl_context"] = context
    wrong += stores
    if wrong:
        raise NonRetryableError(f"{file}: {'; '.join(wrong)}")
    return Security(python, _for_librdkafka(values, login), _for_java(file, values), file)


def refusal(brokers: str, security: Security, seconds: float = 5) -> str:
    """Why the brokers refuse this login or certificate; empty if they do not within so many seconds.

    Through librdkafka, which reports it; kafka-python keeps trying silently.
    """
    from confluent_kafka import KafkaError, KafkaException, Producer  # not installed where only Java talks to Kafka

    refusing = (KafkaError._AUTHENTICATION, KafkaError._SSL)
    found: list[KafkaError] = []
    asked = {"bootstrap.servers": brokers, "log_level": 0, "error_cb": found.append}
    deadline = time.monotonic() + seconds
    try:
        client = Producer({**asked, **security.librdkafka})
        while time.monotonic() < deadline:
            client.poll(0.1)
            said = {error.code(): error.str() for error in reversed(found)}
            # On a busy machine librdkafka reports OpenSSL's reason as a transport error.
            refused = [text for code, text in said.items() if code in refusing or "SSL routines" in text]
            if refused or KafkaError._ALL_BROKERS_DOWN in said:
                return "".join(refused[:1])
    except KafkaException:  # not an address
        pass
    return ""


def _values(file: Path) -> tuple[dict[str, str], list[str]]:
    """The keys of the login, with absolute paths; and what is wrong with them."""
    values: dict[str, str] = {}
    unknown = []
    text = _text(file)
    for number, given, value in properties.parse(text.removeprefix(BYTE_ORDER_MARK)):
        key = ALIASES.get(given, given)
        if key in KEYS or _TIMES.fullmatch(key):
            values[key] = value.strip()  # as Kafka's own clients do
        elif not _OTHERS.fullmatch(key):
            # An unknown key may be the middle of a secret.
            unknown.append(key if _NAME.fullmatch(key) else f"line {number}")
    for store in kafka_tls.INLINE:
        if location := values.get(f"{store}.location"):
            values[f"{store}.location"] = str(file.parent / location)
        if kafka_tls.other_kind(values, store):  # reported with its conversion, which makes the password needless
            unknown = [key for key in unknown if key != f"{store}.password"]
    wrong = [f"{name} is not one of the supported keys: {', '.join(KEYS)}; remove it" for name in unknown]
    if text.startswith(BYTE_ORDER_MARK):  # Java would read it as part of the first key
        wrong.insert(0, "line 1 begins with a byte order mark (U+FEFF): save the file as UTF-8 without one")
    wrong += _one_of(values, "security.protocol", PROTOCOLS)
    if values.get("security.protocol", "").startswith("SASL"):
        wrong += _one_of(values, "sasl.mechanism", LOGIN_MODULES)
    return values, wrong


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except PermissionError:
        raise NonRetryableError(
            f"{file} is not readable by uid {os.getuid()}: let that user, and nobody else, read it"
        ) from None
    except OSError as error:
        raise NonRetryableError(
            f"{file}: {error.strerror}; put Kafka's client settings there, on this host, or correct "
            "--kafka-security-path (empty: Kafka uses plaintext)"
        ) from None
    except UnicodeDecodeError:
        raise NonRetryableError(f"{file} is not UTF-8: save it as UTF-8 text") from None


def _one_of(values: Mapping[str, str], key: str, allowed: Collection[str]) -> Iterator[str]:
    if values.get(key) not in allowed:
        wrong = "has an unsupported value" if key in values else "is missing"
        what = f"{key} {wrong}: set it to {' or '.join(allowed)}"
        iam = values.get(key) == "AWS_MSK_IAM"  # its classes are Amazon's, and no client here has them
        yield f"{what}. IAM is not supported: use the cluster's SCRAM login" if iam else what


def _login(values: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The options of sasl.jaas.config, or librdkafka's user name and password by those names; and what is wrong."""
    mechanism = values.get("sasl.mechanism", "")
    if not values.get("security.protocol", "SASL").startswith("SASL") or mechanism not in LOGIN_MODULES:
        return {}, []
    module, is_token = LOGIN_MODULES[mechanism], mechanism == "OAUTHBEARER"
    needed = ("clientId", "clientSecret") if is_token else ("username", "password")
    match = _JAAS.fullmatch(values.get("sasl.jaas.config", ""))
    words = _OPTION.findall(match[2]) if match else []
    options = {name: properties.unescaped(word[1:-1]) if word[0] in "\"'" else word for name, word in words}
    if not is_token and "sasl.jaas.config" not in values and any(key in values for key in LIBRDKAFKA_LOGIN):
        options = {name: values.get(f"sasl.{name}", "") for name in needed}
        where, right = " and ".join(LIBRDKAFKA_LOGIN), all(not set(value) & set('"\\') for value in options.values())
    else:
        where, right = "sasl.jaas.config", bool(match and match[1] == module)
    wrong = list(_token_problems(values)) if is_token else []
    if not right or not all(options.get(name) for name in needed):
        form = " ".join(f'{name}="…"' for name in needed)
        form = f"{module} required {form}; (with the semicolon)"
        wrong.append(f"sasl.jaas.config is missing or malformed: write it as {form}")
    elif any(_PLACEHOLDER.fullmatch(options[name]) for name in needed):
        wrong.append(f"{where} still has a placeholder: put {' and '.join(needed)} there")
    return options, wrong


def _token_problems(values: Mapping[str, str]) -> Iterator[str]:
    url = urllib.parse.urlsplit(values.get(ENDPOINT, ""))
    if url.scheme not in ("http", "https") or not url.hostname:
        yield f"{ENDPOINT} is missing or not a URL: set it to the https://… where the identity provider issues tokens"
    if values.get(HANDLER, HANDLERS[0]) not in HANDLERS:
        yield f"{HANDLER} has an unsupported value: set it to {HANDLERS[0]}, or remove it"


def _extensions(login: Mapping[str, str]) -> dict[str, str]:
    """What goes to the broker with a token."""
    return {name.removeprefix(_EXTENSION): value for name, value in login.items() if name.startswith(_EXTENSION)}


def _for_python(values: Mapping[str, str], login: Mapping[str, str]) -> dict[str, Any]:
    if "clientId" in login:
        from jobs import kafka_tokens  # noqa: PLC0415  (its HTTP client is slow to import)

        tokens = kafka_tokens.Tokens(
            values.get(ENDPOINT, ""),
            login["clientId"],
            login.get("clientSecret", ""),
            login.get("scope", ""),
            _extensions(login),
        )
        provider = kafka_tokens.known_to_kafka_python(tokens)
        return {"sasl_mechanism": values["sasl.mechanism"], "sasl_oauth_token_provider": provider}
    if login:
        names = {"sasl_plain_username": login.get("username"), "sasl_plain_password": login.get("password")}
        return {"sasl_mechanism": values["sasl.mechanism"], **names}
    return {}


def _for_librdkafka(values: Mapping[str, str], login: Mapping[str, str]) -> dict[str, str]:
    """The settings under librdkafka's names."""
    own = kafka_tls.inline(values, kafka_tls.OWN)
    names = {
        "security.protocol": values["security.protocol"],
        "sasl.mechanism": values.get("sasl.mechanism"),
        "sasl.username": login.get("username"),
        "sasl.password": login.get("password"),
        "ssl.ca.location": values.get("ssl.truststore.location"),
        "ssl.ca.pem": kafka_tls.inline(values, kafka_tls.TRUST) or None,
        "ssl.certificate.location": values.get("ssl.keystore.location"),
        "ssl.key.location": values.get("ssl.keystore.location"),
        "ssl.certificate.pem": own or None,
        "ssl.key.pem": own or None,
        "ssl.key.password": values.get("ssl.key.password"),
        HOST_CHECK: values.get(HOST_CHECK, "https") or "none",
    }
    if "clientId" in login:
        extensions = ",".join(f"{name}={value}" for name, value in _extensions(login).items())
        names |= {
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.token.endpoint.url": values[ENDPOINT],
            "sasl.oauthbearer.client.id": login["clientId"],
            "sasl.oauthbearer.client.secret": login["clientSecret"],
            "sasl.oauthbearer.scope": login.get("scope"),
            "sasl.oauthbearer.extensions": extensions or None,
        }
    return {name: value for name, value in names.items() if value is not None}


def _for_java(file: Path, values: Mapping[str, str]) -> dict[str, str]:
    """The same for Java, which reads each secret itself."""

    def read_by_java(key: str) -> str:
        return f"${{file:{file}:{key}}}"

    result = {key: read_by_java(key) if key in SECRETS else value for key, value in values.items()}
    if "sasl.username" in values and "sasl.jaas.config" not in values:
        username, password = map(read_by_java, LIBRDKAFKA_LOGIN)
        module = LOGIN_MODULES[values["sasl.mechanism"]]
        result["sasl.jaas.config"] = f'{module} required username="{username}" password="{password}";'
    if values.get("sasl.mechanism") == "OAUTHBEARER":
        result.setdefault(HANDLER, HANDLERS[0])
    for key in LIBRDKAFKA_LOGIN:
        result.pop(key, None)
    return {**PROVIDER, **result}
