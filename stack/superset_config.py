"""Superset's settings; run by Superset's own Python, whose environment has the secrets."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the repository
from stack.superset_viewers import CUSTOM_SECURITY_MANAGER, FEATURE_FLAGS, TALISMAN_CONFIG

__all__ = ["CUSTOM_SECURITY_MANAGER", "FEATURE_FLAGS", "TALISMAN_CONFIG"]
SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = os.environ["SUPERSET_METADATA"]
RATELIMIT_STORAGE_URI = "memory://"
SQLLAB_BACKEND_PERSISTENCE = False
