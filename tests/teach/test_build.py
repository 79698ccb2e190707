"""The build: what students get holds no answer; a master that is wrong stops it and leaves the old build as it was."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pytest
from nbclient import NotebookClient
from small_course import SMALL
from traitlets.config import Config

from dearlib.commands import main
from dearlib.errors import InputError
from dearlib.teach import masters
from dearlib.teach.build import build

pytest_plugins = ["course"]


def test_what_a_build_holds(built: Path) -> None:
    files = {p.relative_to(built).as_posix() for p in built.rglob("*") if p.is_file()}
    assert {f for f in files if f.startswith("student/")} == {"student/small/small.ipynb"}
    assert {"autograder/small/small.ipynb", "autograder/small/autograder.zip", "autograder/small/questions.json"} <= files
    assert (built / "autograder").stat().st_mode & 0o077 == 0, "others on the machine can read the answers"
    listed = json.loads((built / "autograder" / "small" / "questions.json").read_text())
    assert [(q["name"], q["points"], q["manual"]) for q in listed] == [("q1", 4, False), ("q2", 6, False), ("q3", 5, True)]


def test_no_answer_in_the_handout(built: Path) -> None:
    handed = (built / "student" / "small" / "small.ipynb").read_text(encoding="utf-8")
    node = nbformat.reads(handed, as_version=4)
    text = "\n".join([*(c.source for c in node.cells), *node.metadata["otter"]["tests"].values()])
    secrets = masters.secrets(masters.read(SMALL))
    assert secrets
    assert not [line for line in secrets if line in text or json.dumps(line)[1:-1] in handed]
    assert "doubled(3) == 6" in text, "the public check is to be there"
    assert "-22" not in handed, "a hidden test's number"


def altered(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = SMALL.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "small.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("= x + x", "= x + x + 0 * x - x"), "q1: expected 4 points for the solution, got 0"),
        (("[14, -22, 1.0]", "[14, -22, 2.0]"), "q1: expected 4 points for the solution, got 2"),
        (("    assert doubled(3) == 6", "    assert True or doubled(3) == 6"), "q1: expected 0 points for the untouched hand-out, got 2"),
        (("harness's tests\n", "harness's tests\n\n# %%\n1 / 0\n"), r"cells that all run, got: cell \d raised ZeroDivisionError"),
        (("Write `doubled`.", "Write `doubled`; twice_as_much = x + x does it."), "no answer in the hand-out"),
        (("# name: small", "# name: large"), "expected its own name in # ASSIGNMENT CONFIG, got large"),
        (("# # END QUESTION", "# # END QUEST"), "otter assign"),
    ],
    ids=["wrong solution", "half right", "points for nothing", "a cell that raises", "answer shown", "another name", "broken markup"],
)
def test_what_stops_a_build(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("an older build")
    with pytest.raises(InputError, match=said) as stopped:
        build([altered(tmp_path, change)], out)
    assert "\n" not in str(stopped.value)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["out", "small.py"], "something half-built stayed behind"
    assert [p.name for p in out.iterdir()] == ["old"]


def test_the_command_says_one_line_and_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assignments", str(tmp_path / "none.py"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_build_takes_the_place_of_the_old_one(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("an older build")
    build([SMALL], out)
    assert {p.name for p in out.iterdir()} == {"student", "autograder"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_handouts_own_checks_say_what_is_wrong(built: Path, tmp_path: Path) -> None:
    """As a student sees it: in a kernel, beside the notebook file, with otter itself."""
    node = nbformat.read(built / "student" / "small" / "small.ipynb", as_version=4)
    (stub,) = [c for c in node.cells if "def doubled" in c.source]
    stub.source = "def doubled(x):\n    return x"
    nbformat.write(node, tmp_path / "small.ipynb")
    node.cells = [c for c in node.cells if "grader.export" not in c.source]
    with TemporaryDirectory() as sockets:  # their names may not be long, and the kernel works in another folder
        run = Config({"KernelManager": {"transport": "ipc", "connection_file": f"{sockets}/k.json"}})
        where = {"metadata": {"path": str(tmp_path)}}
        executed = NotebookClient(node, timeout=120, startup_timeout=300, config=run, resources=where).execute()
    said = [str(o) for c in executed.cells if 'grader.check("q1")' in c.source for o in c.outputs]
    assert "twice 3 is 6, you return 3" in said[0]
