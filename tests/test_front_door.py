"""The package's front door: its names are there, its map of equations leads somewhere, and opening it costs nothing."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dearlib

ROOT = Path(__file__).parents[1]
MAP = re.findall(r"^- Eq\. (\d[\d, –]*), [^:]+: (.+)$", dearlib.__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("name", dearlib.PUBLIC)
def test_a_public_name_is_what_its_module_has(name: str) -> None:
    module, _, what = dearlib.PUBLIC[name].partition(":")
    assert getattr(dearlib, name) is getattr(importlib.import_module(module), what)
    assert name in dir(dearlib)


def test_another_name_is_none() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = dearlib.fitt


def test_every_equation_has_a_function_that_is_there() -> None:
    said = {n for numbers, _ in MAP for n in numbers_of(numbers)}
    assert said == set(range(1, 20))
    for _, functions in MAP:
        for path in re.findall(r"`([\w.]+)`", functions):
            parts = path.split(".")
            split = next(i for i, p in enumerate(parts) if not (ROOT.joinpath(*parts[: i + 1]).with_suffix(".py")).exists() and
                         not ROOT.joinpath(*parts[: i + 1]).is_dir())  # fmt: skip
            found = importlib.import_module(".".join(parts[:split]))
            for name in parts[split:]:
                found = getattr(found, name)
            assert callable(found), path


def numbers_of(said: str) -> list[int]:
    """'1', '3, 4' or '12 – 16'."""
    if "–" in said:
        first, last = map(int, said.split("–"))
        return list(range(first, last + 1))
    return [int(n) for n in said.split(",")]


def test_no_module_is_too_long_to_be_read() -> None:
    told = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "dearlib").rglob("*.py")}
    assert len(told) > 150
    assert {path: lines for path, lines in told.items() if lines > 300} == {}


def test_no_program_beside_the_command() -> None:
    """`dearlib` is the one program: what has a command line has its help, its one-line errors and its exit status."""
    programs = [path for path in (ROOT / "dearlib").rglob("*.py") if "ArgumentParser" in path.read_text(encoding="utf-8")]
    assert programs == []


def test_the_package_alone_imports_nothing_heavy() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import dearlib, sys; print('torch' in sys.modules)"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert told.strip() == "False"
