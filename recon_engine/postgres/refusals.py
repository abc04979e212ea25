"""Classify failed connections to Postgres by the error text of libpq.

A failed connection has no SQLSTATE, and the text of libpq may hold the password of a
malformed address. So the text is matched here and never passed on.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from recon_engine.errors import ConfigError, PermissionDenied, ReconError


class Refusal(NamedTuple):
    """The error for a text of libpq that contains `words`."""

    words: str
    error: type[ReconError]
    message: str
    help: str


# The first entry whose words the text contains decides. The words come from libpq and
# the server, in English: messages of other locales are DatabaseUnavailable.
REFUSALS: Final = (
    Refusal(
        "certificate",
        ConfigError,
        "the certificate of Postgres is not trusted, or is for another host",
        "connect by the host name in the certificate; PGSSLROOTCERT names the file of "
        "trusted authorities",
    ),
    Refusal(
        "does not support SSL",
        ConfigError,
        "this Postgres server does not accept TLS connections",
        "turn TLS on, or turn verification off with RECON_DATABASE_TLS=unverified",
    ),
    Refusal(
        "authentication failed",
        PermissionDenied,
        "Postgres denies access with these credentials",
        "check user and password, or the policy for rds-db:connect",
    ),
    Refusal(
        "permission denied for database",
        PermissionDenied,
        "this user does not have the privilege CONNECT on the database",
        "as an administrator run the SQL of recon roles, or GRANT CONNECT ON DATABASE",
    ),
    Refusal(
        "is not permitted to log in",
        PermissionDenied,
        "this user does not have the attribute LOGIN",
        "as an administrator run ALTER ROLE … LOGIN",
    ),
    Refusal(
        "pg_hba.conf",
        PermissionDenied,
        "pg_hba.conf rejects connections from this host for this user, database or TLS "
        "mode",
        "add a line to pg_hba.conf of the server, or connect as it allows",
    ),
)


def refusal_of(text: str) -> ReconError | None:
    """The error for a text of libpq; None if it is not a known refusal."""
    for known in REFUSALS:
        if known.words in text:
            return known.error(known.message, help=known.help)
    return None
