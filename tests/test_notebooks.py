"""Every notebook: a .py and an .ipynb in step, outputs that are there and tell no machine, a parameters cell that papermill can fill."""

import ast
import json
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest
from nbformat import NotebookNode

from dearlib.params import reading
from dearlib.params.types import plain
from dearlib.workflow import pairs, runner

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def committed(notebook: Path) -> NotebookNode:
    return nbformat.read(notebook.with_suffix(".ipynb"), as_version=4)


def test_each_ipynb_has_its_py() -> None:
    assert {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")} == {p.stem for p in NOTEBOOKS}


def test_the_pair_is_in_step(notebook: Path, committed: NotebookNode) -> None:
    assert pairs.inputs(committed) == pairs.inputs(jupytext.read(notebook)), "run the notebook again with --update-pair"


def test_committed_outputs_are_those_of_one_whole_run(notebook: Path, committed: NotebookNode) -> None:
    nbformat.validate(committed)
    code = [c for c in committed.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    outputs = [o for c in code for o in c.outputs]
    assert outputs, "a reader sees an empty notebook"
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


def test_committed_notebooks_do_not_churn(notebook: Path, committed: NotebookNode) -> None:
    again = pairs.paired(jupytext.read(notebook), committed)
    assert nbformat.writes(again) + "\n" == notebook.with_suffix(".ipynb").read_text(encoding="utf-8")


def test_the_parameters_cell_is_the_mini_profile(notebook: Path) -> None:
    """Its keys are the model's, and its values those of params/mini: what a reader sees is what was run."""
    cell = json.loads(json.dumps(runner.parameters_cell(runner.read(notebook))))
    mini = plain(reading.load_params(notebook.stem, ROOT / "params" / "mini" / f"{notebook.stem}.yaml"))
    assert list(cell) == list(mini)
    assert cell == mini


def test_papermill_finds_the_same_parameters(notebook: Path, tmp_path: Path) -> None:
    """Its reader trips over annotations such as `int | None` and over a second `=` on a line."""
    nbformat.write(runner.read(notebook), tmp_path / "inputs.ipynb")
    found = papermill.inspect_notebook(str(tmp_path / "inputs.ipynb"))
    assert set(found) == set(reading.model_of(notebook.stem).model_fields)


def test_plain_papermill_passes_on_what_the_runner_does(notebook: Path, tmp_path: Path) -> None:
    """`papermill notebooks/NN.ipynb out.ipynb -f params/mini/NN.yaml -k python3`: its own reader, then the notebook's own check."""
    file = ROOT / "params" / "mini" / f"{notebook.stem}.yaml"
    given = papermill.iorw.read_yaml_file(str(file)) if file.is_file() else {}  # the profile says all
    node = papermill.execute_notebook(
        str(notebook.with_suffix(".ipynb")), str(tmp_path / "out.ipynb"), parameters=given, kernel_name="python3", prepare_only=True
    )
    namespace: dict[str, object] = {}
    for cell in node.cells:
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            exec(cell.source, namespace)
    assert reading.validated(notebook.stem, namespace) == reading.load_params(notebook.stem, file)


def test_a_notebook_opens_with_its_card_and_checks_its_parameters(notebook: Path) -> None:
    node = jupytext.read(notebook)
    assert node.cells[0].cell_type == "markdown"
    assert node.cells[0].source.startswith("# ")
    assert f'validated("{notebook.stem}", globals())' in "\n".join(c.source for c in node.cells if c.cell_type == "code")


def _bound(tree: ast.AST) -> set[str]:
    """Names that a cell binds for those after it; what functions and comprehensions bind is theirs."""
    inner = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
        if not isinstance(node, inner):
            found |= _bound(node)
    return found


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_cell_gives_a_parameter_another_value(notebook: Path) -> None:
    """The set-up cell reads the parameters as they are: whoever runs it again would read what a later cell had put there."""
    cells = [c for c in jupytext.read(notebook).cells if c.cell_type == "code"]
    (given,) = (c for c in cells if "parameters" in c.metadata.get("tags", []))
    names = _bound(ast.parse(given.source))
    assert "profile" in names
    for cell in cells:
        if cell is not given:
            assert not names & _bound(ast.parse(cell.source)), cell.source.splitlines()[0]
