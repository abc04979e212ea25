-- A suppression may be of several kinds of difference.

COMMENT ON COLUMN metrics.suppression.kind IS
    'The kind of difference, or several with commas between them; empty: every kind.';

CREATE OR REPLACE FUNCTION metrics.accepts_break(run uuid, break_column text, break_kind text)
RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT coalesce((
        SELECT u.state = 'active' OR (u.state = 'unused' AND u.run_date <= u.until_date)
        FROM metrics.suppression u
        WHERE u.run_id = run AND NOT u.narrow AND CASE
            WHEN break_column IS NULL THEN u.what = break_kind
            ELSE u.column_name = break_column
                AND break_kind = ANY (coalesce(string_to_array(u.kind, ','), ARRAY[break_kind]))
        END
        ORDER BY u.ordinal LIMIT 1
    ), false)
$$;

CREATE OR REPLACE FUNCTION metrics.judge_narrow(of_book uuid, of_run uuid)
RETURNS TABLE (break_id uuid, accepted boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    WITH narrow AS MATERIALIZED (
        SELECT u.ordinal, u.what, u.column_name, string_to_array(u.kind, ',') AS kinds,
            u.old_sha256, u.new_sha256,
            u.state = 'active' OR (u.state = 'unused' AND u.run_date <= u.until_date)
                AS accepts,
            k.key_sha256
        FROM metrics.suppression u
            LEFT JOIN LATERAL unnest(u.keys_sha256 || u.spelled_sha256) AS k (key_sha256)
                ON u.keys_sha256 IS NOT NULL
        WHERE u.run_id = of_run AND u.narrow
    ), standing AS MATERIALIZED (
        SELECT b.break_id, b.column_name, b.kind,
            'sha256:' || encode(sha256(convert_to(b.key_text, 'UTF8')), 'hex')
                AS key_sha256,
            coalesce(b.old_sha256,
                'sha256:' || encode(sha256(convert_to(b.old_value, 'UTF8')), 'hex')
            ) AS old_sha256,
            coalesce(b.new_sha256,
                'sha256:' || encode(sha256(convert_to(b.new_value, 'UTF8')), 'hex')
            ) AS new_sha256
        FROM metrics.break b
        WHERE b.book = of_book AND b.open AND coalesce(b.column_name, '') IN (
            SELECT coalesce(n.column_name, '') FROM narrow n
        )
    ), pairs AS (
        -- Two joins, each on one equal value, so that neither compares all with all.
        SELECT s, n FROM standing s JOIN narrow n ON n.key_sha256 = s.key_sha256
        UNION ALL
        SELECT s, n FROM standing s
            JOIN narrow n ON n.column_name = s.column_name AND n.key_sha256 IS NULL
    )
    SELECT DISTINCT ON ((p.s).break_id) (p.s).break_id, (p.n).accepts
    FROM pairs p
    WHERE CASE
            WHEN (p.s).column_name IS NULL THEN (p.n).what = (p.s).kind
            ELSE (p.n).column_name = (p.s).column_name
                AND (p.s).kind = ANY (coalesce((p.n).kinds, ARRAY[(p.s).kind]))
                AND coalesce((p.n).old_sha256, (p.s).old_sha256) = (p.s).old_sha256
                AND coalesce((p.n).new_sha256, (p.s).new_sha256) = (p.s).new_sha256
        END
        AND NOT EXISTS (
            SELECT FROM metrics.suppression u
            WHERE u.run_id = of_run AND NOT u.narrow AND u.ordinal < (p.n).ordinal
                AND CASE
                    WHEN (p.s).column_name IS NULL THEN u.what = (p.s).kind
                    ELSE u.column_name = (p.s).column_name
                        AND (p.s).kind = ANY (
                            coalesce(string_to_array(u.kind, ','), ARRAY[(p.s).kind])
                        )
                END
        )
    ORDER BY (p.s).break_id, (p.n).ordinal
$$;
