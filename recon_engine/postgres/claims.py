"""Claims: a version of a file belongs to one dataset, whoever else finds it in inbound.

A run claims its files when it starts and again when it publishes. The claims are rows
of `metrics.file_claim`; its primary key, and no lock, decides between two datasets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recon_engine.errors import FileClaimed


if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


# The slot is that of the driver, psycopg or ADBC, and takes the id of the run.
CLAIM: Final = (
    "SELECT uri, dataset, run_id::text, status FROM metrics.claim_files({}::uuid)"
)


def claimed_elsewhere(taken: Sequence[Sequence[Any]]) -> FileClaimed:
    """The error for what `CLAIM` returned: files of other datasets, at least one."""
    uri, dataset, run_id, status = taken[0]
    return FileClaimed(
        f"the file belongs to the dataset {dataset}",
        file=uri,
        why=f"run {run_id} of {dataset} has claimed it and is {status}",
        help="give each dataset an inbound place of its own; if the run named here is "
        "dead, the next run of that dataset ends its claim",
    )
