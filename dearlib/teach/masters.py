"""Masters: one paired notebook per assignment that holds text, solutions, public and hidden tests, in otter's markup.

The `.py` (jupytext, percent format) is the source. Cells between the raw cells `# BEGIN SOLUTION` and `# END SOLUTION` are
the answer; of their code otter takes out the lines that are marked, so the hand-out keeps signatures and docstrings.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.workflow.pairs import KERNEL, paired
from dearlib.workflow.runner import OwnKernel, own_sockets

SECONDS = 300  # that a master's solution may take
_SHORT = 12  # characters: shorter lines (`return x`) give nothing away


@dataclass(frozen=True)
class Question:
    """A question of an assignment; `manual` ones are graded by a person, by the rubric."""

    name: str
    points: float
    manual: bool


def read(master: Path) -> NotebookNode:
    """The master as a notebook. Raises `InputError` if there is none."""
    if not master.is_file():
        raise InputError(f"{master}: expected a master notebook (jupytext, percent format), got nothing there; check the path")
    node = jupytext.read(master)
    node.metadata["kernelspec"] = KERNEL
    return node


def questions(node: NotebookNode) -> list[Question]:
    """All questions in order, from their `# BEGIN QUESTION` cells. Raises `InputError` where one has no name or no points."""
    found = []
    for cell in node.cells:
        if cell.cell_type == "raw" and _marker(cell.source) == ("BEGIN", "QUESTION"):
            told = yaml.safe_load("\n".join(cell.source.splitlines()[1:])) or {}
            if not isinstance(told.get("name"), str) or not isinstance(told.get("points"), int | float):
                raise InputError(f"question: expected `name` and a number of `points`, got {told}; write both under # BEGIN QUESTION")
            found.append(Question(told["name"], told["points"], bool(told.get("manual", False))))
    if len({q.name for q in found}) != len(found):
        raise InputError(f"questions: expected names of their own, got {[q.name for q in found]}; rename one")
    return found


def secrets(node: NotebookNode) -> set[str]:
    """Every line that a student must not get: of solutions and of hidden tests, without indentation, as written and as otter rewrites it.

    Lines too short to tell anything are left out, and so are lines that the master also shows outside of answers.
    """
    hidden: set[str] = set()
    shown: set[str] = set()
    where = None
    for cell in node.cells:
        if cell.cell_type == "raw":
            begin_or_end, what = _marker(cell.source)
            if what in ("SOLUTION", "TESTS"):
                where = what if begin_or_end == "BEGIN" else None
            continue
        answer, public = _parted(cell, where)
        hidden |= answer
        shown |= public
    return {line for line in hidden - shown if len(line) >= _SHORT}


def execute(master: Path) -> None:
    """Runs the master, solutions and all, in a kernel of this interpreter and keeps its outputs in the `.ipynb` beside it.

    Raises `InputError` if it does not run: with the cell's error, or that of a kernel which died, took too long or never came to life.
    """
    node = read(master)
    try:
        with own_sockets() as config:
            client = NotebookClient(node, timeout=SECONDS, startup_timeout=SECONDS, kernel_manager_class=OwnKernel, config=config)
            with client.setup_kernel():  # by itself it would try at exit to end a kernel that never started, and say so
                executed = client.execute(cleanup_kc=False)
    except CellExecutionError as error:
        first = (error.evalue.splitlines() or [""])[0]
        raise InputError(f"{master.name}: expected a solution that runs, got {error.ename}: {first}; correct the master") from None
    except (RuntimeError, TimeoutError) as error:
        said = (str(error).splitlines() or [""])[0]
        raise InputError(f"{master.name}: expected a kernel that lives to the last cell, got '{said}'; free memory or shorten it") from None
    write_text(master.with_suffix(".ipynb"), nbformat.writes(paired(read(master), executed)) + "\n")


def _marker(source: str) -> tuple[str, str]:
    """('BEGIN' or 'END', what) of a raw cell of otter's; two empty strings for another."""
    first = re.match(r"#\s*(BEGIN|END)\s+(\w+)", source.strip())
    return (first[1], first[2]) if first else ("", "")


def _parted(cell: NotebookNode, where: str | None) -> tuple[set[str], set[str]]:
    """The cell's lines that are secret, and those that are not."""
    lines = {line.strip() for line in cell.source.splitlines()}
    if where == "SOLUTION":
        return _solution(cell)
    if where == "TESTS" and cell.cell_type == "code":
        unparsed = {line.strip() for line in ast.unparse(ast.parse(cell.source)).splitlines()}
        first = cell.source.splitlines()[0]
        return (lines | unparsed, set()) if "HIDDEN" in first else (set(), lines | unparsed)
    return set(), lines


def _solution(cell: NotebookNode) -> tuple[set[str], set[str]]:
    if cell.cell_type == "markdown":
        return {line.strip() for line in cell.source.splitlines()}, set()
    secret, public = set(), set()
    inside = False
    for line in map(str.strip, cell.source.splitlines()):
        if line in ("# BEGIN SOLUTION", "# BEGIN SOLUTION NO PROMPT", "# END SOLUTION"):
            inside = "BEGIN" in line
        elif inside or line.endswith("# SOLUTION"):
            secret.add(line.removesuffix("# SOLUTION").strip())
        else:
            public.add(line)
    return secret, public
