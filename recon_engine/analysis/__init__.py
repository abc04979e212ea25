"""Explain differences: patterns, constants, totals, segments, hints and renames.

Functions on frames and plain values. `rename_detection` and `key_parts` have the first
rows of both files read. May import `inputs` and the vocabulary (`model`, `rules`,
`kinds`, `config`); never a cloud, a database or a terminal.
"""
