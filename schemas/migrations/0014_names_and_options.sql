-- Which names of OLD and NEW were paired by their form, and what options did.

ALTER TABLE metrics.recon_summary
    ADD COLUMN name_pairs jsonb NOT NULL DEFAULT '{}'
        CHECK (jsonb_typeof(name_pairs) = 'object'),
    ADD COLUMN applied jsonb NOT NULL DEFAULT '{}'
        CHECK (jsonb_typeof(applied) = 'object');

COMMENT ON COLUMN metrics.recon_summary.name_pairs IS
    'The names in OLD, each with the name in NEW that --match-names paired with it.';
COMMENT ON COLUMN metrics.recon_summary.applied IS
    'Each option that changed columns or rows before they were compared, and its counts.';
