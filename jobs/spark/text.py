"""How text of the log becomes text of a table: Column → Column, native functions only. Null in, null out."""

from collections.abc import Mapping
from html.entities import name2codepoint
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.event import CLINICAL_AREAS, UNKNOWN_AREA

# U+000B and U+000C are white space to a regular expression, the other control characters are not.
_BLANKS: Final = "\t\n\x0b\x0c\r"
_CONTROLS: Final = "".join(chr(code) for code in range(0x20) if chr(code) not in _BLANKS)

# As JSON text spells them: \ud83d with no low surrogate behind it, or a low one with no high one in front.
_LONE_SURROGATE: Final = (
    r"((?<!\\)(?:\\\\)*)\\u(?:"
    r"[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u)[dD][c-fC-F][0-9a-fA-F]{2})"
)

_ENTITY: Final = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,7});"
_MAX_CODE_POINT: Final = 0x10FFFF
_REPLACEMENT: Final = 0xFFFD


def parseable_json(text: Column) -> Column:
    """JSON text that a strict parser takes: no BOM, no trailing comma, no bare control character, no lone surrogate."""
    blanks = "\ufeff" + _BLANKS + " "
    trimmed = F.btrim(F.regexp_replace(F.btrim(text, F.lit(blanks)), r",\z", ""), F.lit(blanks))
    plain = F.translate(trimmed, _BLANKS + _CONTROLS, " " * len(_BLANKS))
    return F.when(plain.rlike(r"\\u[dD][89a-fA-F]"), F.regexp_replace(plain, _LONE_SURROGATE, r"$1\\ufffd")).otherwise(
        plain
    )


def clean(text: Column) -> Column:
    """HTML entities decoded once, control characters out, white space collapsed, trimmed; null when nothing is left."""
    return _tidy(F.when(text.contains("&"), _decode_entities(text)).otherwise(text))


def query(keywords: Column) -> Column:
    """A normalised query: control characters out, white space collapsed, trimmed, lower case; null when empty."""
    return F.lower(_tidy(keywords))


def clinical_areas(labels: Column) -> Column:
    """A comma list of labels → the canonical names in their order, without repeats; `Other: <label>` is unmapped."""
    known = _map({_letters(area): area for area in (*CLINICAL_AREAS, UNKNOWN_AREA)})

    def canonical(label: Column) -> Column:
        letters = F.regexp_replace(F.lower(label), r"\P{L}", "")
        return F.coalesce(F.try_element_at(known, letters), F.concat(F.lit("Other: "), label))

    parts = F.transform(F.split(clean(labels), ","), lambda part: F.trim(part))
    areas = F.transform(F.filter(parts, lambda part: part != ""), canonical)
    named = F.filter(F.array_distinct(areas), lambda area: area != UNKNOWN_AREA)
    return F.coalesce(named, F.array().cast("array<string>"))


def _tidy(text: Column) -> Column:
    shown = F.regexp_replace(text, r"[\p{Cc}&&[^\s\x85]]", "")
    return F.nullif(F.trim(F.regexp_replace(shown, r"[\s\x85\p{Z}]+", " ")), F.lit(""))


def _decode_entities(text: Column) -> Column:
    """One pass: what an entity becomes is never read as an entity again."""
    entities = F.regexp_extract_all(text, F.lit(_ENTITY), F.lit(0))
    between = F.split(text, _ENTITY, -1)
    return F.array_join(
        F.transform(between, lambda part, n: F.concat(part, F.coalesce(_decoded(F.get(entities, n)), F.lit("")))), ""
    )


def _decoded(entity: Column) -> Column:
    name = F.substring(entity, 2, F.length(entity) - 2)
    code = F.coalesce(
        F.try_element_at(_map(_code_points()), name).cast("int"),
        F.when(name.rlike("^#[xX]"), F.conv(F.substring(name, 3, 6), 16, 10).try_cast("int")),
        F.when(name.startswith("#"), F.substring(name, 2, 7).try_cast("int")),
    )
    return F.coalesce(_character(code), entity)


def _character(code: Column) -> Column:
    # The bad ones are replaced before decode() sees them: it would raise, and stop the stream for ever.
    bad = (code < 1) | (code > _MAX_CODE_POINT) | code.between(0xD800, 0xDFFF)
    safe = F.when(bad, _REPLACEMENT).otherwise(code)
    return F.decode(F.unhex(F.lpad(F.hex(safe), 8, "0")), "UTF-32")


def _code_points() -> dict[str, int]:
    """The HTML 4 names, &apos;, and what browsers read in &#128; … &#159;: Windows-1252."""
    windows = {f"#{code}": ord(bytes([code]).decode("cp1252", "replace")) for code in range(0x80, 0xA0)}
    return {**name2codepoint, "apos": ord("'"), **windows}


def _letters(label: str) -> str:
    return "".join(letter for letter in label.casefold() if letter.isalpha())


def _map(entries: Mapping[str, object]) -> Column:
    """A constant map<string, string>; as one literal, for a plan of hundreds of them takes a second to build."""
    return F.str_to_map(F.lit(";".join(f"{key}:{value}" for key, value in entries.items())), F.lit(";"), F.lit(":"))
