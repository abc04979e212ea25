-- The order of results is that of their publications. `now()` is the start of a
-- transaction, which may have waited for another one.

ALTER TABLE metrics.recon_summary
    ALTER COLUMN created_ts SET DEFAULT clock_timestamp();

-- The runs of a pair, whatever their options: which of them is the last is asked by each
-- run and for each row of a history.
CREATE INDEX runs_by_files ON metrics.pipeline_run_log (dataset, old_uri);
