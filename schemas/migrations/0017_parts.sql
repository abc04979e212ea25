-- A side of a run may be several files, which are the parts of one table.

CREATE TABLE metrics.run_part (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    side text NOT NULL CHECK (side IN ('old', 'new', 'done')),
    number integer NOT NULL CHECK (number > 0),
    uri text NOT NULL,
    name text NOT NULL,
    version text,
    etag text NOT NULL,
    size bigint NOT NULL CHECK (size >= 0),
    PRIMARY KEY (run_id, side, number)
);

COMMENT ON TABLE metrics.run_part IS
    'One row for each file of a side that was delivered in parts, and for each done file.';
COMMENT ON COLUMN metrics.run_part.run_id IS
    'The run.';
COMMENT ON COLUMN metrics.run_part.side IS
    'old or new; done for a file that says that the delivery is complete.';
COMMENT ON COLUMN metrics.run_part.number IS
    'The order of the parts, which is that of their names, from 1.';
COMMENT ON COLUMN metrics.run_part.uri IS
    'Where the file was found.';
COMMENT ON COLUMN metrics.run_part.name IS
    'Its name in the inbound location, and in the folder of the run in processed.';
COMMENT ON COLUMN metrics.run_part.version IS
    'Its S3 version, if the bucket keeps versions.';
COMMENT ON COLUMN metrics.run_part.etag IS
    'Its ETag; for a local file sha256: and the digest.';
COMMENT ON COLUMN metrics.run_part.size IS
    'Its size in bytes.';

CREATE TRIGGER parts_are_final
    BEFORE UPDATE OR DELETE OR TRUNCATE ON metrics.run_part
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();

CREATE OR REPLACE FUNCTION metrics.files_of(run uuid) RETURNS TABLE (file text, uri text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    WITH parts AS (
        SELECT p.side, p.uri, coalesce(p.version, p.etag) AS version, p.size
        FROM metrics.run_part p
        WHERE p.run_id = run AND p.side <> 'done'
    ), files AS (
        SELECT p.uri, p.version, p.size FROM parts p
        UNION ALL
        SELECT f.uri, f.version, f.size
        FROM metrics.pipeline_run_log r
        CROSS JOIN LATERAL (VALUES
            ('old', r.old_uri, coalesce(r.old_version, r.old_etag), r.old_size),
            ('new', r.new_uri, coalesce(r.new_version, r.new_etag), r.new_size)
        ) f (side, uri, version, size)
        WHERE r.run_id = run AND f.uri IS NOT NULL
            AND f.side NOT IN (SELECT p.side FROM parts p)
    )
    SELECT
        encode(sha256(convert_to(concat_ws(E'\n', f.uri, f.version, f.size), 'UTF8')), 'hex'),
        f.uri
    FROM files f
$$;

COMMENT ON FUNCTION metrics.files_of IS
    'The files of a run with data, by what identifies their bytes.';
