-- Comments in plain words. No table and no value changes.

COMMENT ON COLUMN metrics.break.before IS
    'The break before as_of_run; restored if that pair is compared again.';
COMMENT ON COLUMN metrics.mismatch_by_column.tolerated IS
    'Cells that are equal only under a rule.';
COMMENT ON TABLE metrics.mismatch_pattern IS
    'The most frequent changes of each column of a run, with their values: protect it.';
COMMENT ON COLUMN metrics.mismatch_pattern.place IS
    'The rank of the change in the column, the most frequent first.';
COMMENT ON COLUMN metrics.pipeline_run_log.status IS
    'The state of the attempt, or how it ended; recon statuses explains each.';
COMMENT ON COLUMN metrics.pipeline_run_log.old_name IS
    'The name of the OLD file in inbound.';
COMMENT ON COLUMN metrics.pipeline_run_log.new_name IS
    'The name of the NEW file in inbound.';
COMMENT ON COLUMN metrics.recon_summary.tolerated_cells IS
    'Cells of matched pairs that are equal only under a rule.';
COMMENT ON COLUMN metrics.recon_summary.tolerated_keys IS
    'Matched pairs whose keys are equal only under a rule; 0 in runs before 0009.';
COMMENT ON COLUMN metrics.segment.differs IS
    'The rows that the segment is about: mismatched, missing or extra.';
