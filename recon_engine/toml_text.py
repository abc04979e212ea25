"""Write TOML: values, and single settings into a file whose comments are kept.

A file is edited as text and read again: what is not as expected is refused.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
HEADER: Final = re.compile(r"\s*\[(?P<name>[^\[\]].*?)\]\s*(#.*)?")
ANY_HEADER: Final = re.compile(r"\s*\[")
WIDTH: Final = 88


def write_value(value: Any) -> str:
    """A text, number, boolean, list or table of these as TOML has it, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            # As in JSON, but for the one control character that JSON does not escape.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
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


def write_header(path: Sequence[str]) -> str:
    """`[dataset.claims.rules]`."""
    return f"[{'.'.join(map(write_key, path))}]"


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
    edited = _edit(text, path, name, write_setting(name, value))
    try:
        done = tomllib.loads(edited) == expected
    except tomllib.TOMLDecodeError:
        done = False
    if not done:
        raise ValueError("the file has another form than one line for each setting")
    return edited


def _edit(text: str, path: Sequence[str], name: str, line: str) -> str:
    lines = text.splitlines()
    start, end = _find_table(lines, path)
    if start is None:
        gap = [""] if lines and lines[-1].strip() else []
        return "\n".join([*lines, *gap, write_header(path), line]) + "\n"
    for at in range(start, end):
        key, equals, _ = lines[at].partition("=")
        if equals and key.strip() in {name, write_key(name), write_value(name)}:
            return "\n".join([*lines[:at], line, *lines[at + 1 :]]) + "\n"
    while end > start and not lines[end - 1].strip():
        end -= 1
    gap = [""] if end < len(lines) and lines[end].strip() else []
    return "\n".join([*lines[:end], line, *gap, *lines[end:]]) + "\n"


def _find_table(lines: Sequence[str], path: Sequence[str]) -> tuple[int | None, int]:
    """The lines of a table, without its header; None if there is no such header."""
    heads = [at for at, line in enumerate(lines) if ANY_HEADER.match(line)]
    if not path:
        # Lines that begin with a bracket may also be those of a list.
        return 0, heads[0] if heads else len(lines)
    for at in heads:
        found = HEADER.fullmatch(lines[at])
        if found and _read_path(found["name"]) == list(path):
            after = (head for head in heads if head > at)
            return at + 1, next(after, len(lines))
    return None, len(lines)


def _read_path(text: str) -> list[str]:
    """The parts of a dotted name."""
    import tomllib

    try:
        table: Mapping[str, Any] = tomllib.loads(f"[{text}]")
    except tomllib.TOMLDecodeError:
        return []
    parts = []
    while table:
        [(part, table)] = table.items()
        parts.append(part)
    return parts
