"""Rules: how two texts may differ and still be the same value. Pure.

`texts`, `numbers`, `dates`, `instants` and `codes` have the rules by family, and
`zones` the data of time zones. `spelling` parses rules. `assembly` makes the chain of a
column from the rules that are given for it; `chains` compares values by it. Imports
nothing above `model`.
"""
