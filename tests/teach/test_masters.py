"""Masters: their questions, what of them is secret, and how far the committed notebooks are in step."""

from pathlib import Path

import jupytext
import nbformat
import pytest

from dearlib.errors import InputError
from dearlib.teach import masters
from dearlib.workflow import pairs

ROOT = Path(__file__).parents[2]
ALL = sorted((ROOT / "notebooks" / "assignments").glob("*.py"))
SMALL = Path(__file__).parent / "small.py"


@pytest.fixture(params=ALL, ids=lambda path: path.stem)
def master(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_are_five() -> None:
    assert [m.stem[:2] for m in ALL] == ["01", "02", "03", "04", "05"]
    assert {p.stem for p in (ROOT / "notebooks" / "assignments").glob("*.ipynb")} == {m.stem for m in ALL}


def test_the_pair_is_in_step(master: Path) -> None:
    committed = nbformat.read(master.with_suffix(".ipynb"), as_version=4)
    assert pairs.inputs(committed) == pairs.inputs(jupytext.read(master)), "run `dearlib masters`"
    outputs = [o for c in committed.cells if c.cell_type == "code" for o in c.outputs]
    assert outputs
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


def test_points_and_card_agree(master: Path) -> None:
    """The card says how many points there are; each question says its own; some are graded by hand and most by tests."""
    node = masters.read(master)
    listed = masters.questions(node)
    by_tests, by_hand = sum(q.points for q in listed if not q.manual), sum(q.points for q in listed if q.manual)
    card = next(c.source for c in node.cells if c.cell_type == "markdown")
    assert f"| Points | {by_tests + by_hand}: {by_tests} by tests, {by_hand} " in card
    prose = "\n".join(c.source for c in node.cells if c.cell_type == "markdown")
    for number, question in enumerate(listed, start=1):
        assert question.name == f"q{number}"
        assert f"**Question {number}** ({question.points} points" in prose


def test_each_graded_question_has_a_public_and_a_hidden_test(master: Path) -> None:
    node, kinds, name = masters.read(master), dict[str, set[bool]](), ""
    for cell in node.cells:
        if cell.source.startswith("# BEGIN QUESTION"):
            name = cell.source.splitlines()[1].removeprefix("name: ")
        elif "def test_" in cell.source:
            kinds.setdefault(name, set()).add(cell.source.startswith("# HIDDEN"))
    assert set(kinds) == {q.name for q in masters.questions(node) if not q.manual}
    assert all(kind == {True, False} for kind in kinds.values()), kinds


def test_masters_read_nothing_but_the_package(master: Path) -> None:
    text = master.read_text(encoding="utf-8")
    assert not [word for word in ("data/", "runs/", "figures/", "open(", "load_params") if word in text]


def test_secrets_are_solutions_and_hidden_tests() -> None:
    found = masters.secrets(masters.read(SMALL))
    assert "twice_as_much = x + x" in found
    assert "return np.asarray(table).mean(axis=0)" in found
    assert "Because a column is one quantity and a row is one observation." in found
    assert "assert np.allclose(means(table), table.sum(axis=0) / 7)" in found
    public = ("import numpy as np", "def doubled(x):", "assert doubled(3) == 6, f'twice 3 is 6, you return {doubled(3)}'")
    assert not found & set(public)


def test_a_question_without_points_is_refused() -> None:
    node = masters.read(SMALL)
    node.cells[2].source = "# BEGIN QUESTION\nname: q1"
    with pytest.raises(InputError, match="points"):
        masters.questions(node)


def test_two_questions_of_one_name_are_refused() -> None:
    node = masters.read(SMALL)
    node.cells[2].source = "# BEGIN QUESTION\nname: q2\npoints: 1"
    with pytest.raises(InputError, match="names of their own"):
        masters.questions(node)


def test_a_missing_master_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a master"):
        masters.read(tmp_path / "none.py")
