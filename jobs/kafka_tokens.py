"""OAUTHBEARER for kafka-python, which cannot do it: exchanges client id and secret for a token."""

from __future__ import annotations

import base64
import importlib.util
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobs.errors import JobError

TIMEOUT_SECONDS = 10
RENEWED_AT = 0.8  # of its lifetime, as Java's client does
LIFE_SECONDS = 300  # if the provider does not say


@dataclass
class Tokens:
    """Provides a valid token and the extensions that go with it; thread-safe."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""
    with_it: Mapping[str, str] = field(default_factory=dict)
    _token: str = field(default="", init=False, repr=False)
    _until: float = field(default=0, init=False)

    def token(self) -> str:
        """An access token; JobError if the provider issues none."""
        if time.monotonic() >= self._until:
            asked_at = time.monotonic()
            self._token, life = self._ask()
            self._until = asked_at + life * RENEWED_AT
        return self._token

    def extensions(self) -> dict[str, str]:
        """What the broker gets with the token."""
        return dict(self.with_it)

    def _ask(self) -> tuple[str, float]:
        """A new token and its lifetime in seconds."""
        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        login = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        request = urllib.request.Request(  # noqa: S310 (http or https, checked when the file is read)
            self.url, urllib.parse.urlencode(form).encode(), {"Authorization": f"Basic {login}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
                answer = json.load(response)
            return str(answer["access_token"]), float(answer.get("expires_in", LIFE_SECONDS))
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
            raise JobError(
                f"{self.url} issues no token ({why}): correct sasl.oauthbearer.token.endpoint.url, clientId and "
                "clientSecret"
            ) from None


def known_to_kafka_python(tokens: Tokens) -> Tokens:
    """The same, as a token provider of kafka-python, which is not installed where only Java talks to Kafka."""
    if importlib.util.find_spec("kafka"):
        from kafka.net.sasl.oauth import AbstractTokenProvider

        AbstractTokenProvider.register(Tokens)
    return tokens
