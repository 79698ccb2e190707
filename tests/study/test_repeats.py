"""Runs made twice: only the same runs are held against each other, and what moved is counted by method."""

from pathlib import Path

import pandas as pd
import pytest

from dearlib.errors import InputError
from dearlib.study.plan import TABLE2, read_plan
from dearlib.study.records import Metric, RunRecord
from dearlib.study.repeats import AGAIN, firmness, made_again, side_by_side

ROOT = Path(__file__).parents[2]
ROWS = [("CLIP", None), ("CoOp", 1), ("CoOp", 2), ("DeAR", 1), ("DeAR", 2)]


def record(dataset: str, base: float, novel: float, **changed: object) -> RunRecord:
    """Base and novel accuracy 60 and 50 of every row; CoOp's second seed moved by `base` and `novel`."""
    metrics = []
    for method, seed in ROWS:
        more = (base, novel) if (method, seed) == ("CoOp", 2) else (0.0, 0.0)
        for split, accuracy in zip(("base", "novel"), (60.0 + more[0], 50.0 + more[1]), strict=True):
            metrics.append(Metric(dataset=dataset, split=split, part="test", method=method, seed=seed, accuracy=accuracy))
    hashes = {"parameters_sha256": "p", "weights_sha256": "w", "identity": "i", "roles_sha256": "r", "split_sha256": {dataset: "s"}}
    made = {"commit": "c", "versions": {}, "hardware": {}, "wall_seconds": 1.0, "last": {}, "metrics": tuple(metrics)}
    runs = {"CoOp": {"method": "coop", "runs_root": "here"}, "DeAR": {"beta": 0.7}}
    values = {"profile": "mini", "group": TABLE2, "dataset": dataset, "runs": runs, **hashes, **made}
    return RunRecord(**(values | changed))


def kept(folder: Path, *records: RunRecord) -> Path:
    for one in records:
        one.save(folder / AGAIN / f"{one.group}-{one.dataset}.json")
    return folder


def test_what_moved_by_method(tmp_path: Path) -> None:
    """By hand: of CoOp's eight numbers one moved by +8, one by -2 and one by less than is seen."""
    first = [record("a", 0, 0), record("b", 0, 0)]
    seconds, both = made_again(first, kept(tmp_path, record("a", 0.04, 8.0, commit="d"), record("b", -2.0, 0)))
    assert [r.commit for r in seconds] == ["d", "c"]
    assert len(both) == 20
    table = firmness(both).set_index("method")
    assert list(table.index) == ["CoOp", "DeAR"], "most moved first; what is not trained does not count"
    assert table.loc["CoOp"].to_dict() == pytest.approx(
        {"numbers": 8, "firm": 6, "largest": 8.0, "base": (0.04 - 2.0) / 4, "novel": 8.0 / 4}
    )
    assert table.loc["DeAR"].tolist() == [8, 8, 0.0, 0.0, 0.0]


def test_rows_that_a_user_left_out_are_left_out_of_the_second_making(tmp_path: Path) -> None:
    whole = record("a", 0, 0)
    mine = whole.model_copy(
        update={"runs": {"DeAR": {"beta": 0.7}}, "metrics": tuple(m for m in whole.metrics if m.method in ("CLIP", "DeAR"))}
    )
    found = made_again([mine], kept(tmp_path, record("a", 1.0, 1.0)))
    assert found is not None
    assert set(found[1]["method"]) == {"CLIP", "DeAR"}


@pytest.mark.parametrize(
    "changed",
    [
        {"weights_sha256": "other"},
        {"roles_sha256": "other"},
        {"split_sha256": {"a": "other"}},
        {"runs": {"CoOp": {"method": "coop"}, "DeAR": {"beta": 0.5}}},
    ],
)
def test_a_second_making_of_other_runs_is_none(tmp_path: Path, changed: dict[str, object]) -> None:
    other = record("a", 0, 0, **changed)
    assert made_again([record("a", 0, 0)], kept(tmp_path, other)) is None
    with pytest.raises(InputError, match=r"base_to_novel-a: .*; make the records anew"):
        side_by_side(record("a", 0, 0), other)


def test_no_second_making_of_some_is_none(tmp_path: Path) -> None:
    folder = kept(tmp_path, record("a", 0, 0))
    assert made_again([record("a", 0, 0), record("b", 0, 0)], folder) is None
    assert made_again([record("a", 0, 0)], folder) is not None


def test_a_number_without_its_second_is_refused() -> None:
    both = side_by_side(record("a", 0, 0), record("a", 0, 0))
    both.loc[3, "fresh"] = float("nan")
    for table in (both, pd.DataFrame(both[~both["trained"]])):
        with pytest.raises(InputError, match="expected two numbers of every trained run"):
            firmness(table)


def test_the_committed_second_making_is_of_the_committed_runs() -> None:
    plan = read_plan("mini", ROOT / "figures" / "mini")
    found = made_again(plan.records(TABLE2), plan.records_root)
    assert found is not None
    assert {r.dataset for r in found[0]} == set(plan.group(TABLE2).datasets)
    assert all(r.commit for r in found[0])
