"""Write TOML: values, and single settings into a file whose comments are kept.

A file is edited as text and read again: what is not as expected is refused.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from recon_engine.characters import readable


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


# TOML 1.0: a bare key has ASCII letters, digits, underscores and hyphens only.
BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
# Of a table that occurs once: `[[…]]` begins one of several.
HEADER: Final = re.compile(r"\s*\[(?P<name>[^\[\]].*?)\]\s*(#.*)?")
SETTING: Final = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')\s*=")
ANY_HEADER: Final = re.compile(r"\s*\[")
WIDTH: Final = 88
# A comment that is a setting, or an item of a list, which is proposed and not used.
PROPOSAL: Final = "#     "
PROPOSED: Final = (
    "# Proposals, not used, are indented comments."
    " Check each one: a wrong one hides real differences."
)


def write_value(value: Any) -> str:
    """A text, number, boolean, list or table of these as TOML has it, on one line."""
    match value:
        # Before `int`, of which it is a subclass.
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            # As in JSON; what is not seen is escaped, too, as TOML has it.
            return readable(json.dumps(value, ensure_ascii=False))
        case dict():
            pairs = (f"{write_key(k)} = {write_value(v)}" for k, v in value.items())
            return f"{{ {', '.join(pairs)} }}" if value else "{}"
        case _:
            return f"[{', '.join(map(write_value, value))}]"


def write_key(name: str) -> str:
    """A name as a key: quoted if needed."""
    return name if BARE_KEY.fullmatch(name) else write_value(name)


def write_setting(name: str, value: Any) -> str:
    """`name = value`; a long list takes a line for each item."""
    line = f"{write_key(name)} = {write_value(value)}"
    if len(line) <= WIDTH or not isinstance(value, list | tuple):
        return line
    items = "".join(f"    {write_value(each)},\n" for each in value)
    return f"{write_key(name)} = [\n{items}]"


def write_comment(text: str) -> str:
    """A text as a comment of one line: it may have a name or a value with newlines."""
    return f"# {readable(text)}"


def write_header(path: Sequence[str]) -> str:
    """`[dataset.claims.rules]`."""
    return f"[{'.'.join(map(write_key, path))}]"


def read_header(line: str) -> list[str] | None:
    """The parts of the name of the table that a line begins; None for another line."""
    found = HEADER.fullmatch(line)
    return _read_path(found["name"]) or None if found else None


def find_repeated(lines: Sequence[str], line: int) -> tuple[str, int] | None:
    """The table, in brackets, or the name that a line repeats, and its first line.

    `line`: from 1, as the result. None if it repeats nothing.
    """
    if not 0 < line <= len(lines):
        return None
    heads = [read_header(each) for each in lines[:line]]
    *before, here = heads
    if here is not None:
        return (write_header(here), before.index(here) + 1) if here in before else None
    # Also behind `[[suppress]]`, of which each is a table of its own.
    start = max(
        (at for at, each in enumerate(lines[:line], 1) if ANY_HEADER.match(each)),
        default=0,
    )
    named = [
        (at, found[1].strip("\"'"))
        for at, text in enumerate(lines[start:line], start + 1)
        if (found := SETTING.match(text))
    ]
    if not named:
        return None
    # The last of them may be above the line: a list takes several.
    *earlier, (_, name) = named
    return next(((name, at) for at, other in earlier if other == name), None)


def set_value(text: str, path: Sequence[str], name: str, value: Any) -> str:
    """The text of a file with one setting of a table added or replaced.

    Args:
        text: A TOML file.
        path: The table, such as ("dataset", "claims", "rules"); () is the top.
        name: The setting.
        value: Its value.

    Raises ValueError if the file is written in a way that this cannot edit.
    """
    import tomllib

    expected = tomllib.loads(text)
    table = expected
    for part in path:
        table = table.setdefault(part, {})
    table[name] = list(value) if isinstance(value, tuple) else value
    edited = _edit(text, path, name, value)
    try:
        done = tomllib.loads(edited) == expected
    except tomllib.TOMLDecodeError:
        done = False
    if not done:
        raise ValueError("the file has another form than one line for each setting")
    return edited


def remove_proposal(text: str, path: Sequence[str], name: str, value: Any) -> str:
    """The text of a file without what it proposes for a setting that becomes active.

    Args:
        text: A TOML file as `recon init` writes it.
        path: The table of the setting.
        name: The setting.
        value: Its new value. Of a list with commented items, those in it go.

    The comments directly above a proposal, which say why, go with it.
    """
    lines = text.splitlines()
    found = [*_find_proposals(lines, path, name, value)]
    if not found:
        return text
    gone = {at for first, _, end in found for at in range(first, end)}
    kept = [line for at, line in enumerate(lines) if at not in gone]
    if not any(line.lstrip().startswith(PROPOSAL) for line in kept):
        kept = [line for line in kept if line != PROPOSED]
    return "\n".join(kept) + "\n"


def activate_proposal(text: str, path: Sequence[str], name: str, value: Any) -> str:
    """The text of a file with a setting that it may propose, as `set_value` returns it.

    The comments above a proposed line, which are its evidence, are above the setting.
    """
    lines = text.splitlines()
    reasons = [
        line
        for first, at, _ in _find_proposals(lines, path, name, value)
        if _is_setting_of(name, lines[at].strip().removeprefix(PROPOSAL))
        for line in lines[first:at]
    ]
    edited = set_value(remove_proposal(text, path, name, value), path, name, value)
    lines = edited.splitlines()
    start, end = _find_table(lines, path)
    for at in range(start or 0, end):
        if reasons and _is_setting_of(name, lines[at]):
            return "\n".join([*lines[:at], *reasons, *lines[at:]]) + "\n"
    return edited


def _is_setting_of(name: str, line: str) -> bool:
    """Whether a line sets a name, in any of the forms that a name may have."""
    key, equals, _ = line.partition("=")
    return bool(equals) and _read_path(key) == [name]


def _find_proposals(
    lines: Sequence[str], path: Sequence[str], name: str, value: Any
) -> Iterator[tuple[int, int, int]]:
    """Where a setting is proposed: the first line of its reasons, its line, its end."""
    start, end = _find_table(lines, path)
    if start is None:
        return
    items = value if isinstance(value, list | tuple) else [value]
    written = {f"{write_value(each)}," for each in items}
    inside = False
    for at in range(start, end):
        bare = lines[at].strip()
        is_of_name = _is_setting_of(name, bare.removeprefix(PROPOSAL))
        if not bare.startswith("#"):
            inside = bare != "]" and (inside or (is_of_name and bare.endswith("[")))
            continue
        proposed = bare.removeprefix(PROPOSAL).strip()
        if bare == proposed or not (is_of_name or (inside and proposed in written)):
            continue
        yield _find_reasons(lines, at, start), at, _find_proposal_end(lines, at)


def _find_reasons(lines: Sequence[str], at: int, start: int) -> int:
    """The first of the comments that are directly above a proposal."""
    while at > start and _is_reason(lines[at - 1].strip()):
        at -= 1
    return at


def _is_reason(line: str) -> bool:
    return line.startswith("# ") and not line.startswith(PROPOSAL) and line != PROPOSED


def _find_proposal_end(lines: Sequence[str], at: int) -> int:
    """The line behind a proposal, whose list may have several lines."""
    end = at
    while end < len(lines) and lines[end].lstrip().startswith(PROPOSAL):
        end += 1
    bare = [line.lstrip().removeprefix(PROPOSAL) for line in lines[at:end]]
    return at + _find_end(bare, 0)


def _edit(text: str, path: Sequence[str], name: str, value: Any) -> str:
    line = write_setting(name, value)
    lines = text.splitlines()
    start, end = _find_table(lines, path)
    if start is None:
        gap = [""] if lines and lines[-1].strip() else []
        return "\n".join([*lines, *gap, write_header(path), line]) + "\n"
    for at in range(start, end):
        if _is_setting_of(name, lines[at]):
            after = _find_end(lines, at)
            kept = [each for each in lines[at:after] if each.strip().startswith("#")]
            if kept and line.endswith("]"):
                # Proposals in a list stay in it.
                items = [f"    {write_value(each)}," for each in value]
                line = "\n".join([f"{write_key(name)} = [", *items, *kept, "]"])
            return "\n".join([*lines[:at], line, *lines[after:]]) + "\n"
    while end > start and not lines[end - 1].strip():
        end -= 1
    gap = [""] if end < len(lines) and lines[end].strip() else []
    return "\n".join([*lines[:end], line, *gap, *lines[end:]]) + "\n"


def _find_end(lines: Sequence[str], start: int) -> int:
    """The line behind a setting, whose list may have several lines."""
    import tomllib

    # A list over several lines is TOML only with its last line.
    for end in range(start + 1, len(lines) + 1):
        try:
            tomllib.loads("\n".join(lines[start:end]))
        except tomllib.TOMLDecodeError:
            continue
        return end
    return start + 1


def _find_table(lines: Sequence[str], path: Sequence[str]) -> tuple[int | None, int]:
    """The lines of a table, without its header; None if there is no such header."""
    heads = [at for at, line in enumerate(lines) if ANY_HEADER.match(line)]
    if not path:
        # Lines that begin with a bracket may also be those of a list.
        return 0, heads[0] if heads else len(lines)
    for at in heads:
        if read_header(lines[at]) == list(path):
            after = (head for head in heads if head > at)
            return at + 1, next(after, len(lines))
    return None, len(lines)


def _read_path(text: str) -> list[str]:
    """The parts of a dotted name."""
    import tomllib

    try:
        # TOML has quoted parts, in which a dot does not separate: its parser splits
        # them.
        table: Mapping[str, Any] = tomllib.loads(f"[{text}]")
    except tomllib.TOMLDecodeError:
        return []
    parts = []
    while table:
        [(part, table)] = table.items()
        parts.append(part)
    return parts
