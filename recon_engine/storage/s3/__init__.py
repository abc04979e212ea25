"""Store files under a prefix of an S3 bucket; every read and delete is pinned.

Reading order: `prefix`, `client`, `download`, `multipart`, `errors`, `permissions`.
"""
