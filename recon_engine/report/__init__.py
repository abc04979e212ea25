"""Render a result: HTML pages, charts, workbook, JUnit, CSV and Parquet artifacts.

Holds the templates. May import `verdict`, `result`, `analysis` and the vocabulary;
never a cloud, a database or a terminal.
"""
