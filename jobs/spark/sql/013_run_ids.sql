-- Which run of a DAG wrote what is there, and all loads that there have been: the way back from a row to its clicks.

ALTER TABLE mart_realtime_batches ADD COLUMN written_by text;

CREATE TABLE mart_load_history (
    table_name text        NOT NULL,
    loaded_at  timestamptz NOT NULL,
    loaded_by  text,
    run_id     text        NOT NULL,
    row_count  bigint      NOT NULL,
    PRIMARY KEY (table_name, loaded_at)
);
