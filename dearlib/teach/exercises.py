"""Checks of a lesson's exercises: what is wrong, not only that it is. Nothing is written and nothing is graded."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

CLOSE = 1e-4


def check(answer: Callable[..., Any], cases: Sequence[tuple[tuple[Any, ...], Any, str]]) -> None:
    """Prints whether `answer` gives for each case's arguments what is expected, else the first case that fails, with its hint.

    A case is arguments, expected value (a number, nested lists or a tensor, compared to four digits; anything else as it is), hint.
    """
    name = answer.__name__
    for number, (given, expected, hint) in enumerate(cases, start=1):
        try:
            got = answer(*given)
        except Exception as error:  # whatever a student's code raises is what the student must see
            print(f"{name}: case {number} of {len(cases)} raised {type(error).__name__}: {error}")
            return
        if got is None:
            print(f"{name}: not answered yet")
            return
        if not same(got, expected):
            print(f"{name}: case {number} of {len(cases)} is wrong: {hint}.\nexpected {_shown(expected)}\ngot      {_shown(got)}")
            return
    print(f"{name}: right in all {len(cases)} cases")


def same(got: Any, expected: Any) -> bool:
    """Equal numbers to four digits, of equal shape; other things must be equal."""
    try:
        a, b = (torch.as_tensor(x, dtype=torch.float64) for x in (got, expected))
    except (TypeError, ValueError, RuntimeError):
        return bool(got == expected)
    return a.shape == b.shape and torch.allclose(a, b, rtol=CLOSE, atol=CLOSE)


def _shown(value: Any) -> Any:
    return value.tolist() if isinstance(value, torch.Tensor) else value
