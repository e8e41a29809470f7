"""Size of pages and time until a reader sees something: python benchmarks/pages.py run/report.html run/people.html.

The first view is the first contentful paint in headless Chromium, each time in a new profile: the median of several
loads. ``complete`` is when the scripts of the page have run, the median of the same loads.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, ViewportSize, sync_playwright

_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
_VIEW: ViewportSize = {"width": 1280, "height": 900}
_LIMIT = 60_000


def main() -> None:
    """Print one row for each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path, nargs="+", help="HTML files")
    parser.add_argument("--runs", type=int, default=7, help="loads of each page")
    options = parser.parse_args()
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        sys.exit("Chromium not found")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        rows = [row(browser, page, options.runs) for page in options.pages]
        browser.close()
    print("| page | size | first view | complete |\n|---|---|---|---|")
    for cells in rows:
        print(f"| {' | '.join(cells)} |")


def row(browser: Browser, page: Path, runs: int) -> list[str]:
    """The page's name, its size in MB, and its times in seconds."""
    times = [load(browser, page) for _ in range(runs)]
    paint, loaded = (median(one) / 1000 for one in zip(*times, strict=True))
    size = page.stat().st_size / 1e6
    return [str(page), f"{size:.1f} MB", f"{paint:.2f} s", f"{loaded:.2f} s"]


def load(browser: Browser, path: Path) -> tuple[float, float]:
    """Milliseconds until the first contentful paint, and until the load event has ended."""
    context = browser.new_context(viewport=_VIEW)
    page = context.new_page()
    page.set_default_timeout(_LIMIT)
    page.goto(path.resolve().as_uri())
    page.wait_for_function(f"{_PAINT} !== undefined && {_LOADED} > 0")
    painted, loaded = page.evaluate(f"[{_PAINT}, {_LOADED}]")
    context.close()
    return painted, loaded


if __name__ == "__main__":
    main()
