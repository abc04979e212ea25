-- What is counted of a rule, in the words of what the comparison counts.

COMMENT ON COLUMN metrics.rule_count.counted IS
    'keys, values: the values of all rows that were not quarantined; cells: those whose bytes differ in pairs.';
COMMENT ON COLUMN metrics.rule_count.codes_unlisted IS
    'Of a code table: values of matched rows that it does not list; of a key, also those of rows that are unpairable for it.';
