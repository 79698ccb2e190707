"""The command line: what it prints wherever it prints it."""

import errno
import io
import json
import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from dearlib import commands
from dearlib.commands import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "é≤.png"), ("latin-1", "é\\u2264.png"), ("ascii", "\\xe9\\u2264.png")])
def test_a_terminal_without_a_letter_is_shown_its_escape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    """On a cluster's old locale a printed name or sign must not end in a traceback."""
    rows = {"train": [["é≤.png", 0, "a"]], "val": [["v.png", 0, "a"]], "test": []}
    (tmp_path / "split.json").write_text(json.dumps(rows))
    printed = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    monkeypatch.setattr(sys, "stdout", printed)
    assert main(["sample", str(tmp_path / "split.json"), "--shots", "1", "--seed", "1", "--classes", "all"]) == 0
    printed.flush()
    assert printed.buffer.getvalue().decode(encoding) == f"{shown}\n"


@pytest.mark.parametrize("wrong", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_what_cannot_be_written_is_one_line_whichever_command_writes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: int
) -> None:
    def write(**_: object) -> None:
        raise OSError(wrong, os.strerror(wrong), "cache/site/x")

    monkeypatch.setattr(commands, "app", write)
    assert main(["site"]) == 2
    line = f"dearlib: cache/site/x: could not be written ({os.strerror(wrong)}); make room or choose another place\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["doctor", "--data", "a" * 300], "expected a path that can be used, got 'File name too long'"),
        (["bench", "--model", "nope"], "clip: expected a model that open_clip knows, got 'nope'"),
        (["sample", "split.json", "--shots", "1", "--seed", "-1"], "'--seed': Input should be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_an_error_that_names_no_file_is_no_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(commands, "app", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        main(["site"])


def test_a_process_of_several_that_was_killed_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def die(**_: object) -> None:
        raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    monkeypatch.setattr(commands, "app", die)
    assert main(["figures"]) == 2
    assert capsys.readouterr().err.startswith("dearlib: expected processes that live to their end, got one that was killed")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("to", ["/dev/full", "a reader that has gone", "nothing"])
def test_an_output_that_takes_nothing_is_no_traceback(tmp_path: Path, to: str) -> None:
    """More is printed than a buffer holds, or less, which fails when Python ends."""
    command = f"'{sys.executable}' -m dearlib.commands"
    rows = {"train": [[f"{i}.png", 0, "a"] for i in range(9)], "val": [["v.png", 0, "a"]], "test": []}
    (tmp_path / "split.json").write_text(json.dumps(rows))
    for what in ("--help", f"sample '{tmp_path}/split.json' --shots 9 --seed 1"):
        how = {"/dev/full": "> /dev/full", "nothing": ">&-"}.get(to, "| true")
        done = subprocess.run(["bash", "-o", "pipefail", "-c", f"{command} {what} {how}"], capture_output=True, text=True, check=False)
        if to == "/dev/full":
            assert done.stderr == "dearlib: output: could not be written (No space left on device); make room or choose another place\n"
            assert done.returncode == 2
        else:
            assert done.stderr == ""


def test_a_closed_stream_gives_its_number_to_no_file(tmp_path: Path) -> None:
    """What a program that is started prints would stand in a file of ours."""
    program = """
import os, subprocess, sys
from dearlib.commands import main
main(["--help"])
with open("numbers", "w") as file:
    file.write(f"{file.fileno() > 2}")
    file.flush()
    subprocess.run([sys.executable, "-c", "print('!')"])
"""
    (tmp_path / "p.py").write_text(program)
    run = ["bash", "-c", f"'{sys.executable}' p.py <&- >&- 2>&-"]
    subprocess.run(run, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    assert (tmp_path / "numbers").read_text() == "True"
