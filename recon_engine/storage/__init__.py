"""Open files by URL: one protocol (`base`), local folders and S3 prefixes.

`urls` chooses the implementation. May import `runtime`, `aws`, `model` and `errors`.
"""
