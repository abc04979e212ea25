-- A pair can be reconciled again as a new revision, and what was recorded is history.

ALTER TABLE metrics.pipeline_run_log
    ADD COLUMN revision integer NOT NULL DEFAULT 1 CHECK (revision >= 1);
COMMENT ON COLUMN metrics.pipeline_run_log.revision IS
    'Which result of this pair and configuration it is: --recompute makes the next.';
COMMENT ON COLUMN metrics.pipeline_run_log.run_fp IS
    'The same for the same work: dataset, inputs, configuration, revision. Empty '
    'without a pair.';

-- A statement is refused before it looks at a row, so TRUNCATE is as well.
CREATE FUNCTION metrics.refuse_change_of_history() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION '% of metrics.% is refused: what was recorded is history',
        TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'Of mismatch_detail_sample, which holds values, rows can be '
                  'deleted.';
END
$$;
COMMENT ON FUNCTION metrics.refuse_change_of_history() IS
    'Refuses to change or delete the results of runs.';

CREATE TRIGGER the_log_is_never_emptied
    BEFORE TRUNCATE ON metrics.pipeline_run_log
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
CREATE TRIGGER results_are_final
    BEFORE UPDATE OR DELETE OR TRUNCATE ON metrics.recon_summary
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
CREATE TRIGGER results_are_final
    BEFORE UPDATE OR DELETE OR TRUNCATE ON metrics.mismatch_by_column
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
CREATE TRIGGER results_are_final
    BEFORE UPDATE OR DELETE OR TRUNCATE ON metrics.mismatch_signature
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
CREATE TRIGGER results_are_final
    BEFORE UPDATE OR DELETE OR TRUNCATE ON metrics.artifact
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
CREATE TRIGGER values_can_only_be_deleted
    BEFORE UPDATE ON metrics.mismatch_detail_sample
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
