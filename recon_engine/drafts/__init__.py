"""Draft the settings of a dataset from two files that nobody has described.

Each decision has its evidence. Samples only find candidates: the strict reader and the
comparison check on all rows what is written as a setting. May import everything.
"""
