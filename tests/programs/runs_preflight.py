"""preflight of the project in this folder, as it is in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from pipeline_config import preflight
from pipeline_config.project import load_project

project = load_project(Path(sys.argv[1]))
sys.exit(preflight.run(project, project.environment("local")))
