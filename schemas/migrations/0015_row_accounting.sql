-- Rows that options leave out, fold or cannot pair: each row has exactly one place.

ALTER TABLE metrics.recon_summary
    ADD COLUMN left_out_old bigint NOT NULL DEFAULT 0 CHECK (left_out_old >= 0),
    ADD COLUMN left_out_new bigint NOT NULL DEFAULT 0 CHECK (left_out_new >= 0),
    ADD COLUMN partner_left_out_old bigint NOT NULL DEFAULT 0
        CHECK (partner_left_out_old >= 0),
    ADD COLUMN partner_left_out_new bigint NOT NULL DEFAULT 0
        CHECK (partner_left_out_new >= 0),
    ADD COLUMN folded_away_old bigint NOT NULL DEFAULT 0 CHECK (folded_away_old >= 0),
    ADD COLUMN folded_away_new bigint NOT NULL DEFAULT 0 CHECK (folded_away_new >= 0),
    ADD COLUMN unpairable_old bigint NOT NULL DEFAULT 0 CHECK (unpairable_old >= 0),
    ADD COLUMN unpairable_new bigint NOT NULL DEFAULT 0 CHECK (unpairable_new >= 0),
    DROP CONSTRAINT every_old_row_is_accounted_for,
    ADD CONSTRAINT every_old_row_is_accounted_for CHECK (
        rows_old = matched + missing + rejected_old + left_out_old
            + partner_left_out_old + folded_away_old + unpairable_old
    ),
    DROP CONSTRAINT every_new_row_is_accounted_for,
    ADD CONSTRAINT every_new_row_is_accounted_for CHECK (
        rows_new = matched + extra + rejected_new + left_out_new
            + partner_left_out_new + folded_away_new + unpairable_new
    ),
    DROP CONSTRAINT agreement_is_real,
    ADD CONSTRAINT agreement_is_real CHECK (
        verdict <> 'agree'
        OR missing + extra + mismatched_rows + rejected_old + rejected_new
            + unpairable_old + unpairable_new = 0
    );

COMMENT ON COLUMN metrics.recon_summary.left_out_old IS
    'Rows of OLD that a filter leaves out.';
COMMENT ON COLUMN metrics.recon_summary.left_out_new IS
    'Rows of NEW that a filter leaves out.';
COMMENT ON COLUMN metrics.recon_summary.partner_left_out_old IS
    'Rows of OLD whose partner the filter of NEW leaves out.';
COMMENT ON COLUMN metrics.recon_summary.partner_left_out_new IS
    'Rows of NEW whose partner the filter of OLD leaves out.';
COMMENT ON COLUMN metrics.recon_summary.folded_away_old IS
    'Rows of OLD that were added to another row of their key.';
COMMENT ON COLUMN metrics.recon_summary.folded_away_new IS
    'Rows of NEW that were added to another row of their key.';
COMMENT ON COLUMN metrics.recon_summary.unpairable_old IS
    'Rows of OLD that could not be paired: a value of an option could not be read.';
COMMENT ON COLUMN metrics.recon_summary.unpairable_new IS
    'Rows of NEW that could not be paired: a value of an option could not be read.';

ALTER TABLE metrics.break ADD COLUMN uncertain boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN metrics.break.uncertain IS
    'Whether the row may be among rows of the other side that were not compared.';
