"""Ends although a probe of preflight never does."""

from __future__ import annotations

import threading

from pipeline_config.preflight.probe import Probe, run_all

print(*run_all([Probe("x", threading.Event().wait, "fix it", limit=0.1)]))
