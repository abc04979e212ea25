"""Rules: how two texts may differ and still be the same value.

`texts`, `numbers`, `dates`, `instants` and `code_tables` have the rules by family, and
`zones` the data of time zones; these last two read files, the others are pure.
`spelling` parses rules. `assembly` makes the chain of a column from the rules that are
given for it; `chains` compares values by it. Imports nothing above `model`.
"""
