"""`python -m jobs.metrics`: answers Prometheus's GET /metrics with the state of Kafka, the lake and PostgreSQL.

It only reads, on each scrape. A server that does not answer is a metric, too. Address and password of PostgreSQL
come from libpq's environment: the role of readers is enough.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, TypeVar

from jobs import kafka_security
from jobs.cli import Data, flow, main
from jobs.console import say
from jobs.event import TOPIC
from jobs.metrics import database
from jobs.metrics.kafka import Cluster
from jobs.metrics.lake import Lake, Paths
from jobs.metrics.sample import Sample, sample, text

Found = TypeVar("Found")


def _address(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{value!r} is not host:port")
    return host.strip("[]"), int(port)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m jobs.metrics", description=__doc__)
    result.add_argument("--listen", type=_address, default="127.0.0.1:9464", help="host:port for Prometheus")
    result.add_argument("--kafka-brokers", required=True, help="host:port, separated by commas")
    result.add_argument("--kafka-security-path", default="", help="folder of client.properties; empty: plaintext")
    result.add_argument("--topic", default=TOPIC)
    for name, what in (
        ("curated", "the curated stream"),
        ("archive", "the raw archive"),
        ("mart", "the analytics mart"),
        ("checkpoint", "the checkpoints"),
    ):
        result.add_argument(f"--{name}-path", required=True, help=f"root folder of {what}")
    flow(result, reads=[Data("topic", "{topic}")], writes=[])
    return result


def scrape(cluster: Cluster, lake: Lake) -> str:
    """All metrics; of a server that does not answer only that."""
    answers: list[Sample] = []

    def asked(source: str, ask: Callable[[], Found]) -> Found | None:
        try:
            found = ask()
        except Exception as error:  # noqa: BLE001 (whatever a server says: the others' metrics are not lost)
            say(f"{source} does not answer: {' '.join(str(error).split())}")
            answers.append(sample("tripclick_source_up", 0, source=source))
            return None
        answers.append(sample("tripclick_source_up", 1, source=source))
        return found

    of_kafka, ends = asked("kafka", cluster.ask) or ([], {})
    of_tables, version = asked("postgresql", database.ask) or ([], None)
    of_lake = asked("lake", lambda: list(lake.ask(ends, version))) or []
    return text([*answers, *of_kafka, *of_tables, *of_lake])


class Handler(BaseHTTPRequestHandler):
    """Answers GET /metrics with the metrics of this moment, in Prometheus's text format."""

    def __init__(self, metrics: Callable[[], str], *args: Any) -> None:
        self._metrics = metrics
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer with the metrics, or with 404."""
        if self.path != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        content = self._metrics().encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Log nothing: there is a request every few seconds."""


def run(options: argparse.Namespace) -> None:
    """Serve until a signal comes."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # each try of a connection would be a line
    security = kafka_security.read(options.kafka_security_path)
    cluster = Cluster(options.kafka_brokers, security, options.topic)
    paths = Paths(options.curated_path, options.archive_path, options.mart_path, options.checkpoint_path)
    lake = Lake(paths, options.topic)
    with HTTPServer(options.listen, partial(Handler, partial(scrape, cluster, lake))) as server:
        say(f"serves http://{':'.join(map(str, server.server_address[:2]))}/metrics")
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main(parser(), run))
