"""The head explorer's page: one file with everything inside."""

import json
import re
from pathlib import Path

import pytest
from explorer_example import example

from dearlib.errors import InputError
from dearlib.plots import explorer as drawn
from dearlib.plots.style import CONCEPT_COLORS, OTHER_CONCEPTS, ROLE_COLORS, concept_color
from dearlib.study.explorer import Explorer


@pytest.fixture(scope="module")
def made() -> Explorer:
    return example()


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_page_holds_the_whole_file(made: Explorer) -> None:
    data = data_of(drawn.page(made))
    assert Explorer.model_validate(data["explorer"]) == made
    assert data["colors"]["roles"] == ROLE_COLORS


def test_text_in_the_data_cannot_end_its_element(made: Explorer) -> None:
    assert made.roles.settings["note"].startswith("</script>")
    page = drawn.page(made)
    assert page.count("</script>") == 2
    assert data_of(page)["explorer"]["roles"]["settings"]["note"] == made.roles.settings["note"]


def test_the_page_names_no_other_file_or_host(made: Explorer) -> None:
    page = drawn.page(made)
    assert re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', page) == []
    assert set(re.findall(r"https?://[^\"\s]*", page)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "@import" not in page
    assert "url(" not in page


def test_a_page_that_grows_too_large_is_refused(made: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "LARGEST", 10_000)
    with pytest.raises(InputError, match="show fewer or smaller pictures"):
        drawn.write_page(made, tmp_path / "explorer.html")
    assert not (tmp_path / "explorer.html").exists()


def test_every_script_and_style_of_the_folder_is_used() -> None:
    folder = Path(drawn.__file__).parent / "page"
    assert {path.stem for path in folder.glob("*.js")} == set(drawn.SCRIPTS)
    assert {path.suffix for path in folder.iterdir()} == {".js", ".css", ".html"}


def test_no_concept_looks_like_a_role_or_like_another_concept() -> None:
    colors = [*CONCEPT_COLORS.values(), *OTHER_CONCEPTS, *ROLE_COLORS.values()]
    assert len(set(colors)) == len(colors)
    assert concept_color("object 2") == concept_color("object")
