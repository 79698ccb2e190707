"""Paired differences by hand, the rule for HM, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dearlib.errors import InputError
from dearlib.methods.evaluation import harmonic_mean
from dearlib.study.averages import base_to_novel
from dearlib.study.contrasts import Contrast, compared, hm_shares, paired, wins
from dearlib.study.inference import difference

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
BOTH = ("cups", "keys")


def contrast(method: str, against: str, measure: str, datasets: tuple[str, ...] = BOTH, **more) -> Contrast:
    return Contrast(method, against, measure, datasets=datasets, **more)  # type: ignore[arg-type]


def test_pairs_by_hand() -> None:
    base = paired(TWO, contrast("DeAR", "CLIP", "base"))
    assert base.to_dict() == {("cups", 1): 30, ("cups", 2): 20, ("keys", 1): 2, ("keys", 2): 2}
    own = paired(TWO, contrast("DeAR", "CLIP", "own hm"))
    assert own["cups", 1] == pytest.approx(2 * 80 * 40 / 120 - 50)
    assert paired(TWO, contrast("CLIP", "DeAR", "base")).to_dict()["cups", 1] == -30
    assert difference(base).mean == 13.5


def test_hm_is_that_of_the_tables_average_row() -> None:
    """One rule: the claim's difference is the difference of the two HMs that the table prints, to the last digit."""
    average = base_to_novel(TWO, BOTH, ["CLIP", "DeAR"]).query("dataset == 'average'").set_index("method")
    by_hand = harmonic_mean(68.5, 35) - harmonic_mean(55, 35)
    assert average.loc["DeAR", "hm"] - average.loc["CLIP", "hm"] == pytest.approx(by_hand, abs=1e-12)
    assert difference(paired(TWO, contrast("DeAR", "CLIP", "hm"))).mean == pytest.approx(by_hand, abs=1e-12)
    own = difference(paired(TWO, contrast("DeAR", "CLIP", "own hm"))).mean
    assert own == pytest.approx((2 * 80 * 40 / 120 + 2 * 70 * 60 / 130) / 2 / 2 + 2 * 62 * 20 / 82 / 2 - (50 + 30) / 2)
    assert abs(own - by_hand) > 0.5  # the other rule is another number
    clip = average.loc["CLIP"]
    assert clip["own_hm"] == pytest.approx(40)


@given(st.lists(st.tuples(st.floats(1, 99), st.floats(1, 99)), min_size=1, max_size=8))
def test_shares_average_to_the_hm_of_the_means(cells: list[tuple[float, float]]) -> None:
    base, novel = (pd.Series(x, dtype=float) for x in zip(*cells, strict=True))
    assert hm_shares(base, novel).mean() == pytest.approx(harmonic_mean(base.mean(), novel.mean()))


def test_shares_are_the_slope_of_the_hm() -> None:
    """Moving one value of n by a little moves the HM of the means by its share's move over n."""
    base, novel = pd.Series([80.0, 60, 70]), pd.Series([40.0, 55, 50])
    moved = base + pd.Series([0.003, 0, 0])
    by = harmonic_mean(moved.mean(), novel.mean()) - harmonic_mean(base.mean(), novel.mean())
    n, b = novel.mean(), base.mean()
    assert by == pytest.approx(0.001 * 2 * (n / (b + n)) ** 2, rel=1e-4)
    shares = hm_shares(base, novel)
    assert shares[0] - shares[1] == pytest.approx(2 * (n / (b + n)) ** 2 * 20 - 2 * (b / (b + n)) ** 2 * 15)


@st.composite
def runs(draw: st.DrawFn) -> pd.DataFrame:
    cells = st.floats(5, 95).map(lambda v: round(v, 2))
    rows = [
        (d, split, "test", m, s, draw(cells))
        for d in ("a", "b", "c")
        for split in ("base", "novel")
        for m in ("x", "y")
        for s in (1, 2)
    ]  # fmt: skip
    return frame(*rows)


@settings(max_examples=15, deadline=None)
@given(runs(), st.integers(0, 100), st.sampled_from(["base", "hm", "own hm"]))
def test_order_means_nothing_and_swapping_turns_the_sign(metrics: pd.DataFrame, seed: int, measure: str) -> None:
    c, swapped = (contrast(*names, measure, ("a", "b", "c")) for names in (("x", "y"), ("y", "x")))
    first = paired(metrics, c)
    pd.testing.assert_series_equal(paired(metrics.sample(frac=1, random_state=seed), c), first)
    np.testing.assert_allclose(paired(metrics, swapped), -first, atol=1e-9)
    for estimand in ("data sets like these", "these data sets"):
        one, other = (difference(paired(metrics, k), estimand) for k in (c, swapped))  # type: ignore[arg-type]
        assert [other.low, other.high] == pytest.approx([-one.high, -one.low], abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(runs(), st.floats(-4, 4))
def test_a_constant_added_shifts_the_interval(metrics: pd.DataFrame, by: float) -> None:
    c = contrast("x", "y", "base", ("a", "b", "c"))
    moved = metrics.assign(accuracy=metrics["accuracy"] + np.where(metrics["method"] == "x", by, 0))
    one, other = difference(paired(metrics, c)), difference(paired(moved, c))
    assert other.mean - one.mean == pytest.approx(by, abs=1e-6)
    assert one.given == other.given
    if one.given:  # not where all values are equal
        assert [other.low - one.low, other.high - one.high] == pytest.approx([by] * 2, abs=1e-6)


def test_missing_runs_and_unequal_seeds_are_errors() -> None:
    with pytest.raises(InputError, match="expected base of All-Mixed on every data set, got none on cups, keys"):
        paired(TWO, contrast("DeAR", "All-Mixed", "base"))
    with pytest.raises(InputError, match="none on forks"):
        paired(TWO, contrast("DeAR", "CLIP", "base", ("cups", "forks")))
    with pytest.raises(InputError, match="expected distinct data sets, got"):
        paired(TWO, contrast("DeAR", "CLIP", "base", ()))
    rows = [(d, "base", "test", "All-Mixed", 1, 3.0) for d in BOTH]
    with pytest.raises(InputError, match=r"same seeds of both, got \[2\]"):
        paired(pd.concat([TWO, frame(*rows)], ignore_index=True), contrast("DeAR", "All-Mixed", "base"))


def test_a_seed_that_one_data_set_lacks_is_an_error() -> None:
    lost = TWO[~((TWO.dataset == "keys") & (TWO.seed == 2))]
    with pytest.raises(InputError, match="same seeds on every data set, got cups 1, 2; keys 1"):
        paired(lost, contrast("DeAR", "CLIP", "base"))


def test_rows_that_contradict_each_other_are_refused_and_repeats_are_not() -> None:
    again = pd.concat([TWO, TWO], ignore_index=True)
    pd.testing.assert_series_equal(paired(again, contrast("DeAR", "CLIP", "hm")), paired(TWO, contrast("DeAR", "CLIP", "hm")))
    for extra in (("cups", "base", "test", "DeAR", 2, 71.0), ("cups", "base", "test", "DeAR", 2, 71.0, 4)):
        for rows in ([TWO, frame(extra)], [frame(extra), TWO]):
            with pytest.raises(InputError, match=r"one value for base of cups, seed 2, got 7[01].00 and 7[01].00"):
                paired(pd.concat(rows, ignore_index=True), contrast("DeAR", "CLIP", "base"))
    with pytest.raises(InputError, match="one value for base of cups, got"):
        paired(pd.concat([TWO, frame(("cups", "base", "test", "CLIP", None, 51.0))], ignore_index=True), contrast("DeAR", "CLIP", "base"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 100.5])
def test_what_is_no_percentage_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="DeAR: expected percentages, got"):
        paired(TWO.assign(accuracy=TWO.accuracy.where(TWO.index != 2, bad)), contrast("DeAR", "CLIP", "base"))


def test_runs_trained_elsewhere_and_other_shots_stay_apart() -> None:
    rows = frame(
        ("cups", "all", "test", "CLIP", None, 50.0),
        ("cups", "all", "test", "DeAR", 1, 60.0, 1, None),
        ("cups", "all", "test", "DeAR", 1, 70.0, 16, None),
        ("cups", "all", "test", "DeAR", 1, 40.0, 16, "source"),
    )
    one = ("cups",)
    assert paired(rows, contrast("DeAR", "CLIP", "all", one, shots=1)).tolist() == [10]
    assert paired(rows, contrast("DeAR", "CLIP", "all", one, shots=16)).tolist() == [20]
    assert paired(rows, contrast("DeAR", "CLIP", "all", one, trained_on="source")).tolist() == [-10]
    with pytest.raises(InputError, match="name the shots"):
        paired(rows, contrast("DeAR", "CLIP", "all", one))


def test_one_method_against_the_others() -> None:
    """MMRL is 0.9 and 1.1 below, by seed: on both data sets 1, with a variance of 0.02, so se = √(2 · 0.01) / 2 and df = 2."""
    other = TWO[TWO.method == "DeAR"].assign(method="MMRL", accuracy=lambda t: t.accuracy - np.where(t.seed == 1, 0.9, 1.1))
    table = compared(pd.concat([TWO, other], ignore_index=True), "DeAR", ["CLIP", "MMRL"], BOTH)
    assert len(table) == 3 * 2 * 2
    row = table.query("against == 'MMRL' and measure == 'base' and estimand == 'these data sets'").iloc[0]
    assert (row.difference, row.low, row.high) == pytest.approx((1, 1 - 4.3027 * 0.070711, 1 + 4.3027 * 0.070711), abs=1e-4)
    assert row.verdict == "holds"
    clip = table.query("against == 'CLIP' and measure == 'base' and estimand == 'data sets like these'").iloc[0]
    assert clip.difference == 13.5
    assert clip.p_holm == pytest.approx(clip.p)  # the larger of two


def test_differences_from_several_methods_are_corrected_for_how_many_there_are() -> None:
    """Holm, within a measure and a question: the smallest of three p's counts three times, and the verdict is the corrected one's."""
    cells = [(d, s, seed) for d in ("a", "b", "c") for s in ("base", "novel") for seed in (1, 2)]
    gains = {"DeAR": (0, 0, 0), "one": (1.0, 1.3, 1.2), "two": (1.0, 2.0, 3.0), "three": (2.0, -1.0, 1.0)}
    rows = [(d, s, "test", m, k, 60.0 + k - gain["abc".index(d)]) for m, gain in gains.items() for d, s, k in cells]
    table = compared(frame(*rows), "DeAR", ["one", "two", "three"], ["a", "b", "c"], ["base"])
    asked = table[table.estimand == "data sets like these"].set_index("against")
    assert asked.p.is_monotonic_increasing
    assert asked.p_holm.tolist() == pytest.approx([3 * asked.p["one"], 2 * asked.p["two"], asked.p["three"]])
    assert asked.p["one"] < asked.p["two"] < 0.1 < asked.p_holm["two"]


def test_wins_by_hand() -> None:
    """DeAR's HM: cups 53.3 and 64.6 against 50; keys 30.2 against 30."""
    assert wins(TWO, "DeAR", ["CLIP"], "own hm", BOTH).to_dict() == {"cups": True, "keys": True}
    assert wins(TWO, "DeAR", ["CLIP"], "novel", BOTH).to_dict() == {"cups": True, "keys": True}  # 50 and 20: level counts
    assert wins(TWO, "CLIP", ["DeAR"], "base", BOTH).to_dict() == {"cups": False, "keys": False}
