"""The words of a command whose variables and params are hostile."""

from __future__ import annotations

import sys
import dag_factory_loader as loader

task = loader.tripclick_streaming_curated.get_task("streaming_to_curated_stream")


class Values:
    def __getattr__(self, name):
        return "; rm -rf / $(id) 'quoted'\nsecond line"


params = dict(task.dag.params.items()) | {"run_minutes": "5; reboot"}
template = task.get_template_env(task.dag).from_string(task.command)
text = template.render(var={"value": Values()}, params=params, run_id="r")
print(text.replace("cd ", "set -- ", 1).replace("&& PYTHONPATH=. exec", ""), file=sys.stderr)
