-- The order of results is that of their publications. `now()` is the start of a
-- transaction, which may have waited for another one.

ALTER TABLE metrics.recon_summary
    ALTER COLUMN created_ts SET DEFAULT clock_timestamp();
