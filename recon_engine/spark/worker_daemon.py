"""The process from which Spark forks the Python workers of an executor.

Spark puts an archive of PySpark first on their path. Python compiles what it imports
from an archive again in each such process, which takes longer than all other imports
together. If Spark is the one that is installed as a wheel, the same modules are there
with their compiled code.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def prefer_installed_pyspark() -> None:
    """Take the archive off the path if it is that of the installed PySpark."""
    home = os.environ.get("SPARK_HOME")
    if home is None:
        return
    root = Path(home).resolve()
    if any((Path(each) / "pyspark").resolve() == root for each in sys.path):
        archives = root / "python" / "lib"
        sys.path[:] = [
            each for each in sys.path if Path(each).resolve().parent != archives
        ]


if __name__ == "__main__":
    prefer_installed_pyspark()
    from pyspark.daemon import manager

    manager()
