"""Bread → sales."""

import argparse


def parser():
    """The command line, and what the job reads and writes."""
    result = argparse.ArgumentParser(prog="sell", description=__doc__)
    result.add_argument("--shelf-brokers", required=True, help="where the bread is announced")
    result.add_argument("--discount", type=float, default=0.5, help="of yesterday's bread")
    result.set_defaults(flow={"reads": [("topic", "bread")], "writes": [("postgresql", "sales")]})
    return result
