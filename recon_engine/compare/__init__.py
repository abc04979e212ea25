"""Compare two tables: digests, join on the keys, pairing, kinds, samples, result.

Reading order: `plan`, `alignment`, `early_scan`, `digests`, `buckets`, `pairing`,
`pairs` (of the native kernel), `partial_result`, `causes`, `result_builder`,
`placed_files`, `undecided`, `groups`, `local_engine`, `engine` (the protocol), `local`;
`whole_rows` compares without digests of rows; `key_search` and `explain` answer
questions beside it. May import `analysis`, `inputs`, `verdict`, `result` and the
vocabulary; never a cloud, a database or a terminal.
"""
