-- What became of each gate and of each suppression of a run.

CREATE TABLE metrics.gate_result (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    run_date date NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    gate text NOT NULL CHECK (gate <> ''),
    passed boolean NOT NULL,
    value double precision,
    says text NOT NULL,
    PRIMARY KEY (run_id, ordinal)
);

CREATE INDEX gates_by_day ON metrics.gate_result (run_date DESC);

COMMENT ON TABLE metrics.gate_result IS
    'One row for each gate of a run: what the result had to keep to, and whether it did.';
COMMENT ON COLUMN metrics.gate_result.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.gate_result.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.gate_result.ordinal IS
    'The place among the gates, as they were given.';
COMMENT ON COLUMN metrics.gate_result.gate IS
    'The gate as it was written.';
COMMENT ON COLUMN metrics.gate_result.passed IS
    'Whether the result keeps to it.';
COMMENT ON COLUMN metrics.gate_result.value IS
    'What was measured: a count, a rate from 0 to 1, or a sum, to 15 digits; empty for '
    'what has no sum.';
COMMENT ON COLUMN metrics.gate_result.says IS
    'The same in a sentence, exact, with the limit.';

CREATE TABLE metrics.suppression (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    run_date date NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    what text NOT NULL,
    column_name text,
    kind text,
    reason text NOT NULL,
    owner text NOT NULL,
    until_date date NOT NULL,
    most bigint CHECK (most >= 1),
    found bigint NOT NULL CHECK (found >= 0),
    state text NOT NULL,
    PRIMARY KEY (run_id, ordinal),
    CONSTRAINT what_is_known CHECK (what IN ('missing', 'extra', 'column')),
    CONSTRAINT only_a_column_has_a_name CHECK (
        (what = 'column') = (column_name IS NOT NULL)
        AND (kind IS NULL OR column_name IS NOT NULL)
    ),
    CONSTRAINT state_is_known CHECK (
        state IN ('active', 'unused', 'expired', 'exceeded')
    ),
    CONSTRAINT only_what_is_accepted_is_active CHECK (
        state <> 'active' OR (run_date <= until_date AND found <= coalesce(most, found))
    )
);

CREATE INDEX suppressions_by_day ON metrics.suppression (run_date DESC);

COMMENT ON TABLE metrics.suppression IS
    'One row for each suppression of a run: known differences, and how many there were.';
COMMENT ON COLUMN metrics.suppression.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.suppression.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.suppression.ordinal IS
    'The place among the suppressions: the first that fits a difference counts it.';
COMMENT ON COLUMN metrics.suppression.what IS
    'missing, extra, or column.';
COMMENT ON COLUMN metrics.suppression.column_name IS
    'The column whose differences are known.';
COMMENT ON COLUMN metrics.suppression.kind IS
    'The kind of difference, if it is only one.';
COMMENT ON COLUMN metrics.suppression.reason IS
    'Why they are accepted.';
COMMENT ON COLUMN metrics.suppression.owner IS
    'Who accepts them.';
COMMENT ON COLUMN metrics.suppression.until_date IS
    'The last day on which they are.';
COMMENT ON COLUMN metrics.suppression.most IS
    'How many rows, or cells of the column, are accepted.';
COMMENT ON COLUMN metrics.suppression.found IS
    'How many there were.';
COMMENT ON COLUMN metrics.suppression.state IS
    'active: not left to the gates. unused: nothing was found. expired, exceeded: the run '
    'failed its gates.';

CREATE TRIGGER results_are_final
    BEFORE UPDATE OR DELETE OR TRUNCATE ON metrics.gate_result
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
CREATE TRIGGER results_are_final
    BEFORE UPDATE OR DELETE OR TRUNCATE ON metrics.suppression
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
