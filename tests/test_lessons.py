"""Lessons as a student meets them: every equation once, cards, exercises that check themselves, take-aways that the files still say."""

import hashlib
import re
import shutil
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pandas as pd
import pytest

from dearlib.study.takeaways import KEY, contradictions, from_numbers, write_numbers
from dearlib.workflow.alike import difference

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("*.py"))
ALONE = pd.read_csv(ROOT / "figures" / "amd-epyc-2-threads" / "alone.csv").set_index("notebook")


def cells(path: Path, kind: str) -> list[Any]:
    return [c for c in jupytext.read(path).cells if c.cell_type == kind]


def text(path: Path) -> str:
    return "\n".join(c.source for c in cells(path, "markdown"))


def tagged(path: Path, tag: str) -> list[str]:
    return [c.source for c in jupytext.read(path).cells if tag in c.metadata.get("tags", [])]


def test_every_equation_of_the_paper_is_printed_in_exactly_one_lesson() -> None:
    printed = {n: [] for n in range(1, 20)}
    for path in LESSONS:
        for display in re.findall(r"\$\$(.*?)\$\$", text(path), re.DOTALL):
            for number in re.findall(r"\\qquad\s*\((\d+)\)", display):
                printed[int(number)].append(path.stem)
    assert {n: places for n, places in printed.items() if len(places) != 1} == {}


def test_readings_stand_beside_the_equations_that_need_one() -> None:
    for path, number in (("02_head_roles", 2), ("04_dear_model", 5), ("04_dear_model", 6), ("05_training", 14), ("03_role_masks", 9)):
        after = text(ROOT / "notebooks" / f"{path}.py").split(rf"\qquad ({number})$$")[1][:2500]
        assert "**How we read it.**" in after or "Two readings" in after, f"Eq. {number}"


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_card_says_what_a_lesson_needs_makes_and_takes(path: Path) -> None:
    first = cells(path, "markdown")[0].source
    rows = dict(re.findall(r"^\| ([\w ]+) \|(.*)\|$", first, re.MULTILINE))
    assert {"Before this", "Paper", "You will see", "Reads", "Writes", "Takes", "After this"} <= set(rows)
    seconds, memory = re.match(r" (\d+) seconds and ([\d.]+) GB of memory, opened first", rows["Takes"]).groups()  # type: ignore[union-attr]
    assert abs(float(seconds) - ALONE.seconds[path.stem]) <= 10, "what `make alone` measured"
    assert abs(float(memory) - ALONE.peak_gb[path.stem]) <= 0.3
    for target in re.findall(r"\]\((\w+\.ipynb)\)", first):
        assert (ROOT / "notebooks" / target).with_suffix(".py").is_file(), target
    assert "**Question.**" in first


def led_to(row: str) -> dict[str, set[str]]:
    """Lesson → the lessons that this row of its card links to."""
    found = {}
    for path in LESSONS:
        (said,) = re.findall(rf"^\| {row} \|(.*)\|$", cells(path, "markdown")[0].source, re.MULTILINE)
        found[path.stem] = set(re.findall(r"\]\((\w+)\.ipynb\)", said))
    return found


def test_the_cards_lead_back_and_forth() -> None:
    """What comes after a lesson has it before, and the other way round; no lesson comes after itself, none but the first begins alone."""
    after, before = led_to("After this"), led_to("Before this")
    forth = {(a, b) for a, there in after.items() for b in there}
    back = {(a, b) for b, there in before.items() for a in there}
    assert forth == back
    list(TopologicalSorter(before).static_order())  # raises where lessons go round in a circle
    assert [name for name, there in before.items() if not there] == ["00_pretrain_mini"]


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_exercises_check_themselves_and_their_solutions_are_right(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stubs, checks, solutions = (tagged(path, tag) for tag in ("exercise", "check", "solution"))
    assert len(stubs) == len(checks) == len(solutions) >= 2
    before = contents()
    solved = ["\n".join(re.findall(r"```python\n(.*?)```", s, re.DOTALL)) for s in solutions]
    for answers, said in ((stubs, "not answered yet"), (solved, "right in all")):
        space: dict[str, Any] = {}
        for stub, answer, check in zip(stubs, answers, checks, strict=True):
            exec(stub, space)
            exec(answer, space)
            exec(check, space)
            assert said in capsys.readouterr().out
    assert contents() == before, "an exercise changed what the study has made"


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_exercises_write_nothing(path: Path) -> None:
    for source in tagged(path, "exercise") + tagged(path, "check"):
        assert not re.search(r"write|save|open\(|to_csv|figures_root|runs_root", source)


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_no_paragraph_hides_in_an_f_string(path: Path) -> None:
    """Prose stands in Markdown cells: no string of a code cell goes on over more than three lines."""
    for cell in cells(path, "code"):
        for run in re.findall(r"(?:^\s*f?\".*\"\n?){4,}", cell.source, re.MULTILINE):
            assert "|" in run or "from_numbers" in cell.source, run


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_lesson_ends_in_what_is_true_here(path: Path) -> None:
    assert "## What is true here" in text(path)
    assert any("from_numbers(" in c.source for c in cells(path, "code"))
    assert "set_grad_enabled" not in "\n".join(c.source for c in cells(path, "code")), "a switch for the whole process"


def contents() -> dict[str, str]:
    """What must not change: every file of the mini profile's runs and figures, with its hash."""
    folders = [ROOT / "runs" / "mini", ROOT / "figures" / "mini"]
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for folder in folders for f in sorted(folder.rglob("*")) if f.is_file()}


def cited_files(outputs: list, root: Path, folder: Path) -> Path:
    """`folder`, with the files that take-aways name: those under `root`, but the committed ones where they are alike to rounding.

    `make figures` on another kind of processor than drew the notebooks draws last digits anew; a notebook shows some of them.
    """
    said = [o.get("metadata", {}).get("text/markdown", {}).get(KEY) or o.get("metadata", {}).get(KEY) for o in outputs]
    for name in {number["file"] for one in said if one for number in one["numbers"].values()}:
        to = folder / name
        to.parent.mkdir(parents=True, exist_ok=True)
        kept = subprocess.run(["git", "show", f"HEAD:./{name}"], cwd=root, capture_output=True, check=False)
        to.write_bytes(kept.stdout)
        if kept.returncode or difference(to, root / name):  # no checkout, or not rounding alone
            shutil.copyfile(root / name, to)
    return folder


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_the_take_aways_of_committed_notebooks_are_what_the_files_say(path: Path, tmp_path: Path) -> None:
    node = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    outputs = [o for c in node.cells if c.cell_type == "code" for o in c.outputs]
    assert contradictions(outputs, cited_files(outputs, ROOT, tmp_path)) == []


@pytest.mark.parametrize(("drawn", "says"), [("3.1e-07", []), ("4.2", ["expected 'to 4', got 'to 3e-07'"])])
def test_a_file_drawn_anew_contradicts_only_beyond_rounding(tmp_path: Path, drawn: str, says: list[str]) -> None:
    root = tmp_path / "root"
    file = write_numbers(root / "numbers.csv", {"error": 2.6e-07})
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    shown = from_numbers(file, "to {error:.1g}")
    outputs = [{"data": {"text/markdown": shown.data}, "metadata": shown.metadata}]
    outputs[0]["metadata"][KEY]["numbers"]["error"]["file"] = "numbers.csv"
    write_numbers(file, {"error": float(drawn)})
    assert contradictions(outputs, cited_files(outputs, root, tmp_path / "kept")) == says
