-- Days that should be there and are not. Between two days of more than a year there is no log that is missing, but a
-- replay: its clicks are of today, and those of the history of years before. The day before counts when it is over for
-- a day, for until then its load may be on its way.
CREATE VIEW missing_days AS
WITH clock AS (
    SELECT (now() AT TIME ZONE 'UTC')::date AS today
), neighbours AS (
    SELECT event_date, coalesce(lead(event_date) OVER (ORDER BY event_date), today - 1) AS next_date
    FROM daily_traffic CROSS JOIN clock
)
SELECT day::date AS event_date,
       today - day::date AS days_ago
FROM neighbours
CROSS JOIN clock
CROSS JOIN LATERAL generate_series(event_date + 1, next_date - 1, interval '1 day') AS day
WHERE next_date - event_date <= 366;
