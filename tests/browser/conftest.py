"""A real browser, the distribution's Chromium, driven by Playwright; skipped, with the reason, where there is none."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from explorer_example import example

from dearlib.plots.explorer import write_page

NAMES = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder carry the mark `browser`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'dearlib[site]'")
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield chromium
        chromium.close()


class Watched:
    """A page, and what went wrong on it: requests that leave the file system, errors in its script or console."""

    def __init__(self, browser: Any, **how: Any) -> None:
        self.page = browser.new_page(**how)
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else self.outside.append(r.url))
        self.page.on("requestfailed", lambda r: self.errors.append(f"not found: {r.url}"))
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)

    def open(self, path: Path, anchor: str = "") -> Any:
        self.page.goto(path.resolve().as_uri() + anchor)
        return self.page

    def wide(self) -> bool:
        """Whether the page must be scrolled sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


@pytest.fixture
def watch(browser: Any) -> Iterator[Any]:
    """Makes watched pages; at the end none of them may have asked anybody outside or complained."""
    made: list[Watched] = []

    def watched(**how: Any) -> Watched:
        made.append(Watched(browser, **how))
        return made[-1]

    yield watched
    for one in made:
        assert one.outside == []
        assert one.errors == []
        one.page.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The explorer of drawn numbers, and the same without what the paper's profile does not know, two tokens an attribute."""
    folder = tmp_path_factory.mktemp("explorer")
    made = {"mini": example(), "paper": example(factors=False, tokens_per_attribute=2)}
    for name, content in made.items():
        write_page(content, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in made}
