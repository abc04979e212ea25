"""Render a self-contained HTML page: it loads nothing and sends nothing.

Styles and scripts are inline. The Content-Security-Policy of the page allows them by
their hashes and nothing else, and autoescape keeps values of cells and headers text.
jinja2 is imported when the first page is rendered.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from recon_engine.characters import escaped, readable
from recon_engine.lazy import lazy_pattern


if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment


STYLE_FILE: Final = "page.css"
# Only the page's own scripts and style run, by their hashes. A value that is escaped
# wrongly could still load and execute nothing.
POLICY: Final = (
    "default-src 'none'; script-src {scripts}; style-src {style};"
    " base-uri 'none'; form-action 'none'"
)
# Comment lines, blank lines and indentation of scripts and styles.
UNREAD: Final = lazy_pattern(r"(?m)^ *(?://.*|/\*.*\*/)?\n|^ +")
# Characters that could end a <script> element, or a line of JavaScript, inside data.
SCRIPT_ESCAPES: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def render_page(template: str, scripts: Sequence[str], **values: object) -> str:
    """Render a template; `scripts` are the template files that the page runs, in order.

    `values` are the variables of the template. A variable that is missing raises
    jinja2.UndefinedError: a typo never renders as an empty text.
    """
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
    """A value as JSON that is safe inside a script element, whatever texts it holds."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.translate(SCRIPT_ESCAPES))  # noqa: S704 - nothing in it ends the tag


@functools.cache
def read_template_file(name: str) -> str:
    """The text of a file in `templates/`, read once per process."""
    folder = files("recon_engine.report") / "templates"
    text = (folder / name).read_text(encoding="utf-8")
    # Comments are for the readers of the file: they are a seventh of a script.
    return UNREAD.sub("", text) if name.endswith((".js", ".css")) else text


@functools.cache
def _template_environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(read_template_file),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = escaped
    environment.filters["readable"] = readable
    return environment


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
