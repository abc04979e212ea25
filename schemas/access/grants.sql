-- What the roles of roles.sql may do, if there are any; `recon migrate` brings it up to
-- date each time it is run by the owner of the tables.
--
-- recon_app may change three tables: the log of runs, whose trigger keeps ended rows
-- final, the breaks, which are carried on from run to run, and the claims on files, which
-- pass on when a run ends without a result.

DO $$
BEGIN
    IF (SELECT count(*) FROM pg_roles WHERE rolname IN ('recon_app', 'recon_read')) < 2
        OR NOT pg_has_role(
            (SELECT nspowner FROM pg_namespace WHERE nspname = 'metrics'), 'USAGE'
        )
    THEN
        RETURN;
    END IF;

    GRANT USAGE ON SCHEMA metrics, stage TO recon_app, recon_read;
    GRANT CREATE ON SCHEMA stage TO recon_app;
    GRANT SELECT ON ALL TABLES IN SCHEMA metrics TO recon_app, recon_read;
    GRANT INSERT ON ALL TABLES IN SCHEMA metrics TO recon_app;
    REVOKE INSERT ON metrics.schema_migration FROM recon_app;
    GRANT UPDATE ON metrics.pipeline_run_log TO recon_app;
    GRANT UPDATE, DELETE ON metrics.break TO recon_app;
    GRANT UPDATE ON metrics.file_claim TO recon_app;
    GRANT EXECUTE ON FUNCTION metrics.files_of, metrics.claim_files TO recon_app;
    GRANT EXECUTE ON FUNCTION metrics.accepts_break, metrics.judge_narrow
        TO recon_app, recon_read;
    IF has_database_privilege(current_database(), 'TEMPORARY WITH GRANT OPTION') THEN
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO recon_app', current_database());
    END IF;
END
$$;
