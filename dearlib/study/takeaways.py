"""What is true here: sentences whose numbers are read from the files that a lesson wrote, and say where they were read.

A lesson first writes its numbers (`write_numbers`, or a table's CSV), then reads them back (`cited`) into the sentence it ends with
(`takeaway`, `from_numbers`). The sentence keeps file, row and column of each number among its output's metadata, so that a test
can open every committed notebook and see whether the files still say so (`contradictions`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from string import Formatter
from typing import Any

import pandas as pd
from IPython.display import Markdown

from dearlib.errors import InputError
from dearlib.files import write_text

KEY = "takeaway"


@dataclass(frozen=True)
class Cited:
    """A number (or a word) and where it stands: a CSV file, the row where all of `where` are so, and the column."""

    value: float | str
    file: str
    where: dict[str, str]
    column: str

    def __format__(self, how: str) -> str:
        shown = format(self.value, how)
        return format(0.0, how) if isinstance(self.value, float) and not shown.strip("-0.%") else shown  # no -0.0


def write_numbers(path: Path, numbers: Mapping[str, float | str]) -> Path:
    """`path`, a CSV with the columns name and value; whole numbers as they are, others to six digits."""
    rows = [{"name": n, "value": v if isinstance(v, str) else _digits(float(v))} for n, v in numbers.items()]
    write_text(path, pd.DataFrame(rows).to_csv(index=False))
    return path


def _digits(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def cited(path: Path, column: str = "value", **where: str) -> Cited:
    """One cell of a CSV file. Raises `InputError` unless there is exactly one such row."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        rows = table[(table[list(where)] == pd.Series(where)).all(axis=1)]
        cells = list(rows[column])
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: expected a table with {', '.join([*where, column])}, got none ({error}); run its notebook") from None
    if len(cells) != 1:
        raise InputError(f"{path}: expected one row where {where}, got {len(cells)}; correct the citation")
    try:
        return Cited(float(cells[0]), path.as_posix(), where, column)
    except ValueError:
        return Cited(cells[0], path.as_posix(), where, column)


def takeaway(text: str, /, **numbers: Cited) -> Markdown:
    """The sentence, its places in braces filled, with its sources among the output's metadata.

    Raises `InputError` for a place without a number, or a number without a place.
    """
    unused = [name for name in numbers if "{" + name not in text]
    if unused:
        raise InputError(f"takeaway: expected a place for {', '.join(unused)} in the sentence, got none; write it or leave the number out")
    try:
        shown = text.format(**numbers)
    except (KeyError, IndexError) as error:
        raise InputError(f"takeaway: expected a number for {error}, got none; cite it") from None
    said = {"text": text, "numbers": {name: asdict(number) | {"value": _json(number.value)} for name, number in numbers.items()}}
    return Markdown(shown, metadata={KEY: said})


def _json(value: float | str) -> float | str:
    """The value, as text where JSON has no number for it."""
    return value if isinstance(value, str) or isfinite(value) else str(value)


def from_numbers(path: Path, text: str) -> Markdown:
    """A take-away whose places are all names in a file of `write_numbers`."""
    return takeaway(text, **{name: cited(path, name=name) for _, name, *_ in Formatter().parse(text) if name})


def contradictions(outputs: Sequence[Mapping[str, Any]], root: Path) -> list[str]:
    """Of a notebook's outputs, the take-aways that the files under `root` do not say (any more): a line for each."""
    bad = []
    for output in outputs:
        said = output.get("metadata", {}).get("text/markdown", {}).get(KEY) or output.get("metadata", {}).get(KEY)
        if said:
            now = {n: cited(root / c["file"], c["column"], **c["where"]) for n, c in said["numbers"].items()}
            if (expected := said["text"].format(**now)) != (got := "".join(output["data"]["text/markdown"])):
                bad.append(f"expected '{expected}', got '{got}'")
    return bad
