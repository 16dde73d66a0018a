"""The Spark jobs: Kafka → lake → marts. A job has parser() and run(), and imports Spark only when it runs.

Tasks of pipelines/ name the jobs in backticks; the other modules are their parts. Follow a click through them:

1. Kafka → lake: `archive_raw` keeps every record as it came; `streaming_curated` makes clicks of the valid ones and
   quarantines the others. Read streaming (their loop of micro-batches), then
   kafka_required, kafka_records   what must be there in Kafka; its records as a stream
   kafka_lineage                   which of its offsets were read, for who wants to know
   events, contract_arrow          a record → a click, or the reason why it is none (jobs/contract.py decides)
   overlap, writer, tally          each record once in its table; how many were bad
2. Lake → marts in the lake: `analytics_mart_etl` (the cold tables) and `search_marts_etl` (the search tables). Read etl
   (a run: in full, or what has changed) and mart (how it is written), then, where each metric is defined as SQL,
   visits, anomaly_rules           clicks in visits, and when a session is anomalous
   cold_marts                      the cold tables; cold_writer computes them in Spark's tasks
   searches, search_marts          searches of a visit; their tables: search_days, search_snapshots, search_trends, with
                                   search_classes and search_ndcg; search_writer computes them
   incremental, changed_visits     what changed clicks affect
   month_parts, partition_sql      which task computes which months; DuckDB's SQL on each partition
3. Marts → PostgreSQL: `load_postgres` and `load_search_marts`, by mart_load: in one transaction.
4. Lake → PostgreSQL, minutes later: `analytics_mart_realtime`, by hot_stream. Its parts: hot_source (which clicks have
   arrived), recent_clicks (those of 48 hours), hot_marts (the SQL), hot_tables (what is written), moments (times).

For people, from a shell: quarantine (with quarantine_replay, which streaming_curated can run too, and
quarantine_removal), trace (from a table back to Kafka) and dictionary (of all columns).

What the steps share:

* tables: where each table of the lake is; columns, columns_cold, columns_search, columns_hot, columns_views: the tables
  of the marts with the meaning of each column. postgres and migrations (with sql/): PostgreSQL.
* one_writer, lease, lease_files: one writer at a time for a place of the lake. delta_log, upkeep, java/: Delta tables.
* session, jvm: Spark itself.
"""
