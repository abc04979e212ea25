"""New clusters of Postgres are copies of the first: initdb takes half a second of CPU.

It is run once for each program and its options. What the engine does before and after
it is done for every cluster.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

from recon_engine.postgres.embedded import process, programs, system_folder


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.postgres.embedded.programs import Account, Finished


@contextmanager
def copied_clusters() -> Iterator[None]:
    """Copy clusters in this process while the block runs."""
    initdb, made = programs.run_program, dict[tuple[object, ...], Path]()
    with TemporaryDirectory(
        prefix="recon-clusters-", dir=system_folder.TEMPORARY
    ) as kept:

        def make(command: Sequence[str | Path], account: Account) -> Finished:
            program, _, folder, *options = command
            of = program, account, *options
            if of in made:
                return _copy(made[of], Path(folder))
            done = initdb(command, account)
            if not done.returncode:
                first = Path(kept, str(len(made)))
                first.mkdir()
                _copy(Path(folder), first)
                made[of] = first
            return done

        with patch.object(process, "run_program", make):
            yield


def _copy(source: Path, target: Path) -> Finished:
    """With the owners and permissions, those of the folder itself too."""
    return subprocess.run(
        ["/bin/cp", "-a", f"{source}/.", target],
        check=True,
        capture_output=True,
        text=True,
    )
