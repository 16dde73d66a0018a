"""The Spark jobs: Kafka → lake → marts. A job has parser() and run(), and imports Spark only when it runs.

* streaming_curated, archive_raw: Kafka → lake. Their parts: streaming (the loop), kafka_*, events, contract_arrow,
  tally, overlap, writer.
* analytics_mart_etl, load_postgres: the cold tables. Their parts: cold_*, visits, anomaly_rules; of an incremental run,
  incremental and changed_visits.
* search_marts_etl, load_search_marts: the search tables. Their parts: searches, search_*.
* analytics_mart_realtime: the hot tables. Its parts: hot_*, recent_clicks, moments.
* quarantine, trace: for people. Parts: quarantine_*.

What several of them share: for marts in the lake etl, mart, mart_load, month_parts and partition_sql; for PostgreSQL
postgres, migrations and sql/; for tables and their meaning tables, columns, columns_* and dictionary; for the lake
one_writer, lease, lease_files, delta_log, upkeep and java/; for Spark itself session and jvm.
"""
