"""Paired differences by hand, intervals that can fail, and claims that follow the numbers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dearlib.errors import InputError
from dearlib.study.claims import claims, claims_table, verdicts
from dearlib.study.contrasts import Contrast, Difference, difference, paired, verdict

COLUMNS = ["dataset", "split", "part", "method", "seed", "accuracy", "shots", "trained_on"]


def frame(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame([dict(zip(COLUMNS, (*row, None, None)[:8], strict=True)) for row in rows])


TWO = frame(
    ("cups", "base", "test", "CLIP", None, 50.0),
    ("cups", "novel", "test", "CLIP", None, 50.0),
    ("cups", "base", "test", "DeAR", 1, 80.0),
    ("cups", "novel", "test", "DeAR", 1, 40.0),
    ("cups", "base", "test", "DeAR", 2, 70.0),
    ("cups", "novel", "test", "DeAR", 2, 60.0),
    ("cups", "base", "val", "DeAR", 2, 0.0),
    ("keys", "base", "test", "CLIP", None, 60.0),
    ("keys", "novel", "test", "CLIP", None, 20.0),
    ("keys", "base", "test", "DeAR", 1, 62.0),
    ("keys", "novel", "test", "DeAR", 1, 20.0),
    ("keys", "base", "test", "DeAR", 2, 62.0),
    ("keys", "novel", "test", "DeAR", 2, 20.0),
)


def test_pairs_by_hand() -> None:
    assert paired(TWO, Contrast("DeAR", "CLIP", "base")).to_dict() == {
        ("cups", 1): 30, ("cups", 2): 20, ("keys", 1): 2, ("keys", 2): 2}  # fmt: skip
    hm = paired(TWO, Contrast("DeAR", "CLIP", "hm"))
    assert hm["cups", 1] == pytest.approx(2 * 80 * 40 / 120 - 50)
    assert paired(TWO, Contrast("CLIP", "DeAR", "base")).to_dict()["cups", 1] == -30


def test_the_mean_is_over_data_sets_and_the_interval_within_their_range() -> None:
    d = difference(paired(TWO, Contrast("DeAR", "CLIP", "base")))
    assert (d.mean, d.low, d.high, d.datasets, d.pairs) == (13.5, 2, 25, 2, 4)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=8), st.floats(-20, 20))
def test_an_interval_moves_with_its_data(values: list[float], by: float) -> None:
    index = pd.MultiIndex.from_product([[f"d{i}" for i in range(len(values))], [1]], names=["dataset", "seed"])
    one, other = (difference(pd.Series(np.array(values) + shift, index=index)) for shift in (0, by))
    assert one.low - 1e-9 <= one.mean <= one.high + 1e-9
    assert [other.low - one.low, other.high - one.high] == pytest.approx([by, by], abs=1e-6)


def test_one_data_set_decides_nothing() -> None:
    d = difference(paired(TWO, Contrast("DeAR", "CLIP", "base", datasets=("cups",))))
    assert (d.mean, d.low, d.high) == (25, -np.inf, np.inf)
    assert verdict([d]) == "undecided"


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [([(1, 2)], "holds here"), ([(1, 2), (-1, 1)], "undecided"), ([(1, 2), (-2, -1)], "does not hold here"), ([(0, 1)], "undecided")],
)
def test_verdicts(intervals, expected: str) -> None:
    assert verdict([Difference(0, low, high, 3, 9) for low, high in intervals]) == expected


def test_missing_runs_and_unequal_seeds_are_errors() -> None:
    with pytest.raises(InputError, match="expected runs of both on any data set"):
        paired(TWO, Contrast("DeAR", "All-Mixed", "base"))
    with pytest.raises(InputError, match="on forks"):
        paired(TWO, Contrast("DeAR", "CLIP", "base", datasets=("forks",)))
    more = pd.concat([TWO, frame(("cups", "base", "test", "All-Mixed", 1, 3.0))], ignore_index=True)
    with pytest.raises(InputError, match=r"same seeds of both on cups, got \[2\]"):
        paired(more, Contrast("DeAR", "All-Mixed", "base"))


def test_runs_trained_elsewhere_and_other_shots_stay_apart() -> None:
    rows = frame(
        ("cups", "all", "test", "CLIP", None, 50.0),
        ("cups", "all", "test", "DeAR", 1, 60.0, 1, None),
        ("cups", "all", "test", "DeAR", 1, 70.0, 16, None),
        ("cups", "all", "test", "DeAR", 1, 40.0, 16, "source"),
    )
    assert paired(rows, Contrast("DeAR", "CLIP", "all", shots=1)).tolist() == [10]
    assert paired(rows, Contrast("DeAR", "CLIP", "all", shots=16)).tolist() == [20]
    assert paired(rows, Contrast("DeAR", "CLIP", "all", "source")).tolist() == [-10]


def every_run(gain: float) -> pd.DataFrame:
    """Runs for all claims in which every claimed difference is `gain`."""
    rows = []
    for claim in claims("source", ("t1", "t2"), ("s1", "s2")):
        for c in claim.contrasts:
            for dataset in c.datasets or ("d1", "d2"):
                for method in (c.method, c.against):
                    parts = ("base", "novel") if c.measure == "hm" else (c.measure,)
                    rows += [
                        (dataset, part, "test", method, None if method == "CLIP" else 1, 50.0, c.shots, c.trained_on) for part in parts
                    ]
    runs = frame(*rows).drop_duplicates(ignore_index=True)
    runs.loc[(runs["method"] == "DeAR"), "accuracy"] += gain
    runs.loc[runs["method"] == "CLIP", "trained_on"] = None
    return runs


def test_claims_follow_the_records() -> None:
    """No verdict is written by hand: the same claims fall when the numbers do."""
    up, down = (claims_table(every_run(gain), "source", ("t1", "t2"), ("s1", "s2")) for gain in (5.0, -5.0))
    hm = "DeAR − CLIP, HM"
    assert up.set_index("contrast").loc[hm, "verdict"] == "holds here"
    assert down.set_index("contrast").loc[hm, "verdict"] == "does not hold here"
    assert up.set_index("contrast").loc["DeAR − linear probe, all, 1 shots", "verdict"] == "holds here"
    assert list(verdicts(up)["Claim"]) == [c.statement for c in claims("source", ("t1", "t2"), ("s1", "s2"))]
    with pytest.raises(InputError, match="claims: Figure 4"):
        claims_table(every_run(5.0).query("shots != 8"), "source", ("t1", "t2"), ("s1", "s2"))
