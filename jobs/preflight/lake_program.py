"""Runs alone on the Spark server, by spark-submit: writes a file below each path given, and removes it.

On s3a it also sees that a commit of Delta replaces no other one: that takes conditional writes.
"""

from __future__ import annotations

import sys
import uuid
from typing import Any

from pyspark import SparkContext

CONDITIONAL = "fs.option.create.conditional.overwrite"


def main(paths: list[str]) -> None:
    """A line for each path: `preflight`, the path, and why it is not writable (or nothing), with tabs between."""
    SparkContext._ensure_initialized()  # the JVM that spark-submit has started; a session would take seconds more
    jvm: Any = SparkContext._jvm
    configuration = jvm.org.apache.spark.deploy.SparkHadoopUtil.get().conf()
    for path in paths:
        file = jvm.org.apache.hadoop.fs.Path(f"{path.rstrip('/')}/.preflight-{uuid.uuid4().hex}")
        try:
            system = file.getFileSystem(configuration)
            system.create(file).close()
            why = ""
            if path.startswith("s3a://") and replaces(system, file):
                why = (
                    "it accepts a second write of a file that must not exist (If-None-Match), so commits would be lost"
                )
            system.delete(file, False)
        except Exception as error:  # noqa: BLE001 (whatever the storage says)
            why = reason(error)
        print("preflight", path, why, sep="\t", flush=True)  # noqa: T201


def replaces(system: Any, file: Any) -> bool:
    """Whether a write on condition that the file is not there replaces it."""
    stream = system.createFile(file).overwrite(True).recursive().must(CONDITIONAL, True).build()
    try:
        stream.close()
    except Exception as error:
        if "RemoteFileChangedException" in str(getattr(error, "java_exception", "")):
            return False
        raise
    return True


def reason(error: Any) -> str:
    """The innermost cause in one line, without the request's ids."""
    cause = getattr(error, "java_exception", None)
    if cause is None:
        return " ".join(str(error).split())
    while cause.getCause() is not None:
        cause = cause.getCause()
    text = f"{cause.getClass().getSimpleName()}: {cause.getMessage()}"
    return " ".join(text.partition(" (Service: ")[0].split())


if __name__ == "__main__":
    main(sys.argv[1:])
