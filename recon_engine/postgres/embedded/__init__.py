"""Run a private Postgres server from a wheel, for laptops, demos and tests.

Reading order: `server`, `cluster`, `process`, `programs`, `system_folder`.
"""
