"""`python -m jobs.producer`: sends the search log to Kafka, line by line and unchanged."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import sys
from pathlib import Path

from jobs import arguments, cli, kafka_security
from jobs.days import spans_text
from jobs.errors import JobError, NonRetryableError
from jobs.event import TOPIC
from jobs.kafka_topic import Declared
from jobs.producer import replay
from jobs.producer.log_files import files_of


def parser() -> argparse.ArgumentParser:
    """The two modes and their options."""
    top = argparse.ArgumentParser(prog="python -m jobs.producer", description=__doc__)
    modes = top.add_subparsers(dest="mode", required=True)
    batch = modes.add_parser("batch", help="a range of days, as fast as possible")
    realtime = modes.add_parser("realtime", help="days moved to the last seven, at the pace of event_ts")
    unless = "first day of the log; empty: every day up to --last-date that the log has and Kafka was never given"
    for mode, day, says in (
        (batch, arguments.day_or_none, unless),
        (realtime, arguments.day, "first day of the log, YYYY-MM-DD"),
    ):
        mode.add_argument("--kafka-brokers", required=True, help="bootstrap servers, host:port separated by commas")
        mode.add_argument("--kafka-security-path", default="", help="folder of client.properties; empty: plaintext")
        mode.add_argument("--ingestion-path", type=Path, required=True, help="folder of the log's files")
        mode.add_argument("--first-date", type=day, required=mode is realtime, help=says)
        mode.add_argument("--last-date", type=arguments.day, required=True, help="last day (included)")
        mode.add_argument("--topic", default=TOPIC)
        again = "send again what was already acknowledged; nothing counts twice"
        mode.add_argument("--again", type=arguments.true_or_false, default=False, metavar="true|false", help=again)
        _add_declared(mode)
        cli.flow(mode, reads=[cli.Data("log", "{ingestion-path}")], writes=[cli.Data("topic", "{topic}")])
    batch.add_argument("--shift-weeks", type=int, default=0, help="whole weeks to move event_ts by")
    until = "no click with an event_ts from then on (YYYY-MM-DDTHH:MM, UTC); the next run continues there; empty: all"
    batch.add_argument("--until", type=arguments.moment_or_none, help=until)
    shift = "whole weeks to move event_ts by; empty: as many as lead to today"
    realtime.add_argument("--shift-weeks", type=arguments.integer_or_none, help=shift)
    realtime.add_argument(
        "--speed", type=arguments.positive_float, default=1.0, help="of sending; event_ts is not changed"
    )
    realtime.add_argument(
        "--run-minutes", type=arguments.positive_float, default=60.0, help="end after this many minutes"
    )
    return top


def _add_declared(mode: argparse.ArgumentParser) -> None:
    """Add the options that declare the topics' settings."""
    default = Declared()
    for option, value, says in (
        ("--replication", default.replication, "replicas of the topics"),
        ("--min-insync-replicas", default.min_insync_replicas, "how many of them must store a record"),
        ("--retention-days", default.retention_days, "how long Kafka keeps a click at least"),
    ):
        mode.add_argument(option, type=arguments.positive_int, default=value, help=says)


def run(options: argparse.Namespace) -> None:
    """Send; raises JobError when anything was not sent. Mistakes in the log are reported before Kafka is contacted."""
    from jobs.producer.sender import Sender

    declared = Declared(options.replication, options.min_insync_replicas, options.retention_days)
    catch_up = options.first_date is None
    if catch_up and options.again:
        raise NonRetryableError("--again without --first-date would send the whole log: give the first day")
    files, missing = files_of(options.ingestion_path, options.first_date, options.last_date)
    if options.mode == "realtime" and missing:
        raise JobError(
            f"no log of {spans_text(missing)} in {options.ingestion_path}: put it there, or replay other days"
        )
    if options.shift_weeks is not None:
        speed = options.speed if options.mode == "realtime" else 1
        replay.check_shift(files[-1].days[-1], options.shift_weeks, dt.datetime.now(dt.UTC).date(), speed)
    # kafka-python logs every connection attempt; the JobError says it once, in plain words.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    security = kafka_security.read(options.kafka_security_path)
    how = {"again": options.again, "catch_up": catch_up}
    with Sender(options.kafka_brokers, options.topic, declared, security, **how) as sender:
        if options.mode == "realtime":
            replay.send_realtime(sender, files, options.speed, options.run_minutes * 60, options.shift_weeks)
        elif catch_up:
            replay.send_new(sender, files, options.last_date, options.shift_weeks, options.until)
        else:
            replay.send_batch(sender, files, missing, options.shift_weeks, options.until)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
