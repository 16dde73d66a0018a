"""`python -m stack live`: after a demo, continues the log at its own pace, followed by the hot tables, until Ctrl-C."""

from __future__ import annotations

import datetime as dt
import signal
import time
from dataclasses import dataclass, field

from stack.airflow_api import AirflowApi
from stack.demo import PRODUCER, Memory, generate, hot_runs, progress, wait_for_dags
from stack.errors import StackError
from stack.follow import POLL_SECONDS, say, why
from stack.stack import Stack

ROUND_MINUTES = 60  # a task's time is limited; when a run ends, the next run of its DAG starts
SAY_SECONDS = 60


def live() -> None:
    """Keep the hot chain running; StackError says what failed."""
    stack = Stack()
    memory = Memory.of(stack)
    if memory is None:
        raise StackError("there is no log to continue: run `make demo` first")
    stack.up()
    api = stack.airflow_api()
    wait_for_dags(api)
    chain = Chain(stack, api, memory)
    say("\nThe log continues at its own pace until you press Ctrl-C")
    try:
        said = time.monotonic()
        while True:
            chain.keep_running(dt.datetime.now(dt.UTC))
            if time.monotonic() - said >= SAY_SECONDS:
                said = time.monotonic()
                say(progress(stack))
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would leave runs behind
    finally:
        chain.end()
        say("The streams have ended; `make live` continues where they stopped.")


@dataclass
class Chain:
    """The runs of the hot chain's DAGs, one of each at a time."""

    stack: Stack
    api: AirflowApi
    memory: Memory
    runs: dict[str, str] = field(default_factory=dict)
    _sending: str = ""  # the log's day of today when the producer's run began

    def keep_running(self, now: dt.datetime) -> None:
        """Start a run of each DAG that has none. StackError with the reason if one has failed."""
        for dag_id, params in hot_runs(self.memory.days(now), *[ROUND_MINUTES] * 3).items():
            run_id = self.runs.get(dag_id)
            state = self.api.run_state(dag_id, run_id) if run_id else None
            if run_id and state == "failed":
                del self.runs[dag_id]
                raise StackError(why(self.api, [(dag_id, run_id)]))
            if state not in {"queued", "running"}:
                if dag_id == PRODUCER:
                    self._prepare(now)
                self.runs[dag_id] = self.api.trigger(dag_id, params)

    def _prepare(self, now: dt.datetime) -> None:
        """Generate what is to be sent; the producer's last run, if any, has succeeded."""
        if self._sending:
            self.memory.sent = self._sending
            self.memory.save(self.stack)
        days = self.memory.days(now)
        generate(self.stack, days)
        self._sending = str(days.last)

    def end(self) -> None:
        """End what runs."""
        for dag_id, run_id in self.runs.items():
            self.api.end_run(dag_id, run_id)
