"""Propose an encoding for a file that is not UTF-8, by decoding a sample. Pure.

The proposal names both files: `utf-8:cp1252` keeps OLD as UTF-8. Decoding a UTF-8 file
as cp1252 would change its letters and make the pair differ.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from recon_engine.config import Encoding
from recon_engine.errors import EncodingError, Trial
from recon_engine.formatting import format_count
from recon_engine.lazy import lazy_pattern
from recon_engine.model import SIDES
from recon_engine.runtime.concurrency import map_ordered


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from recon_engine.config import Options

Item = TypeVar("Item")
Opened = TypeVar("Opened")

SAMPLE_BYTES: Final = 1 << 20
LONGEST_CHARACTER: Final = 4
# In the order of trial: Windows, DOS, old Macs. cp1252 has five undefined bytes, so it
# can fail; the others decode any byte, and only the share of letters rules them out.
CANDIDATES: Final = (Encoding.CP1252, Encoding.CP850, Encoding.MAC_ROMAN)
WITHIN_A_WORD: Final = lazy_pattern(r"(?<=[A-Za-z])[^\x00-\x7f]+(?=[a-z])")
# Minimum share of letters among the non-ASCII characters inside words. A wrong code
# page turns letters into symbols; a share of 1 would fail on a word with an apostrophe.
LETTERS: Final = 0.9
UNNAMED: Final = (
    "save it as UTF-8, or pass its encoding: --encoding OLD:NEW, such as cp1252:utf-8"
)


class _Named(Protocol):
    @property
    def uri(self) -> str:
        """As errors have it."""
        ...


def tried(sample: bytes) -> Trial | None:
    """The first candidate encoding in which `sample` reads as text.

    None if none is likely.

    A sample with valid multi-byte UTF-8 characters is damaged UTF-8, and has no
    proposal.
    """
    good = sample.decode("utf-8", "ignore")
    if not good.isascii():
        return None
    for encoding in CANDIDATES:
        text = sample.decode(encoding, "replace")
        foreign = {c for c in set(text) if not c.isascii()}
        words = WITHIN_A_WORD.findall(text)
        letters = sum(map(str.isalpha, words))
        if (
            all(c.isprintable() or c == "\xa0" for c in foreign)
            and "\ufffd" not in foreign
            and letters >= LETTERS * len(words)
        ):
            return Trial(encoding, len(sample), count_foreign(text))
    return None


def tried_wide(sample: bytes, encoding: Encoding) -> Trial | None:
    """Decode a sample in an encoding that a byte order mark or zero bytes indicate.

    None if the sample is not valid in it.
    """
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError as error:
        # A sample may end within a character.
        if error.start < len(sample) - LONGEST_CHARACTER:
            return None
        text = sample[: error.start].decode(encoding)
    return Trial(encoding, len(sample), count_foreign(text))


def count_foreign(text: str) -> int:
    """The number of characters outside ASCII."""
    return len(text) - len(text.encode("ascii", "ignore"))


@contextmanager
def name_both_encodings(
    options: Options, inputs: Sequence[_Named], sample: Callable[[int, int], bytes]
) -> Iterator[None]:
    """Complete the remedy of an EncodingError with the `--encoding` flag for both.

    `sample`: returns up to `SAMPLE_BYTES` of the text of OLD (0) or of NEW (1), from an
    offset on. The bytes that are tried surround the fault. They depend on the file
    alone, not on the blocks or spans in which it is read.
    """
    try:
        yield
    except EncodingError as error:
        failed = [each.uri == error.file for each in inputs]
        start = max(0, (error.byte_offset or 0) - SAMPLE_BYTES // 2)
        trials = [
            error.trial or tried(sample(at, start))
            if bad
            else trial_of(sample(at, 0), SIDES[at], options)
            for at, bad in enumerate(failed)
        ]
        error.help = remedy(error, trials, options)
        raise


def open_both(
    work: Callable[[Item], Opened],
    items: Iterable[Item],
    options: Options,
    head: Callable[[Opened], bytes],
    *,
    each: Callable[..., Iterable[Opened | EncodingError]] = map_ordered,
) -> tuple[Opened, Opened]:
    """Apply `work` to OLD and NEW; the remedy of an EncodingError names both encodings.

    Args:
        work: Opens one input.
        items: What to open: OLD, then NEW.
        options: The encodings that are given.
        head: Returns the first bytes of an opened input.
        each: The mapping function: `map`, or one that runs both at once.

    Raises:
        EncodingError: Either input is not in its encoding.
    """

    def attempt(item: Item) -> Opened | EncodingError:
        try:
            return work(item)
        except EncodingError as error:
            return error

    old, new = each(attempt, items)
    if not isinstance(old, EncodingError) and not isinstance(new, EncodingError):
        return old, new
    error = old if isinstance(old, EncodingError) else new
    assert isinstance(error, EncodingError)  # noqa: S101 - one of them is
    trials = [
        found.trial
        if isinstance(found, EncodingError)
        else trial_of(head(found), side, options)
        for found, side in zip((old, new), SIDES, strict=True)
    ]
    error.help = remedy(error, trials, options)
    raise error


def trial_of(head: bytes, side: str, options: Options) -> Trial | None:
    """The encoding of the input that is not at fault, checked on its first bytes."""
    given = options.encoding_of(side)
    # A text that was transcoded is UTF-8; a head may end within a character.
    if given is Encoding.UTF_8 and not _is_utf_8(head):
        return tried(head)
    return Trial(given, len(head), 0)


def remedy(
    error: EncodingError, trials: Sequence[Trial | None], options: Options
) -> str:
    """The help of an EncodingError: the flag that was tried on both, or the given help.

    `trials`: of OLD and of NEW. A file that is valid in its given encoding has no fact.
    """
    old, new = trials
    if old is None or new is None:
        return error.help or UNNAMED
    same = old.encoding == new.encoding
    flag = old.encoding if same else f"{old.encoding}:{new.encoding}"
    facts = [
        f"{side.upper()}: the {format_count(trial.bytes, 'tried byte', 'are')} valid "
        f"{trial.encoding}, {format_count(trial.characters, 'character')} outside ASCII"
        for side, trial in zip(SIDES, (old, new), strict=True)
        if trial.encoding is not options.encoding_of(side)
    ]
    return f"add --encoding {flag} ({'; '.join(facts)})"


def _is_utf_8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(head) >= SAMPLE_BYTES and error.start > len(head) - LONGEST_CHARACTER
    return True
