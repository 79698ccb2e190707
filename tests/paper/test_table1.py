"""The transcription of Table 1: five heads, six phrases each; a damaged file is refused."""

import shutil
from pathlib import Path

import pytest

from dearlib.errors import InputError
from dearlib.paper.reported import FOLDER, reported_heads


def test_five_heads_with_six_phrases() -> None:
    heads = reported_heads()
    assert heads.groupby("attribute", sort=False)[["layer", "head"]].first().apply(tuple, axis=1).to_dict() == {
        "object": (12, 7), "shape": (12, 5), "texture": (11, 5), "color": (12, 10), "location": (12, 0),
    }  # fmt: skip
    assert heads.groupby("attribute")["rank"].apply(list).map(sorted).tolist() == [[1, 2, 3, 4, 5, 6]] * 5


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("2,A cup", "1,A cup", "every rank of a head once"),
        ("A cup", "A stick", "every phrase of a head once"),
        ("12,7,1", "L12,7,1", "a number"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, old: str, new: str, line: str) -> None:
    text = (FOLDER / "table1.csv").read_text(encoding="utf-8")
    shutil.copy(FOLDER / "table1.csv", tmp_path)
    (tmp_path / "table1.csv").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=line):
        reported_heads(tmp_path)
