"""Sign in to a database with a password from Secrets Manager or an RDS IAM token.

Each connection asks for a new one: a rotated password takes effect within a run, and a
token, which is valid for 15 minutes, never expires before it is used. `PG*` variables
for host, port and database take precedence over the secret.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from botocore import exceptions as botocore
from botocore.config import Config
from psycopg.conninfo import make_conninfo

from recon_engine.aws.client import NO_SIGN_IN, NOT_SET_UP, create_client
from recon_engine.errors import (
    ConfigError,
    DatabaseUnavailable,
    PermissionDenied,
    ReconError,
)


DEFAULT_PORT: Final = "5432"
CLIENT_CONFIG: Final = Config(
    retries={"mode": "standard", "total_max_attempts": 5},
    connect_timeout=5,
    read_timeout=10,
)


class Remedies(NamedTuple):
    """What to do if access is denied, and if a setting is wrong."""

    denied: str
    setting: str


OF_SECRET: Final = Remedies(
    "allow the task role secretsmanager:GetSecretValue and kms:Decrypt",
    "check the ARN in RECON_DATABASE_SECRET, and its region",
)
OF_TOKEN: Final = Remedies(
    "give the task a role that allows rds-db:connect",
    "RECON_DATABASE_IAM is the region of the database, such as eu-central-1;"
    " AWS_PROFILE is a profile that exists",
)


class ConnectionField(NamedTuple):
    """A parameter of libpq, its name in a secret, and an overriding variable."""

    libpq: str
    secret: str
    variable: str | None = None


# The names in a secret are those that RDS writes.
CONNECTION_FIELDS: Final = (
    ConnectionField("host", "host", "PGHOST"),
    ConnectionField("port", "port", "PGPORT"),
    ConnectionField("dbname", "dbname", "PGDATABASE"),
    ConnectionField("user", "username"),
    ConnectionField("password", "password"),
)
# Prefixes of error codes.
REFUSED_CODES: Final = (
    "AccessDenied",
    "UnrecognizedClient",
    "ExpiredToken",
    "InvalidClient",
)
ABSENT_CODES: Final = (
    "ResourceNotFound",
    "InvalidRequest",
    "Validation",
    "InvalidParameter",
)


@dataclass(frozen=True, slots=True)
class DatabaseSecret:
    """A database address from a JSON secret, which is read for each connection."""

    arn: str

    def __call__(self) -> str:
        """The current connection string."""
        secret = _parse_secret(self._text())
        facts = {
            each.libpq: (each.variable and os.environ.get(each.variable))
            or secret.get(each.secret)
            for each in CONNECTION_FIELDS
        }
        if not (facts["user"] and facts["password"]):
            raise self._unusable_secret("it has no username or no password")
        return make_conninfo(**{name: value for name, value in facts.items() if value})

    def _text(self) -> str:
        refusal: ReconError
        try:
            # An ARN names its region, which need not be that of the task.
            region = self.arn.split(":")[3]
            secrets = create_client("secretsmanager", CLIENT_CONFIG, region=region)
            return str(secrets.get_secret_value(SecretId=self.arn)["SecretString"])
        except (IndexError, KeyError):
            refusal = self._unusable_secret("it is not an ARN, or the secret is binary")
        except (botocore.ClientError, botocore.BotoCoreError) as error:
            refusal = _sign_in_error(error, OF_SECRET)
        # Outside of the handler: the text of botocore must not be the context of the
        # error.
        raise refusal

    def _unusable_secret(self, why: str) -> ConfigError:
        return ConfigError(
            "RECON_DATABASE_SECRET does not name a usable database secret",
            why=why,
            help='use a JSON secret: {"username": …, "password": …, "host": …}',
        )


@dataclass(frozen=True, slots=True)
class IamToken:
    """A database address whose password is a token, signed for each connection."""

    region: str

    def __call__(self) -> str:
        """The current connection string. Signing is local and needs no network."""
        host, user = os.environ.get("PGHOST"), os.environ.get("PGUSER")
        if not (host and user):
            raise ConfigError(
                "RECON_DATABASE_IAM needs the host and the user of the database",
                help="set PGHOST=…rds.amazonaws.com and PGUSER=recon_app",
            )
        port = os.environ.get("PGPORT", DEFAULT_PORT)
        refusal: ReconError
        try:
            token = create_client(
                "rds", CLIENT_CONFIG, region=self.region
            ).generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)
            return make_conninfo(host=host, port=port, user=user, password=token)
        except (botocore.ClientError, botocore.BotoCoreError) as error:
            refusal = _sign_in_error(error, OF_TOKEN)
        raise refusal


def _parse_secret(text: str) -> dict[str, Any]:
    try:
        secret = json.loads(text)
    except ValueError:
        secret = None
    return secret if isinstance(secret, dict) else {}


def _sign_in_error(error: Exception, remedies: Remedies) -> ReconError:
    """The error for a failed sign-in, by its code: its text may quote anything."""
    code = type(error).__name__
    if isinstance(error, botocore.ClientError):
        code = str(error.response.get("Error", {}).get("Code"))
    why = code if re.fullmatch("[A-Za-z0-9.]{1,64}", code) else None
    if code.startswith(REFUSED_CODES) or isinstance(error, NO_SIGN_IN):
        return PermissionDenied(
            "AWS denies access to the database credentials",
            why=why,
            help=remedies.denied,
        )
    if isinstance(error, NOT_SET_UP):
        return ConfigError(
            "AWS cannot be reached with this configuration",
            why=why,
            help=remedies.setting,
        )
    if code.startswith(ABSENT_CODES):
        return ConfigError(
            "the secret with the database credentials does not exist or cannot be read",
            why=why,
            help=remedies.setting,
        )
    return DatabaseUnavailable(
        "AWS did not return the database credentials",
        why=why,
        help="run again; if it fails again, check the network route to AWS",
    )
