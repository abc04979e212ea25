"""Support of long steps: concurrency, memory, progress, cancellation, error boundary.

Knows nothing of reconciliation. May import `errors` and the small helpers
(`lazy`, `records`, `suggestions`) only.
"""
