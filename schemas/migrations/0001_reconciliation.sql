-- The result of every reconciliation, and the log of every attempt at one.
-- The CHECKs state the laws of a reconciliation: a row that breaks one is never stored.

CREATE SCHEMA IF NOT EXISTS stage;
COMMENT ON SCHEMA stage IS 'The two files of the latest run of each dataset, all text.';

CREATE SCHEMA IF NOT EXISTS metrics;
COMMENT ON SCHEMA metrics IS
    'The log of all runs and the results of the completed ones.';


CREATE TABLE metrics.pipeline_run_log (
    run_id uuid PRIMARY KEY,
    run_fp text,
    attempt integer NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    dataset text NOT NULL,
    status text NOT NULL,
    step text,
    exit_code integer,
    error_code text,
    error_message text,
    old_uri text,
    old_name text,
    old_version text,
    old_etag text,
    old_size bigint CHECK (old_size >= 0),
    old_sha256 text,
    old_rows bigint CHECK (old_rows >= 0),
    new_uri text,
    new_name text,
    new_version text,
    new_etag text,
    new_size bigint CHECK (new_size >= 0),
    new_sha256 text,
    new_rows bigint CHECK (new_rows >= 0),
    run_ts timestamptz NOT NULL DEFAULT now(),
    run_date date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    finished_ts timestamptz,
    host text,
    task_arn text,
    engine_version text,
    config jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT status_is_known CHECK (status IN (
        'STARTED', 'RECONCILED', 'ABANDONED', 'SUCCEEDED', 'ALREADY_DONE',
        'NO_FILES', 'USAGE_ERROR', 'INVALID_FILE_COUNT', 'INVALID_FILE_PAIR',
        'SCHEMA_MISMATCH', 'KEY_MISSING', 'MALFORMED_INPUT', 'ENCODING_ERROR',
        'EMPTY_FILE', 'DUPLICATE_KEYS', 'PERMISSION_DENIED', 'BUSY', 'INPUT_CHANGED',
        'STORAGE_UNAVAILABLE', 'DATABASE_UNAVAILABLE', 'COMMIT_UNKNOWN', 'DISK_FULL',
        'OUT_OF_BUDGET', 'ARCHIVE_CONFLICT', 'INTERNAL_ERROR', 'INTERRUPTED'
    )),
    CONSTRAINT a_result_has_a_fingerprint CHECK (
        run_fp IS NOT NULL OR status NOT IN ('RECONCILED', 'SUCCEEDED')
    )
);

-- One result for each fingerprint: of two workers on one pair, the second fails here.
CREATE UNIQUE INDEX one_result_per_fingerprint ON metrics.pipeline_run_log (run_fp)
    WHERE status IN ('RECONCILED', 'SUCCEEDED');
CREATE INDEX runs_by_fingerprint ON metrics.pipeline_run_log (run_fp);
CREATE INDEX runs_by_dataset ON metrics.pipeline_run_log (dataset, run_ts DESC);
CREATE INDEX runs_by_time ON metrics.pipeline_run_log (run_ts DESC);
CREATE INDEX runs_to_recover ON metrics.pipeline_run_log (dataset)
    WHERE status IN ('STARTED', 'RECONCILED');

COMMENT ON TABLE metrics.pipeline_run_log IS
    'One row for each attempt to reconcile a pair of files, whatever came of it.';
COMMENT ON COLUMN metrics.pipeline_run_log.run_id IS
    'The attempt: a UUID of version 7, so that later attempts sort later.';
COMMENT ON COLUMN metrics.pipeline_run_log.run_fp IS
    'The same for the same work: dataset, inputs, configuration. Empty without a pair.';
COMMENT ON COLUMN metrics.pipeline_run_log.attempt IS
    'Which attempt at this fingerprint it is, from 1.';
COMMENT ON COLUMN metrics.pipeline_run_log.dataset IS
    'The name of the dataset.';
COMMENT ON COLUMN metrics.pipeline_run_log.status IS
    'How the attempt stands or ended; recon statuses explains each.';
COMMENT ON COLUMN metrics.pipeline_run_log.step IS
    'The step of the pipeline reached last.';
COMMENT ON COLUMN metrics.pipeline_run_log.exit_code IS
    'The exit code of the process.';
COMMENT ON COLUMN metrics.pipeline_run_log.error_code IS
    'The kind of error that ended the attempt.';
COMMENT ON COLUMN metrics.pipeline_run_log.error_message IS
    'What went wrong, without the value of any cell.';
COMMENT ON COLUMN metrics.pipeline_run_log.old_uri IS
    'Where the OLD file was read from.';
COMMENT ON COLUMN metrics.pipeline_run_log.old_name IS
    'The name of the OLD file, as it stands in inbound.';
COMMENT ON COLUMN metrics.pipeline_run_log.old_version IS
    'The object version of the OLD file, where the storage keeps versions.';
COMMENT ON COLUMN metrics.pipeline_run_log.old_etag IS
    'The entity tag by which the OLD file was pinned.';
COMMENT ON COLUMN metrics.pipeline_run_log.old_size IS
    'The size of the OLD file in bytes, as stored.';
COMMENT ON COLUMN metrics.pipeline_run_log.old_sha256 IS
    'The SHA-256 of the bytes of the OLD file that were really read.';
COMMENT ON COLUMN metrics.pipeline_run_log.old_rows IS
    'The data rows of the OLD file, rejected ones included.';
COMMENT ON COLUMN metrics.pipeline_run_log.new_uri IS
    'Where the NEW file was read from.';
COMMENT ON COLUMN metrics.pipeline_run_log.new_name IS
    'The name of the NEW file, as it stands in inbound.';
COMMENT ON COLUMN metrics.pipeline_run_log.new_version IS
    'The object version of the NEW file, where the storage keeps versions.';
COMMENT ON COLUMN metrics.pipeline_run_log.new_etag IS
    'The entity tag by which the NEW file was pinned.';
COMMENT ON COLUMN metrics.pipeline_run_log.new_size IS
    'The size of the NEW file in bytes, as stored.';
COMMENT ON COLUMN metrics.pipeline_run_log.new_sha256 IS
    'The SHA-256 of the bytes of the NEW file that were really read.';
COMMENT ON COLUMN metrics.pipeline_run_log.new_rows IS
    'The data rows of the NEW file, rejected ones included.';
COMMENT ON COLUMN metrics.pipeline_run_log.run_ts IS
    'When the attempt began.';
COMMENT ON COLUMN metrics.pipeline_run_log.run_date IS
    'The day the attempt began, in UTC.';
COMMENT ON COLUMN metrics.pipeline_run_log.finished_ts IS
    'When the attempt ended; empty while it is under way.';
COMMENT ON COLUMN metrics.pipeline_run_log.host IS
    'The machine that did the work.';
COMMENT ON COLUMN metrics.pipeline_run_log.task_arn IS
    'The ECS task that did the work, if it was one.';
COMMENT ON COLUMN metrics.pipeline_run_log.engine_version IS
    'The version of recon-engine.';
COMMENT ON COLUMN metrics.pipeline_run_log.config IS
    'The configuration of the run, without secrets.';

CREATE TABLE metrics.recon_summary (
    run_id uuid PRIMARY KEY REFERENCES metrics.pipeline_run_log,
    dataset text NOT NULL,
    run_date date NOT NULL,
    keys text[] NOT NULL CHECK (cardinality(keys) > 0),
    rows_old bigint NOT NULL CHECK (rows_old >= 0),
    rows_new bigint NOT NULL CHECK (rows_new >= 0),
    matched bigint NOT NULL CHECK (matched >= 0),
    missing bigint NOT NULL CHECK (missing >= 0),
    extra bigint NOT NULL CHECK (extra >= 0),
    identical bigint NOT NULL CHECK (identical >= 0),
    mismatched_rows bigint NOT NULL CHECK (mismatched_rows >= 0),
    mismatched_cells bigint NOT NULL CHECK (mismatched_cells >= 0),
    tolerated_cells bigint NOT NULL DEFAULT 0 CHECK (tolerated_cells >= 0),
    duplicate_keys_old bigint NOT NULL DEFAULT 0 CHECK (duplicate_keys_old >= 0),
    duplicate_keys_new bigint NOT NULL DEFAULT 0 CHECK (duplicate_keys_new >= 0),
    duplicate_key_rows_old bigint NOT NULL DEFAULT 0
        CHECK (duplicate_key_rows_old >= 0),
    duplicate_key_rows_new bigint NOT NULL DEFAULT 0
        CHECK (duplicate_key_rows_new >= 0),
    blank_keys_old bigint NOT NULL DEFAULT 0 CHECK (blank_keys_old >= 0),
    blank_keys_new bigint NOT NULL DEFAULT 0 CHECK (blank_keys_new >= 0),
    rejected_old bigint NOT NULL DEFAULT 0 CHECK (rejected_old >= 0),
    rejected_new bigint NOT NULL DEFAULT 0 CHECK (rejected_new >= 0),
    columns_compared integer NOT NULL CHECK (columns_compared >= 0),
    only_in_old text[] NOT NULL DEFAULT '{}',
    only_in_new text[] NOT NULL DEFAULT '{}',
    verdict text NOT NULL,
    strategy text,
    seconds double precision CHECK (seconds >= 0),
    created_ts timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT every_old_row_is_accounted_for CHECK (
        rows_old = matched + missing + rejected_old
    ),
    CONSTRAINT every_new_row_is_accounted_for CHECK (
        rows_new = matched + extra + rejected_new
    ),
    CONSTRAINT every_pair_is_accounted_for CHECK (
        matched = identical + mismatched_rows
    ),
    CONSTRAINT a_mismatched_row_has_a_cell CHECK (
        mismatched_rows <= mismatched_cells
        AND (mismatched_rows > 0 OR mismatched_cells = 0)
    ),
    CONSTRAINT verdict_is_known CHECK (verdict IN ('agree', 'differ', 'gates_failed')),
    CONSTRAINT agreement_is_real CHECK (
        verdict <> 'agree' OR missing + extra + mismatched_rows = 0
    )
);

CREATE INDEX summaries_by_day ON metrics.recon_summary (run_date DESC);
CREATE INDEX summaries_by_dataset ON metrics.recon_summary (dataset, run_date DESC);

COMMENT ON TABLE metrics.recon_summary IS
    'One row for each reconciliation: how OLD and NEW compare as a whole.';
COMMENT ON COLUMN metrics.recon_summary.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.recon_summary.dataset IS
    'The name of the dataset.';
COMMENT ON COLUMN metrics.recon_summary.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.recon_summary.keys IS
    'The key columns, in order.';
COMMENT ON COLUMN metrics.recon_summary.rows_old IS
    'Rows in OLD, rejected ones included.';
COMMENT ON COLUMN metrics.recon_summary.rows_new IS
    'Rows in NEW, rejected ones included.';
COMMENT ON COLUMN metrics.recon_summary.matched IS
    'Pairs of rows with the same key.';
COMMENT ON COLUMN metrics.recon_summary.missing IS
    'Rows in OLD only.';
COMMENT ON COLUMN metrics.recon_summary.extra IS
    'Rows in NEW only.';
COMMENT ON COLUMN metrics.recon_summary.identical IS
    'Matched pairs in which no cell differs.';
COMMENT ON COLUMN metrics.recon_summary.mismatched_rows IS
    'Matched pairs in which at least one cell differs.';
COMMENT ON COLUMN metrics.recon_summary.mismatched_cells IS
    'Cells of matched pairs that differ.';
COMMENT ON COLUMN metrics.recon_summary.tolerated_cells IS
    'Cells of matched pairs that are equal only thanks to a rule.';
COMMENT ON COLUMN metrics.recon_summary.duplicate_keys_old IS
    'Keys that occur more than once in OLD.';
COMMENT ON COLUMN metrics.recon_summary.duplicate_keys_new IS
    'Keys that occur more than once in NEW.';
COMMENT ON COLUMN metrics.recon_summary.duplicate_key_rows_old IS
    'Rows of OLD whose key occurs more than once.';
COMMENT ON COLUMN metrics.recon_summary.duplicate_key_rows_new IS
    'Rows of NEW whose key occurs more than once.';
COMMENT ON COLUMN metrics.recon_summary.blank_keys_old IS
    'Rows of OLD with a blank part of the key.';
COMMENT ON COLUMN metrics.recon_summary.blank_keys_new IS
    'Rows of NEW with a blank part of the key.';
COMMENT ON COLUMN metrics.recon_summary.rejected_old IS
    'Rows of OLD that were set aside as malformed.';
COMMENT ON COLUMN metrics.recon_summary.rejected_new IS
    'Rows of NEW that were set aside as malformed.';
COMMENT ON COLUMN metrics.recon_summary.columns_compared IS
    'How many columns were compared.';
COMMENT ON COLUMN metrics.recon_summary.only_in_old IS
    'Columns in OLD only.';
COMMENT ON COLUMN metrics.recon_summary.only_in_new IS
    'Columns in NEW only.';
COMMENT ON COLUMN metrics.recon_summary.verdict IS
    'agree, differ, or gates_failed.';
COMMENT ON COLUMN metrics.recon_summary.strategy IS
    'How the engine compared the rows.';
COMMENT ON COLUMN metrics.recon_summary.seconds IS
    'How long the reconciliation took.';
COMMENT ON COLUMN metrics.recon_summary.created_ts IS
    'When this row was written.';

CREATE TABLE metrics.mismatch_by_column (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    run_date date NOT NULL,
    column_name text NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    compared bigint NOT NULL CHECK (compared >= 0),
    equal_exact bigint NOT NULL CHECK (equal_exact >= 0),
    tolerated bigint NOT NULL CHECK (tolerated >= 0),
    mismatched bigint NOT NULL CHECK (mismatched >= 0),
    kind_value_to_blank bigint NOT NULL DEFAULT 0 CHECK (kind_value_to_blank >= 0),
    kind_blank_to_value bigint NOT NULL DEFAULT 0 CHECK (kind_blank_to_value >= 0),
    kind_whitespace bigint NOT NULL DEFAULT 0 CHECK (kind_whitespace >= 0),
    kind_case bigint NOT NULL DEFAULT 0 CHECK (kind_case >= 0),
    kind_leading_zeros bigint NOT NULL DEFAULT 0 CHECK (kind_leading_zeros >= 0),
    kind_number_format bigint NOT NULL DEFAULT 0 CHECK (kind_number_format >= 0),
    kind_date_format bigint NOT NULL DEFAULT 0 CHECK (kind_date_format >= 0),
    kind_sign_flip bigint NOT NULL DEFAULT 0 CHECK (kind_sign_flip >= 0),
    kind_scale bigint NOT NULL DEFAULT 0 CHECK (kind_scale >= 0),
    kind_truncated bigint NOT NULL DEFAULT 0 CHECK (kind_truncated >= 0),
    kind_number bigint NOT NULL DEFAULT 0 CHECK (kind_number >= 0),
    kind_date bigint NOT NULL DEFAULT 0 CHECK (kind_date >= 0),
    kind_text bigint NOT NULL DEFAULT 0 CHECK (kind_text >= 0),
    PRIMARY KEY (run_id, ordinal),
    CONSTRAINT every_cell_is_accounted_for CHECK (
        compared = equal_exact + tolerated + mismatched
    ),
    CONSTRAINT every_mismatch_has_one_kind CHECK (
        mismatched = kind_value_to_blank
            + kind_blank_to_value
            + kind_whitespace
            + kind_case
            + kind_leading_zeros
            + kind_number_format
            + kind_date_format
            + kind_sign_flip
            + kind_scale
            + kind_truncated
            + kind_number
            + kind_date
            + kind_text
    )
);

CREATE INDEX columns_by_day ON metrics.mismatch_by_column (run_date DESC);

COMMENT ON TABLE metrics.mismatch_by_column IS
    'One row for each compared column of a run: how often and how it differs.';
COMMENT ON COLUMN metrics.mismatch_by_column.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.mismatch_by_column.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.mismatch_by_column.column_name IS
    'The name of the column, as in OLD.';
COMMENT ON COLUMN metrics.mismatch_by_column.ordinal IS
    'The place of the column in OLD.';
COMMENT ON COLUMN metrics.mismatch_by_column.compared IS
    'Cells compared: one for each matched pair.';
COMMENT ON COLUMN metrics.mismatch_by_column.equal_exact IS
    'Cells with the same text on both sides.';
COMMENT ON COLUMN metrics.mismatch_by_column.tolerated IS
    'Cells equal only thanks to a rule.';
COMMENT ON COLUMN metrics.mismatch_by_column.mismatched IS
    'Cells that differ.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_value_to_blank IS
    'Mismatches of this kind: a value became blank.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_blank_to_value IS
    'Mismatches of this kind: a blank became a value.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_whitespace IS
    'Mismatches of this kind: only white space differs.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_case IS
    'Mismatches of this kind: only upper and lower case differ.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_leading_zeros IS
    'Mismatches of this kind: only leading zeros differ.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_number_format IS
    'Mismatches of this kind: the same number is written in another way.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_date_format IS
    'Mismatches of this kind: the same date is written in another way.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_sign_flip IS
    'Mismatches of this kind: the number has the opposite sign.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_scale IS
    'Mismatches of this kind: the number is shifted by a power of ten.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_truncated IS
    'Mismatches of this kind: the new value is the beginning of the old one.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_number IS
    'Mismatches of this kind: two different numbers.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_date IS
    'Mismatches of this kind: two different dates.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_text IS
    'Mismatches of this kind: any other difference.';

CREATE TABLE metrics.mismatch_signature (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    run_date date NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    columns text[] NOT NULL CHECK (cardinality(columns) > 0),
    rows bigint NOT NULL CHECK (rows > 0),
    PRIMARY KEY (run_id, ordinal)
);

COMMENT ON TABLE metrics.mismatch_signature IS
    'One row for each set of columns that differ together in a run.';
COMMENT ON COLUMN metrics.mismatch_signature.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.mismatch_signature.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.mismatch_signature.ordinal IS
    'The place in the list, the most frequent set first.';
COMMENT ON COLUMN metrics.mismatch_signature.columns IS
    'The columns that differ, and no others.';
COMMENT ON COLUMN metrics.mismatch_signature.rows IS
    'Matched pairs that differ in exactly these columns.';

CREATE TABLE metrics.mismatch_detail_sample (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    run_date date NOT NULL,
    created_ts timestamptz NOT NULL DEFAULT now(),
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    key_text text NOT NULL,
    key jsonb NOT NULL,
    payload jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
    PRIMARY KEY (run_id, ordinal)
);

CREATE INDEX samples_by_time ON metrics.mismatch_detail_sample (created_ts DESC);

COMMENT ON TABLE metrics.mismatch_detail_sample IS
    'A sample of the matched pairs that differ, with their values: protect it.';
COMMENT ON COLUMN metrics.mismatch_detail_sample.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.mismatch_detail_sample.run_date IS
    'The day of the run, in UTC.';
COMMENT ON COLUMN metrics.mismatch_detail_sample.created_ts IS
    'When this row was written.';
COMMENT ON COLUMN metrics.mismatch_detail_sample.ordinal IS
    'The place in the sample.';
COMMENT ON COLUMN metrics.mismatch_detail_sample.key_text IS
    'The key to read: the plain value, or a JSON array for several key columns.';
COMMENT ON COLUMN metrics.mismatch_detail_sample.key IS
    'The key to join on: an object from key column to value.';
COMMENT ON COLUMN metrics.mismatch_detail_sample.payload IS
    'The columns that differ, each with "old~new".';

CREATE TABLE metrics.run_step (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    step text NOT NULL,
    started_ts timestamptz NOT NULL,
    seconds double precision NOT NULL CHECK (seconds >= 0),
    PRIMARY KEY (run_id, step)
);

COMMENT ON TABLE metrics.run_step IS
    'How long each step of a run took.';
COMMENT ON COLUMN metrics.run_step.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.run_step.step IS
    'The step of the pipeline.';
COMMENT ON COLUMN metrics.run_step.started_ts IS
    'When the step began.';
COMMENT ON COLUMN metrics.run_step.seconds IS
    'How long it took.';

CREATE TABLE metrics.artifact (
    run_id uuid NOT NULL REFERENCES metrics.pipeline_run_log,
    name text NOT NULL,
    uri text NOT NULL,
    sha256 text NOT NULL,
    bytes bigint NOT NULL CHECK (bytes >= 0),
    rows bigint CHECK (rows >= 0),
    PRIMARY KEY (run_id, name)
);

COMMENT ON TABLE metrics.artifact IS
    'The files a run wrote.';
COMMENT ON COLUMN metrics.artifact.run_id IS
    'The run this row belongs to.';
COMMENT ON COLUMN metrics.artifact.name IS
    'The name of the file within the run.';
COMMENT ON COLUMN metrics.artifact.uri IS
    'Where the file is.';
COMMENT ON COLUMN metrics.artifact.sha256 IS
    'The SHA-256 of its bytes.';
COMMENT ON COLUMN metrics.artifact.bytes IS
    'Its size in bytes.';
COMMENT ON COLUMN metrics.artifact.rows IS
    'Its data rows, if it is a table.';

-- A run that has ended is a fact. Only a run under way can change.
CREATE FUNCTION metrics.refuse_change_of_ended_run() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'run % has ended as % and its row in the run log is final',
        OLD.run_id, OLD.status
        USING ERRCODE = 'restrict_violation',
              HINT = 'Only a run that is STARTED or RECONCILED can change.';
END
$$;
COMMENT ON FUNCTION metrics.refuse_change_of_ended_run() IS
    'Refuses to change or delete the log row of a run that has ended.';

CREATE TRIGGER ended_runs_are_final
    BEFORE UPDATE OR DELETE ON metrics.pipeline_run_log
    FOR EACH ROW WHEN (OLD.status NOT IN ('STARTED', 'RECONCILED'))
    EXECUTE FUNCTION metrics.refuse_change_of_ended_run();
