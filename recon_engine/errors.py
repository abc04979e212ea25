"""Every error a user can meet, one class per remedy.

ReconError
├── ConfigError                 mend the command or its configuration          exit 2
├── InputError                  mend or replace an input                       exit 3
│   ├── InvalidFileCount        inbound does not hold exactly two data files
│   ├── InvalidFilePair         the two are not one OLD and one NEW
│   ├── UnusableFiles           inbound holds files, and none can be used
│   ├── FileClaimed             a file belongs to another dataset
│   ├── MalformedInput          the bytes are not strict RFC 4180
│   ├── EncodingError           the bytes are not in the encoding they should be in
│   ├── EmptyFile               there is not even a header
│   ├── SchemaMismatch          the two files do not have the same columns
│   ├── KeyMissing              a key column is not in a file
│   ├── DuplicateKeys           a key repeats, and the policy is `fail`
│   └── PermissionDenied        storage or database refuses these credentials
├── TransientError              run it again as it is                          exit 4
│   ├── Busy                    another worker holds this dataset
│   ├── InputChanged            an input was replaced while it was read
│   ├── StorageUnavailable      storage does not answer
│   ├── DatabaseUnavailable     Postgres does not answer
│   ├── CommitUnknown           the reply to COMMIT was lost
│   ├── DiskFull                no room to work in
│   ├── OutOfBudget             the memory budget is too small for this pair
│   └── ArchiveConflict         an input was replaced before it was archived
├── Interrupted                 a signal ended the work; run it again           130, 143
└── InternalError               a law of the reconciliation does not hold       exit 70

The `status` of each class is a row of `recon statuses`.
No message, field or cause of these errors ever holds the value of a cell.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar, NamedTuple


if TYPE_CHECKING:
    from signal import Signals


class ReconError(Exception):
    """What went wrong, where, why, and how to mend it."""

    status: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        byte_offset: int | None = None,
        column: str | None = None,
        counted_in: str | None = None,
        why: str | None = None,
        help: str | None = None,  # noqa: A002 - the name users read
    ) -> None:
        """`line` counts from 1, `byte_offset` from 0, both in the file as it is.

        `counted_in` names what they count in where it is not that.
        """
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.byte_offset = byte_offset
        self.column = column
        self.counted_in = counted_in
        self.why = why
        self.help = help

    @property
    def where(self) -> str | None:
        """The place as one phrase: `old.csv, line 12, byte 345, column PAID`.

        Of a compressed file: `…, byte 345 of the decompressed text, column PAID`.
        """
        counted_in = f" of {self.counted_in}" if self.counted_in else ""
        parts = (
            self.file,
            None if self.line is None else f"line {self.line:,}",
            None
            if self.byte_offset is None
            else f"byte {self.byte_offset:,}{counted_in}",
            None if self.column is None else f"column {self.column}",
        )
        return ", ".join(part for part in parts if part is not None) or None


class ConfigError(ReconError):
    """The command line or the configuration cannot be carried out."""

    status = "USAGE_ERROR"


class InputError(ReconError):
    """An input was refused; nothing was written and nothing was moved."""

    status = "MALFORMED_INPUT"


class InvalidFileCount(InputError):
    """Inbound does not hold exactly two data files."""

    status = "INVALID_FILE_COUNT"


class InvalidFilePair(InputError):
    """The two data files are not one of the OLD and one of the NEW system."""

    status = "INVALID_FILE_PAIR"


class UnusableFiles(InputError):
    """Inbound holds files that look like a delivery, and that cannot be used."""

    status = "UNUSABLE_FILES"


class FileClaimed(InputError):
    """Another dataset has a result of this very file, or is working on one."""

    status = "FILE_CLAIMED"


class MalformedInput(InputError):
    """The bytes of a file are not strict RFC 4180."""

    status = "MALFORMED_INPUT"


class Trial(NamedTuple):
    """An encoding that reads a sample: of how many bytes, and what outside ASCII."""

    encoding: str
    bytes: int
    characters: int


class EncodingError(InputError):
    """The bytes of a file are not in the encoding that it should have: UTF-8.

    `trial`: what the file reads in, by `encodings.tried`, if it was tried.
    """

    status = "ENCODING_ERROR"
    trial: Trial | None = None


class EmptyFile(InputError):
    """A file has no bytes, so not even a header."""

    status = "EMPTY_FILE"


class SchemaMismatch(InputError):
    """A column is in one of the two files only."""

    status = "SCHEMA_MISMATCH"


class KeyMissing(InputError):
    """A key column is in neither or only one of the two files."""

    status = "KEY_MISSING"


class DuplicateKeys(InputError):
    """A key repeats within a file, and `--on-duplicate-keys fail` was given."""

    status = "DUPLICATE_KEYS"


class PermissionDenied(InputError):
    """Storage or database refuses these credentials."""

    status = "PERMISSION_DENIED"


class TransientError(ReconError):
    """Infrastructure failed; the same command is safe to run again."""

    status = "STORAGE_UNAVAILABLE"


class Busy(TransientError):
    """Another worker is reconciling the same dataset from the same inbound place."""

    status = "BUSY"


class InputChanged(TransientError):
    """An input is no longer the object that was listed."""

    status = "INPUT_CHANGED"


class StorageUnavailable(TransientError):
    """The storage cannot be reached or does not answer."""

    status = "STORAGE_UNAVAILABLE"


class DatabaseUnavailable(TransientError):
    """Postgres cannot be reached, went away, or refused an operation."""

    status = "DATABASE_UNAVAILABLE"


class CommitUnknown(TransientError):
    """The connection broke at COMMIT and its outcome could not be read back."""

    status = "COMMIT_UNKNOWN"


class DiskFull(TransientError):
    """There is no room left on a disk the run needs."""

    status = "DISK_FULL"


class OutOfBudget(TransientError):
    """The pair cannot be reconciled within the memory budget."""

    status = "OUT_OF_BUDGET"


class ArchiveConflict(TransientError):
    """An input was replaced after its result was recorded; the new one stays."""

    status = "ARCHIVE_CONFLICT"


class Interrupted(ReconError):
    """A signal ended the work before there was a result."""

    status = "INTERRUPTED"

    def __init__(self, number: Signals, *, why: str | None = None) -> None:
        """`number` is the signal: SIGINT for Ctrl-C, or SIGTERM."""
        super().__init__(
            f"stopped by {number.name}",
            why=why,
            help="nothing is lost and nothing half done; run again",
        )
        self.exit_code = 128 + number


class InternalError(ReconError):
    """A law that every reconciliation obeys does not hold: a bug, never a result."""

    status = "INTERNAL_ERROR"


def error_from_errno(number: int | None, file: str | None = None) -> ReconError:
    """What the operating system refuses, by its errno."""
    why = errno.errorcode.get(number or 0, "an unnamed error")
    if number in {errno.ENOSPC, errno.EDQUOT}:
        text = "there is no room left on the disk"
        return DiskFull(text, file=file, why=why, help="make room and run again")
    if number in {errno.EACCES, errno.EPERM, errno.EROFS}:
        text = "the file system refuses access"
        mend = "check the owner and the mode of the file and its folder"
        return PermissionDenied(text, file=file, why=why, help=mend)
    text = "the file system failed"
    return StorageUnavailable(text, file=file, why=why, help="run again")
