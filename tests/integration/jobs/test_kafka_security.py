"""A broker that wants TLS, a client's certificate and a login: who has them gets in, and nobody sees the password."""

from __future__ import annotations

import base64
import datetime as dt
import gc
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion

from jobs import kafka_security
from jobs.errors import NON_RETRYABLE, JobError
from jobs.event import PARTITIONS
from jobs.generator.__main__ import write_day
from jobs.spark.kafka_required import require_topic
from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.settings import HOST, REPOSITORY
from tests import spark_submit as by_spark
from tests.certificates import make_certificates
from tests.kafka_runs import command, lines_of
from tests.programs import program
from tests.secret_search import Samples, Secrets, files_below
from tests.server_fixtures import running

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# kafka-python leaves the socket of a refused connection to the garbage collector, which complains.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")]

PLAIN = kafka_security.LOGIN_MODULES["PLAIN"]
SCRAM = kafka_security.LOGIN_MODULES["SCRAM-SHA-512"]
OWN_CERTIFICATE = ("ssl.keystore.location", "ssl.keystore.type", "ssl.key.password")
BEARER = kafka_security.LOGIN_MODULES["OAUTHBEARER"]
SECURE = """
listener.security.protocol.map=CLIENT:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512,OAUTHBEARER
listener.name.client.oauthbearer.sasl.jaas.config={bearer} required;
listener.name.client.oauthbearer.sasl.server.callback.handler.class={validator}
sasl.oauthbearer.jwks.endpoint.url={keys}
sasl.oauthbearer.expected.audience=kafka
sasl.oauthbearer.expected.issuer=tests
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.client.plain.sasl.jaas.config={plain} required username="admin" password="{admin}" user_admin="{admin}";
listener.name.client.scram-sha-512.sasl.jaas.config={scram} required;
listener.name.client.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={certificates}/server-both.pem
ssl.truststore.type=PEM
ssl.truststore.location={certificates}/ca.pem
"""


ASK = program("asks_a_secure_broker")


class SecureBroker(KafkaBroker):
    """It lets in who has a certificate of its authority and a login: `admin` by PLAIN, `tripclick` by SCRAM."""

    @property
    def certificates(self) -> Path:
        """Folder of all certificates and keys."""
        return self.home.folder("certificates")

    @property
    def password(self) -> str:
        """That of tripclick."""
        return self.home.secret("kafka_password")

    @property
    def key_password(self) -> str:
        """That of the client's key."""
        return self.home.secret("kafka_key_password")

    def prepare(self) -> None:
        """The certificates, and the listener of the clients by TLS."""
        make_certificates(self.certificates)
        lock = ["openssl", "pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES", "-in", "client.key", "-out", "client.locked"]
        lock += ["-passout", "stdin"]
        subprocess.run(lock, cwd=self.certificates, input=self.key_password, text=True, check=True)
        for both, parts in {"server": ("server.key", "server.pem"), "client": ("client.locked", "client.pem")}.items():
            text = "".join((self.certificates / part).read_text() for part in parts)
            (self.certificates / f"{both}-both.pem").write_text(text)
        super().prepare()
        kept = [line for line in self._settings.read_text().splitlines() if "security.protocol.map" not in line]
        self.keys.write_text(json.dumps({"keys": [{**json.loads(public_key()), "kid": "one", "use": "sig"}]}))
        values = {"plain": PLAIN, "scram": SCRAM, "admin": self.home.secret("kafka_admin"), "bearer": BEARER}
        values |= {"keys": self.keys.as_uri(), "validator": VALIDATOR}
        secure = SECURE.format(certificates=self.certificates, **values)
        self._settings.write_text("\n".join(kept) + secure)

    @property
    def keys(self) -> Path:
        """The public keys by which it knows a token."""
        return self.certificates / "keys.json"

    def _java(self, heap: str) -> list[str]:
        allowed = {"urls": self.keys.as_uri(), "files": str(self.keys)}
        words = [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.{what}={value}" for what, value in allowed.items()]
        java, *others = super()._java(heap)
        return [java, *words, *others]

    def probe(self) -> bool:
        """It speaks TLS with its administrator."""
        context: ssl.SSLContext = self._administrator.python["ssl_context"]
        with socket.create_connection((HOST, self.home.port("kafka")), timeout=5) as connection:
            context.wrap_socket(connection, server_hostname=HOST).close()
        return True

    def complete(self) -> None:
        """The login of the jobs."""
        admin = KafkaAdminClient(
            bootstrap_servers=self.address, bootstrap_timeout_ms=60_000, **self._administrator.python
        )
        try:
            upsert = UserScramCredentialUpsertion("tripclick", ScramMechanism.SCRAM_SHA_512, self.password)
            assert admin.alter_user_scram_credentials([upsert]) == {"tripclick": None}
        finally:
            admin.close()

    def client(self, folder: Path, change: Mapping[str, str] | None = None) -> str:
        """A folder with client.properties and the PEM files that it names; `change` of its keys, empty: without it."""
        folder.mkdir()
        for name in ("ca.pem", "client-both.pem"):
            shutil.copy(self.certificates / name, folder)
        values = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.jaas.config": login(self.password),
            "ssl.truststore.location": "ca.pem",
            "ssl.truststore.type": "PEM",
            "ssl.keystore.location": "client-both.pem",
            "ssl.keystore.type": "PEM",
            "ssl.key.password": self.key_password,
            **(change or {}),
        }
        text = "".join(f"{key}={value}\n" for key, value in values.items() if value)
        (folder / kafka_security.FILE).write_text(text)
        return str(folder)

    @cached_property
    def _administrator(self) -> kafka_security.Security:
        words = f'{PLAIN} required username="admin" password="{self.home.secret("kafka_admin")}";'
        change = {"sasl.mechanism": "PLAIN", "sasl.jaas.config": words}
        return kafka_security.read(self.client(self.home.root / "admin", change))


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
VALIDATOR = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"


def public_key() -> str:
    """That of the identity provider, as a JSON Web Key."""
    return str(RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=False))


class Provider(http.server.BaseHTTPRequestHandler):
    """An identity provider that gives `tripclick` a token for a minute, and nobody else."""

    def do_POST(self) -> None:
        """Give it to who has the secret."""
        self.rfile.read(int(self.headers["Content-Length"]))
        login = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        now = int(time.time())
        claims = {"sub": "tripclick", "iat": now, "exp": now + 60, "aud": "kafka", "iss": "tests", "scope": "kafka"}
        token = jwt.encode(claims, KEY, "RS256", {"kid": "one"})
        body = json.dumps({"access_token": token, "expires_in": 60, "token_type": "Bearer"}).encode()
        self.send_response(200 if login == "tripclick:secret" else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def provider() -> Iterator[str]:
    """The address at which it gives tokens."""
    with http.server.ThreadingHTTPServer((HOST, 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://{HOST}:{server.server_port}/token"
        server.shutdown()
        thread.join()


def login(password: str) -> str:
    """The value of sasl.jaas.config."""
    return f'{SCRAM} required username="tripclick" password="{password}";'


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect such sockets here, where the complaint is ignored, and not in the next module's tests."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """A running one."""
    yield from running(SecureBroker(Home(tmp_path_factory.mktemp("secure"), any_port=True)))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of the log."""
    folder = tmp_path_factory.mktemp("log")
    for number in range(2):
        write_day(folder, dt.date(2020, 10, 1 + number), 0.05, 1, dirty=False)
    return folder


@pytest.fixture
def topic() -> str:
    """A topic that nobody else uses."""
    return f"test.{uuid.uuid4().hex}"


def produce(broker: SecureBroker, log: Path, topic: str, folder: str) -> subprocess.CompletedProcess[str]:
    """Run the producer to its end."""
    words = command("batch", broker.address, log, topic, f"--kafka-security-path={folder}")
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def archive(broker: SecureBroker, topic: str, folder: str, root: Path) -> str:
    """archive_raw as tests/spark_jobs.py takes it."""
    options = {"kafka-brokers": broker.address, "kafka-security-path": folder, "topic": topic}
    paths = {"archive-path": root / "archive", "checkpoint-path": root / "checkpoints"}
    return json.dumps(["archive_raw", *(f"--{name}={value}" for name, value in {**options, **paths}.items())])


def errors_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that say why a job failed."""
    assert done.returncode in {1, NON_RETRYABLE}, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error: ")]


def test_the_jobs_log_in_with_certificate_and_password_and_nobody_sees_the_password(
    broker: SecureBroker, log: Path, topic: str, tmp_path: Path
) -> None:
    folder = broker.client(tmp_path / "client")
    wrong = broker.client(tmp_path / "wrong", {"sasl.jaas.config": login(f"{broker.password}x")})
    count = len(lines_of(log))
    with Samples() as samples:
        sent = produce(broker, log, topic, folder)
        assert (sent.returncode, sent.stderr) == (0, "")
        assert f"sent {count} lines of 2 days, acknowledged {count}, failed 0" in sent.stdout
        jobs = [archive(broker, topic, one, tmp_path) for one in (folder, wrong)]
        words = [*by_spark.command("tests/spark_jobs.py"), *jobs]
        archived = subprocess.run(
            words, cwd=REPOSITORY, env=by_spark.environment(), capture_output=True, text=True, timeout=240, check=False
        )
    (error,) = errors_of(archived)
    assert f"this run: read {count}, archived {count}" in archived.stdout
    assert "SaslAuthenticationException" in error
    assert f"check {wrong}/client.properties on this host" in error

    assert any(b"archive_raw" in words for words in samples.commands), "the jobs were seen"
    said = [(str(done.args), f"{done.stdout}{done.stderr}".encode()) for done in (sent, archived)]
    written = files_below(tmp_path, but=("client", "wrong"))
    logs = files_below(broker.home.folder("server-logs"))
    secrets = Secrets({"password": broker.password, "key's password": broker.key_password})
    assert secrets.found([*said, *samples.places(), *written, *logs]) == []


def test_a_client_without_certificate_or_login_is_refused_in_one_line(
    broker: SecureBroker, log: Path, topic: str, spark: SparkSession, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_certificates(other)
    cases = {
        "wrong password": (
            {"sasl.jaas.config": login("wrong")},
            "SASL authentication error",
            "SaslAuthentication",
        ),
        "another authority": (
            {"ssl.truststore.location": f"{other}/ca.pem"},
            "certificate verify failed",
            "SSL handshake failed",
        ),
        "no certificate of ours": (dict.fromkeys(OWN_CERTIFICATE, ""), "alert bad certificate", "bad_certificate"),
        "plaintext": (None, "set --kafka-security-path", "set --kafka-security-path"),
    }
    for case, (change, in_python, in_java) in cases.items():
        folder = "" if change is None else broker.client(tmp_path / case.replace(" ", "_"), change)
        (line,) = errors_of(produce(broker, log, topic, folder))
        assert in_python in line, case
        assert not folder or f"check {folder}/client.properties on this host" in line, case
        with pytest.raises(JobError, match=in_java) as error:
            require_topic(spark, broker.address, topic, kafka_security.read(folder))
        assert not folder or f"check {folder}/client.properties on this host" in str(error.value), case
        assert broker.password not in f"{line}{error.value}", case


def test_all_three_clients_sign_in_with_a_token(
    broker: SecureBroker, provider: str, log: Path, topic: str, spark: SparkSession, tmp_path: Path
) -> None:
    def signed_by(name: str, secret: str) -> str:
        words = f'{BEARER} required clientId="tripclick" clientSecret="{secret}" scope="kafka";'
        change = {"sasl.mechanism": "OAUTHBEARER", kafka_security.ENDPOINT: provider, "sasl.jaas.config": words}
        return broker.client(tmp_path / name, change)

    folder = signed_by("token", "secret")
    sent = produce(broker, log, topic, folder)  # which makes the topic by kafka-python, and sends by librdkafka
    assert (sent.returncode, sent.stderr) == (0, "")
    assert require_topic(spark, broker.address, topic, kafka_security.read(folder))

    wrong = kafka_security.read(signed_by("wrong", "wrong"))
    assert "Failed to acquire SASL OAUTHBEARER token" in kafka_security.refusal(broker.address, wrong)
    with pytest.raises(JobError, match=r"check .*/wrong/client\.properties on this host"):
        require_topic(spark, broker.address, topic, wrong)


def test_a_wrong_password_is_reported_by_every_try(broker: SecureBroker, tmp_path: Path) -> None:
    """The broker hangs up as soon as it has said why, and on a busy machine both come at once."""
    security = kafka_security.read(broker.client(tmp_path / "wrong", {"sasl.jaas.config": login("wrong")}))
    for _ in range(10):
        assert "SASL authentication error" in kafka_security.refusal(broker.address, security)


def test_preflight_signs_in_where_the_file_is_and_says_so_where_it_is_not(
    broker: SecureBroker, log: Path, topic: str, tmp_path: Path
) -> None:
    folder = broker.client(tmp_path / "client")
    wrong = broker.client(tmp_path / "wrong", {"sasl.jaas.config": login("wrong")})
    assert produce(broker, log, topic, folder).returncode == 0

    def asked(folder: str) -> dict[str, list[object]]:
        words = [sys.executable, "-c", ASK, broker.address, folder, topic]
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True)
        assert done.stderr == ""
        found: dict[str, list[object]] = json.loads(done.stdout)
        return found

    assert asked(folder) == {
        "KAFKA_BROKERS": [True, f"{broker.address}, a cluster of 1", ""],
        f"topic {topic}": [True, f"{PARTITIONS} partitions, 1 replicas", ""],
        "KAFKA_SECURITY_PATH": [True, f"{folder}, SASL_SSL", ""],
    }
    ok, found, fix = asked(wrong)["KAFKA_BROKERS"]
    assert (ok, fix) == (False, f"check {wrong}/client.properties on this host")
    assert str(found).startswith(
        f"Kafka at {broker.address} refused the login (sasl_ssl://{broker.address}/bootstrap: SASL authentication error"
    )
    ok, found, fix = asked("")["KAFKA_BROKERS"]
    assert (ok, found) == (False, f"no Kafka broker answers at {broker.address} (KafkaTimeoutError)")
    assert "set --kafka-security-path" in str(fix)
    untried = "not tried without /elsewhere/client.properties on this machine: TLS, login, topics"
    assert asked("/elsewhere") == {
        "KAFKA_BROKERS": [True, f"{broker.address} accepts connections; {untried}", ""],
        f"topic {topic}": [True, untried, ""],
        "KAFKA_SECURITY_PATH": [True, "/elsewhere, not on this machine", ""],
    }
