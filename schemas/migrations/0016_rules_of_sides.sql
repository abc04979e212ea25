-- Rules of one side, and three kinds of difference: codes that a table does not list, wrong
-- codes, and values that differ in punctuation. Rows of earlier runs keep their counts: a
-- kind that they do not know is 0 there, and their rules read both sides.

ALTER TABLE metrics.mismatch_by_column
    ADD COLUMN kind_unlisted bigint NOT NULL DEFAULT 0
        CHECK (kind_unlisted >= 0),
    ADD COLUMN kind_code bigint NOT NULL DEFAULT 0
        CHECK (kind_code >= 0),
    ADD COLUMN kind_punctuation bigint NOT NULL DEFAULT 0
        CHECK (kind_punctuation >= 0),
    DROP CONSTRAINT every_mismatch_has_one_kind,
    ADD CONSTRAINT every_mismatch_has_one_kind CHECK (
        mismatched = kind_unlisted
            + kind_code
            + kind_value_to_blank
            + kind_blank_to_value
            + kind_whitespace
            + kind_line_break
            + kind_invisible
            + kind_case
            + kind_unicode_form
            + kind_leading_zeros
            + kind_number_format
            + kind_date_format
            + kind_encoding_damage
            + kind_sign_flip
            + kind_scale
            + kind_truncated
            + kind_number
            + kind_date
            + kind_punctuation
            + kind_text
    );

COMMENT ON COLUMN metrics.mismatch_by_column.kind_unlisted IS
    'Mismatches of this kind: the code table of the column does not list the value.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_code IS
    'Mismatches of this kind: the code table lists the value, and another one is there.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_punctuation IS
    'Mismatches of this kind: the letters and digits are equal, punctuation or blanks differ.';

ALTER TABLE metrics.rule_count
    ADD COLUMN side text NOT NULL DEFAULT 'both' CHECK (side IN ('both', 'old', 'new')),
    ADD COLUMN implied boolean NOT NULL DEFAULT false,
    ADD COLUMN codes_right bigint CHECK (codes_right >= 0),
    ADD COLUMN codes_wrong bigint CHECK (codes_wrong >= 0),
    ADD COLUMN codes_unlisted bigint CHECK (codes_unlisted >= 0),
    ADD COLUMN codes_unused bigint CHECK (codes_unused >= 0),
    ADD COLUMN source text,
    DROP CONSTRAINT rule_count_counted_check,
    ADD CONSTRAINT rule_count_counted_check
        CHECK (counted IN ('keys', 'cells', 'values'));

COMMENT ON COLUMN metrics.rule_count.side IS
    'Which side the rule reads: both, old or new.';
COMMENT ON COLUMN metrics.rule_count.implied IS
    'Whether the rule was not given, but follows from the rule of the other side.';
COMMENT ON COLUMN metrics.rule_count.codes_right IS
    'Of a code table: values of matched rows that it lists, with the right code on the other side.';
COMMENT ON COLUMN metrics.rule_count.codes_wrong IS
    'Of a code table: values of matched rows that it lists, with another code on the other side.';
COMMENT ON COLUMN metrics.rule_count.codes_unlisted IS
    'Of a code table: values of matched rows that it does not list.';
COMMENT ON COLUMN metrics.rule_count.codes_unused IS
    'Of a code table: its entries that occur in no row of the side.';
COMMENT ON COLUMN metrics.rule_count.source IS
    'The data that the rule uses: the SHA-256 of a code table, or the version of the time zones.';
COMMENT ON COLUMN metrics.rule_count.counted IS
    'keys, values: the values of all rows not set aside; cells: those whose bytes differ in pairs.';
