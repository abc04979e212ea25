-- How both files were written, and no agreement where rows were set aside.

ALTER TABLE metrics.recon_summary
    ADD COLUMN dialect_old jsonb CHECK (jsonb_typeof(dialect_old) = 'object'),
    ADD COLUMN dialect_new jsonb CHECK (jsonb_typeof(dialect_new) = 'object'),
    DROP CONSTRAINT agreement_is_real,
    ADD CONSTRAINT agreement_is_real CHECK (
        verdict <> 'agree'
        OR missing + extra + mismatched_rows + rejected_old + rejected_new = 0
    );

COMMENT ON COLUMN metrics.recon_summary.dialect_old IS
    'How OLD is written: delimiter, newlines, quotes, encoding, compression.';
COMMENT ON COLUMN metrics.recon_summary.dialect_new IS
    'How NEW is written: delimiter, newlines, quotes, encoding, compression.';
