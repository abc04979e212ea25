-- Four kinds of difference that were counted as text until now. Rows of earlier runs keep
-- their counts: a kind that they do not know is 0 there.

ALTER TABLE metrics.mismatch_by_column
    ADD COLUMN kind_line_break bigint NOT NULL DEFAULT 0
        CHECK (kind_line_break >= 0),
    ADD COLUMN kind_invisible bigint NOT NULL DEFAULT 0
        CHECK (kind_invisible >= 0),
    ADD COLUMN kind_unicode_form bigint NOT NULL DEFAULT 0
        CHECK (kind_unicode_form >= 0),
    ADD COLUMN kind_encoding_damage bigint NOT NULL DEFAULT 0
        CHECK (kind_encoding_damage >= 0),
    DROP CONSTRAINT every_mismatch_has_one_kind,
    ADD CONSTRAINT every_mismatch_has_one_kind CHECK (
        mismatched = kind_value_to_blank
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
            + kind_text
    );

COMMENT ON COLUMN metrics.mismatch_by_column.kind_line_break IS
    'Mismatches of this kind: only line breaks differ, or a line break and a blank.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_invisible IS
    'Mismatches of this kind: only characters that are not shown differ.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_unicode_form IS
    'Mismatches of this kind: only the Unicode form differs: the same letters, composed or not.';
COMMENT ON COLUMN metrics.mismatch_by_column.kind_encoding_damage IS
    'Mismatches of this kind: a wrong encoding replaced letters on one side.';
COMMENT ON COLUMN metrics.hint.kind IS
    'rule, key_rule, drop_key, rename, unique_key, or split.';
COMMENT ON COLUMN metrics.hint.flag IS
    'The option to add, quoted for a shell; empty for a split, which says what is there.';
