"""Masters: their questions, what of them is secret, and how far the committed notebooks are in step."""

import atexit
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

from dearlib.commands import main
from dearlib.errors import InputError
from dearlib.teach import masters
from dearlib.workflow import pairs, runner

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


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a master of one cell is written, which is run from a folder that holds nothing."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "one.py"


def test_this_interpreter_runs_the_master_whatever_kernel_has_its_name(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its sockets do not lie in the current folder, where those of another run would have the same names."""
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["/bin/false", "{connection_file}"], "display_name": "other", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    small.write_text("# %%\nimport os, sys\nprint(sys.executable, os.listdir())\n")
    assert main(["masters", str(small)]) == 0
    (cell,) = nbformat.read(small.with_suffix(".ipynb"), as_version=4).cells
    assert cell.outputs[0].text == f"{sys.executable} []\n"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("{}['heads']", "expected a solution that runs, got KeyError: 'heads'; correct the master"),
        ("raise ValueError('one\\ntwo')", "expected a solution that runs, got ValueError: one; correct the master"),
        ("import os\nos._exit(9)", "expected a kernel that lives to the last cell, got 'Kernel died'; free memory or shorten it"),
        ("import time\ntime.sleep(60)", "expected a kernel that lives to the last cell, got 'A cell timed out"),
    ],
    ids=["cell", "lines", "died", "slow"],
)
def test_a_master_that_does_not_run_is_one_line(
    small: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], code: str, told: str
) -> None:
    if "sleep" in code:
        monkeypatch.setattr(masters, "SECONDS", 5)
    small.write_text(f"# %%\n{code}\n")
    assert main(["masters", str(small)]) == 2
    assert f"dearlib: one.py: {told}" in capfd.readouterr().err.splitlines()[-1]
    assert not small.with_suffix(".ipynb").exists()


def test_a_kernel_that_never_starts_is_one_line(small: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    broken = {"argv": ["/bin/false", "{connection_file}"], "display_name": "none", "language": "python"}
    monkeypatch.setattr(runner, "get_kernel_dict", lambda: broken)
    small.write_text("# %%\n1\n")
    registered = atexit._ncallbacks()
    assert main(["masters", str(small)]) == 2
    assert atexit._ncallbacks() == registered, "nbclient's would print a traceback"
    assert "dearlib: one.py: expected a kernel that lives to the last cell, got" in capfd.readouterr().err.splitlines()[-1]
