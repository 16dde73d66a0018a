"""`python -m jobs.oven bake`: bakes what was ordered."""

import argparse
from pathlib import Path


def parser():
    """The modes and their options."""
    top = argparse.ArgumentParser(prog="oven", description=__doc__)
    bake = top.add_subparsers(dest="mode", required=True).add_parser("bake", description="Orders → bread")
    bake.add_argument("--orders-path", required=True, type=Path, help="folder of the orders, one file per customer")
    bake.add_argument("--loaves", type=int, default=10, help="how many loaves the oven holds")
    bake.set_defaults(flow={"reads": [("log", "{orders-path}")], "writes": [("topic", "bread")]})
    return top


if __name__ == "__main__":
    options = parser().parse_args()
    loaves = min(options.loaves, len(list(options.orders_path.iterdir())))
    Path("baked.txt").write_text(f"{loaves} loaves", encoding="utf-8")
