"""The five real assignments: built, leak nothing, and a planted mistake costs its points and is called by its name.

Minutes, so a stage of its own: `pytest -m course`. The build itself refuses a solution without full marks and a hand-out with any.
"""

import json
from pathlib import Path

import nbformat
import pytest

from dearlib.teach import masters
from dearlib.teach.build import build
from dearlib.teach.grading import Assignment, examine
from dearlib.teach.session import Limits
from dearlib.teach.submissions import Submission

pytestmark = pytest.mark.course
pytest_plugins = ["course"]

MASTERS = Path(__file__).parents[2] / "notebooks" / "assignments"

PLANTED = {  # what is written instead of what; the points of the questions that lose some; what the check says
    "01_vit_heads": (
        ("torch.softmax(q @ k.T / q.shape[1] ** 0.5, dim=1) @ v", "torch.softmax(q @ k.T, dim=1) @ v"),
        {"q3": 2.5, "q7": 0},
        "you forgot to divide by the square root",
    ),
    "02_textspan_entropy": (("(p * p.log2()).sum()", "(p * p.log()).sum()"), {"q5": 4 / 3, "q8": 2}, "this is in nats"),
    "03_role_masks": (("masked_fill(~may_attend,", "masked_fill(may_attend,"), {"q3": 1.25}, "you look exactly where you may not"),
    "04_dear": (("beta * raw + (1 - beta) * x[:, n_original:]", "(1 - beta) * raw + beta * x[:, n_original:]"), {"q2": 2}, "β = 0.3"),
    "05_experiment": (("heads - heads.mean(dim=0)", "heads"), {"q2": 1.25}, "you put zero in the place of the head's part"),
}


@pytest.fixture(scope="module", params=sorted(PLANTED))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("assignments") / "built"
    build([MASTERS / f"{request.param}.py"], out)
    return request.param, out


def test_no_answer_in_the_handout(folder: tuple[str, Path]) -> None:
    name, out = folder
    (handed,) = [p for p in (out / "student").rglob("*") if p.is_file()]
    text = handed.read_text(encoding="utf-8")
    node = nbformat.reads(text, as_version=4)
    readings = "\n".join([*(c.source for c in node.cells), *node.metadata["otter"]["tests"].values()])
    secrets = masters.secrets(masters.read(MASTERS / f"{name}.py"))
    assert len(secrets) > 50
    assert not [line for line in secrets if line in readings or json.dumps(line)[1:-1] in text]
    assert not [c for c in node.cells if c.get("outputs")]


def test_a_planted_mistake_costs_its_points(folder: tuple[str, Path], apart: bool) -> None:
    name, out = folder
    (old, new), lost, said = PLANTED[name]
    solution = nbformat.read(out / "autograder" / name / f"{name}.ipynb", as_version=4)
    cells = [c.source for c in solution.cells if c.cell_type == "code"]
    assert sum(old in c for c in cells) == 1
    assignment = Assignment.load(out / "autograder" / name)
    score = examine(Submission(name, tuple(c.replace(old, new) for c in cells)), assignment, apart, Limits(seconds=600, cell=200, call=100))
    assert score.points == pytest.approx(assignment.possible | lost), score.reason
    assert any(said in score.messages[question] for question in lost)
