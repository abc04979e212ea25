"""Explain differences: patterns, constants, totals, segments, hints and renames.

Functions on frames and plain values, pure but for `rename_detection`, which reads the
first rows of a file. May import `inputs` and the vocabulary
(`model`, `rules`, `kinds`, `config`); never a cloud, a database or a terminal.
"""
