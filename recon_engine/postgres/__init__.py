"""Store results in Postgres: stage tables, metrics, run log, breaks, history.

May import `report`, `compare`, the vocabulary, `aws` (to sign in) and `runtime`; never
`pipeline` or `spark`.
"""
