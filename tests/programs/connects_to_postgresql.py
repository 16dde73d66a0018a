"""What SSHOperator makes of the connection, and what a job says with it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from airflow.sdk import Connection
from pipeline_config.operators.ssh import connection_environment
from jobs import cli
from jobs.spark.postgres import connect

given = json.load(sys.stdin)
connection = Connection(conn_id="postgres_gold", conn_type="postgres", **given | {"extra": json.dumps(given["extra"])})
os.environ |= connection_environment(connection)


def run(options):
    with connect() as session:
        print(*session.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone())


sys.exit(cli.main(argparse.ArgumentParser(), run, []))
