"""Texts that would do harm if any of them reached a shell, SQL, a template or a terminal as more than text."""

from __future__ import annotations

import itertools

HOSTILE = [
    "; rm -rf /",
    "$(touch /tmp/touched)",
    "`id`",
    "it's",
    'a "quoted" word',
    "'; reboot; '",
    "first line\nsecond line\r\nthird",
    "{{ 7 * 7 }}{% raw %}",
    "{{ var.value.KAFKA_BROKERS }}",
    "%s %n $HOME ${PATH} ~ * ?",
    "--again=true",
    "a\\nb\\",
    "클릭 👩🏽‍⚕️ \u202e",
    "\t tab and blanks  ",
    "\x1b[31mred\x07\x04",
    "&& exit 7 || true",
    "x" * 50_000,
    "",
]
_SQL = ["'); DROP TABLE daily_traffic; --", "\\. \\N", "1 OR 1=1", "/* */ $$ $1 :name %(name)s", 'E\'\\x27" ""']


def many(count: int) -> list[str]:
    """So many different ones: each alone, then one behind the other."""
    alone = [*HOSTILE, *_SQL]
    short = [text for text in alone if text and len(text) < 100]
    pairs = (f"{one} {other}" for one, other in itertools.permutations(short, 2))
    return list(itertools.islice(itertools.chain(alone, pairs), count))
