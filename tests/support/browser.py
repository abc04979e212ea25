"""A real browser: headless Chromium, driven by Playwright, that reaches no network."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from playwright.sync_api import sync_playwright


if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MISSING: Final = (
    "no Chromium is installed: `apt-get install chromium`, or RECON_CHROMIUM=/path"
)


def chromium() -> str | None:
    """Where it is, if it is anywhere."""
    given = os.environ.get("RECON_CHROMIUM")
    found = (shutil.which(name) for name in NAMES)
    return given or next(filter(None, found), None)


@contextmanager
def opened() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=list(QUIET)
        )
        yield browser
        browser.close()
