-- Constants: one and the same change of most differing cells of a column.

CREATE TABLE metrics.constant_change (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    run_date date NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    column_name text NOT NULL,
    change text NOT NULL,
    changed_by text NOT NULL,
    rows bigint NOT NULL CHECK (rows > 0),
    total bigint NOT NULL CHECK (total >= rows),
    PRIMARY KEY (run_id, ordinal)
);

COMMENT ON TABLE metrics.constant_change IS
    'One row for each column of a run of which most differing cells have one and the same change: protect it.';
COMMENT ON COLUMN metrics.constant_change.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.constant_change.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.constant_change.ordinal IS
    'The place of the column among those that have a constant change.';
COMMENT ON COLUMN metrics.constant_change.column_name IS
    'The name of the column, as in OLD.';
COMMENT ON COLUMN metrics.constant_change.change IS
    'shift, add, multiply, divide, append, prepend, cut_end, or cut_start.';
COMMENT ON COLUMN metrics.constant_change.changed_by IS
    'The span, number or text that the values are changed by.';
COMMENT ON COLUMN metrics.constant_change.rows IS
    'How many cells have this change.';
COMMENT ON COLUMN metrics.constant_change.total IS
    'How many cells of the column differ.';

CREATE TRIGGER values_can_only_be_deleted
    BEFORE UPDATE ON metrics.constant_change
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();
