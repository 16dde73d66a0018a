-- Which run of the ETL the cold tables hold: the next load brings what has changed since, and never an older one.

ALTER TABLE mart_loads
    ADD COLUMN run_id       text,
    ADD COLUMN run_ended_at timestamptz;
