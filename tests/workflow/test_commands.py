"""The command line: what it prints wherever it prints it."""

import io
import json
import sys
from pathlib import Path

import pytest

from dearlib.commands import main


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
