-- Comments by the terms of the docs. No table and no value changes.

COMMENT ON COLUMN metrics.hint.kind IS
    'rule, key_rule, drop_key, rename, unique_key, damage, or split.';
COMMENT ON COLUMN metrics.hint.flag IS
    'The option to add, quoted for a shell; empty for split and damage, which only describe.';
COMMENT ON COLUMN metrics.recon_summary.unpairable_old IS
    'Rows of OLD that could not be paired: a derived column, a filter, a sum or a code table could not read one of their values.';
COMMENT ON COLUMN metrics.recon_summary.unpairable_new IS
    'Rows of NEW that could not be paired: a derived column, a filter, a sum or a code table could not read one of their values.';
COMMENT ON COLUMN metrics.recon_summary.rejected_old IS
    'Rows of OLD that were quarantined as malformed.';
COMMENT ON COLUMN metrics.recon_summary.rejected_new IS
    'Rows of NEW that were quarantined as malformed.';
COMMENT ON COLUMN metrics.rule_count.counted IS
    'keys, values: the values of all rows that could be paired; cells: those whose bytes differ in pairs.';
COMMENT ON COLUMN metrics.break.locator IS
    'For a key that hmac masks: its digest, encrypted with the mask key. Empty otherwise.';
COMMENT ON COLUMN metrics.break.book IS
    'Identifier of the book: equal for equal dataset and key columns.';
COMMENT ON COLUMN metrics.break_summary.book IS
    'Identifier of the book: equal for equal dataset and key columns.';
COMMENT ON COLUMN metrics.break_summary.pair IS
    'Identifier of the pair of files: equal for the same two files under any options.';
COMMENT ON COLUMN metrics.pipeline_run_log.run_fp IS
    'Fingerprint of the work: equal for equal dataset, inputs, configuration and revision. Empty without a pair.';
