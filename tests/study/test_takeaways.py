"""A take-away's numbers come from files, say from where, and are found out when the files say otherwise."""

import json
from pathlib import Path

import pytest

from dearlib.errors import InputError
from dearlib.study.takeaways import cited, contradictions, from_numbers, takeaway, write_numbers


@pytest.fixture
def numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_numbers(Path("figures/numbers.csv"), {"gain": 3.14159265, "of": 5, "best": "L9 H7"})


def test_a_sentence_takes_its_numbers_from_the_file(numbers: Path) -> None:
    said = from_numbers(numbers, "- {gain:+.1f} points on {of:.0f} sets, {best} first")
    assert said.data == "- +3.1 points on 5 sets, L9 H7 first"
    assert said.metadata["takeaway"]["numbers"]["gain"]["file"] == "figures/numbers.csv"


def output(said: object) -> dict:
    data, metadata = said._repr_markdown_()  # type: ignore[attr-defined]
    return {"data": {"text/markdown": data}, "metadata": {"text/markdown": metadata}}


def test_a_changed_number_is_found_out(numbers: Path, tmp_path: Path) -> None:
    outputs = [output(from_numbers(numbers, "gains {gain:.1f}")), {"output_type": "stream", "text": "3.1"}]
    assert contradictions(outputs, tmp_path) == []
    write_numbers(numbers, {"gain": 3.3})
    assert contradictions(outputs, tmp_path) == ["expected 'gains 3.3', got 'gains 3.1'"]
    write_numbers(numbers, {"gain": 3.14})  # the same to what is printed
    assert contradictions(outputs, tmp_path) == []


def test_whole_numbers_are_kept_whole_and_a_zero_has_no_minus(numbers: Path) -> None:
    """What a table beside the sentence says to the last digit, the sentence does too."""
    write_numbers(numbers, {"trained": 2206464, "novel": -0.04, "share": -0.001})
    assert (
        from_numbers(numbers, "{trained:,.0f}, {novel:.1f}, {novel:+.1f}, {novel:.2f}, {share:.0%}").data
        == "2,206,464, 0.0, +0.0, -0.04, 0%"
    )


def test_a_number_may_have_any_name(numbers: Path) -> None:
    write_numbers(numbers, {"text": 1.5, "path": 2.5})
    assert from_numbers(numbers, "{text} and {path}").data == "1.5 and 2.5"


def test_what_is_written_beside_a_sentence_is_json(numbers: Path) -> None:
    write_numbers(numbers, {"low": float("-inf"), "p": float("nan")})
    said = from_numbers(numbers, "from {low:+.1f}, p {p:.2f}")
    assert said.data == "from -inf, p nan"
    json.dumps(said.metadata, allow_nan=False)


def test_prose_that_was_changed_by_hand_is_found_out(numbers: Path, tmp_path: Path) -> None:
    made = output(from_numbers(numbers, "gains {gain:.1f}"))
    made["data"]["text/markdown"] = "gains 4.1"
    assert len(contradictions([made], tmp_path)) == 1


def test_a_cell_is_cited_by_row_and_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("method,measure,mean\nCLIP,base,1.5\nCLIP,novel,2.5\n")
    assert cited(tmp_path / "t.csv", "mean", method="CLIP", measure="novel").value == 2.5
    with pytest.raises(InputError, match=r"expected one row .* got 2"):
        cited(tmp_path / "t.csv", "mean", method="CLIP")
    with pytest.raises(InputError, match="expected a table with method, sd"):
        cited(tmp_path / "t.csv", "sd", method="CLIP")
    with pytest.raises(InputError, match="run its notebook"):
        cited(tmp_path / "none.csv", name="x")


def test_a_sentence_and_its_numbers_fit(numbers: Path) -> None:
    with pytest.raises(InputError, match="expected a place for of"):
        takeaway("nothing", of=cited(numbers, name="of"))
    with pytest.raises(InputError, match="expected a number for 'of'"):
        takeaway("{of}")
