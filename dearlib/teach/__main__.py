"""`python -m dearlib.teach assignments | grade | pairs`: the lecturer's commands. Exit status 2, and one line, for bad input."""

import argparse
import sys
from pathlib import Path

from dearlib.errors import InputError
from dearlib.params.reading import repository
from dearlib.teach import build, grading, masters
from dearlib.teach.grading import Score
from dearlib.teach.session import Limits

BUILT = Path("build/assignments")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dearlib.teach", description="The course: hand-outs, and points for submissions.")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("assignments", help="build the students' and the grader's versions of the masters")
    make.add_argument("masters", type=Path, nargs="*", metavar="MASTER.py", help="all of notebooks/assignments if left out")
    make.add_argument("--out", type=Path, default=BUILT, metavar="DIR", help=f"{BUILT} if left out")
    mark = commands.add_parser("grade", help="grade a folder of submissions")
    mark.add_argument("folder", type=Path, metavar="DIR", help="one .ipynb, .zip or folder a student")
    mark.add_argument("--out", type=Path, required=True, metavar="GRADES.csv")
    mark.add_argument("--built", type=Path, default=BUILT, metavar="DIR", help=f"what `assignments` built; {BUILT} if left out")
    mark.add_argument("--assignment", metavar="NAME", help="e.g. 01_vit_heads; what the submissions say if left out")
    mark.add_argument("--seconds", type=float, default=Limits.seconds, metavar="S", help="time for each submission")
    mark.add_argument("--without-sandbox", action="store_true", help="run submissions as you, with limits alone: only what you have read")
    pair = commands.add_parser("pairs", help="run masters with their solutions and keep the outputs in their .ipynb")
    pair.add_argument("masters", type=Path, nargs="*", metavar="MASTER.py", help="all of notebooks/assignments if left out")
    given = parser.parse_args(arguments)
    try:
        return {"assignments": _assignments, "grade": _grade, "pairs": _pairs}[given.command](given)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def _sources(given: argparse.Namespace) -> list[Path]:
    return given.masters or sorted((repository(Path.cwd()) / "notebooks" / "assignments").glob("*.py"))


def _assignments(given: argparse.Namespace) -> int:
    for made in build.build(_sources(given), given.out):
        by_hand = sum(q.points for q in made.questions if q.manual)
        print(f"{made.name}: {sum(made.possible.values()):g} points by tests, {by_hand:g} by hand, {len(made.questions)} questions")
    print(f"hand out {given.out / 'student'}; keep {given.out / 'autograder'} to yourself")
    return 0


def _grade(given: argparse.Namespace) -> int:
    def report(score: Score) -> None:
        print(f"{score.name}: {score.total:g}" + (f"  ({score.reason})" if score.reason else ""), flush=True)

    limits = Limits(given.seconds, given.seconds / 3, given.seconds / 6)
    how = {"name": given.assignment, "apart": not given.without_sandbox, "limits": limits}
    scores = grading.grade(given.folder, given.built, given.out, report=report, **how)
    print(f"{given.out}: {len(scores)} submissions")
    return 0


def _pairs(given: argparse.Namespace) -> int:
    for master in _sources(given):
        masters.execute(master)
        print(f"{master.with_suffix('.ipynb')}: run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
