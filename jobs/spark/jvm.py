"""PySpark's internals: what its public API does not offer, and the JVM's own classes.

Nothing else in the project uses a private name of PySpark or Py4J, except known_errors.py, which must work
without PySpark. test_jvm.py says what to check when one is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

Compute = Callable[["Iterator[pa.RecordBatch]"], "Iterator[pa.RecordBatch]"]


def jvm_of(spark: SparkSession) -> Any:
    """The classes of the JVM by their full names."""
    return spark._jvm


def java_session(spark: SparkSession) -> Any:
    """The session as Java's and Scala's methods take it."""
    return spark._jsparkSession


def gateway_of(spark: SparkSession) -> Any:
    """Py4J's connection with the JVM."""
    return spark.sparkContext._gateway


def hadoop_settings(spark: SparkSession) -> Any:
    """Hadoop's settings as the session has them, to open a file system."""
    return java_session(spark).sessionState().newHadoopConf()


def scratch_folder(spark: SparkSession) -> Path:
    """A folder of the driver's host that lives as long as the session."""
    return Path(spark.sparkContext._temp_dir)


def submitted_settings() -> dict[str, str]:
    """What spark-submit was told; it has started the JVM."""
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized()  # else SparkConf knows no JVM, and nothing of what that was told
    return dict(SparkConf().getAll())


def planned_bytes(rows: DataFrame) -> int:
    """How many bytes Spark expects these rows to have, by its statistics."""
    return int(rows._jdf.queryExecution().optimizedPlan().stats().sizeInBytes())


def as_rows(spark: SparkSession, java: Any) -> DataFrame:
    """A DataFrame of one that a Java or Scala method has made."""
    from pyspark.sql import DataFrame

    return DataFrame(java, spark)


def map_in_arrow(rows: DataFrame, compute: Compute, schema: Mapping[str, str]) -> DataFrame:
    """`rows.mapInArrow` without its need for pandas, which it does not use; `schema` maps columns to Spark types."""
    from pyspark.sql.pandas.functions import vectorized_udf  # type: ignore[attr-defined]
    from pyspark.util import PythonEvalType

    columns = ", ".join(f"`{name}` {kind}" for name, kind in schema.items())
    function = vectorized_udf(compute, columns, PythonEvalType.SQL_MAP_ARROW_ITER_UDF)
    mapped = rows._jdf.mapInArrow(function(*(rows[f"`{name}`"] for name in rows.columns))._jc, False, None)
    return as_rows(rows.sparkSession, mapped)


@contextmanager
def signals_in_jvm(spark: SparkSession, names: tuple[str, ...], call: Callable[[], None]) -> Iterator[None]:
    """Signals of these names (TERM, HUP) that reach the JVM call `call` instead of ending it."""
    gateway = gateway_of(spark)
    take_calls_with_a_token(gateway)
    in_jvm, handler = gateway.jvm.sun.misc.Signal, _SignalHandler(call)
    before = {name: in_jvm.handle(in_jvm(name), handler) for name in names}
    try:
        yield
    finally:
        for name, old in before.items():
            in_jvm.handle(in_jvm(name), old)


def take_calls_with_a_token(gateway: Any) -> None:
    """Let Python's callback server, which the JVM calls, accept no calls from others on this host.

    PySpark starts it without a token, and Py4J's copy of the JVM's client for its port would know none.
    """
    from py4j.java_gateway import JavaObject
    from pyspark.java_gateway import ensure_callback_server_started

    parameters, token = gateway.callback_server_parameters, gateway.gateway_parameters.auth_token
    if parameters.auth_token == token:
        return
    parameters.auth_token = token
    ensure_callback_server_started(gateway)  # type: ignore[no-untyped-call]
    java, server = gateway.jvm, JavaObject("GATEWAY_SERVER", gateway._gateway_client)
    old, inner = server.getCallbackClient(), server.getGateway()
    seconds, sockets = java.java.util.concurrent.TimeUnit.SECONDS, java.javax.net.SocketFactory.getDefault()
    where = (old.getPort(), old.getAddress(), 30, seconds, sockets)
    client = java.py4j.PythonClient(inner, None, *where, server, True, 0, token)
    place = inner.getClass().getDeclaredField("cbClient")
    place.setAccessible(True)
    place.set(inner, client)


class _SignalHandler:
    """A Java object of which the JVM calls `handle`."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def handle(self, signal: object) -> None:  # noqa: ARG002  (the interface's signature)
        self._call()

    class Java:
        implements = ("sun.misc.SignalHandler",)
