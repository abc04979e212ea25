"""The task of Amazon ECS that this process runs in, if it does."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from http.client import HTTPException
from typing import Final
from urllib.request import urlopen


METADATA_VARIABLE: Final = "ECS_CONTAINER_METADATA_URI_V4"
TIMEOUT_SECONDS: Final = 2.0


def task_arn() -> str | None:
    """The ARN of the task; None outside of ECS, or where its agent does not tell."""
    agent = os.environ.get(METADATA_VARIABLE, "")
    return _fetch_task_arn(f"{agent}/task") if agent.startswith("http://") else None


@lru_cache(maxsize=1)
def _fetch_task_arn(url: str) -> str | None:
    """Asked once, and never worth a failure."""
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as reply:  # noqa: S310 - http alone
            facts = json.load(reply)
    except (OSError, HTTPException, ValueError):
        return None
    arn = facts.get("TaskARN") if isinstance(facts, dict) else None
    return arn if isinstance(arn, str) else None
