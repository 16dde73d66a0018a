"""Finds what looks like a secret in any YAML file, comments too: secrets belong only in Airflow's connections.

Secrets are recognized by their form: `password: see the wiki` is prose, `pwd: hunter2` is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pipeline_config.problem import Problem, line_and_column
from pipeline_config.reader import Document

HINT = "move it to the connection in Airflow, and rotate it: it is exposed"
MASK = "***"
_KEY = r"""(?: passw(?:or)?[dt] | passphrase | (?<!com)(?<!by)pass | pwd | secret | token | 비밀번호 | 암호
    | (?:api|access|private|account|secret)[_.-]?key )"""
_WORDS = ("pass", "pwd", "secret", "token", "비밀번호", "암호", "key")  # of which each _KEY has one; most files none
# A key with a telling name, in YAML or as a program's option, with its value and the rest of the line.
_NAMED = re.compile(
    rf"""(?imx)
    (?: (?: ^ | [\s{{,"'&;?] ) [\w.-]{{0,60}} {_KEY} ["']? \s* [:=] | \s --? {_KEY} [\s=] )
    [^\S\n]* (?P<value> (?P<quote>["']?) (?P<found> [^\s,}}"'\#] [^\s,}}"']* ) (?P=quote) ) (?= (?P<rest> [^\n]* ) )""",
)
_NO_VALUE = re.compile(
    r"""(?ix) (?: null | ~ | none | true | false | [\d.]+ )   # nothing, or a number
    | (?: \{\{ | \$ | / | \./ | ~/ | < ) .*                      # a template, a path, a placeholder
    | [A-Z][A-Z0-9]*_[A-Z0-9_]+                                 # a variable's name
    | [a-z][a-z0-9+.-]*:// .*                                   # a URL, which has a pattern of its own"""
)
_STRONG = re.compile(r"(?=.*[A-Za-z])(?=.*[\d!@#$%^&*+/=]).{6,}")  # not a word of a sentence
_PROSE = re.compile(r"""["']?[^\S\n]+[^\s#]""")  # more words follow
# What a secret looks like whatever its key, and the words of which a file with one has one: most files have none.
_FORMS = {
    "a password in a URL": (
        ("@",),
        r"(?i)\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@{}$]{0,200}:(?P<found>[^\s:/@{}$]{1,200})@",
    ),
    "a password in an address": (
        ("@",),
        r"(?m)(?:^|[\s,'\"=])(?!mailto:)[A-Za-z][\w.+-]{0,100}:(?P<found>[^\s:/@{}$,'\"]{1,200})@(?!sha\d+:)[\w\[]",
    ),
    "a password": (
        ("-u ", "-u\t", "-u\n", "--user", "sshpass", "authorization"),
        r"(?:\s(?:-u|--user)\s+[\w.@-]{1,100}:|\bsshpass\s+-p\s*|\bAuthorization:\s*Basic\s+)(?P<found>[^\s:{}$]{3,})",
    ),
    "a webhook, whose URL is the password": (
        ("slack", "discord", "webhook"),
        r"(?P<found>https://(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks"
        r"|[\w-]{1,60}\.webhook\.office\.com/webhookb2)/[\w/@-]{10,})",
    ),
    "a private key": (("private key",), r"(?P<found>-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)"),
    "an AWS access key": (("akia", "asia"), r"\b(?P<found>(?:AKIA|ASIA)[0-9A-Z]{16})\b"),
    "an access token": (
        tuple("ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ xox glpat- _live_ pypi- aiza npm_ hf_ dapi eyj bearer".split()),
        r"\b(?P<found>(?:gh[pousr]_|github_pat_|xox[abprs]-|glpat-|[rs]k_live_|pypi-)[\w-]{10,}"
        r"|AIza[\w-]{35}|(?:npm|hf)_\w{30,}|dapi[0-9a-f]{32}"
        r"|eyJ[\w-]{8,2000}\.[\w-]{4,}\.[\w-]{4,}|(?<=[Bb]earer )[\w.~+/-]{16,})",
    ),
}


def secrets(document: Document) -> Iterator[Problem]:
    """Each place of a file that looks like a secret; the secret itself is not in the message."""
    for start, (_, what, severity) in _found(document.text).items():
        line, column = line_and_column(document.text[:start])
        yield Problem(document.file, line, column, "", f"this looks like {what}", HINT, severity)


def hidden(problems: Iterable[Problem], documents: Iterable[Document]) -> Iterator[Problem]:
    """The problems, without the secrets of their files in their words: other checks say which value is wrong."""
    problems = [*problems]
    files = {problem.file for problem in problems if problem.hint == HINT}
    found = {
        one.file: [one.text[start:end] for start, (end, *_) in _found(one.text).items()]
        for one in documents
        if one.file in files
    }
    for problem in problems:
        message, hint = problem.message, problem.hint
        for secret in found.get(problem.file, ()):
            message, hint = message.replace(secret, MASK), hint.replace(secret, MASK)
        yield replace(problem, message=message, hint=hint) if problem.file in found else problem


def masked(text: str) -> str:
    """A file's text with a star for each character of what looks like a secret."""
    for start, (end, *_) in _found(text).items():
        text = f"{text[:start]}{'*' * (end - start)}{text[end:]}"
    return text


def _found(text: str) -> dict[int, tuple[int, str, str]]:
    """By where it starts what looks like a secret: where it ends, what it is, severity."""
    found: dict[int, tuple[int, str, str]] = {}
    lower = text.lower()
    for what, (words, pattern) in _FORMS.items():
        for match in re.finditer(pattern, text) if any(word in lower for word in words) else ():
            found.setdefault(match.start("found"), (match.end("found"), what, "error"))
    for match in _NAMED.finditer(text) if any(word in lower for word in _WORDS) else ():
        if severity := _severity(match, text):
            found.setdefault(match.start("found"), (match.end("found"), "a password or key", severity))
    return found


def _severity(match: re.Match[str], text: str) -> str:
    """For a value whose key names a secret: an error by its form, or as the whole value of a key; "" for prose."""
    value = match["found"]
    if len(value) <= 2 or _NO_VALUE.fullmatch(value):
        return ""
    if _STRONG.fullmatch(value):
        return "error"
    if _PROSE.match(match["rest"]):
        return ""
    line = text[text.rfind("\n", 0, match.start("found")) + 1 : match.start("found")]
    return "warning" if "#" in line else "error"
