"""client.properties as Kafka's own tools write it: what becomes of it, and what is said of one that is wrong."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, Producer
from kafka.net.sasl.oauth import SaslMechanismOAuth

from jobs import kafka_security, kafka_tokens
from jobs.errors import JobError

PASSWORD = "s3:cr=e t\\\"'!#"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
PLAIN = SCRAM.replace("scram.Scram", "plain.Plain")
BEARER = SCRAM.replace("scram.Scram", "oauthbearer.OAuthBearer")
LOGIN = f'sasl.jaas.config={SCRAM} required username="u" password="not-to-be-shown";\n'
SASL = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n"
CERTIFICATE = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
CERTIFICATE += ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=authority"]


def write(folder: Path, text: str) -> Path:
    """The file in a folder of its own."""
    (folder / kafka_security.FILE).write_text(text, encoding="utf-8")
    return folder / kafka_security.FILE


def test_without_a_folder_kafka_speaks_plaintext() -> None:
    assert kafka_security.read("") == kafka_security.PLAINTEXT
    assert kafka_security.PLAINTEXT == kafka_security.Security({}, {}, {}, None)


def test_the_file_is_read_as_java_reads_it_and_no_secret_is_in_what_java_gets(tmp_path: Path) -> None:
    quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    file = write(
        tmp_path,
        "# a comment \\\n! another\n\n"
        "security.protocol : SASL_PLAINTEXT\r\n"
        "sasl.mechanism SCRAM-SHA-512\n"
        f"\tsasl.jaas.config = {SCRAM} required \\\n"
        "    username='\\u00e4lice' \\\n"
        f'  password="{quoted.replace(chr(92), 2 * chr(92))}";\n',
    )
    found = kafka_security.read(str(tmp_path))
    assert found.python == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "älice",
        "sasl_plain_password": PASSWORD,
    }
    assert found.java == {
        **kafka_security.PROVIDER,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": f"${{file:{file}:sasl.jaas.config}}",
    }
    assert PASSWORD not in repr(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "security.protocol is missing: set it to SSL or SASL_SSL or SASL_PLAINTEXT"),
        ("security.protocol=PLAINTEXT", "security.protocol has an unsupported value: set it to SSL or"),
        ("security.protocol=SASL_SSL", "sasl.mechanism is missing: set it to PLAIN or SCRAM-SHA-256 or"),
        (SASL.replace("SCRAM-SHA-512", "GSSAPI"), "sasl.mechanism has an unsupported value"),
        (SASL, f'sasl.jaas.config is missing or malformed: write it as {SCRAM} required username="…"'),
        (SASL + LOGIN.replace(";", ""), "sasl.jaas.config is missing or malformed"),
        (SASL + LOGIN.replace("username", "user"), "sasl.jaas.config is missing or malformed"),
        (SASL + LOGIN.replace('"not-to-be-shown"', '""'), "sasl.jaas.config is missing or malformed"),
        (SASL + LOGIN.replace(SCRAM, PLAIN), "sasl.jaas.config is missing or malformed"),
        (SASL + LOGIN.replace(" password", "\n password"), "line 4 is not one of the supported keys: security"),
        (SASL + LOGIN + "not-to-be-shown", "line 4 is not one of the supported keys: security"),
        (
            SASL + LOGIN + "ssl.truststore.password=not-to-be-shown",
            "ssl.truststore.password is not one of the supported keys",
        ),
        ("security.protocol=SSL\nssl.truststore.location=ca.pem", "ssl.truststore.type is missing: set it to PEM"),
        (
            "security.protocol=SSL\nssl.keystore.location=k\nssl.keystore.type=DER",
            "ssl.keystore.type has an unsupported value",
        ),
        (
            "security.protocol=SSL\nssl.truststore.location=ca.pem\nssl.truststore.type=PEM",
            "ssl.truststore.location FOLDER/ca.pem is not a readable PEM file (No such file or directory): "
            "put a CA certificate there",
        ),
        (
            f"security.protocol=SSL\nssl.truststore.location={kafka_security.FILE}\nssl.truststore.type=PEM",
            "ssl.truststore.location FOLDER/client.properties is not a readable PEM file ([X509",
        ),
        (
            f"security.protocol=SSL\nssl.keystore.location={kafka_security.FILE}\nssl.keystore.type=PEM",
            "put a private key and its certificate there, for an encrypted key with its ssl.key.password",
        ),
        (
            "security.protocol=SSL\nssl.endpoint.identification.algorithm=none",
            "ssl.endpoint.identification.algorithm has an unsupported value: set it to https or nothing",
        ),
        (
            "\ufeffsecurity.protocol=SSL",
            ": line 1 begins with a byte order mark (U+FEFF): save the file as UTF-8 without one",
        ),
    ],
)
def test_a_file_that_is_wrong_is_one_line_that_names_the_key_and_shows_no_value(
    text: str, words: str, tmp_path: Path
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(JobError) as error:
        kafka_security.read(str(tmp_path))
    message = str(error.value)
    assert message.startswith(f"{file}: ")
    assert words.replace("FOLDER", str(tmp_path)) in message
    assert "not-to-be-shown" not in message
    assert "\n" not in message
    assert error.value.__suppress_context__ or error.value.__context__ is None


# What the consoles of the clouds hand out, with made-up addresses.
CONFLUENT = f"""\
# Required connection configs for Kafka producer, consumer, and admin
bootstrap.servers=pkc-1.eu-central-1.aws.confluent.cloud:9092
security.protocol=SASL_SSL
sasl.jaas.config={PLAIN} required username='KEY' password='not-to-be-shown';
sasl.mechanism=PLAIN
client.dns.lookup=use_all_dns_ips
session.timeout.ms=45000
acks=all
schema.registry.url=https://psrc-1.eu-central-1.aws.confluent.cloud
basic.auth.credentials.source=USER_INFO
basic.auth.user.info=KEY:not-to-be-shown
"""
CONFLUENT_PYTHON = """\
bootstrap.servers=pkc-1.eu-central-1.aws.confluent.cloud:9092
security.protocol=SASL_SSL
sasl.mechanisms=PLAIN
sasl.username=KEY
sasl.password=not-to-be-shown
session.timeout.ms=45000
client.id=ccloud-python-client-1
"""
CONFLUENT_OAUTH = f"""\
security.protocol=SASL_SSL
sasl.mechanism=OAUTHBEARER
sasl.login.callback.handler.class={kafka_security.HANDLERS[1]}
sasl.login.connect.timeout.ms=15000
sasl.oauthbearer.token.endpoint.url=https://idp.example.org/oauth2/token
sasl.jaas.config={BEARER} required \\
  clientId="jobs" clientSecret="not-to-be-shown" scope="kafka" \\
  extension_logicalCluster="lkc-1" extension_identityPoolId="pool-1";
"""
MSK_CERTIFICATE = """\
security.protocol=SSL
ssl.truststore.location=/tmp/kafka.client.truststore.jks
ssl.keystore.location=kafka.client.keystore.jks
ssl.keystore.password=not-to-be-shown
ssl.key.password=not-to-be-shown
"""
MSK_IAM = """\
security.protocol=SASL_SSL
sasl.mechanism=AWS_MSK_IAM
sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required;
sasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler
"""


def read(folder: Path, text: str) -> kafka_security.Security:
    """What a file of that text says."""
    write(folder, text)
    return kafka_security.read(str(folder))


@pytest.mark.parametrize("text", [CONFLUENT, CONFLUENT_PYTHON])
def test_what_confluent_cloud_hands_out_is_read_whole(text: str, tmp_path: Path) -> None:
    found = read(tmp_path, text)
    login = {"sasl_mechanism": "PLAIN", "sasl_plain_username": "KEY", "sasl_plain_password": "not-to-be-shown"}
    assert {name: value for name, value in found.python.items() if name.startswith("sasl")} == login
    assert found.librdkafka["sasl.username"] == "KEY"
    assert set(found.java) - set(kafka_security.PROVIDER) == {"security.protocol", "sasl.mechanism", "sasl.jaas.config"}
    assert "not-to-be-shown" not in f"{found}{found.java}"


def test_blanks_at_a_values_end_mean_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, CONFLUENT.replace("=PLAIN\n", "=PLAIN \t\n")).java["sasl.mechanism"] == "PLAIN"


def test_java_reads_a_login_in_librdkafkas_form_itself(tmp_path: Path) -> None:
    found = read(tmp_path, CONFLUENT_PYTHON)
    file = tmp_path / kafka_security.FILE
    login = f'username="${{file:{file}:sasl.username}}" password="${{file:{file}:sasl.password}}"'
    assert found.java["sasl.jaas.config"] == f"{PLAIN} required {login};"
    with pytest.raises(JobError, match=r"sasl\.jaas\.config is missing or malformed"):
        read(tmp_path, CONFLUENT_PYTHON.replace("not-to", 'no"t-to'))  # which ends Java's quotes


def test_a_login_by_token_reaches_all_three_clients(tmp_path: Path) -> None:
    found = read(tmp_path, CONFLUENT_OAUTH)
    tokens = found.python["sasl_oauth_token_provider"]
    assert tokens.extensions() == {"logicalCluster": "lkc-1", "identityPoolId": "pool-1"}
    assert (tokens.url, tokens.client_id, tokens.client_secret, tokens.scope) == (
        "https://idp.example.org/oauth2/token",
        "jobs",
        "not-to-be-shown",
        "kafka",
    )
    assert SaslMechanismOAuth(**found.python).token_provider is tokens
    oidc = {
        name.removeprefix("sasl.oauthbearer."): found.librdkafka[name] for name in found.librdkafka if "bearer" in name
    }
    assert oidc == {
        "method": "oidc",
        "token.endpoint.url": "https://idp.example.org/oauth2/token",
        "client.id": "jobs",
        "client.secret": "not-to-be-shown",
        "scope": "kafka",
        "extensions": "logicalCluster=lkc-1,identityPoolId=pool-1",
    }
    assert found.java["sasl.login.callback.handler.class"] == kafka_security.HANDLERS[1]
    assert found.java["sasl.login.connect.timeout.ms"] == "15000"
    assert "not-to-be-shown" not in f"{found}{found.java}{tokens}"
    without = re.sub("sasl.login.callback.*\n", "", CONFLUENT_OAUTH)
    assert read(tmp_path, without).java["sasl.login.callback.handler.class"] == kafka_security.HANDLERS[0]


def messages(folder: Path, text: str) -> list[str]:
    """What is wrong with a file of that text."""
    with pytest.raises(JobError) as error:
        read(folder, text)
    assert "not-to-be-shown" not in str(error.value)
    return str(error.value).removeprefix(f"{folder / kafka_security.FILE}: ").split("; ")


def test_all_that_is_wrong_is_reported_in_one_run(tmp_path: Path) -> None:
    text = CONFLUENT_OAUTH.replace("SASL_SSL", "TLS").replace("clientId", "client")
    text = text.replace("https://", "idp:").replace("oauthbearer.secured", "oauth") + "ssl.protocl=TLSv1.3\n"
    text += "ssl.truststore.type=PEM\nssl.truststore.certificates=none\nssl.endpoint.identification.algorithm=no\n"
    # The protocol says whether there is a login at all.
    assert [message.split(" ")[0] for message in messages(tmp_path, text)] == [
        "ssl.protocl",
        "remove",
        "security.protocol",
        "ssl.truststore.certificates",
        "ssl.endpoint.identification.algorithm",
    ]
    assert [message.split(" ")[0] for message in messages(tmp_path, text.replace("=TLS", "=SASL_SSL"))] == [
        "ssl.protocl",
        "remove",
        "sasl.oauthbearer.token.endpoint.url",
        "sasl.login.callback.handler.class",
        "sasl.jaas.config",
        "(with",
        "ssl.truststore.certificates",
        "ssl.endpoint.identification.algorithm",
    ]


def test_what_the_clouds_hand_out_and_no_client_here_reads_is_named_with_the_way_out(tmp_path: Path) -> None:
    store, key = messages(tmp_path, MSK_CERTIFICATE)
    assert store.startswith("ssl.truststore.location /tmp/kafka.client.truststore.jks is JKS, which only Java reads")
    assert store.endswith("without ssl.truststore.password, or remove the store if this host trusts the CA")
    assert "`keytool -list -rfc -keystore /tmp/kafka.client.truststore.jks > /tmp/kafka.client.truststore.pem`" in store
    assert f"keytool -importkeystore -srckeystore {tmp_path}/kafka.client.keystore.jks -destkeystore" in key
    (iam, *_) = [message for message in messages(tmp_path, MSK_IAM) if "IAM" in message]
    assert iam.endswith("IAM is not supported: use the cluster's SCRAM login")
    for placeholder in ("{{ CLUSTER_API_KEY }}", "<API KEY>"):
        assert messages(tmp_path, CONFLUENT.replace("KEY'", f"{placeholder}'")) == [
            "sasl.jaas.config still has a placeholder: put username and password there"
        ]
    assert messages(tmp_path, CONFLUENT_PYTHON.replace("=KEY", "=<API KEY>")) == [
        "sasl.username and sasl.password still has a placeholder: put username and password there"
    ]


def test_certificates_may_stand_in_the_file_itself_and_a_pkcs12_store_becomes_one(tmp_path: Path) -> None:
    subprocess.run([*CERTIFICATE, "-passout", "pass:k"], cwd=tmp_path, check=True, capture_output=True)
    authority, key = ((tmp_path / name).read_text() for name in ("cert.pem", "key.pem"))
    text = "security.protocol=SSL\nssl.truststore.type=PEM\nssl.keystore.type=PEM\nssl.key.password=k\n"
    # As Java's documents write it: on one line, or on several that a backslash joins.
    text += f"ssl.truststore.certificates={' '.join(authority.splitlines())}\n"
    text += "ssl.keystore.key=" + " \\\n  ".join(key.splitlines()) + "\n"
    chain = f"ssl.keystore.certificate.chain={authority.replace(chr(10), chr(92) + 'n')}\n"
    found = read(tmp_path, text + chain)
    assert len(found.python["ssl_context"].get_ca_certs()) == 1
    Producer(dict(found.librdkafka))
    assert found.java["ssl.keystore.key"] == f"${{file:{tmp_path}/client.properties:ssl.keystore.key}}"
    assert messages(tmp_path, text) == [
        "ssl.keystore.certificate.chain is missing: set it together with ssl.keystore.key"
    ]
    assert messages(tmp_path, text + chain + "ssl.keystore.location=x.pem") == [
        "ssl.keystore.location and ssl.keystore.key both define the store: remove one of them"
    ]
    assert "ssl.keystore.key is wrong" in messages(tmp_path, (text + chain).replace("password=k", "password=x"))[0]

    store = ["openssl", "pkcs12", "-export", "-inkey", "key.pem", "-in", "cert.pem", "-out", "own.p12"]
    subprocess.run([*store, "-passin", "pass:k", "-passout", "pass:s"], cwd=tmp_path, check=True)
    (said,) = messages(tmp_path, "security.protocol=SSL\nssl.keystore.location=own.p12\nssl.keystore.password=s\n")
    command = said.split("`")[1].split()
    subprocess.run([*command, "-passin", "pass:s", "-passout", "pass:k"], check=True)
    own = "ssl.keystore.location=own.pem\nssl.keystore.type=PEM\nssl.key.password=k\n"
    Producer(dict(read(tmp_path, f"security.protocol=SSL\n{own}").librdkafka))


class Provider(http.server.BaseHTTPRequestHandler):
    """An identity provider that knows one client, and counts its tokens."""

    given = 0
    asked = ""

    def do_POST(self) -> None:
        """Give a token."""
        Provider.asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        login = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        known = login == "jobs:secret"
        Provider.given += known
        body = json.dumps({"access_token": f"token {Provider.given}", "expires_in": 300}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_token_is_used_until_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("jobs.kafka_tokens.time.monotonic", lambda: now[0])
    with http.server.HTTPServer(("127.0.0.1", 0), Provider) as server:
        url = f"http://127.0.0.1:{server.server_port}/token"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        tokens = kafka_tokens.Tokens(url, "jobs", "secret", "kafka read")
        assert [tokens.token(), tokens.token()] == ["token 1", "token 1"]
        assert Provider.asked == "grant_type=client_credentials&scope=kafka+read"
        now[0] = 239
        assert tokens.token() == "token 1"
        now[0] = 240
        assert tokens.token() == "token 2"
        with pytest.raises(
            JobError, match=rf"{url} issues no token \(HTTP 401\): correct .* clientId and clientSecret"
        ):
            kafka_tokens.Tokens(url, "jobs", "wrong").token()
        server.shutdown()
        thread.join()
    with pytest.raises(JobError, match=r"issues no token \(URLError\)"):
        kafka_tokens.Tokens(url, "jobs", "secret").token()


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, words in {
        tmp_path / "nowhere": "No such file or directory; put Kafka's client settings there, on this host",
        write(tmp_path, "").parent / kafka_security.FILE: "Not a directory; put Kafka's client settings there",
    }.items():
        with pytest.raises(JobError, match=words):
            kafka_security.read(str(folder))
    (tmp_path / kafka_security.FILE).write_bytes(b"\xff")
    with pytest.raises(JobError, match="is not UTF-8"):
        kafka_security.read(str(tmp_path))

    def closed(*_: object, **__: object) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", closed)  # root reads everything
    with pytest.raises(
        JobError, match=f"is not readable by uid {os.getuid()}: let that user, and nobody else, read it"
    ):
        kafka_security.read(str(tmp_path))


def test_a_host_name_is_checked_unless_the_file_says_no(tmp_path: Path) -> None:
    for line, checked in {"": True, "=https": True, "=": False}.items():
        key = f"{kafka_security.HOST_CHECK}{line}" if line else ""
        write(tmp_path, f"security.protocol=SSL\n{key}\n")
        context = kafka_security.read(str(tmp_path)).python["ssl_context"]
        assert context.check_hostname is checked
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_librdkafka_gets_the_same(tmp_path: Path) -> None:
    subprocess.run([*CERTIFICATE, "-passout", "pass:k"], cwd=tmp_path, check=True, capture_output=True)
    both = (tmp_path / "key.pem").read_text() + (tmp_path / "cert.pem").read_text()
    (tmp_path / "both.pem").write_text(both)
    store = "ssl.{0}.location={1}.pem\nssl.{0}.type=PEM\n"
    stores = store.format("truststore", "cert") + store.format("keystore", "both") + "ssl.key.password=k\n"
    host = f"{kafka_security.HOST_CHECK}=\n"
    write(tmp_path, SASL.replace("PLAINTEXT", "SSL") + LOGIN + stores + host)
    found = kafka_security.read(str(tmp_path))
    assert found.librdkafka == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u",
        "sasl.password": "not-to-be-shown",
        "ssl.ca.location": f"{tmp_path}/cert.pem",
        "ssl.certificate.location": f"{tmp_path}/both.pem",
        "ssl.key.location": f"{tmp_path}/both.pem",
        "ssl.key.password": "k",
        "ssl.endpoint.identification.algorithm": "none",
    }
    assert "not-to-be-shown" not in repr(found)
    Producer(dict(found.librdkafka))  # which knows each of these names, and reads the files

    write(tmp_path, SASL + LOGIN)
    assert set(kafka_security.read(str(tmp_path)).librdkafka) >= {"sasl.username", "sasl.password"}


def test_where_no_broker_answers_none_refuses() -> None:
    assert kafka_security.refusal("127.0.0.1:1", kafka_security.PLAINTEXT) == ""
    assert kafka_security.refusal("127.0.0.1:port", kafka_security.PLAINTEXT) == ""


def test_a_certificate_that_librdkafka_reports_as_a_fault_of_the_transport_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it does on a busy machine, before it says that all brokers are down."""
    verify = "error:0A000086:SSL routines::certificate verify failed"

    class Client:
        def __init__(self, settings: dict[str, Any]) -> None:
            self._tell = settings["error_cb"]

        def poll(self, _: float) -> None:
            self._tell(KafkaError(KafkaError._TRANSPORT, verify))
            self._tell(KafkaError(KafkaError._ALL_BROKERS_DOWN))

    monkeypatch.setattr(confluent_kafka, "Producer", Client)
    assert kafka_security.refusal("b:1", kafka_security.PLAINTEXT) == verify
