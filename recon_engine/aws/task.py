"""Identify the Amazon ECS task that this process runs in, if any."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from http.client import HTTPException
from typing import Final
from urllib.request import urlopen


METADATA_VARIABLE: Final = "ECS_CONTAINER_METADATA_URI_V4"
# The agent is on the same host. The ARN is a convenience, and no run waits for it.
TIMEOUT_SECONDS: Final = 2.0


def task_arn() -> str | None:
    """The ARN of the task; None outside of ECS, or if the agent does not answer."""
    agent = os.environ.get(METADATA_VARIABLE, "")
    return _fetch_task_arn(f"{agent}/task") if agent.startswith("http://") else None


@lru_cache(maxsize=1)
def _fetch_task_arn(url: str) -> str | None:
    """Ask the agent once per process; a failure is None, never an error."""
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as reply:  # noqa: S310 - http alone
            facts = json.load(reply)
    except (OSError, HTTPException, ValueError):
        return None
    arn = facts.get("TaskARN") if isinstance(facts, dict) else None
    return arn if isinstance(arn, str) else None
