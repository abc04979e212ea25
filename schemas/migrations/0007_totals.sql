-- Control totals are over the cells that differ; the delta is what it was.
COMMENT ON COLUMN metrics.control_total.old_total IS
    'The sum in OLD over the cells that differ in matched pairs, tolerated or not.';
COMMENT ON COLUMN metrics.control_total.new_total IS
    'The sum in NEW over the same cells.';
