"""How a run can end: one table from status to exit code, retry and meaning."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from recon_engine.errors import Interrupted
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Mapping

    from recon_engine.errors import ReconError


class RunStatus(StrEnum):
    """The states of a run, as stored in `metrics.pipeline_run_log.status`."""

    STARTED = "STARTED"
    RECONCILED = "RECONCILED"
    ABANDONED = "ABANDONED"
    SUCCEEDED = "SUCCEEDED"
    ALREADY_DONE = "ALREADY_DONE"
    NO_FILES = "NO_FILES"
    USAGE_ERROR = "USAGE_ERROR"
    INVALID_FILE_COUNT = "INVALID_FILE_COUNT"
    INVALID_FILE_PAIR = "INVALID_FILE_PAIR"
    UNUSABLE_FILES = "UNUSABLE_FILES"
    FILE_CLAIMED = "FILE_CLAIMED"
    SCHEMA_MISMATCH = "SCHEMA_MISMATCH"
    KEY_MISSING = "KEY_MISSING"
    MALFORMED_INPUT = "MALFORMED_INPUT"
    ENCODING_ERROR = "ENCODING_ERROR"
    EMPTY_FILE = "EMPTY_FILE"
    DUPLICATE_KEYS = "DUPLICATE_KEYS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    BUSY = "BUSY"
    INPUT_CHANGED = "INPUT_CHANGED"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    COMMIT_UNKNOWN = "COMMIT_UNKNOWN"
    DISK_FULL = "DISK_FULL"
    OUT_OF_BUDGET = "OUT_OF_BUDGET"
    ARCHIVE_CONFLICT = "ARCHIVE_CONFLICT"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    INTERRUPTED = "INTERRUPTED"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a status means for the caller.

    `retryable`: whether the same command can be repeated safely. It may end alike.
    """

    exit_code: int
    retryable: bool
    meaning: str


_Status = RunStatus
# 70 is EX_SOFTWARE of sysexits.h, 143 is 128 and the number of SIGTERM.
STATUSES: Mapping[RunStatus, Meaning] = MappingProxyType(
    {
        _Status.STARTED: Meaning(4, True, "the run is under way, or its worker died"),
        _Status.RECONCILED: Meaning(
            4, True, "the result is recorded; the inputs are not yet archived"
        ),
        _Status.ABANDONED: Meaning(
            4, True, "the worker died before a result was recorded"
        ),
        _Status.SUCCEEDED: Meaning(
            0,
            False,
            "the result is recorded, the inputs are archived (it fails: exit 1)",
        ),
        _Status.ALREADY_DONE: Meaning(
            0,
            False,
            "this pair was reconciled before; nothing was repeated (its result "
            "fails: exit 1)",
        ),
        _Status.NO_FILES: Meaning(
            0,
            False,
            "inbound holds no data file, or not yet its done file (--fail-on-no-files: "
            "exit 3; it finished a run whose result fails: exit 1)",
        ),
        _Status.USAGE_ERROR: Meaning(2, False, "the command or configuration is wrong"),
        _Status.INVALID_FILE_COUNT: Meaning(
            3,
            False,
            "inbound does not hold exactly two data files; with --parts: not the"
            " expected number of files",
        ),
        _Status.INVALID_FILE_PAIR: Meaning(
            3, False, "the two files are not one OLD and one NEW (NEWSYSTEM)"
        ),
        _Status.UNUSABLE_FILES: Meaning(
            3, False, "inbound holds files that cannot be used, such as claims.txt"
        ),
        _Status.FILE_CLAIMED: Meaning(
            3, False, "a file in inbound belongs to another dataset"
        ),
        _Status.SCHEMA_MISMATCH: Meaning(3, False, "a column is in one file only"),
        _Status.KEY_MISSING: Meaning(3, False, "a key column is not in both files"),
        _Status.MALFORMED_INPUT: Meaning(3, False, "a file is not strict RFC 4180 CSV"),
        _Status.ENCODING_ERROR: Meaning(
            3, False, "a file is not in its encoding, UTF-8 by default"
        ),
        _Status.EMPTY_FILE: Meaning(3, False, "a file has no bytes, not even a header"),
        _Status.DUPLICATE_KEYS: Meaning(
            3, False, "a key repeats and --on-duplicate-keys is fail"
        ),
        _Status.PERMISSION_DENIED: Meaning(
            3, False, "storage or database refuses the credentials"
        ),
        _Status.BUSY: Meaning(4, True, "another worker is reconciling this dataset"),
        _Status.INPUT_CHANGED: Meaning(4, True, "an input was replaced during the run"),
        _Status.STORAGE_UNAVAILABLE: Meaning(4, True, "the storage does not answer"),
        _Status.DATABASE_UNAVAILABLE: Meaning(4, True, "Postgres does not answer"),
        _Status.COMMIT_UNKNOWN: Meaning(
            4, True, "the reply to COMMIT was lost; the next run finds out"
        ),
        _Status.DISK_FULL: Meaning(
            4, True, "there is no room on a disk: a repeat needs more"
        ),
        _Status.OUT_OF_BUDGET: Meaning(
            4, True, "the memory budget is too small: a repeat needs a larger one"
        ),
        _Status.ARCHIVE_CONFLICT: Meaning(
            4,
            True,
            "the result is recorded; a replaced input stays in inbound until somebody"
            " decides which file is right",
        ),
        _Status.INTERNAL_ERROR: Meaning(
            70,
            False,
            "a bug: an unexpected error, or a result invariant that does not hold",
        ),
        _Status.INTERRUPTED: Meaning(
            143,
            True,
            "stopped by SIGTERM (143) or Ctrl-C (130) before a result, or before the"
            " archive of a recorded one ended",
        ),
    }
)


def status_of(error: ReconError) -> RunStatus:
    """The status that an error ends a run with."""
    return RunStatus(error.status)


def exit_code_of(error: ReconError) -> int:
    """The exit code of an error's status; for an interruption, that of its signal."""
    if isinstance(error, Interrupted):
        return error.exit_code
    return STATUSES[status_of(error)].exit_code
