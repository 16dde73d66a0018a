"""Who owns PostgreSQL's tables, how old ones are carried over, and what a migration leaves behind."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobs.errors import JobError
from jobs.spark import dictionary, migrations
from jobs.spark.migrations import ANALYZE, HISTORY, MIGRATIONS, OWNER, RIGHTS, migrate
from stack.postgresql import SUPERUSER, PostgreSql
from stack.settings import DATABASE, DATABASE_LOGIN
from tests.integration.jobs.spark.databases import as_owner, database, rows_of  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("database")]
OURS = sorted([HISTORY, *(table.name for table in dictionary.TABLES)])
LIMIT_SECONDS = 20


@pytest.fixture
def login() -> Iterator[psycopg.Connection[Any]]:
    """The jobs' login."""
    with psycopg.connect("", autocommit=True) as connection:
        yield connection


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the SQL, which migrations read instead."""
    folder = shutil.copytree(MIGRATIONS, tmp_path / "sql")
    monkeypatch.setattr(migrations, "MIGRATIONS", folder)
    return folder


def as_superuser(server: PostgreSql) -> psycopg.Connection[Any]:
    """A connection of the superuser to the database of the environment, in autocommit mode."""
    password = server.home.secret("postgres_superuser")
    return psycopg.connect("", user=SUPERUSER, password=password, autocommit=True)


def as_reader(server: PostgreSql, **more: Any) -> psycopg.Connection[Any]:
    """A connection of who reads dashboards, in autocommit mode."""
    user, password = server.reader
    return psycopg.connect("", user=user, password=password, autocommit=True, **more)


def owners(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Who owns each of our tables and views of the schema."""
    query = (
        "SELECT relname::text, pg_get_userbyid(relowner) FROM pg_class WHERE relname = ANY(%s) "
        "AND relnamespace = current_schema()::regnamespace ORDER BY 1"
    )
    return dict(connection.execute(query, (OURS,)).fetchall())


def test_the_login_owns_nothing_and_changes_no_table(login: psycopg.Connection[Any]) -> None:
    migrate(login)
    assert owners(login) == dict.fromkeys(OURS, OWNER)
    assert login.execute("SELECT current_user = session_user").fetchone() == (True,)
    ((schema,),) = rows_of("SELECT current_schema()")
    for statement in (
        "DROP TABLE daily_traffic",
        "ALTER TABLE daily_traffic ADD COLUMN mine int",
        "CREATE INDEX ON daily_traffic (peak_hour)",
        "TRUNCATE daily_traffic",
        "UPDATE daily_traffic SET total_events = 0",
        "DELETE FROM mart_loads",
        f"DELETE FROM {HISTORY}",
        f"INSERT INTO {HISTORY} VALUES ('999')",
        "DROP VIEW freshness",
        "CREATE TABLE mine (id int)",
        "CREATE VIEW mine AS SELECT 1",
        "CREATE SCHEMA mine",
        f"DROP SCHEMA {schema} CASCADE",
        "GRANT SELECT ON daily_traffic TO PUBLIC WITH GRANT OPTION",
    ):
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidGrantOperation)):
            login.execute(statement.encode())


def test_the_login_has_its_rights_and_no_others(login: psycopg.Connection[Any]) -> None:
    migrate(login)
    query = (
        "SELECT table_name::text, array_agg(privilege_type::text) FROM information_schema.role_table_grants "
        "WHERE grantee = session_user AND table_schema = current_schema() GROUP BY 1"
    )
    assert {name: set(rights) for name, rights in rows_of(query)} == {name: set(of) for name, of in RIGHTS.items()}


def test_the_owner_analyzes_for_the_login_and_for_nobody_else(
    login: psycopg.Connection[Any], postgres_server: PostgreSql
) -> None:
    migrate(login)
    login.execute("INSERT INTO daily_traffic VALUES ('2020-01-01', 1, 1, 1, 1)")
    # A temporary table of the same name, where somebody lets the login make one, is not the one.
    with as_superuser(postgres_server) as superuser:
        superuser.execute(f"GRANT TEMPORARY ON DATABASE {DATABASE} TO {DATABASE_LOGIN}".encode())
        login.execute("CREATE TEMPORARY TABLE daily_traffic (event_date date)")
        superuser.execute(f"REVOKE TEMPORARY ON DATABASE {DATABASE} FROM {DATABASE_LOGIN}".encode())
    login.execute(f"SELECT {ANALYZE}".encode())
    ((schema,),) = rows_of("SELECT current_schema()")
    counted = "SELECT reltuples FROM pg_class WHERE oid = %s::regclass"
    assert login.execute(counted, (f"{schema}.daily_traffic",)).fetchone() == (1,)
    user, password = postgres_server.reader
    with (
        psycopg.connect("", user=user, password=password) as reader,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="function"),
    ):
        reader.execute(f"SELECT {ANALYZE}".encode())


def test_a_database_whose_login_owns_everything_is_migrated(
    postgres_server: PostgreSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"old_{uuid.uuid4().hex}"
    # Nothing of the new roles is there: not the owner either.
    monkeypatch.setattr(migrations, "OWNER", f"{name}_owner")
    server: dict[str, Any] = {**postgres_server.login, "options": ""}
    admin = {**server, "user": SUPERUSER, "password": postgres_server.home.secret("postgres_superuser")}
    with psycopg.connect(**{**admin, "dbname": "postgres"}, autocommit=True) as superuser:
        superuser.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'old'".encode())
        superuser.execute(f"CREATE DATABASE {name} OWNER {name}".encode())
    with (
        psycopg.connect(**{**server, "user": name, "password": "old", "dbname": name}, autocommit=True) as old,
        psycopg.connect(**{**admin, "dbname": name}, autocommit=True) as superuser,
    ):
        # The schema is the login's, and all may create in it, as PostgreSQL before 15 has it, but not use it.
        superuser.execute(f"ALTER SCHEMA public OWNER TO {name}; GRANT CREATE ON SCHEMA public TO PUBLIC".encode())
        superuser.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
        old.execute(f"CREATE TABLE {HISTORY} (version text PRIMARY KEY, applied_at timestamptz DEFAULT now())".encode())
        for path in sorted(MIGRATIONS.glob("*.sql"))[:4]:
            old.execute(path.read_bytes())
            old.execute(f"INSERT INTO {HISTORY} (version) VALUES (%s)".encode(), (path.stem,))
        old.execute("INSERT INTO daily_traffic VALUES ('2020-01-01', 7, 1, 1, 1)")
        old.execute("GRANT SELECT ON daily_traffic TO PUBLIC")  # from now on it lists its owner's rights, too
        old.execute("CREATE VIEW theirs AS SELECT total_events FROM daily_traffic")

        with pytest.raises(JobError, match=f"cannot become {name}_owner, who owns the tables: run as super") as caught:
            migrate(old)
        assert set(owners(old).values()) == {name}
        superuser.execute(str(caught.value).partition("superuser: ")[2].encode())
        old.execute(f"SET statement_timeout = '{LIMIT_SECONDS}s'".encode())
        with monkeypatch.context() as patch, superuser.transaction():
            superuser.execute("SELECT count(*) FROM daily_traffic")
            patch.setattr(migrations, "LOCK_TIMEOUT", "200ms")
            with pytest.raises(JobError, match="not free within 200ms, it is in use by"):
                migrate(old)
        migrate(old)

        assert owners(old) == dict.fromkeys(OURS, f"{name}_owner")
        assert old.execute("SELECT * FROM theirs").fetchall() == [(7,)]
        for statement in ("CREATE TABLE mine (id int)", "TRUNCATE daily_traffic", f"CREATE SCHEMA {name}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                old.execute(statement.encode())


def test_a_table_of_somebody_else_is_named_with_the_way_out(
    login: psycopg.Connection[Any], postgres_server: PostgreSql
) -> None:
    migrate(login)
    ((schema,),) = rows_of("SELECT current_schema()")
    with as_superuser(postgres_server) as superuser:
        superuser.execute(f"ALTER TABLE {schema}.daily_traffic OWNER TO {SUPERUSER}".encode())
        with pytest.raises(JobError, match="must be owner of table daily_traffic: run as superuser: ALTER") as caught:
            migrate(login)
        superuser.execute(str(caught.value).partition("superuser: ")[2].encode())
    migrate(login)


def test_of_two_migrations_at_once_one_waits(
    login: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect("", autocommit=True) as other:
        pid = other.info.backend_pid
        second = threading.Thread(target=migrate, args=(other,))
        with login.transaction():
            migrate(login)
            second.start()
            _wait_until_it_waits(pid)
        second.join(LIMIT_SECONDS)
        assert not second.is_alive()
    said = capsys.readouterr().out
    for path in MIGRATIONS.glob("*.sql"):
        assert said.count(f"applied {path.name}") == 1
    assert len(rows_of(f"SELECT * FROM {HISTORY}")) == len(list(MIGRATIONS.glob("*.sql")))


def test_a_reader_holds_no_migration_up(login: psycopg.Connection[Any], postgres_server: PostgreSql) -> None:
    migrate(login)
    user, password = postgres_server.reader
    with psycopg.connect("", user=user, password=password) as reader:
        for statement in (f"LOCK TABLE {HISTORY} IN ACCESS SHARE MODE", "LOCK TABLE daily_traffic IN ROW SHARE MODE"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
                reader.execute(statement.encode())
        login.execute(f"SET statement_timeout = '{LIMIT_SECONDS}s'".encode())
        migrate(login)


NOT_READING = """
    CREATE TEMPORARY TABLE mine AS SELECT 1
    CREATE TABLE public.mine (id int)
    CREATE SCHEMA mine
    DELETE FROM daily_traffic
    SELECT lo_create(0)
    SELECT lo_from_bytea(0, 'anything')
    SELECT pg_advisory_lock(1)
    SELECT pg_try_advisory_xact_lock_shared(1, 2)
    COPY (SELECT 1) TO PROGRAM 'cat'
    SELECT pg_read_file('PG_VERSION')
    SET temp_file_limit = -1
    ALTER ROLE CURRENT_USER SET temp_file_limit = -1
    ALTER ROLE CURRENT_USER CONNECTION LIMIT -1
    SET ROLE tripclick_owner
    CREATE ROLE mine
"""


def test_the_dashboards_reader_can_only_read_whatever_it_sets(
    login: psycopg.Connection[Any], postgres_server: PostgreSql
) -> None:
    migrate(login)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        as_reader(postgres_server, dbname="postgres", options="")
    with as_reader(postgres_server) as reader:
        reader.execute("SET default_transaction_read_only = off")
        for statement in NOT_READING.strip().splitlines():
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement.encode())
        # What PostgreSQL lets every role do to itself lasts until the server's next start.
        reader.execute("ALTER ROLE CURRENT_USER PASSWORD 'mine'; ALTER ROLE CURRENT_USER SET statement_timeout = 0")
    postgres_server.complete()
    with as_reader(postgres_server) as reader:
        assert reader.execute("SHOW statement_timeout").fetchone() == ("30s",)


def test_an_open_transaction_of_a_reader_stops_a_deployment_and_no_reader(
    login: psycopg.Connection[Any], files: Path, postgres_server: PostgreSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(login)
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "200ms")
    (files / "008_more.sql").write_text("ALTER TABLE daily_traffic ADD COLUMN more int;\n")
    user, password = postgres_server.reader
    with psycopg.connect("", user=user, password=password, application_name="a dashboard") as reader:
        reader.execute("SELECT count(*) FROM daily_traffic")
        named = rf"not free within 200ms, it is in use by {reader.info.backend_pid} \({user}, a dashboard\): let that"
        with pytest.raises(JobError, match=named):
            migrate(login)
        assert rows_of("SELECT count(*)::int FROM daily_traffic") == [(0,)]
    migrate(login)
    assert rows_of("SELECT more FROM daily_traffic") == []


def test_a_file_that_was_applied_stays_as_it_was(login: psycopg.Connection[Any], files: Path) -> None:
    migrate(login)
    with as_owner() as owner:  # applied when no checksums were kept
        owner.execute(f"UPDATE {HISTORY} SET checksum = NULL WHERE version = '001_marts'".encode())
    migrate(login)
    for name in ("001_marts.sql", "004_views.sql"):
        path = files / name
        right = path.read_bytes()
        path.write_bytes(right + b"\n")
        with pytest.raises(JobError, match=f"^{name} is not the file that was applied"):
            migrate(login)
        path.write_bytes(right)
    migrate(login)


def _wait_until_it_waits(pid: int) -> None:
    waits = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
    tried = threading.Event()
    with psycopg.connect("", autocommit=True) as connection:
        for _ in range(LIMIT_SECONDS * 20):
            if connection.execute(waits, (pid,)).fetchone() == ("Lock",):
                return
            tried.wait(0.05)
    raise AssertionError("the second migration did not wait")


@pytest.mark.parametrize(
    ("statement", "line", "why"),
    [
        ("SELECT 1 / 0;", 4, "division by zero"),
        (
            "ALTER TABLE half\n    ADD COLUMN other text,\n    ADD CLUMN third text;",
            6,
            'syntax error at or near "text"',
        ),
        ("DROP TABLE nowhere;", 4, 'table "nowhere" does not exist'),
        ("CREATE TABLE daily_traffic (id int);", 4, 'relation "daily_traffic" already exists, not made by this job'),
    ],
    ids=["at run time", "a typing error", "a name", "a name that is taken"],
)
def test_a_migration_that_fails_in_the_middle_leaves_nothing(
    login: psycopg.Connection[Any], files: Path, statement: str, line: int, why: str
) -> None:
    (files / "008_broken.sql").write_text(f"-- A comment.\nCREATE TABLE half (id int);\n\n{statement}\n")
    with pytest.raises(JobError, match=f"^008_broken.sql:{line}: {why}"):
        migrate(login)
    assert owners(login) == {}
    assert rows_of("SELECT to_regclass('half')") == [(None,)]
    (files / "008_broken.sql").unlink()
    migrate(login)
    assert owners(login) == dict.fromkeys(OURS, OWNER)


@pytest.mark.parametrize(
    ("table", "click", "written", "age_text", "state"),
    [
        ("hot", "40 seconds", "1 second", "40 s", "fresh"),
        ("hot", "299 seconds", "1 second", "4 min", "fresh"),
        ("hot", "12 minutes 5 seconds", "1 second", "12 min", "late"),
        ("hot", "-30.9 seconds", "1 second", "30 s", "fresh"),
        ("hot", "-22 hours -5 seconds", "1 second", "in 22 h", "ahead of the clock"),
        ("cold", "3 hours", "1 minute", "3 h", "fresh"),
        ("cold", "47 hours", "29 hours 59 minutes", "47 h", "fresh"),
        ("cold", "53 hours 59 minutes", "1 minute", "2 days", "fresh"),
        ("cold", "54 hours", "1 minute", "2 days", "late"),
        ("cold", "3 hours", "30 hours", "3 h", "late"),
        ("cold", None, "1 minute", None, None),
    ],
)
def test_the_freshness_view_says_in_words_how_old_a_table_is(
    login: psycopg.Connection[Any], table: str, click: str | None, written: str, age_text: str, state: str
) -> None:
    migrate(login)
    if table == "hot":
        login.execute(
            "INSERT INTO mart_realtime_batches VALUES ('q', 1, now() - %s::interval, now() - %s::interval)",
            (click, written),
        )
    else:
        login.execute("INSERT INTO mart_loads VALUES ('daily_traffic', 1, now() - %s::interval)", (written,))
    if table == "cold" and click:
        login.execute(
            "INSERT INTO session_analysis (session_id, visit_no, event_date, click_count, unique_docs, first_click_ts, "
            "last_click_ts, session_duration_sec, reformulation_count, is_bounce, is_anomalous) SELECT 's', 1, now(), "
            "1, 1, t, t, 0, 0, true, false FROM (SELECT now() - %s::interval) AS click (t)",
            (click,),
        )
    found = rows_of("SELECT DISTINCT table_group, age_text, state FROM freshness")
    assert found == [(table, age_text, state)]
