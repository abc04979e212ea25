"""The pictures of the documentation, made from a real result: `make pictures`.

The pages are screenshots in a real browser, the terminal is what the program wrote to
one, with its colours; the earlier runs are made up. Look at them before you commit.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text
from support import browser, pages
from support.screen import on_terminal

from recon_engine.pipeline.demo import KEYS, write_pair
from recon_engine.report import history_page, result_page


if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


PICTURES: Final = Path(__file__).parents[1] / "docs" / "pictures"
COLUMNS: Final = 106
COMMAND: Final = ("diff", "old.csv", "new.csv", "--key", ",".join(KEYS))

WIDTH, HEIGHT, LEFT, TOP = 8.43, 20, 18, 62
TYPED, PAUSE, LINE, WHOLE = 2.2, 0.6, 0.09, 14.0
COLOURS: Final = {1: "#ff7b72", 2: "#56d364", 3: "#e3b341"}
STYLE: Final = """
text { fill: #d5dbe3; white-space: pre;
  font: 14px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.line { opacity: 0; }
.bold { font-weight: 700; }
.dim { fill: #8b949e; }
@media (prefers-reduced-motion: reduce) {
  .line { animation: none !important; opacity: 1; } .cover { display: none; }
}
"""


def main() -> None:
    """Make all of them."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, browser.opened() as opened:
        folder = Path(name)
        facts = replace(pages.facts(), breaks=None, timed=False)
        result = result_page.render_result(pages.claims(folder), facts)
        history = history_page.render_history("daily_claims", pages.facts().past)
        for page, text, height in (
            ("report", result, 1560),
            ("history", history, 900),
        ):
            for theme in ("light", "dark"):
                _screenshot(opened, folder, f"{page}-{theme}", text, height)
        write_pair(folder / "old.csv", folder / "new.csv", rows=20_000)
        said = on_terminal(*COMMAND, columns=COLUMNS, cwd=folder)
        (PICTURES / "terminal.svg").write_text(svg(said), encoding="utf-8")


def _screenshot(
    opened: Browser, folder: Path, name: str, text: str, height: int
) -> None:
    path = folder / f"{name}.html"
    path.write_text(text, encoding="utf-8")
    page = opened.new_page(
        viewport={"width": 1240, "height": height},
        color_scheme="dark" if name.endswith("dark") else "light",
    )
    page.goto(path.as_uri())
    page.screenshot(path=PICTURES / f"{name}.png")
    page.close()


def svg(said: str) -> str:
    """A terminal in which the command is typed and its output appears, for ever."""
    lines = [Text.from_ansi(line) for line in said.rstrip("\n").split("\n")]
    command = f"recon {' '.join(COMMAND)}"
    wide = round(2 * LEFT + COLUMNS * WIDTH)
    high = TOP + (len(lines) + 1) * HEIGHT
    shown = "\n".join(_line(at, line) for at, line in enumerate(lines, 1))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" role="img" aria-label="recon diff on two claims files">
<style>{STYLE}{"".join(_appearances(len(lines)))}{_typing(len(command))}</style>
<rect width="{wide}" height="{high}" rx="10" fill="#161b22"/>
<circle cx="22" cy="20" r="6" fill="#ff5f56"/><circle cx="42" cy="20" r="6" fill="#ffbd2e"/><circle cx="62" cy="20" r="6" fill="#27c93f"/>
<text x="{LEFT}" y="{TOP}"><tspan fill="#56d364">$</tspan><tspan x="{_x(2)}">{escape(command)}</tspan></text>
<rect class="cover" x="{_x(2)}" y="{TOP - 15}" width="{wide - _x(2) - 4:.0f}" height="{HEIGHT}" fill="#161b22"/>
{shown}
</svg>
"""  # noqa: E501 - markup


def _x(column: int) -> float:
    return round(LEFT + column * WIDTH, 1)


def _line(at: int, line: Text) -> str:
    """One line of output; each run of text at the column where it is."""
    spans = []
    for part in _runs(line):
        words, column, classes, colour = part
        fill = f' fill="{colour}"' if colour else ""
        spans.append(
            f'<tspan x="{_x(column)}" class="{classes}"{fill}>{escape(words)}</tspan>'
        )
    return f'<text class="line l{at}" y="{TOP + at * HEIGHT}">{"".join(spans)}</text>'


def _runs(line: Text) -> Iterator[tuple[str, int, str, str]]:
    """Words of one style with single blanks inside: words, column, classes, colour."""
    console = Console()
    styles = [line.get_style_at_offset(console, at) for at in range(len(line.plain))]
    start = 0
    text = line.plain
    while start < len(text):
        end = start + 1
        while (
            end < len(text)
            and styles[end] == styles[start]
            and not text.startswith("  ", end)
        ):
            end += 1
        words = text[start:end]
        if words.strip():
            style = styles[start]
            colour = style.color.number if style.color else None
            classes = " ".join(name for name in ("bold", "dim") if getattr(style, name))
            lead = len(words) - len(words.lstrip())
            yield words.strip(), start + lead, classes, COLOURS.get(colour or 0, "")
        start = end


def _appearances(lines: int) -> Iterator[str]:
    for at in range(1, lines + 1):
        share = 100 * (TYPED + PAUSE + at * LINE) / WHOLE
        yield (
            f"@keyframes a{at} {{ 0%, {share:.2f}% {{ opacity: 0 }}"
            f" {share + 0.01:.2f}%, 100% {{ opacity: 1 }} }}\n"
            f".l{at} {{ animation: a{at} {WHOLE}s infinite }}\n"
        )


def _typing(characters: int) -> str:
    typed = 100 * TYPED / WHOLE
    far = characters * WIDTH
    return (
        f"@keyframes type {{ 0% {{ transform: translateX(0); opacity: 1;"
        f" animation-timing-function: steps({characters}) }}"
        f" {typed:.2f}% {{ transform: translateX({far:.0f}px); opacity: 1 }}"
        f" {typed + 0.01:.2f}%, 100% {{ transform: translateX({far:.0f}px);"
        f" opacity: 0 }} }}\n.cover {{ animation: type {WHOLE}s infinite }}\n"
    )


if __name__ == "__main__":
    os.environ.pop("NO_COLOR", None)
    main()
