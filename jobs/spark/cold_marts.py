"""The four cold tables, as SQL of the curated clicks. Each metric is defined here and nowhere else.

What each column means is in columns_cold.py. A Spark partition is either some complete sessions, or some months and
the week before them: a visit depends on its session's clicks, a day's row on that day's clicks, and is compared with
one a week before. Sums are of integers: the same bytes in any order, on any number of hosts.
"""

from __future__ import annotations

from typing import Final

from jobs.event import UNKNOWN_AREA
from jobs.spark import tables
from jobs.spark.anomaly_rules import ANOMALOUS, TIMED
from jobs.spark.columns import Table, schema
from jobs.spark.columns_cold import CLINICAL_AREAS, DAILY_TRAFFIC, POPULAR_DOCUMENTS, SESSION_ANALYSIS
from jobs.spark.partition_sql import MART, cast, union
from jobs.spark.visits import in_visits

LATE_MS: Final = 10 * 60 * 1000  # less than that is only out of order
# The columns that compare a count with that of so many days before.
CHANGES: Final[dict[str, dict[str, tuple[str, int]]]] = {
    tables.DAILY_TRAFFIC: {"dod_pct": ("total_events", 1), "wow_pct": ("total_events", 7)},
    tables.CLINICAL_AREAS: {"wow_pct": ("search_count", 7)},
    tables.POPULAR_DOCUMENTS: {"wow_pct": ("view_count", 7)},
}
MOST_DAYS_BACK: Final = max(days for changes in CHANGES.values() for _, days in changes.values())
_HOST: Final = r"^\w[\w+.-]*://(?:[^/?#]*@)?([^/?#:]+)"
# A numerator divisible by every number of areas and place up to 40 (the smallest such number):
# integer sums are the same in any order; sums of fractions are not.
_WHOLE: Final = 5_342_931_457_063_200


def _sum_of(number: str) -> str:
    """The sum of 1 / number."""
    wholes = f"sum({_WHOLE} // {number})"
    return f"({wholes} // {_WHOLE} + {wholes} % {_WHOLE} / {_WHOLE})"


def _change(table: Table, name: str) -> str:
    """In percent; null if there is no row for the day to compare with."""
    count, days = CHANGES[table.name][name]
    key = "".join(f" AND before.{column} = now.{column}" for column in table.key if column != "event_date")
    before = f"(SELECT before.{count} FROM counted AS before WHERE before.event_date = now.event_date - {days}{key})"
    return f"100 * (now.{count} - {before}) / {before} AS {name}"


# One row per visit.
SESSIONS: Final = {
    **in_visits("session_id, event_id, event_ts, document_id, query, click_rank, clinical_areas"),
    "timed": TIMED,
    "anomalous": ANOMALOUS,
    "searches": "SELECT session_id, visit_no, search_no, min(click_rank) AS best_rank FROM visits GROUP BY ALL",
    "searched": f"""
SELECT session_id, visit_no, {_sum_of("best_rank")} / count(best_rank) AS mrr
FROM searches
GROUP BY ALL
""",
    "per_area": """
SELECT session_id, visit_no, area, count(*) AS clicks
FROM (SELECT session_id, visit_no, unnest(clinical_areas) AS area FROM visits)
GROUP BY ALL
""",
    "areas": """
SELECT session_id, visit_no, count(*) AS distinct_areas, arg_min(area, (-clicks, area)) AS top_area
FROM per_area
GROUP BY ALL
""",
    "figures": """
SELECT session_id, visit_no,
    make_timestamp(min(event_ts))::date AS event_date,
    count(*) AS click_count,
    count(DISTINCT document_id) AS unique_docs,
    min(event_ts) AS first_click_ts,
    max(event_ts) AS last_click_ts,
    (max(ms) - min(ms)) / 1000 AS session_duration_sec,
    count(DISTINCT query) AS query_count,
    max(search_no) - min(search_no) + 1 AS search_count,
    count_if(is_reformulation) AS reformulation_count,
    avg(click_rank) AS avg_click_rank,
    median(gap_ms) / 1000 AS median_gap_sec,
    count(*) = 1 AS is_bounce
FROM visits
GROUP BY session_id, visit_no
""",
    SESSION_ANALYSIS.name: """
SELECT figures.*, mrr, coalesce(distinct_areas, 0) AS distinct_areas, top_area,
    (session_id, visit_no) IN (FROM anomalous) AS is_anomalous
FROM figures
JOIN searched USING (session_id, visit_no)
LEFT JOIN areas USING (session_id, visit_no)
""",
}

# What daily_traffic has of the visits that began on a day, from rows of session_analysis.
VISITED: Final = {
    "visited": """
SELECT event_date,
    count_if(is_bounce) / count(*) AS bounce_rate,
    quantile_cont(session_duration_sec, 0.5) FILTER (NOT is_bounce) AS median_duration_sec,
    quantile_cont(session_duration_sec, 0.95) FILTER (NOT is_bounce) AS p95_duration_sec
FROM input
GROUP BY event_date
"""
}

# A topic that was deleted and recreated counts its offsets from 0 again. `records` are those of `input`, which has the
# first record of each such topic and partition too; `since` and `until` say when Kafka had the records that have
# their offsets in the same topic.
_RECORDS: Final = {
    "starts": """
SELECT topic, "partition", 0 AS since FROM input
UNION
SELECT topic, "partition", kafka_ts FROM input WHERE "offset" = 0
""",
    "topics": f"""
SELECT *, lead(since, 1, {2**63 - 1}) OVER (PARTITION BY topic, "partition" ORDER BY since) AS until FROM starts
""",
    "records": """
SELECT input.*, since, until
FROM input
JOIN topics USING (topic, "partition")
WHERE kafka_ts >= since AND kafka_ts < until
""",
}
_RUNS: Final = """
SELECT topic, "partition", "offset", since, until,
    "offset" - dense_rank() OVER (PARTITION BY topic, "partition", since ORDER BY "offset") AS run
"""

# The runs of records in quarantine (`is_bad`): how many, directly after which record in Kafka.
BEHIND: Final = {
    **_RECORDS,
    "runs": f"{_RUNS}FROM records WHERE is_bad",
    "behind": """
SELECT topic, "partition", min("offset") - 1 AS "offset", since, until, count(*) AS records
FROM runs
GROUP BY topic, "partition", since, until, run
""",
}

# The places directly before the runs with a record that entered or left the quarantine: `input` has all records
# in it, and with `came` (1 or -1) those that moved.
MOVED: Final = {
    **_RECORDS,
    "moved": """
SELECT topic, "partition", "offset", since, until
FROM records
WHERE came IS NOT NULL
GROUP BY topic, "partition", "offset", since, until, kafka_ts
HAVING sum(came) <> 0
""",
    "places": """
SELECT DISTINCT topic, "partition", "offset", since, until FROM records WHERE is_bad AND came IS NULL
UNION
FROM moved
""",
    "runs": f"{_RUNS}FROM places",
    "before": """
SELECT topic, "partition", min("offset") - 1 AS "offset", since, until
FROM runs
GROUP BY topic, "partition", since, until, run
HAVING count_if((topic, "partition", "offset", since, until) IN (FROM moved)) > 0
""",
}

# The rows of the tables by day, of clicks of some months and, as `is_earlier`, of the days that they are compared with;
# `visited` and `behind` are what the queries of these names have found.
DAYS: Final = {
    **in_visits(
        'event_date, is_earlier, session_id, event_id, topic, "partition", "offset", kafka_ts, event_ts, source_ts, '
        "document_id, query, click_rank, clinical_areas"
    ),
    # -- daily_traffic
    "days": """
SELECT event_date, is_earlier,
    count(*) AS total_events,
    count(DISTINCT session_id) AS unique_sessions,
    count(DISTINCT document_id) AS unique_documents,
    count(DISTINCT query) AS unique_queries,
    count(click_rank) / count(*) AS rank_coverage,
    count_if(query IS NULL) / count(*) AS no_query_share
FROM visits
GROUP BY event_date, is_earlier
""",
    "records": "SELECT event_date, count(*) AS records FROM input GROUP BY event_date",
    "hours": "SELECT event_date, ms // 3600000 % 24 AS hour, count(*) AS clicks FROM visits GROUP BY ALL",
    "peaks": "SELECT event_date, arg_min(hour, (-clicks, hour)) AS peak_hour FROM hours GROUP BY event_date",
    "searches": """
SELECT event_date, session_id, search_no, min(id) AS search_id, min(click_rank) AS best_rank
FROM visits
GROUP BY ALL
""",
    "searched": f"""
SELECT event_date,
    count_if(best_rank = 1) / count(*) AS ctr_at_1,
    {_sum_of("best_rank")} / count(*) AS mean_reciprocal_rank
FROM searches
WHERE best_rank IS NOT NULL
GROUP BY event_date
""",
    # By the order in which the records of a day of a replay came.
    "came": """
SELECT event_date, max(ms) OVER (
        PARTITION BY event_date, topic, "partition", ms - source_ts // 1000
        ORDER BY kafka_ts, "offset", event_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) - ms AS behind_ms
FROM clicks
""",
    "late": f"SELECT event_date, count(*) FILTER (behind_ms > {LATE_MS}) AS late_count FROM came GROUP BY event_date",
    "quarantined": """
SELECT event_date, sum(behind.records) AS quarantined_count
FROM input
JOIN behind USING (topic, "partition", "offset")
WHERE kafka_ts >= since AND kafka_ts < until
GROUP BY event_date
""",
    DAILY_TRAFFIC.name: f"""
WITH counted AS (FROM days)
SELECT event_date, total_events, unique_sessions, unique_documents, peak_hour, unique_queries,
    total_events / unique_sessions AS clicks_per_session,
    bounce_rate, median_duration_sec, p95_duration_sec, ctr_at_1, mean_reciprocal_rank, rank_coverage, no_query_share,
    {_change(DAILY_TRAFFIC, "dod_pct")},
    {_change(DAILY_TRAFFIC, "wow_pct")},
    records - total_events AS duplicate_count,
    coalesce(quarantined_count, 0) AS quarantined_count,
    late_count
FROM days AS now
JOIN records USING (event_date)
JOIN peaks USING (event_date)
JOIN late USING (event_date)
LEFT JOIN searched USING (event_date)
LEFT JOIN visited USING (event_date)
LEFT JOIN quarantined USING (event_date)
WHERE NOT is_earlier
""",
    # -- clinical_areas
    "in_areas": f"""
SELECT event_date, is_earlier, session_id, document_id,
    greatest(coalesce(len(clinical_areas), 0), 1) AS areas,
    unnest(CASE WHEN len(clinical_areas) > 0 THEN clinical_areas ELSE ['{UNKNOWN_AREA}'] END) AS clinical_area
FROM visits
""",
    "areas": f"""
SELECT event_date, is_earlier, clinical_area,
    count(*) AS search_count,
    count(DISTINCT session_id) AS unique_sessions,
    {_sum_of("areas")} AS weighted_clicks,
    count(DISTINCT document_id) AS unique_documents
FROM in_areas
GROUP BY event_date, is_earlier, clinical_area
""",
    CLINICAL_AREAS.name: f"""
WITH counted AS (FROM areas)
SELECT event_date, clinical_area, search_count, now.unique_sessions, weighted_clicks,
    search_count / total_events AS click_share,
    now.unique_documents,
    row_number() OVER (
        PARTITION BY event_date ORDER BY search_count DESC, now.unique_sessions DESC, clinical_area
    ) AS rank_in_day,
    {_change(CLINICAL_AREAS, "wow_pct")}
FROM areas AS now
JOIN days USING (event_date)
WHERE NOT now.is_earlier
""",
    # -- popular_documents
    "texts": f"""
SELECT event_date, document_id, event_ts, event_id,
    nullif(title, '') AS title,
    nullif(doi, '') AS doi,
    nullif(regexp_extract(lower(replace(url, 'İ', 'i̇')), '{_HOST}', 1), '') AS url_host
FROM input
WHERE NOT is_earlier
""",
    "latest": """
SELECT event_date, document_id,
    arg_max(title, (event_ts, event_id)) AS title,
    arg_max(doi, (event_ts, event_id)) AS doi,
    arg_max(url_host, (event_ts, event_id)) AS url_host
FROM texts
GROUP BY event_date, document_id
""",
    "documents": """
SELECT event_date, is_earlier, document_id,
    count(*) AS view_count,
    count(DISTINCT session_id) AS unique_sessions,
    avg(click_rank) AS avg_click_rank
FROM visits
GROUP BY event_date, is_earlier, document_id
""",
    "in_searches": """
SELECT id, event_date, search_id, document_id, click_rank
FROM visits
JOIN searches USING (event_date, session_id, search_no)
WHERE NOT is_earlier
""",
    # Twenty times as many documents are shown as clicked: only those that were clicked on that day count.
    "shown": """
SELECT DISTINCT event_date, search_id, document_id
FROM (
    SELECT event_date, search_id, unnest(pages.documents) AS document_id
    FROM in_searches
    JOIN (SELECT rowid AS id, documents FROM input) AS pages USING (id)
)
SEMI JOIN documents USING (event_date, document_id)
""",
    "chosen": "SELECT DISTINCT search_id, document_id FROM in_searches WHERE click_rank IS NOT NULL",
    "impressions": """
SELECT event_date, shown.document_id, count(*) AS impressions, count(chosen.search_id) / count(*) AS ctr
FROM shown
LEFT JOIN chosen USING (search_id, document_id)
GROUP BY event_date, shown.document_id
""",
    POPULAR_DOCUMENTS.name: f"""
WITH counted AS (FROM documents)
SELECT event_date, document_id, title, view_count, unique_sessions,
    row_number() OVER (
        PARTITION BY event_date ORDER BY unique_sessions DESC, view_count DESC, document_id
    ) AS rank_in_day,
    doi, url_host, impressions, ctr, avg_click_rank,
    {_change(POPULAR_DOCUMENTS, "wow_pct")}
FROM documents AS now
JOIN latest USING (event_date, document_id)
LEFT JOIN impressions USING (event_date, document_id)
WHERE NOT is_earlier
""",
}
BY_DAY: Final = (DAILY_TRAFFIC, CLINICAL_AREAS, POPULAR_DOCUMENTS)
DAYS_OF_ALL: Final = {
    **DAYS,
    "all_marts": union(BY_DAY),
}
ROWS_BY_DAY: Final = {
    table.name: f"SELECT {cast(schema(table))} FROM all_marts WHERE {MART} = '{table.name}'" for table in BY_DAY
}
