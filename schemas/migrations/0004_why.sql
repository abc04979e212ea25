-- Why two files differ: changes, control totals, segments, and what would explain them.

CREATE TABLE metrics.mismatch_pattern (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    run_date date NOT NULL,
    column_name text NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    place integer NOT NULL CHECK (place >= 0),
    old_value text NOT NULL,
    new_value text NOT NULL,
    kind text NOT NULL,
    rows bigint NOT NULL CHECK (rows > 0),
    example jsonb NOT NULL CHECK (jsonb_typeof(example) = 'object'),
    distinct_changes bigint NOT NULL CHECK (distinct_changes > place),
    PRIMARY KEY (run_id, ordinal, place)
);

COMMENT ON TABLE metrics.mismatch_pattern IS
    'The commonest changes of each column of a run, with their values: protect it.';
COMMENT ON COLUMN metrics.mismatch_pattern.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.mismatch_pattern.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.mismatch_pattern.column_name IS
    'The name of the column, as in OLD.';
COMMENT ON COLUMN metrics.mismatch_pattern.ordinal IS
    'The place of the column among those that differ.';
COMMENT ON COLUMN metrics.mismatch_pattern.place IS
    'The place of the change in the column, the commonest first.';
COMMENT ON COLUMN metrics.mismatch_pattern.old_value IS
    'The value in OLD.';
COMMENT ON COLUMN metrics.mismatch_pattern.new_value IS
    'The value in NEW; behind a mask it may look like that of OLD.';
COMMENT ON COLUMN metrics.mismatch_pattern.kind IS
    'The kind of the difference.';
COMMENT ON COLUMN metrics.mismatch_pattern.rows IS
    'Matched pairs with this very change.';
COMMENT ON COLUMN metrics.mismatch_pattern.example IS
    'The key of one: an object from key column to value.';
COMMENT ON COLUMN metrics.mismatch_pattern.distinct_changes IS
    'How many distinct changes the column has, shown here or not.';

CREATE TABLE metrics.control_total (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    run_date date NOT NULL,
    column_name text NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    old_total numeric NOT NULL,
    new_total numeric NOT NULL,
    delta numeric NOT NULL GENERATED ALWAYS AS (new_total - old_total) STORED,
    missing_total numeric NOT NULL,
    extra_total numeric NOT NULL,
    PRIMARY KEY (run_id, ordinal)
);

COMMENT ON TABLE metrics.control_total IS
    'One row for each column of amounts of a run: exact sums over what differs.';
COMMENT ON COLUMN metrics.control_total.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.control_total.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.control_total.column_name IS
    'The name of the column, as in OLD.';
COMMENT ON COLUMN metrics.control_total.ordinal IS
    'The place of the column among those that have totals.';
COMMENT ON COLUMN metrics.control_total.old_total IS
    'The sum in OLD over the matched pairs that differ anywhere.';
COMMENT ON COLUMN metrics.control_total.new_total IS
    'The sum in NEW over the same pairs.';
COMMENT ON COLUMN metrics.control_total.delta IS
    'By how much NEW is more than OLD over all matched pairs.';
COMMENT ON COLUMN metrics.control_total.missing_total IS
    'The sum over the rows in OLD only.';
COMMENT ON COLUMN metrics.control_total.extra_total IS
    'The sum over the rows in NEW only.';

CREATE TABLE metrics.segment (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    run_date date NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    differs text NOT NULL CHECK (differs IN ('mismatched', 'missing', 'extra')),
    column_name text NOT NULL,
    value text NOT NULL,
    rows bigint NOT NULL CHECK (rows > 0),
    share double precision NOT NULL CHECK (share > 0 AND share <= 1),
    base double precision NOT NULL CHECK (base > 0 AND base <= 1),
    lift double precision NOT NULL GENERATED ALWAYS AS (share / base) STORED,
    PRIMARY KEY (run_id, ordinal)
);

COMMENT ON TABLE metrics.segment IS
    'The values that differences of a run concentrate in: protect it.';
COMMENT ON COLUMN metrics.segment.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.segment.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.segment.ordinal IS
    'The place in the list.';
COMMENT ON COLUMN metrics.segment.differs IS
    'Of which rows this is told: mismatched, missing or extra.';
COMMENT ON COLUMN metrics.segment.column_name IS
    'The name of the column, as in OLD.';
COMMENT ON COLUMN metrics.segment.value IS
    'The value that is frequent in these rows.';
COMMENT ON COLUMN metrics.segment.rows IS
    'How many of these rows have it.';
COMMENT ON COLUMN metrics.segment.share IS
    'Which share of these rows that is.';
COMMENT ON COLUMN metrics.segment.base IS
    'Which share of all rows of the file has it, by a sample.';
COMMENT ON COLUMN metrics.segment.lift IS
    'How many times as frequent it is in these rows.';

CREATE TABLE metrics.hint (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    run_date date NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    kind text NOT NULL,
    column_name text NOT NULL,
    flag text NOT NULL,
    count bigint NOT NULL CHECK (count >= 0),
    total bigint NOT NULL CHECK (total >= count),
    text text NOT NULL,
    PRIMARY KEY (run_id, ordinal)
);

COMMENT ON TABLE metrics.hint IS
    'What would explain differences of a run, with the flag to add; never applied.';
COMMENT ON COLUMN metrics.hint.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.hint.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.hint.ordinal IS
    'The place in the list.';
COMMENT ON COLUMN metrics.hint.kind IS
    'rule, key_rule, drop_key, rename, or unique_key.';
COMMENT ON COLUMN metrics.hint.column_name IS
    'The column it is about.';
COMMENT ON COLUMN metrics.hint.flag IS
    'The option to add, quoted for a shell.';
COMMENT ON COLUMN metrics.hint.count IS
    'How many differences that would explain, as measured.';
COMMENT ON COLUMN metrics.hint.total IS
    'Of how many.';
COMMENT ON COLUMN metrics.hint.text IS
    'What was found, in a sentence without values.';

CREATE TRIGGER results_are_final
    BEFORE UPDATE OR DELETE OR TRUNCATE ON metrics.control_total
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
CREATE TRIGGER results_are_final
    BEFORE UPDATE OR DELETE OR TRUNCATE ON metrics.hint
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
CREATE TRIGGER values_can_only_be_deleted
    BEFORE UPDATE ON metrics.mismatch_pattern
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
CREATE TRIGGER values_can_only_be_deleted
    BEFORE UPDATE ON metrics.segment
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
