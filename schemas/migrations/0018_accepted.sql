-- What suppressions accept, counted apart: rows that differ only in accepted cells, and
-- open breaks that are accepted. Earlier runs have no such counts.

ALTER TABLE metrics.recon_summary
    ADD COLUMN accepted_rows bigint
        CHECK (accepted_rows BETWEEN 0 AND mismatched_rows);

COMMENT ON COLUMN metrics.recon_summary.accepted_rows IS
    'Mismatched rows that differ only in cells which active suppressions accept; empty: not '
    'recorded.';

ALTER TABLE metrics.break_summary
    ADD COLUMN breaks_accepted bigint
        CHECK (breaks_accepted BETWEEN 0 AND breaks_open),
    ADD COLUMN breaks_accepted_appeared bigint
        CHECK (breaks_accepted_appeared BETWEEN 0 AND breaks_accepted),
    ADD COLUMN oldest_unaccepted_days integer;

COMMENT ON COLUMN metrics.break_summary.breaks_accepted IS
    'Open breaks that the suppressions of the run accept; empty: not recorded.';
COMMENT ON COLUMN metrics.break_summary.breaks_accepted_appeared IS
    'Those of the accepted breaks that are new or reopened; empty: not recorded.';
COMMENT ON COLUMN metrics.break_summary.oldest_unaccepted_days IS
    'The age of the oldest open break that is not accepted, in days up to as_of; empty if '
    'there is none, or not recorded.';

CREATE FUNCTION metrics.accepts_break(run uuid, break_column text, break_kind text)
RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT coalesce((
        SELECT u.state = 'active' OR (u.state = 'unused' AND u.run_date <= u.until_date)
        FROM metrics.suppression u
        WHERE u.run_id = run AND CASE
            WHEN break_column IS NULL THEN u.what = break_kind
            ELSE u.column_name = break_column AND coalesce(u.kind, break_kind) = break_kind
        END
        ORDER BY u.ordinal LIMIT 1
    ), false)
$$;

COMMENT ON FUNCTION metrics.accepts_break IS
    'Whether the suppressions of a run accept breaks of a column and kind; no column: rows.';
