"""`python -m pipeline_config`: the command line."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # a process so short makes little garbage, and looks for it for a tenth of its time
from pipeline_config.command_line import main

__all__ = ["main"]

if __name__ == "__main__":
    code = main()
    gc.freeze()  # nor at its end, which would take another tenth
    sys.exit(code)
