"""What a column and a table of the marts are, whatever holds them: Spark, Delta, PostgreSQL, the data dictionary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Type = Literal["text", "smallint", "integer", "bigint", "double precision", "boolean", "date", "timestamptz"]
SPARK_TYPES: Final[dict[Type, str]] = {
    "text": "string",
    "smallint": "smallint",
    "integer": "int",
    "bigint": "bigint",
    "double precision": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamptz": "timestamp",
}


@dataclass(frozen=True)
class Column:
    """A column: its type in PostgreSQL's words, what it means, and what a number of it counts."""

    name: str
    type: Type
    meaning: str
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """A table: what a row is, how it comes about, its key and its columns in order."""

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    def of(self, rows: DataFrame) -> DataFrame:
        """Exactly these columns of `rows`, in this order and of these types."""
        from pyspark.sql import functions as F

        return rows.select(*(F.col(column.name).cast(SPARK_TYPES[column.type]) for column in self.columns))


def schema(*of: Table) -> dict[str, str]:
    """The columns of tables in Spark's types."""
    return {column.name: SPARK_TYPES[column.type] for table in of for column in table.columns}
