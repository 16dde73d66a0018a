"""`python -m jobs.producer`: sends the search log to Kafka, line by line and unchanged."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import sys
from pathlib import Path

from jobs import cli
from jobs.event import TOPIC


def parser() -> argparse.ArgumentParser:
    """The two modes and their options."""
    top = argparse.ArgumentParser(prog="python -m jobs.producer", description=__doc__)
    modes = top.add_subparsers(dest="mode", required=True)
    batch = modes.add_parser("batch", help="a range of days, as fast as it goes")
    realtime = modes.add_parser("realtime", help="days moved to the last seven, at the pace of event_ts")
    for mode in (batch, realtime):
        mode.add_argument("--kafka-brokers", required=True, help="bootstrap servers, host:port with commas between")
        mode.add_argument("--kafka-security-path", default="", help="folder of client.properties; empty: plaintext")
        mode.add_argument("--ingestion-path", type=Path, required=True, help="folder of the log's files")
        mode.add_argument("--first-date", type=cli.day, required=True, help="first day of the log, YYYY-MM-DD")
        mode.add_argument("--last-date", type=cli.day, required=True, help="last day, itself included")
        mode.add_argument("--topic", default=TOPIC)
        again = "send again what is already sent and acknowledged; nothing counts twice"
        mode.add_argument("--again", type=cli.true_or_false, default=False, metavar="true|false", help=again)
        mode.add_argument("--replication", type=cli.positive_int, default=1, help="of the topic, if it must be made")
        cli.flow(mode, reads=[cli.Data("log", "{ingestion-path}")], writes=[cli.Data("topic", "{topic}")])
    batch.add_argument("--shift-weeks", type=int, default=0, help="whole weeks to move event_ts by")
    realtime.add_argument("--speed", type=cli.positive_float, default=1.0, help="of the sending; event_ts stay")
    realtime.add_argument("--run-minutes", type=cli.positive_float, default=60.0, help="then it ends")
    return top


def run(options: argparse.Namespace) -> None:
    """Send; raises JobError when anything was not sent. What is wrong with the log is said before Kafka is asked."""
    from jobs import kafka_security
    from jobs.producer import replay
    from jobs.producer.log_files import days_between, files_of
    from jobs.producer.sender import Sender

    days = days_between(options.first_date, options.last_date)
    files, missing = files_of(options.ingestion_path, days)
    if options.mode == "batch":
        replay.check_shift(days, options.shift_weeks, dt.datetime.now(dt.UTC).date())
    elif missing:
        raise cli.JobError(
            f"no log of {', '.join(map(str, missing))} in {options.ingestion_path}: put it there, or replay other days"
        )
    # What kafka-python logs at every try of a connection stands once, and in plain words, in the JobError.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    security = kafka_security.read(options.kafka_security_path)
    with Sender(options.kafka_brokers, options.topic, options.replication, security, again=options.again) as sender:
        if options.mode == "batch":
            replay.send_batch(sender, files, missing, options.shift_weeks)
        else:
            replay.send_realtime(sender, files, options.speed, options.run_minutes * 60)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
