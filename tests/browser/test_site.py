"""The built site in a browser, from the file system: `make site` builds it, and without it these tests are skipped."""

import os
from pathlib import Path
from typing import Any

import pytest

SITE = Path(os.environ.get("DEARLIB_SITE", Path(__file__).parents[2] / "site"))
READ = sorted(path.relative_to(SITE).as_posix() for folder in (".", "docs", "notebooks") for path in (SITE / folder).glob("*.html"))
FRAMES = {"genindex.html", "py-modindex.html", "search.html"}
PAGES = [name for name in READ if name not in FRAMES]
TYPESET = """MathJax.startup.promise.then(() =>
  ["mjx-container svg", "[data-mjx-error], mjx-merror"].map((what) => document.querySelectorAll(what).length))"""

pytestmark = pytest.mark.skipif(not (SITE / "index.html").is_file(), reason="no site: make site builds it")


@pytest.mark.parametrize("name", PAGES or ["index.html"])
def test_a_page_loads_from_the_file_system_and_fits_a_phone(watch: Any, name: str) -> None:
    watched = watch(viewport={"width": 360, "height": 780})
    watched.open(SITE / name)
    assert not watched.wide()


@pytest.mark.parametrize("name", ["docs/glossary.html", "notebooks/03_role_masks.html", "notebooks/04_dear_model.html"])
def test_formulas_are_drawn(watch: Any, name: str) -> None:
    drawn, failed = watch().open(SITE / name).evaluate(TYPESET)
    assert drawn > 0
    assert failed == 0


def test_a_module_of_the_reference_shows_shapes_and_equations(watch: Any) -> None:
    page = watch().open(SITE / "api" / "dearlib.methods.masks.html")
    text = page.locator("main").inner_text()
    assert '"query key"' in text or "'query key'" in text
    assert "Eq. 9" in text


def test_lessons_lead_to_the_next_and_back(watch: Any) -> None:
    page = watch().open(SITE / "notebooks" / "02_head_roles.html")
    page.click("a.right-next")
    assert page.url.endswith("03_role_masks.html")
    page.click("a.left-prev")
    assert page.url.endswith("02_head_roles.html")


def test_search_works_without_a_server(watch: Any) -> None:
    page = watch().open(SITE / "search.html", "?q=entropy")
    page.wait_for_selector("#search-results li a")
    assert page.locator("#search-results li").count() > 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system(watch: Any, scheme: str) -> None:
    page = watch(color_scheme=scheme).open(SITE / "docs" / "tour.html")
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    r, g, b = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    assert (r + g + b > 600) == (scheme == "light")


def test_a_screen_reader_finds_its_way(watch: Any) -> None:
    page = watch().open(SITE / "notebooks" / "02_head_roles.html")
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("navigation").count() >= 2
    assert page.get_by_role("contentinfo").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    page.keyboard.press("Tab")
    assert "kip" in page.evaluate("document.activeElement.textContent")  # skip to main content


def test_the_explorer_leads_home(watch: Any) -> None:
    if not (SITE / "explorer.html").is_file():
        pytest.skip("no explorer in this site: make reproduce writes its file")
    page = watch().open(SITE / "explorer.html")
    page.click("text=All lessons")
    assert page.url.endswith("index.html")
