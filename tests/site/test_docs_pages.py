"""The guide names files and what is in them: every name on its pages is looked up."""

import ast
import re
from pathlib import Path

import pytest

from dearlib.methods import catalogue
from dearlib.params.schemas import Training
from dearlib.site.pages import MARK, PARTS

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
TOP = ("dearlib", "docs", "figures", "notebooks", "params", "profiles", "tests")
# `folder/file.ext`, `folder/`, or `folder/file.py::name`
NAMED = re.compile(rf"`((?:{'|'.join(TOP)})/[\w./*-]*)(?:::([\w.]+))?`|`(Makefile|Snakefile|README\.md)`")


def named(page: Path) -> list[tuple[str, str | None]]:
    return [(found[1] or found[3], found[2]) for found in NAMED.finditer(page.read_text(encoding="utf-8"))]


def defined(module: Path) -> set[str]:
    """Names that a module defines at its top: functions, classes, constants."""
    names = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.stem)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    missing = [path for path, _ in named(page) if not list(ROOT.glob(path.rstrip("/")))]
    optional = {"figures/mini/records/", "params/data_sets.yaml", "notebooks/assignments/0N_name.py"}  # what is made, and a pattern
    assert set(missing) <= optional, f"{page.name}: has moved"


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.stem)
def test_every_name_in_a_file_is_defined_there(page: Path) -> None:
    stale = [f"{path}::{name}" for path, name in named(page) if name and name not in defined(ROOT / path)]
    assert stale == [], f"{page.name}: has moved"


def test_the_tour_answers_by_names() -> None:
    """Its questions are of use only as long as they are answered by places in the tree."""
    tour = ROOT / "docs" / "tour.md"
    sections = re.split(r"^## ", tour.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(sections) >= 5
    for section in sections:
        assert NAMED.search(section), section.splitlines()[0]


def test_the_tour_knows_every_equation_of_the_method() -> None:
    tour = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    told = set()
    for first, joint, last in re.findall(r"Eq\. (\d+)(?: (and|to) (\d+))?", tour):
        told |= set(range(int(first), int(last or first) + 1)) if joint != "and" else {int(first), int(last)}
    assert told == set(range(2, 20))


def test_the_glossarys_names_of_parameters_are_those_of_the_schema() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for name in ("first_layer", "text_tokens", "beta", "lambda_reg", "lambda_fusion"):
        assert f"`{name}`" in glossary
        assert name in Training.model_fields


def test_every_mark_in_a_page_is_made_by_something_and_every_part_is_used() -> None:
    marks = {mark for page in DOCS for mark in MARK.findall(page.read_text(encoding="utf-8"))}
    assert marks == set(PARTS)


def test_every_method_stands_beside_its_authors_with_the_repository_that_its_docstring_names() -> None:
    page = (ROOT / "docs" / "beside_the_authors.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\S+) \| ([\w.-]+/[\w.-]+) at `[0-9a-f]{7}` \|", page, flags=re.MULTILINE))
    modules = {m.METHOD.title: m for m in map(catalogue.module, catalogue.names()) if m.METHOD.title not in ("CLIP", "DeAR")}
    assert set(rows) == set(modules), "run it beside its authors' code, or say why not"
    for title, repository in rows.items():
        assert repository in (modules[title].__doc__ or ""), title
