"""An S3 service for tests: moto's, in a process of its own, with one bucket and one key that opens it."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from stack.server import Server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BUCKET = "lake"
REGION = "us-east-1"
MAY_ALL = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


class S3Service(Server):
    """S3 with the bucket `lake`; it forgets all when it stops."""

    name = "s3"
    ports = ("s3",)

    @property
    def address(self) -> str:
        """http://host:port"""
        return f"http://{self.host}:{self.home.port('s3')}"

    @property
    def key(self) -> dict[str, str]:
        """The environment that opens it."""
        secret = self.home.secret("s3_secret_key", 30)
        return {"AWS_ACCESS_KEY_ID": "AKIATRIPCLICKTESTS00", "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": REGION}

    @property
    def spark_defaults(self) -> str:
        """The lines of spark-defaults.conf that lead Spark to it, as docs/servers.md has them."""
        return f"spark.hadoop.fs.s3a.endpoint {self.address}\nspark.hadoop.fs.s3a.path.style.access true\n"

    def spark_environment(self, folder: Path) -> dict[str, str]:
        """What leads a spark-submit to it, by a spark-defaults.conf that is written into `folder`."""
        (folder / "spark-defaults.conf").write_text(self.spark_defaults, encoding="utf-8")
        return {**self.key, "SPARK_CONF_DIR": str(folder)}

    def environment(self) -> dict[str, str]:
        """With its key, which then stands in no command line."""
        return {**os.environ, **self.key}

    def commands(self) -> dict[str, Sequence[str]]:
        """This module."""
        return {self.name: [sys.executable, "-m", "tests.s3_service", self.host, str(self.home.port("s3"))]}

    def client(self) -> AbstractContextManager[Any]:
        """Of boto3, with the key."""
        user, secret, region = self.key.values()
        options = {"endpoint_url": self.address, "aws_access_key_id": user, "aws_secret_access_key": secret}
        return closing(boto3.client("s3", region, **options))

    def probe(self) -> bool:
        """The key opens the bucket."""
        with self.client() as client:
            return bool(client.head_bucket(Bucket=BUCKET))


class OneAtATime:
    """Requests one after another.

    moto looks whether an object is there and stores it later, with nothing between its threads: of two requests with
    `If-None-Match: *` both could succeed, which a real service does not allow. What a client sends is read before, so
    that one that is stopped in the midst of it keeps nobody waiting.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        with self._lock:
            return self._app({**environ, "wsgi.input": io.BytesIO(body)}, start_response)


def main(host: str, port: int) -> None:
    """Serve; whoever has the key of the environment may do everything, and others nothing."""
    from moto import settings
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.iam.models import iam_backends
    from moto.moto_server.werkzeug_app import create_backend_app
    from moto.s3.models import s3_backends
    from werkzeug.serving import run_simple

    users = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    users.create_user(REGION, "jobs")
    users.put_user_policy("jobs", "all", json.dumps(MAY_ALL))
    key = users.create_access_key("jobs")
    key.access_key_id, key.secret_access_key = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(BUCKET, REGION)
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0  # of requests whose signature is not looked at
    run_simple(host, port, OneAtATime(create_backend_app("s3")), threaded=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
