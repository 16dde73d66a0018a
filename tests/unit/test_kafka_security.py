"""client.properties as Kafka's own tools write it: what becomes of it, and what is said of one that is wrong."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

import pytest
from confluent_kafka import Producer

from jobs import kafka_security
from jobs.cli import JobError

PASSWORD = "s3:cr=e t\\\"'!#"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
PLAIN = SCRAM.replace("scram.Scram", "plain.Plain")
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
        ("security.protocol=PLAINTEXT", "security.protocol has another value: set it to SSL or"),
        ("security.protocol=SASL_SSL", "sasl.mechanism is missing: set it to PLAIN or SCRAM-SHA-256 or"),
        (SASL.replace("SCRAM-SHA-512", "GSSAPI"), "sasl.mechanism has another value"),
        (SASL, f'sasl.jaas.config is missing or has another form: write it as {SCRAM} required username="…"'),
        (SASL + LOGIN.replace(";", ""), "sasl.jaas.config is missing or has another form"),
        (SASL + LOGIN.replace("username", "user"), "sasl.jaas.config is missing or has another form"),
        (SASL + LOGIN.replace('"not-to-be-shown"', '""'), "sasl.jaas.config is missing or has another form"),
        (SASL + LOGIN.replace(SCRAM, PLAIN), "sasl.jaas.config is missing or has another form"),
        (SASL + LOGIN.replace(" password", "\n password"), "line 4 is not one of the keys it may have: security"),
        (SASL + LOGIN + "not-to-be-shown", "line 4 is not one of the keys it may have: security"),
        (SASL + LOGIN + "ssl.truststore.password=not-to-be-shown", "ssl.truststore.password is not one of the keys"),
        ("security.protocol=SSL\nssl.truststore.location=ca.pem", "ssl.truststore.type is missing: set it to PEM"),
        (
            "security.protocol=SSL\nssl.keystore.location=k\nssl.keystore.type=JKS",
            "ssl.keystore.type has another value",
        ),
        (
            "security.protocol=SSL\nssl.truststore.location=ca.pem\nssl.truststore.type=PEM",
            "ssl.truststore.location FOLDER/ca.pem is no PEM file that can be read (No such file or directory): "
            "put an authority's certificate there",
        ),
        (
            f"security.protocol=SSL\nssl.truststore.location={kafka_security.FILE}\nssl.truststore.type=PEM",
            "ssl.truststore.location FOLDER/client.properties is no PEM file that can be read ([X509",
        ),
        (
            f"security.protocol=SSL\nssl.keystore.location={kafka_security.FILE}\nssl.keystore.type=PEM",
            "put a private key and its certificate there, for a locked key with its ssl.key.password",
        ),
        (
            "security.protocol=SSL\nssl.endpoint.identification.algorithm=none",
            "ssl.endpoint.identification.algorithm has another value: set it to https or nothing",
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


def test_librdkafka_is_told_the_same(tmp_path: Path) -> None:
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
