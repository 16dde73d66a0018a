"""A short run of the mutations, which gives the loader what the check lets through."""

from __future__ import annotations

import sys

from tests.mutations.__main__ import main

sys.argv += ["--seed", "5", "--count", "49", "--every", "4", "--edits", "150", "--shared", "40"]
sys.exit(main())
