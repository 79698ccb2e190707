"""A lesson's checks say what is wrong."""

import pytest
import torch

from dearlib.teach.exercises import check, same


def doubled(x: float) -> float:
    """What an exercise might ask for."""
    return 2 * x


CASES = [((1.0,), 2.0, "twice one is two"), ((3.0,), 6.0, "and twice three is six")]


def test_a_right_answer_is_called_right(capsys: pytest.CaptureFixture[str]) -> None:
    check(doubled, CASES)
    assert capsys.readouterr().out == "doubled: right in all 2 cases\n"


def test_the_first_wrong_case_is_told_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    check(lambda x: x + 1, CASES)
    said = capsys.readouterr().out
    assert "case 2 of 2 is wrong: and twice three is six" in said
    assert "expected 6.0" in said
    assert "got      4.0" in said


def test_a_stub_and_an_error_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    check(lambda x: None, CASES)
    assert "not answered yet" in capsys.readouterr().out
    check(lambda x: 1 / 0, CASES)
    assert "case 1 of 2 raised ZeroDivisionError" in capsys.readouterr().out


def test_numbers_are_compared_to_four_digits_and_by_shape() -> None:
    assert same(torch.tensor([1.0, float("-inf")]), [1.00005, float("-inf")])
    assert not same([1.0], [1.01])
    assert not same([1.0, 1.0], 1.0)
    assert same("color", "color")
    assert not same("color", "shape")
