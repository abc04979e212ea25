"""Support every long step: concurrency, memory budget, progress, cancellation, errors.

Knows nothing of reconciliation. May import `errors` and `status` only.
"""
