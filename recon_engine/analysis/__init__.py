"""Explain differences: patterns, totals, segments, hints and renamed columns.

Pure functions on frames and plain values. May import `inputs` and the vocabulary
(`model`, `rules`, `kinds`, `config`); never a cloud, a database or a terminal.
"""
