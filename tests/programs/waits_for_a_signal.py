"""A job that writes its pid to the file that it is told, and waits for a signal."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from jobs.cli import main


def run(options):
    with open(options.tell, "w") as tell:
        tell.write(str(os.getpid()))
    signal.pause()


parser = argparse.ArgumentParser()
parser.add_argument("--tell")
sys.exit(main(parser, run))
