-- Breaks: the differences of a dataset as they persist from one run to the next.

CREATE TABLE metrics.break_summary (
    run_id uuid PRIMARY KEY REFERENCES metrics.pipeline_run_log,
    ordinal bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    dataset text NOT NULL,
    run_date date NOT NULL,
    book uuid NOT NULL,
    pair uuid NOT NULL,
    tracking text NOT NULL,
    differences bigint NOT NULL CHECK (differences >= 0),
    breaks_new bigint CHECK (breaks_new >= 0),
    breaks_recurring bigint CHECK (breaks_recurring >= 0),
    breaks_changed bigint CHECK (breaks_changed >= 0),
    breaks_resolved bigint CHECK (breaks_resolved >= 0),
    breaks_reopened bigint CHECK (breaks_reopened >= 0),
    breaks_open bigint CHECK (breaks_open >= 0),
    oldest_days integer,
    CONSTRAINT tracking_is_known CHECK (
        tracking IN ('tracked', 'over_limit', 'superseded')
    ),
    CONSTRAINT what_is_tracked_is_counted CHECK (
        (tracking = 'tracked') = (breaks_new IS NOT NULL)
        AND (breaks_new IS NULL) = (breaks_recurring IS NULL)
        AND (breaks_new IS NULL) = (breaks_changed IS NULL)
        AND (breaks_new IS NULL) = (breaks_resolved IS NULL)
        AND (breaks_new IS NULL) = (breaks_reopened IS NULL)
        AND (breaks_new IS NULL) = (breaks_open IS NULL)
    ),
    CONSTRAINT what_was_seen_is_open CHECK (
        breaks_open >= breaks_new + breaks_recurring + breaks_changed + breaks_reopened
    )
);
CREATE INDEX break_summaries_by_dataset
    ON metrics.break_summary (dataset, ordinal DESC);
CREATE INDEX break_summaries_by_book ON metrics.break_summary (book, ordinal DESC);
CREATE TRIGGER results_are_final
    BEFORE UPDATE OR DELETE OR TRUNCATE ON metrics.break_summary
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();

COMMENT ON TABLE metrics.break_summary IS
    'One row for each run that tracked breaks, or could not: what became of them.';
COMMENT ON COLUMN metrics.break_summary.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.break_summary.ordinal IS
    'The order in which the runs were published.';
COMMENT ON COLUMN metrics.break_summary.dataset IS
    'The name of the dataset.';
COMMENT ON COLUMN metrics.break_summary.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.break_summary.book IS
    'The same for the same dataset and key columns: which breaks these are.';
COMMENT ON COLUMN metrics.break_summary.pair IS
    'The same for the same two files, whatever options they were compared with.';
COMMENT ON COLUMN metrics.break_summary.tracking IS
    'tracked; over_limit: too many differences; superseded: a later pair was tracked.';
COMMENT ON COLUMN metrics.break_summary.differences IS
    'Cells that differ, missing and extra rows.';
COMMENT ON COLUMN metrics.break_summary.breaks_new IS
    'Breaks seen for the first time; empty, as those below, if not tracked.';
COMMENT ON COLUMN metrics.break_summary.breaks_recurring IS
    'Breaks that were there before, with the same values.';
COMMENT ON COLUMN metrics.break_summary.breaks_changed IS
    'Breaks that were there before, with other values.';
COMMENT ON COLUMN metrics.break_summary.breaks_resolved IS
    'Breaks that were there before, and are gone.';
COMMENT ON COLUMN metrics.break_summary.breaks_reopened IS
    'Breaks that were resolved, and are back.';
COMMENT ON COLUMN metrics.break_summary.breaks_open IS
    'All breaks that are not resolved, those in columns not compared included.';
COMMENT ON COLUMN metrics.break_summary.oldest_days IS
    'The age of the oldest open break in days; empty if none is open.';


CREATE TABLE metrics.break (
    book uuid NOT NULL,
    break_id uuid NOT NULL,
    dataset text NOT NULL,
    key_text text NOT NULL,
    column_name text,
    kind text NOT NULL,
    occurrences bigint NOT NULL CHECK (occurrences > 0),
    old_value text,
    new_value text,
    content uuid NOT NULL,
    state text NOT NULL,
    as_of date NOT NULL,
    as_of_run uuid NOT NULL,
    first_seen date NOT NULL,
    first_seen_run uuid NOT NULL,
    last_seen date NOT NULL,
    last_seen_run uuid NOT NULL,
    runs_seen integer NOT NULL CHECK (runs_seen > 0),
    before jsonb,
    PRIMARY KEY (book, break_id),
    CONSTRAINT state_is_known CHECK (
        state IN ('new', 'recurring', 'changed', 'resolved', 'reopened')
    ),
    CONSTRAINT a_row_is_missing_or_extra CHECK (
        (column_name IS NULL) = (kind IN ('missing', 'extra'))
    ),
    CONSTRAINT a_cell_has_both_values CHECK (
        (column_name IS NULL) = (old_value IS NULL)
        AND (column_name IS NULL) = (new_value IS NULL)
    )
) WITH (fillfactor = 80);
CREATE INDEX open_breaks ON metrics.break (book, first_seen) WHERE state <> 'resolved';

COMMENT ON TABLE metrics.break IS
    'One row for each difference that persists over runs, with its values: protect it.';
COMMENT ON COLUMN metrics.break.book IS
    'The same for the same dataset and key columns.';
COMMENT ON COLUMN metrics.break.break_id IS
    'A hash of the key and of the column, or of missing or extra.';
COMMENT ON COLUMN metrics.break.dataset IS
    'The name of the dataset.';
COMMENT ON COLUMN metrics.break.key_text IS
    'The key to read: the plain value, or a JSON array for several key columns.';
COMMENT ON COLUMN metrics.break.column_name IS
    'The column that differs; empty where the whole row is missing or extra.';
COMMENT ON COLUMN metrics.break.kind IS
    'The kind of difference, or missing, or extra.';
COMMENT ON COLUMN metrics.break.occurrences IS
    'How often it occurs: more than once where the key repeats.';
COMMENT ON COLUMN metrics.break.old_value IS
    'The value in OLD, the first of several, cut to 256 characters.';
COMMENT ON COLUMN metrics.break.new_value IS
    'The value in NEW, the first of several, cut to 256 characters.';
COMMENT ON COLUMN metrics.break.content IS
    'A hash of all its values: another one makes it changed.';
COMMENT ON COLUMN metrics.break.state IS
    'new, recurring, changed, resolved or reopened.';
COMMENT ON COLUMN metrics.break.as_of IS
    'The day of the run that found this state.';
COMMENT ON COLUMN metrics.break.as_of_run IS
    'The run that found this state.';
COMMENT ON COLUMN metrics.break.first_seen IS
    'The day of the first run that saw it: its age counts from here.';
COMMENT ON COLUMN metrics.break.first_seen_run IS
    'The first run that saw it.';
COMMENT ON COLUMN metrics.break.last_seen IS
    'The day of the last run that saw it.';
COMMENT ON COLUMN metrics.break.last_seen_run IS
    'The last run that saw it.';
COMMENT ON COLUMN metrics.break.runs_seen IS
    'How many pairs of files it was seen in.';
COMMENT ON COLUMN metrics.break.before IS
    'How it stood before as_of_run, to be restored if that pair is compared again.';
