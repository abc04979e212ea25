"""Compare two tables: digests, join on the keys, pairing, kinds, samples, result.

Reading order: `plan`, `alignment`, `digests`, `buckets`, `pairing`, `partial_result`,
`causes`, `result_builder`, `engine` (the protocol), `local_engine`; `keys` and
`explain` answer questions beside it. May import `analysis`, `inputs`, `verdict`,
`result` and the vocabulary; never a cloud, a database or a terminal.
"""
