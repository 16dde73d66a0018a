"""The commands that stdin asks for, one after the other as a shell would run them: the exit code and output of each."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys

from pipeline_config.__main__ import main

answers = []
for words in json.load(sys.stdin):
    importlib.invalidate_caches()  # a command before may have written a job
    with contextlib.redirect_stdout(io.StringIO()) as out:
        answers.append([main(words), out.getvalue()])
print(json.dumps(answers))
