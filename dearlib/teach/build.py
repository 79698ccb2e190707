"""`assignments`: from masters to what students get and what the grader needs, by otter assign, offline.

    OUT/student/NAME/NAME.ipynb       the hand-out: no solution, no hidden test, no output
    OUT/autograder/NAME/              the solution, otter's zip with all tests, questions.json

A build is whole or it is not there: it is made beside OUT and takes its place at the end. What stops it: a solution that
does not get full marks, an untouched hand-out that gets any, a line of a solution or of a hidden test in a hand-out.
"""

import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import nbformat
from nbformat import NotebookNode
from otter.assign import main as otter_assign

from dearlib.errors import InputError
from dearlib.teach import masters
from dearlib.teach.grading import Assignment, Score, examine
from dearlib.teach.session import Limits, can_keep_apart
from dearlib.teach.submissions import Submission

_ROUNDING = 1e-9
_PATIENT = Limits(seconds=600, cell=200, call=100)  # a lecturer's own code on a busy machine is no endless loop


def build(sources: Sequence[Path], out: Path) -> list[Assignment]:
    """Builds the assignments of all masters into `out`, in place of what was there. Raises `InputError`: nothing is changed then."""
    if not sources:
        raise InputError("masters: expected at least one notebook, got none; name .py files, or run in the repository")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.{uuid4().hex}.partial"
    try:
        partial.mkdir()
        (partial / "autograder").mkdir(mode=0o700)  # answers: for the lecturer's eyes alone
        made = [_one(master, partial) for master in sources]
        _replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return made


def _one(master: Path, partial: Path) -> Assignment:
    name, node = master.stem, masters.read(master)
    student, autograder = partial / "student" / name, partial / "autograder" / name
    listed = masters.questions(node)
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / f"{name}.ipynb", Path(folder) / "result"
        nbformat.write(node, source)
        _assign(source, result)
        told = nbformat.read(result / "student" / source.name, as_version=4).metadata["otter"].get("assignment_name")
        if told != name:
            raise InputError(f"{name}: expected its own name in # ASSIGNMENT CONFIG, got {told}; submissions are known by it")
        shutil.copytree(result / "student", student)
        shutil.copytree(result / "autograder", autograder)
    (zipped,) = autograder.glob("*.zip")
    zipped.rename(autograder / "autograder.zip")
    (autograder / "questions.json").write_text(json.dumps([asdict(q) for q in listed], indent=1) + "\n")
    assignment = Assignment.load(autograder)
    _check_answers(node, student, name)
    _check_points(assignment, autograder / f"{name}.ipynb", student / f"{name}.ipynb")
    return assignment


def _assign(source: Path, result: Path) -> None:
    """otter assign without PDFs; its own run of the solution is left out, because `_check_points` runs it as a submission is run."""
    level = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings(action="ignore"):  # about its own libraries
            otter_assign(str(source), str(result), no_pdfs=True, no_run_tests=True)
    except Exception as error:  # otter raises what its parsing leads it to
        raise InputError(f"{source.stem}: expected a master that otter assign takes, got {_line(error)}; correct its markup") from error
    finally:
        logging.disable(level)


def _check_answers(node: NotebookNode, student: Path, name: str) -> None:
    """No file of the hand-out holds a secret line, in any quoting that JSON gives it."""
    handed = "\n".join(text for path in sorted(student.rglob("*")) if path.is_file() for text in _readings(path))
    found = sorted(line for line in masters.secrets(node) if line in handed)
    if found:
        raise InputError(
            f"{name}: expected no answer in the hand-out, got {found[0]!r} ({len(found)} lines); mark it as solution or HIDDEN"
        )


def _readings(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix != ".ipynb":
        return [text]
    node = nbformat.reads(text, as_version=4)
    tests = node.metadata.get("otter", {}).get("tests", {})
    outputs = [json.dumps(c.get("outputs", [])) for c in node.cells]
    return [text, *(c.source for c in node.cells), *outputs, *map(str, tests.values())]


def _check_points(assignment: Assignment, solution: Path, handout: Path) -> None:
    """Every cell of the solution runs and every question has its points; the untouched hand-out has none."""
    score = _score(assignment, solution)
    for question, possible in assignment.possible.items():
        if abs(score.points[question] - possible) > _ROUNDING:
            told = (score.messages.get(question, "").splitlines() or [""])[-1].strip()
            why = "; ".join(text for text in (told, score.reason) if text)
            raise _wrong(assignment, question, f"{possible:g} points for the solution, got {score.points[question]:g}: {why}")
    if score.reason:
        raise _wrong(assignment, "solution", f"cells that all run, got: {score.reason}")
    for question, points in _score(assignment, handout).points.items():
        if points > _ROUNDING:
            raise _wrong(assignment, question, f"0 points for the untouched hand-out, got {points:g}: a test passes on nothing")


def _score(assignment: Assignment, path: Path) -> Score:
    cells = tuple(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    return examine(Submission(path.stem, cells), assignment, can_keep_apart(), _PATIENT)


def _wrong(assignment: Assignment, what: str, text: str) -> InputError:
    return InputError(f"{assignment.name}, {what}: expected {text}; correct the master")


def _replace(partial: Path, out: Path) -> None:
    """`partial` under the name `out`; an older build goes only when the new one stands."""
    old = out.parent / f".{out.name}.{uuid4().hex}.old"
    if out.exists():
        os.replace(out, old)
    os.replace(partial, out)
    shutil.rmtree(old, ignore_errors=True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
