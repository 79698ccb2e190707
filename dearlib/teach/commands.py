"""What the lecturer's commands print: hand-outs made from the masters, points for submissions, the masters' own outputs."""

from collections.abc import Sequence
from pathlib import Path

from dearlib.params.reading import repository
from dearlib.teach import build, grading, masters
from dearlib.teach.grading import Score
from dearlib.teach.session import Limits


def make_assignments(sources: Sequence[Path], out: Path) -> int:
    """Builds the students' and the grader's versions of some masters, of all if none is named; exit status 0."""
    for made in build.build(_sources(sources), out):
        by_hand = sum(q.points for q in made.questions if q.manual)
        print(f"{made.name}: {sum(made.possible.values()):g} points by tests, {by_hand:g} by hand, {len(made.questions)} questions")
    print(f"hand out {out / 'student'}; keep {out / 'autograder'} to yourself")
    return 0


def grade_folder(folder: Path, built: Path, out: Path, assignment: str | None, seconds: float, apart: bool) -> int:
    """Grades a folder of submissions into a CSV file, a line on each as it is done; exit status 0.

    `seconds` for each submission; `apart`: each in a sandbox of its own.
    """

    def report(score: Score) -> None:
        print(f"{score.name}: {score.total:g}" + (f"  ({score.reason})" if score.reason else ""), flush=True)

    limits = Limits(seconds, seconds / 3, seconds / 6)
    scores = grading.grade(folder, built, out, report=report, name=assignment, apart=apart, limits=limits)
    print(f"{out}: {len(scores)} submissions")
    return 0


def keep_masters(sources: Sequence[Path]) -> int:
    """Runs masters with their solutions and keeps the outputs in their `.ipynb`; exit status 0."""
    for master in _sources(sources):
        masters.execute(master)
        print(f"{master.with_suffix('.ipynb')}: run")
    return 0


def _sources(given: Sequence[Path]) -> list[Path]:
    return list(given) or sorted((repository(Path.cwd()) / "notebooks" / "assignments").glob("*.py"))
