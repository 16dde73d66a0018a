"""Finds what looks like a secret in any YAML file, comments too: connections in Airflow hold secrets, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline_config.problem import Problem
from pipeline_config.reader import Document, line_and_column

HINT = "give it to the connection in Airflow, and change it: it has been seen"
# A key whose name says so, with a value that is no template; and values that say it by their own form.
_LOOKS = {
    "a password or key": r"""(?imx)
        (?: ^ | [\s{,"'&;?] )
        [\w-]* (?: passw(?:or)?d | passphrase | secret | token | (?:api|access|private)_?key )
        ["']? \s* [:=] \s*
        (?! ["']? (?: \{\{ | \$\{ | null\b | ~ | true\b | false\b ) )
        (?P<found> [^\s,}\#] ["']? [^\s,}]{2,} )""",
    "a password in a URL": r"(?i)\b[a-z][a-z0-9+.-]*://[^\s:/@{}$]*:(?P<found>[^\s:/@{}$]+)@",
    "a private key": r"(?P<found>-----BEGIN [A-Z ]*PRIVATE KEY-----)",
    "an AWS access key": r"\b(?P<found>(?:AKIA|ASIA)[0-9A-Z]{16})\b",
    "an access token": r"\b(?P<found>(?:gh[pousr]_|github_pat_|xox[abprs]-|glpat-)[\w-]{10,})",
}


def secrets(document: Document) -> Iterator[Problem]:
    """Each place of a file that looks like a secret; the secret itself is not in the message."""
    for what, pattern in _LOOKS.items():
        for match in re.finditer(pattern, document.text):
            line, column = line_and_column(document.text[: match.start("found")])
            yield Problem(document.file, line, column, "", f"this looks like {what}", HINT)
