-- One dataset for each file: what a run takes from inbound is claimed for its dataset.

ALTER TABLE metrics.pipeline_run_log
    DROP CONSTRAINT status_is_known,
    ADD CONSTRAINT status_is_known CHECK (status IN (
        'STARTED', 'RECONCILED', 'ABANDONED', 'SUCCEEDED', 'ALREADY_DONE',
        'NO_FILES', 'USAGE_ERROR', 'INVALID_FILE_COUNT', 'INVALID_FILE_PAIR',
        'FILE_CLAIMED', 'SCHEMA_MISMATCH', 'KEY_MISSING', 'MALFORMED_INPUT',
        'ENCODING_ERROR', 'EMPTY_FILE', 'DUPLICATE_KEYS', 'PERMISSION_DENIED', 'BUSY',
        'INPUT_CHANGED', 'STORAGE_UNAVAILABLE', 'DATABASE_UNAVAILABLE',
        'COMMIT_UNKNOWN', 'DISK_FULL', 'OUT_OF_BUDGET', 'ARCHIVE_CONFLICT',
        'INTERNAL_ERROR', 'INTERRUPTED'
    ));

-- The primary key decides between two datasets. A claim ends when its run ends without
-- a result: that is a state of the run log, so no crash can keep a claim alive.
CREATE TABLE metrics.file_claim (
    file text PRIMARY KEY,
    uri text NOT NULL,
    dataset text NOT NULL,
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    claimed_ts timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE metrics.file_claim IS
    'One row for each version of a file that a run has taken: which dataset it belongs to.';
COMMENT ON COLUMN metrics.file_claim.file IS
    'The SHA-256 of place and name, version (or ETag, or SHA-256) and size of the file.';
COMMENT ON COLUMN metrics.file_claim.uri IS
    'Where the file was found.';
COMMENT ON COLUMN metrics.file_claim.dataset IS
    'The dataset that has the file as long as the run is under way or has a result.';
COMMENT ON COLUMN metrics.file_claim.run_id IS
    'The run that holds the claim; if it ended without a result, the claim has ended.';
COMMENT ON COLUMN metrics.file_claim.claimed_ts IS
    'When that run took the file.';

CREATE TRIGGER claims_are_kept
    BEFORE DELETE OR TRUNCATE ON metrics.file_claim
    FOR EACH STATEMENT EXECUTE FUNCTION metrics.refuse_change_of_history();

CREATE FUNCTION metrics.files_of(run uuid) RETURNS TABLE (file text, uri text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT
        encode(sha256(convert_to(concat_ws(E'\n', f.uri, f.version, f.size), 'UTF8')), 'hex'),
        f.uri
    FROM metrics.pipeline_run_log r
    CROSS JOIN LATERAL (VALUES
        (r.old_uri, coalesce(r.old_version, r.old_etag), r.old_size),
        (r.new_uri, coalesce(r.new_version, r.new_etag), r.new_size)
    ) f (uri, version, size)
    WHERE r.run_id = run AND f.uri IS NOT NULL
$$;

COMMENT ON FUNCTION metrics.files_of IS
    'The two files of a run, by what identifies their bytes.';

CREATE FUNCTION metrics.claim_files(run uuid)
    RETURNS TABLE (uri text, dataset text, run_id uuid, status text)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
    -- An update that changes nothing: it locks the claims that are there, in one order,
    -- so that two runs that want the same files wait for each other and never mutually.
    INSERT INTO metrics.file_claim (file, uri, dataset, run_id)
    SELECT f.file, f.uri, r.dataset, r.run_id
    FROM metrics.pipeline_run_log r CROSS JOIN LATERAL metrics.files_of(r.run_id) f
    WHERE r.run_id = run
    ORDER BY f.file
    ON CONFLICT (file) DO UPDATE SET uri = excluded.uri;

    -- A statement of its own: it sees how the runs ended that the first one waited for.
    UPDATE metrics.file_claim c
    SET dataset = mine.dataset, run_id = mine.run_id, claimed_ts = now()
    FROM metrics.pipeline_run_log mine, metrics.pipeline_run_log holder
    WHERE mine.run_id = run
        AND c.file IN (SELECT f.file FROM metrics.files_of(run) f)
        AND holder.run_id = c.run_id
        AND holder.run_id <> run
        AND holder.status NOT IN ('RECONCILED', 'SUCCEEDED')
        AND (holder.status <> 'STARTED' OR holder.dataset = mine.dataset);

    RETURN QUERY
    SELECT c.uri, c.dataset, c.run_id, holder.status
    FROM metrics.file_claim c
    JOIN metrics.pipeline_run_log holder ON holder.run_id = c.run_id
    JOIN metrics.pipeline_run_log mine ON mine.run_id = run
    WHERE c.file IN (SELECT f.file FROM metrics.files_of(run) f)
        AND c.dataset <> mine.dataset
    ORDER BY c.uri;
END
$$;

COMMENT ON FUNCTION metrics.claim_files IS
    'Claims the files of a run for its dataset; returns those that another dataset has.';

-- What has a result, or is under way, before there were claims. Of two datasets that
-- have taken the same file, the one with the earlier result keeps it.
INSERT INTO metrics.file_claim (file, uri, dataset, run_id, claimed_ts)
SELECT DISTINCT ON (f.file) f.file, f.uri, r.dataset, r.run_id, r.run_ts
FROM metrics.pipeline_run_log r CROSS JOIN LATERAL metrics.files_of(r.run_id) f
WHERE r.status IN ('STARTED', 'RECONCILED', 'SUCCEEDED')
ORDER BY f.file, r.status = 'STARTED', r.run_ts;
