-- What rules did: keys that are equal only by a rule, and the values that each rule read.

ALTER TABLE metrics.recon_summary
    ADD COLUMN tolerated_keys bigint NOT NULL DEFAULT 0 CHECK (tolerated_keys >= 0);

COMMENT ON COLUMN metrics.recon_summary.tolerated_keys IS
    'Matched pairs whose keys are equal only thanks to a rule; 0 in runs before 0009.';

CREATE TABLE metrics.rule_count (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    run_date date NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    column_name text NOT NULL,
    rule text NOT NULL,
    counted text NOT NULL CHECK (counted IN ('keys', 'cells')),
    every_column boolean NOT NULL,
    old_read bigint NOT NULL CHECK (old_read >= 0),
    old_unread bigint NOT NULL CHECK (old_unread >= 0),
    new_read bigint NOT NULL CHECK (new_read >= 0),
    new_unread bigint NOT NULL CHECK (new_unread >= 0),
    made_equal bigint NOT NULL CHECK (made_equal >= 0),
    PRIMARY KEY (run_id, ordinal)
);

COMMENT ON TABLE metrics.rule_count IS
    'One row for each rule of each column of a run: the values it read and made equal.';
COMMENT ON COLUMN metrics.rule_count.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.rule_count.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.rule_count.ordinal IS
    'The place in the list: columns as in OLD, key first; rules as they are applied.';
COMMENT ON COLUMN metrics.rule_count.column_name IS
    'The name of the column, as in OLD.';
COMMENT ON COLUMN metrics.rule_count.rule IS
    'The rule as it was given.';
COMMENT ON COLUMN metrics.rule_count.counted IS
    'keys: the values of all rows not set aside; cells: those whose bytes differ in pairs.';
COMMENT ON COLUMN metrics.rule_count.every_column IS
    'Whether the rule was given for all columns, by *.';
COMMENT ON COLUMN metrics.rule_count.old_read IS
    'Values of OLD that the rule read; blank ones are not counted.';
COMMENT ON COLUMN metrics.rule_count.old_unread IS
    'Values of OLD that the rule did not read.';
COMMENT ON COLUMN metrics.rule_count.new_read IS
    'Values of NEW that the rule read; blank ones are not counted.';
COMMENT ON COLUMN metrics.rule_count.new_unread IS
    'Values of NEW that the rule did not read.';
COMMENT ON COLUMN metrics.rule_count.made_equal IS
    'Pairs of values that are unequal before this rule of the column and equal after it.';

CREATE TRIGGER results_are_final
    BEFORE UPDATE OR DELETE OR TRUNCATE ON metrics.rule_count
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();

-- Control totals are named for what they are.
COMMENT ON COLUMN metrics.control_total.old_total IS
    'The sum in OLD over the changed cells alone: those that differ in matched pairs, tolerated or not.';
COMMENT ON COLUMN metrics.control_total.new_total IS
    'The sum in NEW over the same cells.';
COMMENT ON COLUMN metrics.control_total.delta IS
    'By how much NEW is more than OLD over the changed cells, and so over all matched pairs.';
