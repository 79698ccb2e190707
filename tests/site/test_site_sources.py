"""Links as the site needs them, and notebooks that must not go there."""

import os
from pathlib import Path, PurePosixPath

import nbformat
import pytest

from dearlib.errors import InputError
from dearlib.site import sources

ROOT = Path(__file__).parents[2]
PAGES = {"docs/tour.md", "docs/index.md", "notebooks/02_head_roles.ipynb"}


def linked(text: str, page: str = "docs/tour.md") -> str:
    return sources.relinked(text, PurePosixPath(page), ROOT, PAGES)


@pytest.mark.parametrize(
    ("text", "page", "expected"),
    [
        ("[a](tour.md)", "docs/glossary.md", "[a](/docs/tour.md)"),
        ("[a](/docs/tour.md#where)", "docs/glossary.md", "[a](/docs/tour.md#where)"),
        ("[a](index.md)", "docs/tour.md", "[a](/index.md)"),
        ("```python\nf = layers[0](raw)\n```", "docs/tour.md", "```python\nf = layers[0](raw)\n```"),
        ("[a](../docs/tour.md)", "notebooks/02_head_roles.ipynb", "[a](/docs/tour.md)"),
        ("[a](02_head_roles.ipynb)", "notebooks/03_role_masks.ipynb", "[a](/notebooks/02_head_roles.ipynb)"),
        ("[masks](../dearlib/methods/masks.py)", "notebooks/03_role_masks.ipynb", "[masks](/api/dearlib.methods.masks.md)"),
        ("[settings](../params/mini/05_training.yaml)", "docs/tour.md", "settings (`params/mini/05_training.yaml`)"),
        ("[`Makefile`](/Makefile)", "docs/tour.md", "`Makefile`"),
        ("[out](https://arxiv.org)", "docs/tour.md", "[out](https://arxiv.org)"),
        ("![a](/figures/mini/x.png)", "docs/tour.md", "![a](/figures/mini/x.png)"),
    ],
)
def test_links(text: str, page: str, expected: str) -> None:
    assert linked(text, page) == expected


def test_a_link_to_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"got '\.\./nothing\.md'"):
        linked("[a](../nothing.md)")


def test_a_file_named_in_the_guide_leads_to_the_reference() -> None:
    assert linked("`dearlib/methods/masks.py`") == "[`dearlib/methods/masks.py`](/api/dearlib.methods.masks.md)"
    assert linked("`dearlib/methods/masks.py::head_mask`") == (
        "{py:obj}`dearlib/methods/masks.py::head_mask <dearlib.methods.masks.head_mask>`"
    )
    assert linked("`dearlib/methods/masks.py`", "notebooks/02_head_roles.ipynb") == "`dearlib/methods/masks.py`"


def tree(tmp_path: Path, cell: str) -> Path:
    """The smallest repository that can be laid out."""
    for folder in ("docs", "notebooks/assignments", "dearlib", "figures/mini"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "docs" / "conf.py").write_text("project = 'x'\n")
    (tmp_path / "docs" / "site.css").write_text("")
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n[Lesson](/notebooks/01_a.ipynb)\n")
    (tmp_path / "dearlib" / "__init__.py").write_text('"""d."""\n')
    for name in ("01_a.ipynb", "assignments/01_master.ipynb"):
        node = nbformat.v4.new_notebook()
        node.cells = [nbformat.v4.new_markdown_cell("# 01\n"), nbformat.v4.new_code_cell(cell)]
        nbformat.write(node, tmp_path / "notebooks" / name)
    (tmp_path / "figures" / "mini" / "a.png").write_bytes(b"x")
    (tmp_path / "figures" / "mini" / "a.csv").write_text("x")
    return tmp_path


def test_the_layout_is_the_repositorys_and_old_files_go(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.md").write_text("gone")
    sources.lay_out(tree(tmp_path / "tree", "1"), target)
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert found == {
        "conf.py",
        "_static/site.css",
        "index.md",
        "notebooks/01_a.ipynb",
        "api/index.md",
        "api/dearlib.md",
        "figures/mini/a.png",
    }


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    root, target = tree(tmp_path / "tree", "1"), tmp_path / "out"
    sources.lay_out(root, target)
    for path in target.rglob("*.*"):
        os.utime(path, (1, 1))
    (root / "docs" / "index.md").write_text("# Another home\n")
    sources.lay_out(root, target)
    assert [path.name for path in target.rglob("*.*") if path.stat().st_mtime != 1] == ["index.md"]


@pytest.mark.parametrize(
    ("source", "tags", "hidden"),
    [
        ("x: int = 1", ["parameters"], True),
        ("import json\nfrom pathlib import (\n    Path,\n)", [], True),
        ("import json\nx = 1", [], False),
        ("", [], False),
    ],
)
def test_set_up_is_folded_and_nothing_else(source: str, tags: list[str], hidden: bool) -> None:
    cell = nbformat.v4.new_code_cell(source)
    cell.metadata["tags"] = tags
    assert sources.folded(cell) == hidden


@pytest.mark.parametrize("mark", sources.SECRET)
def test_solutions_never_reach_the_site(tmp_path: Path, mark: str) -> None:
    with pytest.raises(InputError, match="the site shows none"):
        sources.lay_out(tree(tmp_path, f"# {mark}\n42"), tmp_path / "out")
