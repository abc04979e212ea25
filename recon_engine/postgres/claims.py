"""Claims: a version of a file belongs to one dataset, even if two share an inbound.

A run claims its files when it starts and again when it publishes. A claim is a row of
`metrics.file_claim`. Its primary key decides between two datasets; no lock is held. The
lock of a run is in `run_log`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recon_engine.errors import FileClaimed


if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


# `{}` is the placeholder of the driver, psycopg or ADBC, for the run id. The rows it
# returns are files that other datasets have claimed; none means both are claimed.
CLAIM: Final = (
    "SELECT uri, dataset, run_id::text, status FROM metrics.claim_files({}::uuid)"
)


def claimed_elsewhere(taken: Sequence[Sequence[Any]]) -> FileClaimed:
    """The error for the rows that `CLAIM` returned, of which there is at least one."""
    uri, dataset, run_id, status = taken[0]
    return FileClaimed(
        f"the file belongs to the dataset {dataset}",
        file=uri,
        why=f"run {run_id} of {dataset} has claimed it and is {status}",
        help="give each dataset its own inbound location; if the run named here is "
        "dead, the next run of that dataset releases its claim",
    )
