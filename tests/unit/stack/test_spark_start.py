"""The settings of a Spark driver that starts fast."""

from __future__ import annotations

from stack import spark_start


def test_the_lines_of_spark_defaults_leave_room_for_a_commands_own_java_options() -> None:
    names = [line.split(" ", 1)[0] for line in spark_start.defaults().splitlines()]
    assert names == ["spark.driver.extraClassPath", "spark.driver.defaultJavaOptions"]
