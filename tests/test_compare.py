"""Fresh table beside committed table: what is held to a tolerance, and what is refused."""

from pathlib import Path

import pandas as pd
import pytest

from dearlib import compare
from dearlib.errors import InputError

NAN = float("nan")
TOLERANCE = compare.Tolerance(zero_shot=0.3, trained_average=1.0)
TABLE = pd.DataFrame(
    [
        ["objects", "CLIP", 60.0, 60.0, 60.0, NAN],
        ["average", "CLIP", 60.0, 60.0, 60.0, NAN],
        ["objects", "DeAR", 80.0, 70.0, 74.7, 1.0],
        ["average", "DeAR", 80.0, 70.0, 74.7, 0.5],
    ],
    columns=["dataset", "method", "base", "novel", "hm", "hm_sd"],
)


def moved(dataset: str, method: str, by: float) -> pd.DataFrame:
    fresh = TABLE.copy()
    fresh.loc[(fresh["dataset"] == dataset) & (fresh["method"] == method), "novel"] += by
    return fresh


@pytest.mark.parametrize(
    ("dataset", "method", "by", "status"),
    [
        ("objects", "CLIP", 0.29, 0),
        ("objects", "CLIP", -0.31, 1),
        ("average", "CLIP", 0.31, 1),
        ("objects", "DeAR", 9.0, 0),
        ("average", "DeAR", 0.99, 0),
        ("average", "DeAR", -1.01, 1),
    ],
)
def test_status_by_row_and_distance(tmp_path: Path, dataset: str, method: str, by: float, status: int) -> None:
    TABLE.to_csv(tmp_path / "old.csv", index=False)
    moved(dataset, method, by).to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "t.yaml").write_text("zero_shot: 0.3\ntrained_average: 1.0\n")
    assert compare.main([str(tmp_path / "old.csv"), str(tmp_path / "new.csv"), "--tolerance", str(tmp_path / "t.yaml")]) == status


def test_a_missing_row_or_number_is_refused() -> None:
    with pytest.raises(InputError, match="expected the same rows"):
        compare.compare(TABLE, TABLE.iloc[:-1], TOLERANCE)
    with pytest.raises(InputError, match="expected a number for novel of DeAR on average"):
        compare.compare(TABLE, moved("average", "DeAR", NAN), TOLERANCE)


def test_files_that_cannot_be_compared_are_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.yaml").write_text("zero_shot: 0.3\n")
    (tmp_path / "empty.csv").write_text("")
    TABLE.to_csv(tmp_path / "old.csv", index=False)
    (tmp_path / "good.yaml").write_text("zero_shot: 0.3\ntrained_average: 1.0\n")
    for old, new, tolerance in (("old", "old", "t"), ("old", "empty", "good"), ("nothing", "old", "good")):
        names = [str(tmp_path / f"{old}.csv"), str(tmp_path / f"{new}.csv"), "--tolerance", str(tmp_path / f"{tolerance}.yaml")]
        assert compare.main(names) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_committed_tolerance_is_valid() -> None:
    assert compare.read_tolerance(Path(__file__).parents[1] / "params" / "mini" / "tolerance.yaml").zero_shot <= 0.3
