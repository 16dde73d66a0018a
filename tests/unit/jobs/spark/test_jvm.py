"""What jobs/spark/jvm.py takes of PySpark and Py4J beside their public names is there, and does what it did."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from pyspark.errors.exceptions.captured import CapturedException

from jobs.spark.jvm import (
    as_rows,
    gateway_of,
    hadoop_settings,
    java_session,
    jvm_of,
    planned_bytes,
    scratch_folder,
    signals_in_jvm,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

UPGRADE = """\
jobs/spark/jvm.py was read against PySpark 4.2.0 with Py4J 0.10.9.9. When another version is installed, run this file,
test_session.py and test_partition_sql.py, and compare
  pyspark/sql/session.py         _jvm, _jsparkSession
  pyspark/core/context.py        _gateway, _temp_dir, _ensure_initialized
  pyspark/sql/pandas/map_ops.py  mapInArrow: whether it still asks for pandas; _jdf, _jc, vectorized_udf
  pyspark/java_gateway.py        ensure_callback_server_started: whether it has a token now
  pyspark/errors/exceptions/captured.py  _origin, _cause (for jobs/known_errors.py)
  py4j.Gateway (Java)            the field cbClient
then write the version here."""


def test_the_versions_are_those_that_were_looked_at() -> None:
    assert (version("pyspark"), version("py4j")) == ("4.2.0", "0.10.9.9"), UPGRADE


def test_what_is_taken_of_the_session_is_there(spark: SparkSession) -> None:
    assert jvm_of(spark).java.lang.Math.max(1, 2) == 2, UPGRADE
    assert java_session(spark).sessionState().conf().sessionLocalTimeZone() == "UTC", UPGRADE
    assert hadoop_settings(spark).get("fs.defaultFS") == "file:///", UPGRADE
    assert scratch_folder(spark).is_dir(), UPGRADE
    assert planned_bytes(spark.range(10)) == 80, UPGRADE
    assert as_rows(spark, java_session(spark).range(3).toDF()).count() == 3, UPGRADE


@pytest.mark.usefixtures("spark")  # without a JVM there is no such error
def test_an_error_of_java_keeps_what_it_was_made_of() -> None:
    assert vars(CapturedException("words", "stack", None)).keys() >= {"_origin", "_cause"}, UPGRADE


def test_nobody_without_the_token_calls_python(spark: SparkSession) -> None:
    called = threading.Event()
    with signals_in_jvm(spark, ("HUP",), called.set):
        gateway = gateway_of(spark)
        for name in [name for name in gateway.gateway_property.pool.dict if name != "t"]:
            for before in ("", "A\nguessed\ne\n"):
                _say(gateway._callback_server.port, f"{before}c\n{name}\nhandle\nn\ne\n")
        assert not called.is_set(), UPGRADE
        in_jvm = gateway.jvm.sun.misc.Signal
        getattr(in_jvm, "raise")(in_jvm("HUP"))  # whose handler, in the JVM, has the token
        assert called.wait(20), UPGRADE


def _say(port: int, words: str) -> None:
    """Say something to a server of this host, until it has gone or read all."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stranger, suppress(OSError):
        stranger.sendall(words.encode())
        stranger.shutdown(socket.SHUT_WR)
        stranger.makefile("rb").read()
