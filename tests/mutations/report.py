"""What a run of mutations has shown, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pipeline_config.reader import dotted
from tests.mutations.mutate import KINDS
from tests.mutations.run import Outcome
from tests.mutations.verdict import MISSING, Verdict

CAUGHT_AT_LEAST = 0.995
MANY, CAUGHT_OF_FEW = 5_000, 0.95  # of fewer, one that passes says little
EXAMPLES = 3


def as_text(outcomes: Iterable[Outcome]) -> tuple[str, bool]:
    """Counts by kind, what the check let through and what it refused needlessly; and whether all is as it must be."""
    found = list(outcomes)
    wrong = [outcome for outcome in found if outcome.verdict is Verdict.WRONG]
    passed = [outcome for outcome in wrong if not outcome.caught]
    strict = [outcome for outcome in found if outcome.verdict is not Verdict.WRONG and outcome.caught]
    faulty = [outcome for outcome in found if outcome.faults]
    warned = sum(bool(outcome.problems) for outcome in passed)
    share = 1 - len(passed) / max(len(wrong), 1)
    least = CAUGHT_AT_LEAST if len(found) >= MANY else CAUGHT_OF_FEW
    lines = [
        *_table(found),
        f"{len(wrong)} changed wrongly, {share:.2%} of them caught before Airflow (at least {least:.1%})",
        *_section(f"wrong, and let through ({warned} of them with a warning)", passed),
        *_section("not wrong, but refused", strict),
        f"tracebacks, hangs over 1 s, problems without a place, loader errors: {len(faulty)}",
        *(f"  {count:4} {fault}" for fault, count in Counter(_fault(outcome) for outcome in faulty).most_common()),
    ]
    return "\n".join(lines), share >= least and not faulty


def _table(found: list[Outcome]) -> list[str]:
    counts = Counter((outcome.kind, outcome.verdict, outcome.caught) for outcome in found)
    lines = [f"{'':14}{'mutants':>8}{'same':>8}{'free':>8}{'wrong':>8}{'caught':>8}{'missed':>8}"]
    for kind in KINDS:
        numbers = {verdict: counts[kind, verdict, True] + counts[kind, verdict, False] for verdict in Verdict}
        caught, missed = (counts[kind, Verdict.WRONG, known] for known in (True, False))
        columns = [sum(numbers.values()), *numbers.values(), caught, missed]
        lines.append(f"{kind:14}" + "".join(f"{number:8}" for number in columns))
    return lines


def _section(title: str, outcomes: list[Outcome]) -> list[str]:
    """The outcomes by the first place where they differ, most frequent first, with a few examples."""
    groups: dict[str, list[str]] = {}
    for outcome in outcomes:
        for path, old, new in outcome.differences[:1]:
            place = dotted(tuple(part if isinstance(part, str) else 0 for part in path)).replace("[0]", "[]")
            values = " → ".join("nothing" if value is MISSING else repr(value)[:110] for value in (old, new))
            said = f"  | {outcome.problems[0].message[:100]}" if outcome.problems else ""
            groups.setdefault(place, []).append(f"{values}{said}")
    lines = [f"{title}: {len(outcomes)}"]
    for place, examples in sorted(groups.items(), key=lambda group: -len(group[1])):
        lines.append(f"  {len(examples):4} {place}")
        lines += [f"         {example}" for example in dict.fromkeys(examples[:EXAMPLES])]
    return lines


def _fault(outcome: Outcome) -> str:
    """The first and the last line of what went wrong, which of a traceback is enough."""
    lines = outcome.faults[0].strip().splitlines()
    return " … ".join(dict.fromkeys([lines[0], lines[-1]]))


PASSED_AT_MOST = 0.01  # of the wrong ones


def refused_by_airflow(title: str, outcomes: Iterable[Outcome]) -> tuple[str, bool]:
    """How many the check caught, and each that Airflow refuses, or that took more away, though the check said nothing.

    All is as it must be when nothing is at fault but a hundredth of the wrong ones that pass.
    """
    found = list(outcomes)
    caught = sum(outcome.caught for outcome in found)
    passed = [outcome for outcome in found if outcome.faults and not outcome.caught]
    faulty = [outcome for outcome in found if outcome.faults and outcome.caught]
    lines = [
        f"{title}: {len(found)}, caught {caught}, refused by Airflow alone {len(passed)}, at fault {len(faulty)}",
        *(f"  {_place(outcome)}: {_fault(outcome)[:200]}" for outcome in [*faulty, *passed]),
    ]
    return "\n".join(lines), not faulty and len(passed) <= PASSED_AT_MOST * (caught + len(passed))


def _place(outcome: Outcome) -> str:
    return " ".join(
        [outcome.kind, outcome.file, *(f"{dotted(path)} = {new!r}"[:120] for path, _, new in outcome.differences)]
    )
