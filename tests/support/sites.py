"""Three places and a database: where a run happens, and what it left there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
from psycopg.conninfo import make_conninfo
from support.s3_contents import Contents

from recon_engine.config import Options, RunConfig
from recon_engine.pipeline import runner


if TYPE_CHECKING:
    from recon_engine.pipeline.runner import Outcome


OLD = b"ID,PAID,NOTE\n1,10.00,a\n2,20.00,b\n3,30.00,c\n4,40.00,\n"
NEW = b'NOTE,ID,PAID\na,1,10\nb,2,20.00\nC,3,30.00\n"",5,50.00\n'


class Site:
    """Three places and a way to look into them, whatever they are made of.

    The pipeline runs as recon_app, which may do what it needs and nothing else; the
    tests look at what it did with all rights.
    """

    def __init__(self, root: str, database: str) -> None:
        self.inbound, self.processed, self.out = (
            f"{root}/{name}" for name in ("inbound", "processed", "out")
        )
        self.database = database

    def config(self, **changes: Any) -> RunConfig:
        options = changes.pop("options", None) or Options(keys=("ID",))
        database = changes.pop("database", None)
        values = {
            "dataset": "claims",
            "inbound": self.inbound,
            "processed": self.processed,
            "out": self.out,
            "options": options,
            "database": database or make_conninfo(self.database, user="recon_app"),
            **changes,
        }
        return RunConfig(**values)

    def run(self, **changes: Any) -> Outcome:
        return runner.run_pipeline(self.config(**changes))

    def deliver(
        self, old: bytes = OLD, new: bytes = NEW, day: str = "20261123"
    ) -> None:
        self.put(f"claims_{day}.csv", old)
        self.put(f"claims_{day}_NEWSYSTEM.csv", new)

    def rows(self, statement: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.database) as connection:
            cursor = connection.execute(statement)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def statuses(self) -> list[str]:
        log = "SELECT status FROM metrics.pipeline_run_log ORDER BY run_ts"
        return [row["status"] for row in self.rows(log)]

    def put(self, name: str, data: bytes) -> None:
        raise NotImplementedError

    def names(self, place: str) -> dict[str, bytes]:
        raise NotImplementedError


class FolderSite(Site):
    def put(self, name: str, data: bytes) -> None:
        path = Path(self.inbound) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def names(self, place: str) -> dict[str, bytes]:
        root = Path(place)
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }


class BucketSite(Site):
    def __init__(
        self, bucket: str, endpoint: str, database: str, root: str = "claims"
    ) -> None:
        super().__init__(f"s3://{bucket}/{root}", database)
        self.bucket = bucket
        self.root = root
        self.client = boto3.client("s3", endpoint_url=endpoint)
        self.contents = Contents(self.client, bucket)

    def put(self, name: str, data: bytes) -> None:
        key = f"{self.root}/inbound/{name}"
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def names(self, place: str) -> dict[str, bytes]:
        prefix = place.removeprefix(f"s3://{self.bucket}/").rstrip("/") + "/"
        return self.contents.below(prefix)


REFUSED = {
    "SCHEMA_MISMATCH": (b"ID,X\n1,2\n", b"ID,Y\n1,2\n"),
    "KEY_MISSING": (b"NR,X\n1,2\n", b"NR,X\n1,2\n"),
    "MALFORMED_INPUT": (b"ID,X\n1\n", b"ID,X\n1,2\n"),
    "ENCODING_ERROR": (b"ID,X\n1,\xff\n", b"ID,X\n1,2\n"),
    "EMPTY_FILE": (b"", b"ID,X\n1,2\n"),
    "DUPLICATE_KEYS": (b"ID,X\n1,2\n1,3\n", b"ID,X\n1,2\n"),
}
