"""`grade`: a folder of submissions becomes a table of points, whatever the submissions do.

Each submission runs in a process of its own (`dearlib.teach.session`); otter's test files run here, and compare here.
"""

import csv
import io
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from otter.test_files.exception_test import ExceptionTestFile

from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.teach.masters import Question
from dearlib.teach.session import Died, Limits, Session, can_keep_apart
from dearlib.teach.submissions import Submission, collect


@dataclass(frozen=True)
class Assignment:
    """What the grader knows of an assignment: its questions and, for those that tests grade, otter's test file as text."""

    name: str
    questions: tuple[Question, ...]
    tests: dict[str, str]

    @classmethod
    def load(cls, folder: Path) -> "Assignment":
        """From a folder that `assignments` built. Raises `InputError` if it is not one, or a question has no test."""
        try:
            questions = tuple(Question(**q) for q in json.loads((folder / "questions.json").read_text(encoding="utf-8")))
            with zipfile.ZipFile(folder / "autograder.zip") as archive:
                names = [n for n in archive.namelist() if n.startswith("tests/") and n.endswith(".py")]
                tests = {Path(n).stem: archive.read(n).decode() for n in names}
        except (OSError, ValueError, TypeError, RecursionError, zipfile.BadZipFile) as error:
            raise InputError(f"{folder}: expected a built assignment, got {type(error).__name__}; run `assignments` first") from None
        graded = {q.name for q in questions if not q.manual}
        if graded != set(tests):
            odd = ", ".join(sorted(graded ^ set(tests)))
            raise InputError(f"{folder.name}: expected tests for every question that is not manual, got none or too many for {odd}")
        return cls(folder.name, questions, tests)

    @property
    def possible(self) -> dict[str, float]:
        """The most points of each question that tests grade."""
        return {q.name: q.points for q in self.questions if not q.manual}


@dataclass(frozen=True)
class Score:
    """What a submission got: points per graded question, in order; a plain reason where something of it did not run.

    `messages`: what otter's tests said of each question, for the lecturer.
    """

    name: str
    points: dict[str, float]
    reason: str = ""
    messages: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """The sum of the points."""
        return sum(self.points.values())


def examine(submission: Submission, assignment: Assignment, apart: bool, limits: Limits) -> Score:
    """Runs one submission and the tests on it. Points of a question are the sum over its passed test cases.

    Raises `InputError` if the machine cannot start a process for it.
    """
    points, messages = dict.fromkeys(assignment.possible, 0.0), dict[str, str]()
    if submission.fault:
        return Score(submission.name, points, submission.fault)
    with Session(submission.cells, apart, limits) as session:
        try:
            session.run()
            for question in points:
                test = _run(assignment.tests[question], question, session)
                points[question] = float(test.score)
                messages[question] = "" if test.passed_all else test.summary()
        except Died as death:
            session.notes.append(str(death))
    return Score(submission.name, points, "; ".join(session.notes)[:300], messages)


def _run(source: str, question: str, session: Session) -> ExceptionTestFile:
    """Otter's test file on the session. All submissions are asked the same: random inputs come from one seed."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    test = ExceptionTestFile.from_string(source, question)
    test.run(session)  # it asks for names alone, as of a dict
    if session.broken:  # otter takes every exception for a failed test
        raise session.broken
    return test


def grade(
    folder: Path,
    built: Path,
    out: Path,
    *,
    name: str | None = None,
    apart: bool = True,
    limits: Limits | None = None,
    report: Callable[[Score], None] = lambda score: None,
) -> list[Score]:
    """Grades every submission in `folder` against the build in `built` and writes `out`, a CSV, whole.

    Args:
        name: the assignment; None takes what the submissions say they are.
        apart: keep submissions apart from the machine and from each other; False runs them as whoever calls this.
        report: called with each score as it comes.

    Raises:
        InputError: no submissions, submissions of two assignments, no such build, or no way to keep submissions apart.
    """
    submissions = collect(folder)
    assignment = Assignment.load(built / "autograder" / (name or _named(submissions)))
    if apart and not can_keep_apart():
        raise InputError(
            "grade: expected Linux namespaces (root, or user namespaces) to keep submissions apart, got none; use a machine that has them, "
            "or pass --without-sandbox if you have read every submission"
        )
    scores = []
    for submission in submissions:
        scores.append(examine(submission, assignment, apart, limits or Limits()))
        report(scores[-1])
    write_text(out, table(scores, assignment))
    return scores


def table(scores: Sequence[Score], assignment: Assignment) -> str:
    """The CSV: a row a submission; the columns of questions that a person grades are empty, and not in the total."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *(q.name for q in assignment.questions), "total", "reason"])
    for score in scores:
        cells = [f"{score.points[q.name]:g}" if q.name in score.points else "" for q in assignment.questions]
        writer.writerow([score.name, *cells, f"{score.total:g}", score.reason])
    return text.getvalue()


def _named(submissions: Sequence[Submission]) -> str:
    """The one assignment that the submissions say they are."""
    named = sorted({s.assignment for s in submissions if s.assignment})
    if len(named) != 1:
        got = ", ".join(named) or "no name in any of them"
        raise InputError(
            f"submissions: expected those of one assignment, got {got}; sort them into folders, or say which with --assignment"
        )
    return named[0]
