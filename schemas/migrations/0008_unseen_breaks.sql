-- Breaks: what was not compared stays open, and what has ended says how.

ALTER TABLE metrics.break
    ADD COLUMN open boolean,
    ADD COLUMN key_rows_old bigint CHECK (key_rows_old >= 0),
    ADD COLUMN key_rows_new bigint CHECK (key_rows_new >= 0),
    ADD COLUMN locator bytea;
UPDATE metrics.break SET open = state <> 'resolved';
ALTER TABLE metrics.break
    ALTER COLUMN open SET NOT NULL,
    DROP CONSTRAINT state_is_known,
    ADD CONSTRAINT state_is_known CHECK (
        state IN (
            'new', 'recurring', 'changed', 'resolved', 'reopened', 'unseen', 'gone'
        )
    ),
    ADD CONSTRAINT what_has_ended_is_not_open CHECK (
        open = (state NOT IN ('resolved', 'gone'))
    );
DROP INDEX metrics.open_breaks;
CREATE INDEX open_breaks ON metrics.break (book, first_seen) WHERE open;

COMMENT ON COLUMN metrics.break.state IS
    'new, recurring, changed, reopened; unseen (not compared); resolved; gone.';
COMMENT ON COLUMN metrics.break.open IS
    'Whether it is open: seen by the last run that tracked breaks, or unseen since.';
COMMENT ON COLUMN metrics.break.key_rows_old IS
    'How many rows of OLD had its key when it was last seen; empty: not recorded.';
COMMENT ON COLUMN metrics.break.key_rows_new IS
    'How many rows of NEW had its key when it was last seen; empty: not recorded.';
COMMENT ON COLUMN metrics.break.locator IS
    'Of a key that hmac masks: a digest of it, encrypted under the key of the mask.';

ALTER TABLE metrics.break_summary
    ADD COLUMN as_of date,
    ADD COLUMN breaks_unseen bigint CHECK (breaks_unseen >= 0),
    ADD COLUMN breaks_gone bigint CHECK (breaks_gone >= 0),
    ADD CONSTRAINT what_is_open_was_seen_or_is_unseen CHECK (
        breaks_unseen IS NULL
        OR breaks_open = breaks_new + breaks_recurring + breaks_changed
            + breaks_reopened + breaks_unseen
    );

COMMENT ON COLUMN metrics.break_summary.as_of IS
    'The day that ages count to: the first day of its pair; empty: not recorded.';
COMMENT ON COLUMN metrics.break_summary.breaks_resolved IS
    'Breaks that were open, and are equal. Where breaks_unseen is empty: not seen again.';
COMMENT ON COLUMN metrics.break_summary.breaks_reopened IS
    'Breaks that were resolved or gone, and are back.';
COMMENT ON COLUMN metrics.break_summary.breaks_open IS
    'All breaks that are open, those that are unseen included.';
COMMENT ON COLUMN metrics.break_summary.oldest_days IS
    'The age of the oldest open break in days up to as_of; empty if none is open.';
COMMENT ON COLUMN metrics.break_summary.breaks_unseen IS
    'Breaks that are open and were not compared; empty: not counted apart.';
COMMENT ON COLUMN metrics.break_summary.breaks_gone IS
    'Breaks that were open, whose key is on neither side of a full feed.';
