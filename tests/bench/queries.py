"""`make bench-queries`: the queries of all charts, on marts of eight years, in a PostgreSQL of its own.

The marts are made in the database: 2,850 days, 1.6 M visits, 4.6 M document-days, a row for each minute. Each query's
median of RUNS in milliseconds, and how much faster it is than without indexes; exit 1 when one takes LIMIT_MS or more.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from jobs.spark.migrations import OWNER, migrate
from jobs.spark.postgres import connect
from stack.home import Home
from stack.postgresql import PostgreSql
from stack.settings import DASHBOARDS
from tests.chart_sql import of_charts

if TYPE_CHECKING:
    import psycopg

LIMIT_MS = 100
RUNS = 7
DAYS = 2850
FILL = (
    """INSERT INTO daily_traffic (event_date, total_events, unique_sessions, unique_documents, peak_hour, wow_pct)
       SELECT date '2013-01-01' + d, 1850, 560, 1600, 13, d % 40 - 20 FROM generate_series(0, {days} - 1) AS d""",
    """INSERT INTO clinical_areas (event_date, clinical_area, search_count, unique_sessions, weighted_clicks)
       SELECT date '2013-01-01' + d, CASE a WHEN 0 THEN 'Cardiology' ELSE 'Area ' || a END, 80, 60, 61.7
       FROM generate_series(0, {days} - 1) AS d, generate_series(0, 29) AS a""",
    """INSERT INTO popular_documents (event_date, document_id, title, view_count, unique_sessions, ctr)
       SELECT date '2013-01-01' + d, n * 37 + (d * 7919 + n * n) % 37,
              'A title of a document, as long as most are ' || n, 1 + 60 / (n + 1), 1 + 40 / (n + 1), 0.1
       FROM generate_series(0, {days} - 1) AS d, generate_series(0, 1599) AS n""",
    """INSERT INTO session_analysis (session_id, visit_no, event_date, click_count, unique_docs, first_click_ts,
                                     last_click_ts, session_duration_sec, reformulation_count, is_bounce, is_anomalous)
       SELECT md5(d || ':' || n), 1, date '2013-01-01' + d, 3, 3, start, start + interval '2 minutes', 120, 1,
              n % 3 = 0, false
       FROM generate_series(0, {days} - 1) AS d, generate_series(0, 561) AS n,
            LATERAL (SELECT timestamptz '2013-01-01 00:00Z' + d * interval '1 day' + n * interval '150 s') s (start)""",
    """INSERT INTO mart_realtime_traffic_minute (event_minute, total_clicks, unique_sessions, unique_docs, is_final)
       SELECT timestamptz '2013-01-01 00:00Z' + m * interval '1 minute', 2, 1, 2, true
       FROM generate_series(0, {days} * 1440 - 1) AS m""",
    """INSERT INTO mart_realtime_top_docs_1h (snapshot_ts, rank, document_id, click_count, unique_sessions)
       SELECT timestamptz '2020-10-20 00:00Z' + s * interval '5 minutes', r, r, 5, 3
       FROM generate_series(0, 2015) AS s, generate_series(1, 20) AS r""",
    """INSERT INTO mart_realtime_top_docs_24h SELECT * FROM mart_realtime_top_docs_1h""",
    """INSERT INTO mart_realtime_clinical_trend_24h (snapshot_ts, clinical_area, click_count, unique_sessions)
       SELECT timestamptz '2020-10-20 00:00Z' + s * interval '5 minutes', 'Area ' || a, 5, 3
       FROM generate_series(0, 2015) AS s, generate_series(0, 29) AS a""",
    """INSERT INTO mart_realtime_anomaly_sessions (session_id, rule_id, window_start, window_end, click_count, severity)
       SELECT md5(a::text), 'clicks_5m', w, w + interval '5 minutes', 60, 'WARNING'
       FROM generate_series(0, {days} * 2) AS a,
            LATERAL (SELECT timestamptz '2013-01-01 00:00Z' + a * interval '12 hours' AS w) AS s""",
    """INSERT INTO click_positions
       SELECT date '2013-01-01' + d, r, 900, 90, 50, 60, 100
       FROM generate_series(0, {days} - 1) AS d, generate_series(0, 20) AS r""",
    """INSERT INTO search_quality (event_date, query_class, searches, clicks, visits, known_searches, refined,
                                   first_result, top_3, top_10, rr_sum, units, rr_sq, rr_n, n_sq, first_sq, first_n)
       SELECT date '2013-01-01' + d, c, 900, 1850, 560, 890, 400, 350, 600, 800, 480, 550, 500, 700, 900, 400, 500
       FROM generate_series(0, {days} - 1) AS d, unnest(ARRAY['all', 'head', 'torso', 'tail', 'new', 'none']) AS c""",
    """INSERT INTO popular_queries (event_date, query, clicks, searches, sessions, known_searches, first_result,
                                    top_10, rr_sum, refined, query_class)
       SELECT date '2013-01-01' + d, 'a query of some words ' || n * 37 + (d * 7919 + n * n) % 37, 4, 2, 2, 2, 1, 2,
              1.5, 1, 'torso'
       FROM generate_series(0, {days} - 1) AS d, generate_series(0, 299) AS n""",
    """INSERT INTO query_change_days
       SELECT date '2013-01-01' + d, k, 80, 79, 40, 79, 40, 30, 35
       FROM generate_series(0, {days} - 1) AS d,
            unnest(ARRAY['new topic', 'same words', 'narrower', 'broader', 'beside it']) AS k""",
    """INSERT INTO hourly_traffic SELECT date '2013-01-01' + d, h, 77, 38, 20
       FROM generate_series(0, {days} - 1) AS d, generate_series(0, 23) AS h""",
    """INSERT INTO query_changes
       SELECT '2020-10-20', 'a query of some words ' || q, 'a query of other words ' || n, 'narrower', 5, 4, 5, 3, 5,
              3, 2, 2, 0.1
       FROM generate_series(0, 1399) AS q, generate_series(0, 1) AS n""",
    """INSERT INTO query_documents (as_of, query, document_id, title, searches, shown, clicked, ctr, avg_rank,
                                    best_rank_shown, expected, p_more, p_less, q_more, q_less, verdict)
       SELECT '2020-10-20', 'a query of some words ' || q, d, 'A title of a document, as long as most are ' || d, 40,
              30, 3, 0.1, 5, 1, 3.5, 0.6, 0.6, 0.9, 0.9, CASE WHEN q % 100 + d = 0 THEN 'shown too high' END
       FROM generate_series(0, 2387) AS q, generate_series(0, 19) AS d""",
    """INSERT INTO trending
       SELECT date '2013-01-01' + d, 'document', (n * 37)::text, 20, 10, 2.5, 8, false, 0.0001, 0.001, n + 1, true
       FROM generate_series(0, {days} - 1) AS d, generate_series(0, 2) AS n""",
    "INSERT INTO mart_realtime_batches VALUES ('q', 1, '2020-10-20', now())",
    "INSERT INTO mart_loads SELECT t, 1 FROM unnest(ARRAY['session_analysis', 'daily_traffic']) AS t",
)
FOUR_WEEKS = ("2020-09-22", "2020-10-20")
YEAR = ("2019-01-01", "2020-01-01")
CHOSEN = {
    "a query's days": ("report_chosen", "query = 'a query of some words 7413'"),
    "a document's days": ("report_chosen", "title = 'A title of a document, as long as most are 1000'"),
    "a query's documents": ("quality_documents", "query = 'a query of some words 700'"),
    "what they ask next": ("quality_changes", "query = 'a query of some words 700'"),
}
OF_A_YEAR = (
    "report_traffic",
    "report_traffic (2)",
    "report_areas",
    "quality_first",
    "quality_interval",
)
QUERIES = {
    **of_charts(FOUR_WEEKS),
    **{f"{name}, a year": of_charts(YEAR)[name] for name in OF_A_YEAR},
    **{name: of_charts(FOUR_WEEKS, {chart: where})[chart] for name, (chart, where) in CHOSEN.items()},
    "a document, by its id": "SELECT event_date, sum(view_count) FROM popular_documents WHERE document_id = 37036 "
    "GROUP BY event_date",
    "freshness": "SELECT * FROM freshness ORDER BY table_name",
    "reconciliation, a month": "SELECT * FROM reconciliation WHERE event_date >= '2020-09-01' "
    "AND event_date < '2020-10-01' ORDER BY event_date DESC",
}


def main() -> int:
    """Fill, ask, print."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user than root
        server = PostgreSql(Home(Path(folder), any_port=True))
        superset = yaml.safe_load((DASHBOARDS / "databases" / "tripclick.yaml").read_text(encoding="utf-8"))
        try:
            server.start()
            os.environ.update(server.connection)
            os.environ["PGOPTIONS"] = superset["extra"]["engine_params"]["connect_args"]["options"]
            with connect() as connection:
                connection.prepare_threshold = None  # a prepared plan would outlive the settings that forbid indexes
                migrate(connection)
                connection.execute(f"SET SESSION ROLE {OWNER}".encode())  # to fill the hot tables and VACUUM them all
                _fill(connection)
                return _ask(connection)
        finally:
            server.stop()


def say(line: str) -> None:
    """Print the line at once."""
    print(line, flush=True)  # noqa: T201


def _fill(connection: psycopg.Connection[Any]) -> None:
    started = time.monotonic()
    for statement in FILL:
        connection.execute(statement.format(days=DAYS).encode())
    connection.execute("VACUUM ANALYZE")
    say(f"filled in {time.monotonic() - started:.0f} s\n")


def _ask(connection: psycopg.Connection[Any]) -> int:
    say(f"{'query':<26}{'rows':>7}{'ms':>9}{'without indexes, ms':>22}{'times':>8}")
    good = True
    for name, query in QUERIES.items():
        rows = len(connection.execute(query.encode()).fetchall())
        with_indexes = _median_ms(connection, query)
        connection.execute("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off")
        without = _median_ms(connection, query, runs=1)
        connection.execute("RESET ALL")
        good &= with_indexes < LIMIT_MS and rows > 0
        say(f"{name:<26}{rows:>7,}{with_indexes:>9.1f}{without:>22,.0f}{without / with_indexes:>8,.0f}")
    say(f"\neach under {LIMIT_MS} ms: {'yes' if good else 'no'}")
    return 0 if good else 1


def _median_ms(connection: psycopg.Connection[Any], query: str, runs: int = RUNS) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        connection.execute(query.encode()).fetchall()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
