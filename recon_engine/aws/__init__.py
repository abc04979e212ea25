"""Clients of AWS: sessions, sign-in to RDS, and facts of the running ECS task.

The only place besides `storage.s3` that imports boto3. May import `errors` only.
"""
