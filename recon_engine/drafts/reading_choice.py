"""How both files are read: the choice, its corrections, options and evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from recon_engine.config import (
    DEFAULT_DELIMITER,
    NO_KEY,
    UTF_8,
    Options,
    Quote,
    SideOptions,
)
from recon_engine.drafts.decision import Decision
from recon_engine.drafts.layout_pairs import PADDING, is_padded, pair_layouts
from recon_engine.drafts.reading import (
    TRAILER_WORDS,
    Reading,
    find_encoding_at,
    find_reading,
    read_last_field,
    read_table,
    show_delimiter,
)
from recon_engine.errors import EncodingError, ReconError
from recon_engine.formatting import format_count
from recon_engine.lazy import lazy_pattern
from recon_engine.model import SIDES
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.config import Limits
    from recon_engine.drafts.inputs import Input
    from recon_engine.inputs.trailers import Trailer


# Also with zeros before it. As many digits as the number of rows of any file has.
WHOLE_NUMBER: Final = lazy_pattern(r"[0-9]{1,18}")


def read_first_rows(source: Input, side: str, limits: Limits) -> Reading:
    """How a file is read, by its first rows."""
    if source.is_table:
        found = read_table(source.path, limits)
    else:
        found = find_reading(source.path, source.uri, side, limits)
    return replace(found, limits=limits)


def without_reading(options: Options) -> Options:
    """Options for the same rows as frames."""
    old, new = (
        SideOptions(rules=side.rules, derive=side.derive)
        for side in (options.old, options.new)
    )
    return replace(
        options, delimiter=DEFAULT_DELIMITER, encodings=UTF_8, old=old, new=new
    )


def with_reading(options: Options, reading: Options) -> Options:
    """Options of frames for the files that are read by `reading`."""
    old, new = (
        replace(read, rules=own.rules, derive=own.derive)
        for read, own in ((reading.old, options.old), (reading.new, options.new))
    )
    return replace(
        options,
        delimiter=reading.delimiter,
        encodings=reading.encodings,
        old=old,
        new=new,
    )


def find_trailer_counts(trailers: Sequence[Trailer], rows: int) -> tuple[str, ...]:
    """The fields of trailers that say how many rows there are, as options name them.

    Of two such fields of one trailer, it is unknown which one does.
    """
    found = []
    for trailer in trailers:
        texts = [field.decode(errors="replace").strip() for field in trailer.fields]
        fields = [
            number
            for number, text in enumerate(texts, 1)
            if number > 1 and WHOLE_NUMBER.fullmatch(text) and int(text) == rows
        ]
        if len(fields) == 1:
            prefix = f"{trailer.prefix}:" if len(trailers) > 1 else ""
            found.append(f"{prefix}{fields[0]}")
    return tuple(found)


def with_trailer_counts(options: Options, found: Sequence[tuple[str, ...]]) -> Options:
    """The options with the fields that `find_trailer_counts` found for each file."""
    old, new = (
        replace(side, trailer_counts=counts)
        for side, counts in zip((options.old, options.new), found, strict=True)
    )
    return replace(options, old=old, new=new)


def name_columns(readings: Sequence[Reading]) -> list[Reading]:
    """The names of the other file for one without a header and as many columns.

    Columns of a fixed width are paired by their values, once rows are read.
    """
    old, new = readings
    if old.layout or new.layout:
        return pair_layouts(readings)
    if old.has_header == new.has_header or len(old.columns) != len(new.columns):
        return list(readings)
    names = old.columns if old.has_header else new.columns
    return [
        each
        if each.has_header
        else replace(each, columns=names, frame=replace(each.frame, names=names))
        for each in readings
    ]


def are_written_otherwise(readings: Sequence[Reading]) -> bool:
    """Whether two systems write the files: with other bytes, or under other names."""
    old, new = ((each.encoding, each.delimiter, each.columns) for each in readings)
    return old != new


def read_options(readings: Sequence[Reading]) -> Options:
    """The options by which both files are read; no key is named."""
    old, new = readings
    delimiters = dict.fromkeys((old.delimiter, new.delimiter))
    return Options(
        keys=NO_KEY,
        delimiter=":".join(delimiters),
        encodings=(old.encoding, new.encoding),
        rules=PADDING if is_padded(readings) else {},
        old=old.frame,
        new=new.frame,
    )


def correct_reading(
    inputs: Sequence[Input], readings: Sequence[Reading], error: ReconError
) -> list[Reading]:
    """The readings without the fault of some row; raises its error otherwise."""
    # The error still names the plain file: `inputs.name_inputs` acts outside of the
    # trials.
    sources = [str(each.path) for each in inputs]
    at = sources.index(error.file) if error.file in sources else None
    fixed = list(readings)
    if at is not None and isinstance(error, EncodingError):
        path = inputs[at].path
        encoding = find_encoding_at(path, error.byte_offset or 0)
        # The same encoding would fail at the same byte.
        if encoding not in {None, readings[at].encoding}:
            fixed[at] = replace(
                readings[at],
                encoding=encoding or readings[at].encoding,
                evidence=f"not UTF-8 at byte {error.byte_offset:,}",
            )
            return fixed
    mark = None
    if at is not None:
        it = readings[at]
        mark = read_last_field(inputs[at].path, it.delimiter, it.encoding)
    if at is not None and mark is not None:
        fixed[at] = replace(
            readings[at], frame=replace(readings[at].frame, trailers=(mark,))
        )
        # With the same trailer, the fault is another one.
        if fixed[at] != readings[at]:
            return fixed
    reading = readings[at or 0]
    way = (
        f"with delimiter {show_delimiter(reading.delimiter)}"
        if reading.layout is None
        else f"in lines of {format_count(reading.layout.width, 'character')}"
    )
    error.why = f"{SIDES[at or 0].upper()} was read {way} as {reading.encoding}" + (
        f"; {error.why}" if error.why else ""
    )
    raise error


def describe_readings(
    inputs: Sequence[Input],
    readings: Sequence[Reading],
    rows: tuple[int, int] | None = None,
    trailer_counts: Sequence[Sequence[str]] = ((), ()),
) -> list[Decision]:
    """The decisions about the files; `rows`: their numbers of rows, if known.

    `trailer_counts`: what `find_trailer_counts` found for each file.
    """
    found: list[Decision] = []
    for at, (side, reading) in enumerate(zip(SIDES, readings, strict=True)):
        name, frame, kind = side.upper(), reading.frame, inputs[at].compression
        columns = format_count(len(reading.columns), "column")
        if rows is not None:
            columns += f" in {'all ' * (rows[at] > 1)}{format_count(rows[at], 'row')}"
        if reading.layout is not None:
            found += _describe_layout(name, reading, columns)
            found += _describe_trailers(name, frame, trailer_counts[at])
            continue
        if inputs[at].is_table:
            found.append(Decision(f"{name} format", str(kind), columns))
            continue
        found += [
            Decision(
                f"{name} delimiter",
                show_delimiter(reading.delimiter),
                columns,
                ", ".join(reading.others),
                "delimiter",
            ),
            Decision(
                f"{name} encoding",
                reading.encoding,
                reading.evidence,
                setting="encoding",
            ),
            Decision(
                f"{name} header",
                f"line {frame.skip_lines + 1}" if reading.has_header else "none",
                f"names: {join_names(reading.columns, 3)}"
                if reading.has_header
                else "the first record has the form of a row",
            ),
        ]
        if frame.excel_text or frame.quote is Quote.NONE:
            choice = '="…" is text' if frame.excel_text else "are characters"
            evidence = "the first rows are regular only so"
            found.append(Decision(f"{name} quotes", choice, evidence))
        found += _describe_trailers(name, frame, trailer_counts[at])
        if rows is not None:
            evidence = f"it says {rows[at]:,}, the number of all rows"
            found += [
                Decision(
                    f"{name} trailer count",
                    f"field {each}",
                    evidence,
                    setting="trailer_count",
                )
                for each in trailer_counts[at]
            ]
        if frame.trailing_delimiter:
            about = f"{name} line end"
            found.append(Decision(about, "a delimiter", "every line ends so"))
    return found


def _describe_layout(name: str, reading: Reading, columns: str) -> Iterator[Decision]:
    """The decisions about a file of a fixed width."""
    layout, frame = reading.layout, reading.frame
    assert layout is not None  # noqa: S101 - the caller has one
    width = format_count(layout.width, "character")
    evidence = f"{columns}; {layout.evidence}"
    yield Decision(f"{name} lines", f"of {width}", evidence, setting="fixed")
    if layout.doubts:
        doubts = "; ".join(layout.doubts)
        yield Decision(f"{name} borders", "uncertain", doubts, setting="fixed")
    yield Decision(
        f"{name} encoding", reading.encoding, reading.evidence, setting="encoding"
    )
    if layout.named:
        header = f"names: {join_names(reading.columns, 3)}"
        yield Decision(f"{name} header", f"line {frame.skip_lines}", header)
    if layout.named_by:
        yield Decision(f"{name} names", "by values", layout.named_by, setting="fixed")
    elif not layout.named:
        yield Decision(f"{name} header", "none", "columns have numbers as names")


def _describe_trailers(
    name: str, frame: SideOptions, counts: Sequence[str]
) -> Iterator[Decision]:
    """The decisions about trailers; one without `counts` may be a row that was cut."""
    for trailer in frame.trailers:
        about = f"{name} trailer"
        if counts or trailer.upper() in TRAILER_WORDS:
            yield Decision(about, trailer, "the last record is no row")
        else:
            yield Decision(
                about,
                trailer,
                "uncertain: the last record is no row, or a row that was cut",
                setting="trailer",
            )
