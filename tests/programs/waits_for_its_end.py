"""A job that says when it is at work, and works for a minute."""

from __future__ import annotations

import argparse
import sys
import time

from jobs import cli


def work(options):
    print(flush=True)
    time.sleep(60)


sys.exit(cli.main(argparse.ArgumentParser(), work))
