"""One HTML page that is whole by itself: it loads nothing, and its policy says so.

Styles and scripts stand inside, allowed by their hashes alone; whatever a cell or a
header says is text. jinja2 is loaded when a page is made, not before; it compiles a
template once, and keeps the code where Python keeps that of this module.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import sys
from contextlib import suppress
from importlib.resources import files
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recon_engine.characters import escaped, readable


if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment
    from jinja2.bccache import Bucket


STYLE_FILE: Final = "page.css"
POLICY: Final = (
    "default-src 'none'; script-src {scripts}; style-src {style};"
    " base-uri 'none'; form-action 'none'"
)
# What could end a script, or a line of one, where only data is meant.
SCRIPT_ESCAPES: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def render_page(template: str, scripts: Sequence[str], **values: object) -> str:
    """A template filled in: `scripts` are names of files that it runs, in order."""
    from markupsafe import Markup

    style, codes = (
        read_template_file(STYLE_FILE),
        [read_template_file(name) for name in scripts],
    )
    policy = POLICY.format(
        scripts=" ".join(map(_csp_hash, codes)) or "'none'", style=_csp_hash(style)
    )
    return (
        _template_environment()
        .get_template(template)
        .render(
            policy=policy,
            style=Markup(style),  # noqa: S704 - a file of ours
            scripts=[Markup(code) for code in codes],  # noqa: S704 - files of ours
            **values,
        )
    )


def json_for_script(value: object) -> str:
    """A value as JSON that a page can hold between script tags, whatever it says."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.translate(SCRIPT_ESCAPES))  # noqa: S704 - nothing in it ends the tag


@functools.cache
def read_template_file(name: str) -> str:
    """A file of the templates."""
    folder = files("recon_engine.report") / "templates"
    return (folder / name).read_text(encoding="utf-8")


@functools.cache
def _template_environment() -> Environment:
    from jinja2 import (
        Environment,
        FileSystemBytecodeCache,
        FunctionLoader,
        StrictUndefined,
    )

    class Kept(FileSystemBytecodeCache):
        """As Python does with its own: what cannot be kept is compiled again."""

        def dump_bytecode(self, bucket: Bucket) -> None:
            with suppress(OSError):
                super().dump_bytecode(bucket)

    kept = Path(cache_from_source(__file__)).parent
    made = Environment(
        loader=FunctionLoader(read_template_file),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=None if sys.dont_write_bytecode else Kept(str(kept)),
    )
    made.filters["visible"] = escaped
    made.filters["readable"] = readable
    return made


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
