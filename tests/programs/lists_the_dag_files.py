"""The Python files that Airflow parses in this folder, for both syntaxes of .airflowignore."""

from __future__ import annotations

import os

from airflow.utils.file import find_path_from_directory

for syntax in ("glob", "regexp"):
    print(sorted(path for path in find_path_from_directory(os.getcwd(), ".airflowignore", syntax) if ".py" in path))
