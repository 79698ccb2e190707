"""Grading: each submission gets what it deserves and harms nobody, whatever it does."""

import csv
import shutil
import zipfile
from pathlib import Path

import pytest
from small_course import write_notebook

from dearlib.commands import main
from dearlib.errors import InputError
from dearlib.teach.grading import Assignment, Score, grade
from dearlib.teach.session import Limits
from dearlib.teach.submissions import collect

pytest_plugins = ["course"]

DOUBLED = "def doubled(x):\n    return 2 * x"
MEANS = "import numpy as np\n\ndef means(table):\n    return np.asarray(table).mean(axis=0)"
EVERYTHING = """
class Everything:
    def __eq__(self, other): return True
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def tolist(self): return [2.0, 4.0, 8.0]
doubled = lambda x: Everything()
means = lambda t: Everything()
"""
TAMPER = """
import os, sys
import dearlib.teach.wire as wire
wire.pack = lambda *a, **k: b""
grader = __import__("otter").Notebook()
grader.check = lambda name: "all tests passed"
for descriptor in range(3, 20):
    try: os.write(descriptor, b"\\x0b\\0\\0\\0\\0\\0\\0\\0" + b"\\0" * 8 + b'{"ok":true}')
    except OSError: pass
"""

PARTIAL = {  # cells, points of q1 and q2
    "one of two": ([DOUBLED], 4, 0),
    "public test alone": (["def doubled(x):\n    return abs(2 * x)", MEANS], 2, 6),
    "one row alone": ([DOUBLED, "def means(table):\n    return table[0]"], 4, 4),
    "a cell that does not parse": (["def doubled(x)\n    return 2 * x", MEANS], 0, 6),
}
HOSTILE = {
    "endless loop": (["def doubled(x):\n    while True:\n        pass", MEANS], 0, 6),
    "leaves": (["exit()", "import os\nos._exit(0)", MEANS, "raise SystemExit"], 0, 6),
    "ten gigabytes": (["hog = bytearray(10 << 30)", DOUBLED, MEANS], 4, 6),
    "forks and kills": (
        [
            "import os, signal, time",
            "if os.fork() == 0:\n    while True: time.sleep(1)",
            "for _ in range(200): os.fork()",
            "os.kill(os.getppid(), signal.SIGKILL)",
            "os.kill(-1, signal.SIGKILL)",
            DOUBLED,
            MEANS,
        ],
        4,
        6,
    ),
    "pretends": ([TAMPER, EVERYTHING], 0, 0),
    "floods": (
        [
            "for _ in range(1024): print('x' * (1 << 20))",
            "with open('large', 'wb') as file:\n    for _ in range(1024): file.write(bytes(1 << 20))",
            "import os; [open(f'{i}', 'wb').write(bytes(1 << 25)) for i in range(64)]",
            DOUBLED,
            MEANS,
        ],
        4,
        6,
    ),
}
FAST = Limits(seconds=120, cell=6, call=3, memory=1 << 30)


@pytest.fixture(scope="module")
def graded(built: Path, apart: bool, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Score], list[dict[str, str]]]:
    """The batch of twelve, as scores and as the table that was written."""
    folder = tmp_path_factory.mktemp("batch")
    shutil.copy(built / "student" / "small" / "small.ipynb", folder / "handout.ipynb")
    shutil.copy(built / "autograder" / "small" / "small.ipynb", folder / "solution.ipynb")
    for name, (cells, _, _) in (PARTIAL | HOSTILE).items():
        write_notebook(folder / f"{name}.ipynb", cells)
    out = folder.parent / "grades.csv"
    scores = grade(folder, built, out, limits=FAST)
    with out.open(encoding="utf-8", newline="") as file:
        return {s.name: s for s in scores}, list(csv.DictReader(file))


def test_the_solution_gets_all_and_the_handout_nothing(graded: tuple[dict[str, Score], list[dict[str, str]]]) -> None:
    scores, _ = graded
    assert (scores["solution"].points, scores["solution"].reason) == ({"q1": 4, "q2": 6}, "")
    assert scores["handout"].points == {"q1": 0, "q2": 0}


@pytest.mark.parametrize("name", [*PARTIAL, *HOSTILE])
def test_each_gets_what_it_deserves(graded: tuple[dict[str, Score], list[dict[str, str]]], name: str) -> None:
    _, first, second = (PARTIAL | HOSTILE)[name]
    score = graded[0][name]
    assert score.points == pytest.approx({"q1": first, "q2": second}), score


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a cell that does not parse", "cell 1 raised SyntaxError"),
        ("endless loop", "took more than 3 s"),
        ("leaves", "cell 2 left out: it ended its own process"),
        ("ten gigabytes", "cell 1 raised MemoryError"),
        ("floods", "cell 2 raised OSError"),
    ],
)
def test_the_reason_is_plain(graded: tuple[dict[str, Score], list[dict[str, str]]], name: str, said: str) -> None:
    assert said in graded[0][name].reason
    assert "\n" not in graded[0][name].reason


def test_the_table_has_a_row_for_each(graded: tuple[dict[str, Score], list[dict[str, str]]]) -> None:
    scores, rows = graded
    assert list(rows[0]) == ["name", "q1", "q2", "q3", "total", "reason"]
    assert [r["name"] for r in rows] == sorted(scores)
    assert len(rows) == 12
    for row in rows:
        assert float(row["total"]) == pytest.approx(scores[row["name"]].total)
        assert row["q3"] == "", "a person grades it"


def test_kinds_of_submissions(tmp_path: Path) -> None:
    write_notebook(tmp_path / "plain.ipynb", [DOUBLED])
    (tmp_path / "folder").mkdir()
    shutil.copy(tmp_path / "plain.ipynb", tmp_path / "folder" / "work.ipynb")
    (tmp_path / "two").mkdir()
    for copy in ("a.ipynb", "b.ipynb"):
        shutil.copy(tmp_path / "plain.ipynb", tmp_path / "two" / copy)
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        archive.write(tmp_path / "plain.ipynb", "inside/small.ipynb")
    (tmp_path / "broken.ipynb").write_text('{"cells": [')
    (tmp_path / "essay.pdf").write_bytes(b"%PDF")
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "plain.ipynb")
    (tmp_path / "not.zip").write_bytes(b"no zip")
    found = {s.name: s for s in collect(tmp_path)}
    assert {name for name, s in found.items() if s.cells == (DOUBLED,)} == {"plain", "folder", "zipped"}
    assert {s.assignment for s in found.values() if s.cells} == {"small"}
    said = {name: s.fault for name, s in found.items() if s.fault}
    assert said["two"] == "the folder holds 2 notebooks, expected one"
    assert "no Jupyter notebook" in said["broken"]
    assert said["essay"] == "the file is a .pdf, expected .ipynb or .zip"
    assert said["link"] == "the entry is a link, not a file"
    assert "cannot be read" in said["not"]


def test_what_cannot_be_read_gets_a_row_of_zeros(built: Path, apart: bool, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.ipynb").write_text("{")
    (score,) = grade(tmp_path / "in", built, tmp_path / "grades.csv", name="small")
    assert (score.total, score.reason) == (0, "the file is no Jupyter notebook (NotJSONError)")
    assert (tmp_path / "grades.csv").read_text().splitlines()[1] == f"broken,0,0,,0,{score.reason}"


def test_submissions_of_two_assignments_are_refused(built: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_notebook(tmp_path / "in" / "a.ipynb", [], "small")
    write_notebook(tmp_path / "in" / "b.ipynb", [], "large")
    with pytest.raises(InputError, match="of one assignment, got large, small"):
        grade(tmp_path / "in", built, tmp_path / "grades.csv")
    assert not (tmp_path / "grades.csv").exists()


@pytest.mark.parametrize("arguments", [["nowhere"], ["empty"], ["full", "--built", "nowhere"], ["full", "--assignment", "other"]])
def test_a_users_mistake_is_one_line(
    arguments: list[str], built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    write_notebook(tmp_path / "full" / "a.ipynb", [])
    where = [] if "--built" in arguments else ["--built", str(built)]
    assert main(["grade", *arguments, *where, "--out", "grades.csv"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_without_a_sandbox_there_is_no_grading_by_default(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dearlib.teach.grading.can_keep_apart", lambda: False)
    write_notebook(tmp_path / "a.ipynb", [DOUBLED])
    arguments = ["grade", str(tmp_path), "--built", str(built), "--out", str(tmp_path.parent / "grades.csv")]
    assert main(arguments) == 2
    assert "--without-sandbox" in capsys.readouterr().err
    assert main([*arguments, "--without-sandbox"]) == 0
    assert "a: 4" in capsys.readouterr().out


def test_questions_that_are_nested_too_deeply_are_no_built_assignment(tmp_path: Path) -> None:
    (tmp_path / "questions.json").write_text("[" * 10_000)
    with pytest.raises(InputError, match="expected a built assignment, got RecursionError"):
        Assignment.load(tmp_path)


def test_a_question_without_tests_is_refused(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "autograder" / "small", tmp_path / "small")
    path = tmp_path / "small" / "questions.json"
    path.write_text(path.read_text().replace('"manual": true', '"manual": false'))
    with pytest.raises(InputError, match="q3"):
        Assignment.load(tmp_path / "small")
