"""Why a connection to Postgres does not come about, by the words of libpq.

Such an error has no SQLSTATE, and its text may hold the password of a malformed
address: only the class that is found here goes any further.
"""

from __future__ import annotations

from typing import Final

from recon_engine.errors import ConfigError, PermissionDenied, ReconError


# The first words that are found decide.
REFUSALS: Final[tuple[tuple[str, type[ReconError], str, str], ...]] = (
    (
        "certificate",
        ConfigError,
        "the certificate of Postgres is not trusted, or is that of another host",
        "connect by the name in the certificate; PGSSLROOTCERT names the authorities",
    ),
    (
        "does not support SSL",
        ConfigError,
        "Postgres does not speak TLS there",
        "turn TLS on, or waive it in words: RECON_DATABASE_TLS=unverified",
    ),
    (
        "authentication failed",
        PermissionDenied,
        "Postgres refuses these credentials",
        "check user and password, or the policy for rds-db:connect",
    ),
    (
        "permission denied for database",
        PermissionDenied,
        "this user has no right CONNECT on the database",
        "as an administrator: the SQL of recon roles, or GRANT CONNECT ON DATABASE",
    ),
    (
        "is not permitted to log in",
        PermissionDenied,
        "this user has no right LOGIN",
        "as an administrator: ALTER ROLE … LOGIN",
    ),
    (
        "pg_hba.conf",
        PermissionDenied,
        "Postgres lets nobody in from here in this way",
        "check user, database and TLS against its pg_hba.conf",
    ),
)


def refusal_of(text: str) -> ReconError | None:
    """The error for the words of libpq; None where they are of no known refusal."""
    for words, kind, message, remedy in REFUSALS:
        if words in text:
            return kind(message, help=remedy)
    return None
