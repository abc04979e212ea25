"""Every error a user can meet, one class per remedy.

ReconError
├── ConfigError                 fix the command or its configuration           exit 2
│   ├── NoCommonColumn          say how the files are read, or pair names
│   └── UnfitNames              correct the pairs of names, or the order of the files
├── InputError                  fix or replace an input                        exit 3
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
├── TransientError              run the same command again                     exit 4
│   ├── Busy                    another worker holds this dataset
│   ├── InputChanged            an input was replaced while it was read
│   ├── StorageUnavailable      storage does not answer
│   ├── DatabaseUnavailable     Postgres does not answer
│   ├── CommitUnknown           the reply to COMMIT was lost
│   ├── DiskFull                no room to work in
│   ├── OutOfBudget             the memory budget is too small for this pair
│   └── ArchiveConflict         an input was replaced before it was archived
├── Interrupted                 a signal ended the work; run it again           130, 143
└── InternalError               an invariant of the result is violated: a bug   exit 70

The `status` of each class is a row of `recon statuses`.
No message, field or cause of these errors ever holds the value of a cell.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar

from recon_engine.records import dataclass


if TYPE_CHECKING:
    from signal import Signals


class ReconError(Exception):
    """What went wrong, where, why, and how to fix it."""

    # A text: `RunStatus` is in `status`, which imports this module.
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
        """Create an error.

        Args:
            message: What went wrong; never the value of a cell.
            file: The input or other file.
            line: The line, from 1, in the file.
            byte_offset: The byte, from 0, in the file.
            column: The column, by name or `#number`.
            counted_in: What `line` and `byte_offset` refer to, if not the file as
                delivered.
            why: The cause or the policy behind the error.
            help: The remedy.
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

    def __str__(self) -> str:
        """The message, then place, cause and remedy, as the command line prints them.

        `print`, a traceback and a notebook show this.
        """
        lines = (("-->", self.where), ("why:", self.why), ("help:", self.help))
        more = (f"  {word} {text}" for word, text in lines if text)
        return "\n".join((self.message, *more))

    @property
    def where(self) -> str | None:
        """The place as one phrase: `old.csv, line 12, byte 345, column PAID`.

        For a compressed file: `…, byte 345 of the decompressed text, column PAID`.
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
    """The command line or the configuration is invalid."""

    status = "USAGE_ERROR"


class NoCommonColumn(ConfigError):
    """No column is in both files, as they are read."""


class UnfitNames(ConfigError):
    """A pair of names does not fit the columns of the files."""


class InputError(ReconError):
    """An input, or the access to it, was refused."""

    status = "MALFORMED_INPUT"


class InvalidFileCount(InputError):
    """Inbound does not hold exactly two data files."""

    status = "INVALID_FILE_COUNT"


class InvalidFilePair(InputError):
    """The two data files are not one of the OLD and one of the NEW system."""

    status = "INVALID_FILE_PAIR"


class UnusableFiles(InputError):
    """Inbound holds files that look like a delivery but cannot be used."""

    status = "UNUSABLE_FILES"


class FileClaimed(InputError):
    """Another dataset has a result of this very file, or is working on one."""

    status = "FILE_CLAIMED"


class MalformedInput(InputError):
    """The bytes of a file are not strict RFC 4180."""

    status = "MALFORMED_INPUT"


@dataclass(frozen=True, slots=True)
class Trial:
    """An encoding that decodes a sample.

    Bytes of the sample, characters outside ASCII.
    """

    encoding: str
    bytes: int
    characters: int


class EncodingError(InputError):
    """The bytes of a file are invalid in its encoding, UTF-8 by default.

    `trial`: the encoding that `encodings.tried` proposes for the file; None if it was
    not tried or none is likely.
    """

    status = "ENCODING_ERROR"
    trial: Trial | None = None


class EmptyFile(InputError):
    """A file has no bytes, not even a header."""

    status = "EMPTY_FILE"


class SchemaMismatch(InputError):
    """A column is in only one of the two files."""

    status = "SCHEMA_MISMATCH"


class KeyMissing(InputError):
    """A key column is missing in one or both files.

    `is_settled`: whether the remedy gives both files the key, as far as is known.
    """

    status = "KEY_MISSING"
    is_settled: bool = False


class DuplicateKeys(InputError):
    """A key repeats within a file, and `--on-duplicate-keys fail` is set."""

    status = "DUPLICATE_KEYS"


class PermissionDenied(InputError):
    """The storage or the database refuses the credentials."""

    status = "PERMISSION_DENIED"


class TransientError(ReconError):
    """The work could not be done now. Running the same command again is safe."""

    status = "STORAGE_UNAVAILABLE"


class Busy(TransientError):
    """Another worker is reconciling the same dataset from the same inbound location."""

    status = "BUSY"


class InputChanged(TransientError):
    """An input is no longer the object that was listed or opened."""

    status = "INPUT_CHANGED"


class StorageUnavailable(TransientError):
    """The storage cannot be reached or does not answer."""

    status = "STORAGE_UNAVAILABLE"


class DatabaseUnavailable(TransientError):
    """Postgres cannot be reached, went away, or refused an operation."""

    status = "DATABASE_UNAVAILABLE"


class CommitUnknown(TransientError):
    """The connection broke during COMMIT and the outcome could not be read."""

    status = "COMMIT_UNKNOWN"


class DiskFull(TransientError):
    """A disk that the run needs is full."""

    status = "DISK_FULL"


class OutOfBudget(TransientError):
    """The pair cannot be reconciled within the memory budget."""

    status = "OUT_OF_BUDGET"


class ArchiveConflict(TransientError):
    """An input was replaced after its result was recorded.

    The new file stays in inbound.
    """

    status = "ARCHIVE_CONFLICT"


class Interrupted(ReconError):
    """A signal ended the work before a result, or before the archive of its inputs."""

    status = "INTERRUPTED"

    def __init__(self, number: Signals, *, may_be_recorded: bool = False) -> None:
        """Create an error.

        Args:
            number: The signal, SIGINT for Ctrl-C or SIGTERM.
            may_be_recorded: Whether the result of a run may be recorded.
        """
        why = None
        remedy = "no partial result was written; it is safe to retry"
        if may_be_recorded:
            why = "the result may be recorded, and its inputs may not be archived"
            remedy = "run again: that finishes a recorded result, or begins anew"
        super().__init__(f"stopped by {number.name}", why=why, help=remedy)
        # As shells report a process that a signal has ended.
        self.exit_code = 128 + number


class InternalError(ReconError):
    """A bug: an unexpected error, or a result that violates an invariant."""

    status = "INTERNAL_ERROR"


# What another run does not change: a name is too long, a file takes the place of a
# folder, or links lead to each other.
NO_PATH = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP})
PATH_HELP = "check the spelling of its folders and of the file"


def error_from_errno(number: int | None, file: str | None = None) -> ReconError:
    """The error for an errno of the operating system."""
    why = errno.errorcode.get(number or 0, "an unnamed error")
    # EDQUOT: the quota of the user is used up, which needs the same remedy.
    if number in {errno.ENOSPC, errno.EDQUOT}:
        text = "the disk is full"
        return DiskFull(text, file=file, why=why, help="free some space and run again")
    if number in {errno.EACCES, errno.EPERM, errno.EROFS}:
        text = "the file system denies access"
        remedy = "check the owner and the mode of the file and its folder"
        return PermissionDenied(text, file=file, why=why, help=remedy)
    if number in NO_PATH:
        text = "there is no such path, and there can be none"
        return ConfigError(text, file=file, why=why, help=PATH_HELP)
    text = "a file system operation failed"
    return StorageUnavailable(text, file=file, why=why, help="run again")
