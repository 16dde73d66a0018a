"""The JSON Schema of an event and the contract say the same, on generated lines and on what mutation makes of them."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections import Counter
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import jsonschema
import pytest

from jobs.contract import MAX_NUMBER, check
from jobs.generator.defects import INVALID, VALID, line_of
from jobs.generator.sessions import sessions_of
from pipeline_config.project import ROOT
from tests.contract_lines import HOSTILE, KEPT, QUARANTINED, TEXT_CASES
from tests.faults.conftest import IN_FULL

NO_CLOCK_MS = 2**62  # later than any date: what Kafka's clock refuses is beyond a schema
SCHEMA = json.loads((ROOT / "schemas/event.schema.json").read_text(encoding="utf-8"))
JSON_TEXTS = (
    *("null", "true", "0", "-1", "1", "42.0", "4.5", "1e3", "1E-2", "9007199254740993.0", "9223372036854775807"),
    *("9223372036854775808", "9223372036854775807.0", "1e400", "1e-400", "NaN", "-Infinity", "042", "[]", "{}"),
    *(
        "9" * 1000,
        "9" * 1001,
        f"1.{'0' * 998}",
        f"1.{'0' * 999}",
        f"1{'0' * 900}e-900",
        f"1e{'9' * 30}",
        f"1e-{'9' * 30}",
    ),
    *('""', '" "', '"\\u0000"', '"x"', '"&nbsp;"', '"&#32; "', '"\\ud800"', '"\\u00a0\\u0085"', '"\\u2003\\u200b"'),
    *('"/Date(946684800000)/"', '"/Date(946684799999)/"', '"/Date(4102444799999)/"', '"/Date(4102444800000)/"'),
    *('"/Date(000946684800000)/"', '"/Date(0000946684800000)/"', '"/Date(-1)/"', '"/Date(1357004977650+0100)/"'),
    *('"/Date(1357004977650)/\\n"', '"/Date(1357004977650+01)/"', '[{"a": 1, "a": 2}]', '[{"a": 1}, {"a": 2}]'),
    *(f'"{"x" * count}"' for count in (99, 100, 101, 9_999, 10_000, 10_001)),
    *(f'"{"," * count}"' for count in (10_000, 10_001)),
    *(f'"{text * count}"' for text in ("a,", ",b", ",,c", " ,") for count in (31, 32, 33)),
    *(f'",{"é" * count},y"' for count in (100, 101)),
    f'"{"y" * 100}\\n"',
)


def integer(_: object, value: object) -> bool:
    """Of JSON Schema's type integer, without a float's rounding."""
    return isinstance(value, Decimal) and value == value.to_integral_value()


CHECKER = jsonschema.Draft7Validator.TYPE_CHECKER.redefine("integer", integer)
EXTEND: Any = jsonschema.validators.extend
VALIDATOR = EXTEND(jsonschema.Draft7Validator, type_checker=CHECKER)(SCHEMA)


def fits(line: bytes) -> bool:
    """Whether a line is JSON, but for what is tolerated around it, and fits the schema."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError
        return dict(pairs)

    def refuse(word: str) -> NoReturn:
        raise ValueError(word)

    def number(digits: str) -> Decimal:
        if len(digits) > MAX_NUMBER:
            refuse(digits)
        with suppress(InvalidOperation):  # the exponent has more digits than Decimal takes: no integer in range
            return Decimal(digits)
        return Decimal("0.5")

    around = " \t\r\n\x0b\x0c\ufeff"
    try:
        text = line.decode().strip(around).removesuffix(",").strip(around)
        text = text.translate({code: " " if chr(code) in around else None for code in range(32)})
        found = json.loads(text, object_pairs_hook=once, parse_int=number, parse_float=number, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return bool(VALIDATOR.is_valid(found))


def mutated(chance: random.Random, record: dict[str, Any]) -> bytes:
    """A line with other fields, other JSON in a field, or other bytes."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.choice([*INVALID.values(), *VALID.values()])[1](record)
    if kind == 1:
        line = bytearray(line_of(record))
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(line))
            line[at : at + chance.randrange(3)] = chance.choice((b"", b'"', b"\\", b",", b"\xff", b" ", b"\x00", b"{"))
        return bytes(line)
    fields = {key: json.dumps(value, ensure_ascii=chance.random() < 0.5) for key, value in record.items()}
    for key in chance.choices([*record, "Extra"], k=chance.randrange(1, 3)):
        fields[key] = chance.choice(JSON_TEXTS)
    if chance.random() < 0.1:
        fields.pop(chance.choice([*record]))
    pairs = [f'"{key}": {text}' for key, text in fields.items()]
    if chance.random() < 0.1:
        pairs.append(chance.choice(pairs))
    return f"{{{', '.join(pairs)}}}".encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=[pytest.mark.faults, IN_FULL])])
def test_the_contract_takes_what_fits_the_schema(count: int) -> None:
    chance = random.Random(16)  # noqa: S311
    days = [dt.date(2020, 10, 1), dt.date(2013, 1, 1)]
    records = [click.record for day in days for one in sessions_of(day, 1, 0.3) for click in one.clicks]
    cases = [value for value, _ in (*KEPT.values(), *QUARANTINED.values()) if value is not None]
    cases += [*HOSTILE.values(), *TEXT_CASES.values(), *map(line_of, records)]
    seen: Counter[str] = Counter()
    for number in range(count):
        line = cases[number] if number < len(cases) else mutated(chance, chance.choice(records))
        found = check(line, b"0", NO_CLOCK_MS)
        seen[found if isinstance(found, str) else "valid"] += 1
        assert fits(line) is not isinstance(found, str), (found, line[:2000])
    assert len(seen) > 15, seen
