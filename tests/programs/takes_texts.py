"""A job whose options take any text."""

from __future__ import annotations

import argparse


def parser():
    result = argparse.ArgumentParser()
    for number in range(100):
        result.add_argument(f"--text-{number}")
    return result
