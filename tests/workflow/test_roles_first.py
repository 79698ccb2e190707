"""The role file is made before what reads it: where it comes out the same, as after a figure's colour has changed, no run is made anew."""

import shutil
from pathlib import Path

import pytest

from dearlib.commands import main
from dearlib.workflow import reproduce
from dearlib.workflow.expected import Expected

ROOT = Path(__file__).parents[2]
STEPS = """
rule all:
    input: "table"
rule head_roles:
    message: "02: what the heads do"
    input: "colors.py", "rule.py"
    output: "roles.json", "map"
    shell: "cp rule.py roles.json; cp colors.py map; echo roles >> ran"
rule run:
    message: "halved on dtd"
    input: "roles.json"
    output: "record.json"
    shell: "cp {input} {output}; echo run >> ran"
rule draw:
    message: "06: table2"
    input: "record.json", "map"
    output: "table"
    shell: "cat {input} > {output}; echo draw >> ran"
"""


def test_a_changed_colour_has_no_run_made_anew_and_changed_roles_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".snakemake").mkdir()
    Path("Snakefile").write_text(STEPS)
    for name, text, ran in (
        ("colors.py", "blue", ["roles", "run", "draw"]),
        ("colors.py", "orange", ["roles", "draw"]),
        ("rule.py", "another", ["roles", "run", "draw"]),
        ("rule.py", "another", []),
    ):
        Path("rule.py").touch()
        Path(name).write_text(text)
        Path("ran").write_text("")
        where = ["--cores", "1"]
        status = reproduce.run(where, 1, lambda told: Expected(dict.fromkeys(told, 1.0), 0), ["roles.json", *where])
        assert status == 0
        assert Path("ran").read_text().split() == ran, (name, text)
    assert Path("table").read_text() == "anotherorange"


@pytest.mark.parametrize(("only", "there", "expected"), [("table2", True, True), ("table2", False, False), ("audit", True, False)])
def test_roles_come_first_where_they_have_been_made_and_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: str, there: bool, expected: bool
) -> None:
    """In a fresh clone nothing has been made that could stay, and what needs no roles need not wait for them."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    roles = tmp_path / "runs" / "mini" / "02_head_roles" / "roles.json"
    for folder in (tmp_path / "notebooks", roles.parent):
        folder.mkdir(parents=True)
    if there:
        roles.touch()
    monkeypatch.chdir(tmp_path)
    asked: list[list[str] | None] = []
    monkeypatch.setattr(reproduce, "run", lambda command, at_once, ahead, first: (asked.append(first), 0)[1])
    assert main(["reproduce", "--only", only, "--cores", "1"]) == 0
    first = ["runs/mini/02_head_roles/roles.json", "--cores", "1", "--config", "profile=mini"]
    assert asked == [first if expected else None]
