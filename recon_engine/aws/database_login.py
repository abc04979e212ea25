"""A database whose password AWS keeps (Secrets Manager) or makes (RDS IAM tokens).

Both are asked again for every connection: a rotated password is picked up in the middle
of a run, and a token, which is good for 15 minutes, is never an old one. What `PG*`
variables say of host, port and database goes before what a secret says.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Final

from botocore import exceptions as botocore
from botocore.config import Config
from psycopg.conninfo import make_conninfo

from recon_engine.aws.client import create_client
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
# What libpq calls a fact, what a secret of RDS calls it, and who may say otherwise.
CONNECTION_FIELDS: Final = (
    ("host", "host", "PGHOST"),
    ("port", "port", "PGPORT"),
    ("dbname", "dbname", "PGDATABASE"),
    ("user", "username", None),
    ("password", "password", None),
)
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
    """An address by the ARN of a JSON secret, read anew for each connection."""

    arn: str

    def __call__(self) -> str:
        """The connection string of now."""
        said = _parse_secret(self._text())
        facts = {
            ours: (variable and os.environ.get(variable)) or said.get(theirs)
            for ours, theirs, variable in CONNECTION_FIELDS
        }
        if not (facts["user"] and facts["password"]):
            raise self._unusable_secret("it has no username or no password")
        return make_conninfo(**{name: value for name, value in facts.items() if value})

    def _text(self) -> str:
        refusal: ReconError
        try:
            region = self.arn.split(":")[3]
            secrets = create_client("secretsmanager", CLIENT_CONFIG, region=region)
            return str(secrets.get_secret_value(SecretId=self.arn)["SecretString"])
        except (IndexError, KeyError):
            refusal = self._unusable_secret("it is no ARN, or that of a binary secret")
        except (botocore.ClientError, botocore.BotoCoreError) as error:
            refusal = _sign_in_error(error)
        raise refusal

    def _unusable_secret(self, why: str) -> ConfigError:
        return ConfigError(
            "RECON_DATABASE_SECRET names no secret of a database",
            why=why,
            help='a secret of JSON, {"username": …, "password": …, "host": …}',
        )


@dataclass(frozen=True, slots=True)
class IamToken:
    """An address whose password is a token, signed anew for each connection."""

    region: str

    def __call__(self) -> str:
        """The connection string of now; signing it asks nobody."""
        host, user = os.environ.get("PGHOST"), os.environ.get("PGUSER")
        if not (host and user):
            raise ConfigError(
                "RECON_DATABASE_IAM needs to know the instance and the user",
                help="PGHOST=…rds.amazonaws.com PGUSER=recon_app",
            )
        port = os.environ.get("PGPORT", DEFAULT_PORT)
        refusal: ReconError
        try:
            token = create_client(
                "rds", CLIENT_CONFIG, region=self.region
            ).generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)
            return make_conninfo(host=host, port=port, user=user, password=token)
        except (botocore.ClientError, botocore.BotoCoreError) as error:
            refusal = _sign_in_error(error)
        raise refusal


def _parse_secret(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {}


def _sign_in_error(error: Exception) -> ReconError:
    """By its code alone: the text of an error may hold anything."""
    code = type(error).__name__
    if isinstance(error, botocore.ClientError):
        code = str(error.response.get("Error", {}).get("Code"))
    why = code if re.fullmatch("[A-Za-z0-9.]{1,64}", code) else None
    if code.startswith(REFUSED_CODES) or "Credentials" in code:
        return PermissionDenied(
            "AWS refuses to tell how to sign in to the database",
            why=why,
            help="the task role needs secretsmanager:GetSecretValue, and kms:Decrypt",
        )
    if code.startswith(ABSENT_CODES):
        return ConfigError(
            "AWS does not know how to sign in to the database",
            why=why,
            help="check the ARN in RECON_DATABASE_SECRET, and its region",
        )
    return DatabaseUnavailable(
        "AWS does not say how to sign in to the database",
        why=why,
        help="run again; if it stays so, check the way to Secrets Manager",
    )
