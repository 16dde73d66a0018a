-- Only a table's owner may analyze it, and the jobs' login is not: this one thing it may let the owner do.
CREATE FUNCTION analyze_cold_marts() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
    AS 'ANALYZE session_analysis, daily_traffic, clinical_areas, popular_documents';
REVOKE ALL ON FUNCTION analyze_cold_marts() FROM PUBLIC;
