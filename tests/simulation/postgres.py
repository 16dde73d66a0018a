"""PostgreSQL as the jobs call it: transactions that see what is committed, table locks, and lost connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg

from tests.simulation.world import NoAnswerError, Process, Waiting, World

Row = dict[str, Any]
Where = Callable[[Row], bool]
# What a statement does: its words are the code's own, whose meaning each story knows.
Meaning = Callable[["Connection", str, Any], "Result"]


class Postgres:
    """The tables, as they are committed."""

    def __init__(self, world: World, tables: Iterable[str], meaning: Meaning) -> None:
        self.world, self.meaning = world, meaning
        self.tables: dict[str, dict[int, Row]] = {name: {} for name in tables}
        self.after_commit: Callable[[Process], None] = lambda _: None
        self.numbers = count()
        self._locks: dict[str, Connection] = {}
        self._waiting: Waiting = []

    def rows(self, table: str) -> list[Row]:
        """Those that a reader sees."""
        return list(self.tables[table].values())

    def lock(self, by: Connection, tables: Sequence[str]) -> None:
        """Wait until no other transaction has them."""
        while any(self._locks.get(table, by) is not by for table in tables):
            self.world.park(self._waiting)
        self._locks.update(dict.fromkeys(tables, by))

    def unlock(self, by: Connection) -> None:
        """At the end of a transaction."""
        self._locks = {table: owner for table, owner in self._locks.items() if owner is not by}
        self.world.wake(self._waiting)


class Result:
    """A cursor after a statement."""

    def __init__(self, rows: list[tuple[Any, ...]] | None = None, rowcount: int = 0) -> None:
        self._rows, self.rowcount = rows or [], rowcount

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows[0] if self._rows else None

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)


class Connection:
    """psycopg.Connection in autocommit mode."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self._gone: dict[str, set[int]] = {}
        self._new: dict[str, dict[int, Row]] = {}
        self._is_in_transaction = False

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is inside happens at its end, or never."""
        world = self.server.world
        self._gone, self._new, self._is_in_transaction = {}, {}, True
        try:
            yield
            try:
                world.effect("COMMIT", self._commit, once=True)
            except NoAnswerError as error:
                raise psycopg.OperationalError(f"the connection is lost: {error}") from None
        finally:
            self._is_in_transaction = False
            self.server.unlock(self)

    def _commit(self) -> None:
        for table, gone in self._gone.items():
            for number in gone:
                self.server.tables[table].pop(number, None)
        for table, new in self._new.items():
            self.server.tables[table].update(new)
        self._gone, self._new = {}, {}
        self.server.after_commit(self.server.world.task.process)

    def execute(self, statement: str | bytes, values: Any = ()) -> Result:
        """Run one of the statements that the jobs use."""
        text = statement.decode() if isinstance(statement, bytes) else statement
        if text.split()[0] == "LOCK":
            self.ask("LOCK", Result)
            names = text.partition("TABLE ")[2].partition(" IN ")[0].split(", ")
            self.server.lock(self, names)
            return Result()
        return self.ask(" ".join(text.split())[:60], lambda: self.server.meaning(self, text, values))

    def ask(self, what: str, act: Callable[[], Result]) -> Result:
        """A statement by its meaning."""
        try:
            result = self.server.world.effect(what, act, once=True)
        except NoAnswerError as error:
            raise psycopg.OperationalError(f"the connection is lost: {error}") from None
        if not self._is_in_transaction:
            self._commit()
        return result

    # What statements are made of

    def select(self, table: str, where: Where = lambda _: True) -> list[Row]:
        """What is committed by now, and the transaction's own."""
        return [row for _, row in self._seen(table, where)]

    def _seen(self, table: str, where: Where) -> list[tuple[int, Row]]:
        gone = self._gone.get(table, set())
        there = {**self.server.tables[table], **self._new.get(table, {})}
        return [(number, row) for number, row in there.items() if number not in gone and where(row)]

    def delete(self, table: str, where: Where = lambda _: True) -> int:
        """How many."""
        found = [number for number, _ in self._seen(table, where)]
        self._gone.setdefault(table, set()).update(found)
        for number in found:
            self._new.get(table, {}).pop(number, None)
        return len(found)

    def insert(self, table: str, rows: Iterable[Row]) -> int:
        """How many."""
        new = {next(self.server.numbers): row for row in rows}
        self._new.setdefault(table, {}).update(new)
        return len(new)
