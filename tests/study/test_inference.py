"""Intervals err as often as they say, and p-values, detectable differences and verdicts by hand."""

from math import inf, isnan, nan, sqrt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dearlib.study.inference import (
    ESTIMANDS,
    EXCLUDED,
    FAILS,
    HOLDS,
    NOT_GIVEN,
    NOT_RUN,
    UNDECIDED,
    Difference,
    datasets_needed,
    difference,
    holm,
    joint,
    over_datasets,
    over_seeds,
    verdict,
)

LIKE, HERE = ESTIMANDS
REPEATS = 4000  # the simulated error of 5 % is then known to ± 0.35


def series(values: dict[str, list[float]]) -> pd.Series:
    index = pd.MultiIndex.from_tuples([(d, s) for d, own in values.items() for s in range(len(own))], names=["dataset", "seed"])
    return pd.Series([v for own in values.values() for v in own], index=index, dtype=float)


def over_data(x: np.ndarray) -> tuple[float, float]:
    d = Difference(LIKE, float(x.mean()), *over_datasets(x), tuple(x.tolist()), len(x))
    return d.low, d.high


def percentile(x: np.ndarray) -> tuple[float, float]:
    """The percentile bootstrap, which is not to come back."""
    drawn = np.random.default_rng(0).choice(x, size=(300, len(x))).mean(axis=1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


SHAPES = {
    "normal": lambda rng, n: rng.normal(scale=3.0, size=n),
    "uniform": lambda rng, n: rng.uniform(-1, 1, size=n),
    "gamma": lambda rng, n: rng.gamma(4, size=n) - 4,
    "exponential": lambda rng, n: rng.exponential(size=n) - 1,
}


def error(interval, n: int, repeats: int = REPEATS, shape: str = "normal") -> float:
    """How often, in percent, an interval over n values of mean 0 leaves 0 out."""
    rng = np.random.default_rng(n)
    ends = [interval(SHAPES[shape](rng, n)) for _ in range(repeats)]
    return 100 * float(np.mean([low > 0 or high < 0 for low, high in ends]))


@pytest.mark.parametrize("n", [3, 4, 5, 8, 24])
def test_the_interval_over_data_sets_errs_as_it_says(n: int) -> None:
    assert 4 <= error(over_data, n) <= 6


@pytest.mark.parametrize(("shape", "least", "most"), [("uniform", 6, 8.5), ("gamma", 5.5, 8), ("exponential", 10.5, 13)])
@pytest.mark.parametrize("n", [3, 5])
def test_what_it_says_of_values_that_are_not_normal(shape: str, least: float, most: float, n: int) -> None:
    assert least <= error(over_data, n, REPEATS, shape) <= most


@pytest.mark.parametrize(("n", "least"), [(3, 20), (4, 15), (5, 12), (8, 8)])
def test_the_percentile_bootstrap_does_not(n: int, least: float) -> None:
    assert error(percentile, n, 800) > least


@pytest.mark.parametrize(("datasets", "seeds"), [(1, 3), (3, 3), (5, 2), (24, 3)])
def test_the_interval_over_seeds_errs_no_more_than_it_says(datasets: int, seeds: int) -> None:
    """Data sets with gains of their own, seeds of unequal noise: the data sets' spread must not count."""
    rng, missed, gains = np.random.default_rng(datasets), 0, np.linspace(-10, 10, datasets)
    for _ in range(1000):
        x = gains[:, None] - gains.mean() + rng.normal(size=(datasets, seeds)) * np.linspace(0.5, 1.5, datasets)[:, None]
        d = Difference(HERE, float(x.mean()), *over_seeds(list(x)), tuple(x.mean(axis=1).tolist()), x.size)
        missed += d.low > 0 or d.high < 0
    assert 100 * missed / 1000 <= 6


def test_both_questions_by_hand() -> None:
    """cups 1, 3 and keys 5, 9: means 2 and 7; the same mean, 4.5, but other errors."""
    pairs = series({"cups": [1, 3], "keys": [5, 9]})
    like, here = difference(pairs, LIKE), difference(pairs, HERE)
    assert like.mean == here.mean == 4.5
    assert (like.se, like.df) == pytest.approx((sqrt(12.5) / sqrt(2), 1))  # sd of 2 and 7 is √12.5
    parts = (2 / 2, 8 / 2)  # variances 2 and 8, two seeds each
    assert here.se == pytest.approx(sqrt(sum(parts)) / 2)
    assert here.df == pytest.approx(25 / (1 + 16))
    assert like.high == pytest.approx(4.5 + 12.7062 * 2.5, abs=1e-3)
    assert (like.datasets, like.pairs) == (2, 4)


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=8), st.floats(-20, 20))
def test_t_is_scipys_and_moves_with_its_data(values: list[float], by: float) -> None:
    values = [round(v, 3) for v in values]
    one, other = (difference(series({str(i): [v + shift] for i, v in enumerate(values)})) for shift in (0.0, by))
    assert one.low - 1e-9 <= one.mean <= one.high + 1e-9
    if np.ptp(values) > 0.01:
        assert [other.low - one.low, other.high - one.high] == pytest.approx([by, by], abs=1e-6)
        theirs = stats.ttest_1samp(values, 0.5)
        assert one.p(0.5) == pytest.approx(theirs.pvalue, abs=1e-9)
        assert (one.low, one.high) == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval()), abs=1e-6)
        assert one.p(one.high) == pytest.approx(0.05)  # the interval's end is where p is 5 %


def test_one_data_set_or_one_seed_has_no_interval() -> None:
    alone, once = difference(series({"cups": [1, 3]})), difference(series({"cups": [1], "keys": [4]}), HERE)
    for d in (alone, once):
        assert (d.low, d.high) == (-inf, inf)
        assert isnan(d.p())
        assert isnan(d.detectable)
        assert verdict(d.mean, d.p()) == NOT_GIVEN
    assert difference(series({"cups": [1, 3]}), HERE).mean == 2


def test_equal_values_say_nothing_of_their_spread() -> None:
    over = difference(series({"cups": [2], "keys": [2], "forks": [2]}))
    within = difference(series({"cups": [1, 1], "keys": [3, 3 + 1e-15]}), HERE)
    for d in (over, within):
        assert d.mean == 2
        assert not d.given
        assert (d.low, d.high) == (-inf, inf)
        assert verdict(d.mean, d.p()) == NOT_GIVEN
    assert difference(series({"cups": [1, 1], "keys": [3, 4]}), HERE).given  # one data set whose seeds differ is enough


def test_sign_flips_by_hand() -> None:
    """Of the 8 signs of 1, 2, 3 two have a mean as far from 0 as 2: p = 1/4, the least that three data sets can have."""
    assert difference(series({"a": [1], "b": [2], "c": [3]})).p_flips == pytest.approx(0.25)
    assert difference(series({"a": [1], "b": [-1]})).p_flips == 1
    assert isnan(difference(series({"a": [1, 2], "b": [1, 3]}), HERE).p_flips)


@pytest.mark.parametrize("n", [3, 8, 24])
def test_the_detectable_difference_is_found_four_times_in_five(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    d = difference(series({str(i): [v] for i, v in enumerate(values)}))
    rng = np.random.default_rng(1)
    x = rng.normal(d.detectable, np.std(values, ddof=1), size=(20000, n))
    assert np.mean(stats.ttest_1samp(x, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.012)


def test_the_number_of_data_sets_that_an_effect_needs() -> None:
    """It is the least whose detectable difference is no larger; of as many data sets that see just that effect, their own number."""
    d = difference(series({str(i): [v] for i, v in enumerate(np.random.default_rng(0).normal(size=12))}))
    assert datasets_needed(d, d.detectable) == 12
    assert datasets_needed(d, d.detectable * 0.99) == 13
    assert datasets_needed(d, 0.0) == inf
    assert isnan(datasets_needed(difference(series({"cups": [1, 3]})), 1.0))


def test_holm_by_hand() -> None:
    """0.01 · 3, then 0.03 · 2, and 0.04 may not fall below it."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.04, nan, 0.01]) == pytest.approx([0.04, nan, 0.02], nan_ok=True)
    assert holm([0.6, 0.9]).tolist() == [1, 1]
    assert np.isnan(holm([nan])).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_no_more_than_raw_and_no_less_than_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(a >= raw for a, raw in zip(adjusted, p, strict=True))
    assert all(a <= min(1, raw * len(p)) + 1e-12 for a, raw in zip(adjusted, p, strict=True))
    assert list(np.argsort(p, kind="stable")) == list(np.lexsort((np.arange(len(p)), p)))
    assert sorted(adjusted) == [adjusted[i] for i in np.argsort(p, kind="stable")]


@pytest.mark.parametrize(
    ("mean", "p", "p_effect", "expected"),
    [
        (2.0, 0.04, nan, HOLDS),
        (-2.0, 0.04, 0.001, FAILS),  # below 0 for sure says more than below the effect
        (0.2, 0.6, 0.03, EXCLUDED),
        (-0.2, 0.6, 0.03, EXCLUDED),
        (0.2, 0.6, 0.2, UNDECIDED),
        (0.2, 0.05, nan, UNDECIDED),
        (0.2, nan, nan, NOT_GIVEN),
    ],
)
def test_verdicts(mean: float, p: float, p_effect: float, expected: str) -> None:
    assert verdict(mean, p, p_effect) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, UNDECIDED], UNDECIDED),
        ([HOLDS, NOT_RUN], UNDECIDED),
        ([HOLDS, EXCLUDED, UNDECIDED], EXCLUDED),
        ([HOLDS, EXCLUDED, FAILS], FAILS),
        ([NOT_RUN, NOT_RUN], NOT_RUN),
        ([NOT_GIVEN], NOT_GIVEN),
    ],
)
def test_a_claim_of_several_differences(said: list[str], expected: str) -> None:
    assert joint(said) == expected
