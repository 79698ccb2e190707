"""What the site's generated parts say is read from the tree: sidecars, parameter files, transcribed tables, the citation."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from dearlib.errors import InputError
from dearlib.paper.reported import reported_heads
from dearlib.params.study import read_study
from dearlib.site import artefacts, pages

ROOT = Path(__file__).parents[2]


def test_every_committed_table_and_figure_is_listed_with_its_command_and_hash() -> None:
    text = pages.filled("<!-- generated: artefacts -->", ROOT)
    sidecars = sorted((ROOT / "figures" / "mini").glob("*.json"))
    made = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sidecars}
    made = {name: content for name, content in made.items() if "notebook" in content}
    assert {"table2", "claims", "figure1"} <= set(made)
    for name, content in made.items():
        assert content["parameters_sha256"] in text
        assert f"`{artefacts.command(ROOT, name)}`" in text
    assert text.count("| command |") == len(made)


def test_seeds_are_those_of_the_groups_settings() -> None:
    groups = read_study(ROOT / "params" / "mini").groups
    assert artefacts.seeds_of(ROOT, "mini", "ablations") == ", ".join(map(str, groups["ablations"].settings["seeds"]))
    assert artefacts.seeds_of(ROOT, "mini", "retrieval") == artefacts.seeds_of(ROOT, "mini", "source")


def test_a_table_from_generated_pictures_says_so(tmp_path: Path) -> None:
    (tmp_path / "figures" / "mini").mkdir(parents=True)
    (tmp_path / "Makefile").write_text("ONE := table2\n")
    content = {"notebook": "06_base_to_novel", "parameters_sha256": "abc", "commit": "0" * 40, "generated": "noise"}
    (tmp_path / "figures" / "mini" / "table2.json").write_text(json.dumps(content))
    text = artefacts.artefacts(tmp_path)
    assert "Generated input, no result: noise" in text
    assert "`make table2`" in text


def test_no_tables_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run make reproduce"):
        artefacts.artefacts(tmp_path)


def test_reported_numbers_are_all_there_and_under_headings_that_say_so() -> None:
    text = pages.reported(ROOT)
    headings = re.findall(r"^#+ .*$", text, re.MULTILINE)
    assert headings
    assert all("reported" in heading for heading in headings)
    assert all(phrase in text for phrase in reported_heads()["phrase"])
    rows = sum(len((path).read_text().splitlines()) - 1 for path in (ROOT / "dearlib" / "paper" / "reported").glob("table[2-6].csv"))
    assert len(re.findall(r"\| +-?\d+\.\d\d(?= )", text)) == rows


def test_the_citation_is_that_of_the_citation_file() -> None:
    text = pages.citation(ROOT)
    assert "author = {Ma, Yiming and Yang, Hongkun" in text.replace("  ", " ").replace("author =", "author =")
    assert "year   = {2026}" in text


def test_a_mark_that_nothing_makes_is_refused() -> None:
    with pytest.raises(InputError, match="got 'nothing'"):
        pages.filled("before\n<!-- generated: nothing -->\n", ROOT)


def test_a_lessons_card_is_read_from_its_first_cell(tmp_path: Path) -> None:
    node = nbformat.v4.new_notebook()
    node.cells = [nbformat.v4.new_markdown_cell("# 07 · A title\n\n**Question.** Does it\nwork?\n\n| | |\n|---|---|\n| Reads | a file |\n")]
    nbformat.write(node, tmp_path / "07_a.ipynb")
    assert pages.card(tmp_path / "07_a.ipynb") == ("07 · A title", "Does it work?", "a file")


def test_every_lesson_is_in_the_contents_and_in_the_list() -> None:
    for path in pages.notebooks(ROOT):
        assert f"/notebooks/{path.stem}\n" in pages.contents(ROOT)
        assert f"/notebooks/{path.name})" in pages.lessons(ROOT)


def test_every_module_has_a_page_that_is_reached_from_the_index() -> None:
    made = pages.reference(ROOT)
    names = {name for name in made if name != "index"}
    assert {"dearlib.methods.masks", "dearlib.roles.entropy", "dearlib.site.pages"} <= names
    reached, waiting = set(), ["dearlib"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        tree = re.search(r"```\{toctree\}\n:maxdepth: 1\n\n(.*?)```", made[name], re.DOTALL)
        waiting += re.findall(r"<(.*)>", tree[1]) if tree else []
    assert reached == names
