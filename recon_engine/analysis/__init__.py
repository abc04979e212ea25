"""Explain differences: patterns, constants, totals, segments, hints and renames.

Pure functions on frames and plain values. May import `inputs` and the vocabulary
(`model`, `rules`, `kinds`, `config`); never a cloud, a database or a terminal.
"""
