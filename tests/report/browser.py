"""Opens a page in a headless browser and returns what it became and what it complained of."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# A line like [12:12:0101/000000.000000:INFO:CONSOLE:1] "message", source: file:///page.html (1);
# older versions write CONSOLE(1).
_CONSOLE = re.compile(r":CONSOLE[:(]\d+\)?\] (.*)")

#: Time that the page is given, in milliseconds of its own clock, and that the browser is, in s.
_PAGE_TIME, _PATIENCE = 10_000, 120


@dataclass(frozen=True)
class Visit:
    """A page as the browser left it.

    Parameters
    ----------
    dom : str
        Its elements, after all scripts have run.
    console : list of str
        Everything that was written to the console, of whatever level.
    """

    dom: str
    console: list[str]


def find_browser() -> str | None:
    """Return the path of a browser, or None."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def visit(browser: str, page: Path, profile: Path) -> Visit:
    """Open a file.

    Parameters
    ----------
    browser : str
        Path of the browser.
    page : Path
        The file.
    profile : Path
        A new folder for what the browser keeps.
    """
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
        "--v=0",
        f"--virtual-time-budget={_PAGE_TIME}",
        "--window-size=1280,2000",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_PATIENCE, check=True, encoding="utf-8"
    )
    return Visit(done.stdout, _CONSOLE.findall(done.stderr))


def check_quiet(visited: Visit) -> None:
    """Fail if the page wrote anything to the console, or did not load at all."""
    assert "</html>" in visited.dom, "the page did not load"
    assert not visited.console, "\n".join(visited.console)
