"""How sure a mean difference is: intervals, p-values, the smallest difference that the design can see, Holm, verdicts.

Two questions can be asked of the same runs, and each has its own answer [ours]:

- *data sets like these*: would the difference be there on other data sets of this kind? What is drawn anew is the data
  set; its value is the mean over its seeds. Student's t over the data sets.
- *these data sets*: would it be there if these very data sets were trained on again? What is drawn anew is each data
  set's seeds, two at least. The standard error is that of a mean over fixed strata, √(Σ s_d² / n_d) / D, and t has
  Satterthwaite's degrees of freedom; runs of one seed on two data sets count as independent.

A percentile bootstrap over 3 to 8 data sets errs 11 to 24 times in a hundred where it promises 5. Simulated, t over data
sets errs 5 times if their values are normal, and the more the further they are from it: 6 to 8 for uniform and for mildly
skewed values (gamma of shape 4) at 3 to 5 data sets, 11 to 13 for exponential ones. t over seeds errs 2 to 5 times, 6 to 7 if one data set
alone is noisy. Exact sign flips stand beside t: they ask for symmetry alone, but cannot reach 5 % with fewer than six data
sets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, isnan, nan
from typing import Final, Literal

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import nctdtrinc

Estimand = Literal["data sets like these", "these data sets"]
ESTIMANDS: tuple[Estimand, ...] = ("data sets like these", "these data sets")
LEVEL, POWER = 0.05, 0.8
ROUNDING = 1e-9  # points; one test picture of 50,000 is 0.002
FLIPS = 9999  # all of them where there are no more (up to 13 units), else that many drawn

HOLDS: Final = "holds"
FAILS: Final = "does not hold"
EXCLUDED: Final = "the paper's effect is excluded"
UNDECIDED: Final = "undecided"
NOT_RUN: Final = "not run"
NOT_GIVEN: Final = "not given"  # no spread to estimate: one data set, or one seed of each, or all equal
Verdict = Literal["holds", "does not hold", "the paper's effect is excluded", "undecided", "not run", "not given"]


@dataclass(frozen=True)
class Difference:
    """A mean difference in points, and how sure it is under one of the two questions.

    `se` and `df`: standard error and degrees of freedom of t; NaN where no spread can be estimated: nothing can be drawn anew (one
    data set, or one seed of each), or all that was drawn is equal, as a few counts over one set of test pictures can be. The interval
    is then the whole line and p is NaN. `values`: the data sets' means. `pairs`: (data set, seed) pairs.
    """

    estimand: Estimand
    mean: float
    se: float
    df: float
    values: tuple[float, ...]
    pairs: int

    @property
    def datasets(self) -> int:
        return len(self.values)

    @property
    def given(self) -> bool:
        """Whether there is a spread to estimate, so that there is an interval."""
        return not isnan(self.se)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.mean - self._half

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.mean + self._half

    @property
    def _half(self) -> float:
        return _quantile(self.df) * self.se if self.given else inf

    def p(self, value: float = 0.0) -> float:
        """Two-sided p of the t test against `value`: below 0.05 exactly where the 95 % interval leaves `value` out."""
        return float(2 * stats.t.sf(abs(self.mean - value) / self.se, self.df))  # NaN where there is no interval

    @property
    def p_flips(self) -> float:
        """Two-sided p of sign flips: how often the data sets' values with random signs have a mean as far from 0.

        It answers *data sets like these*; NaN under the other question.
        """
        if not self.given or self.estimand != ESTIMANDS[0]:
            return nan
        how = {"permutation_type": "samples", "vectorized": True, "n_resamples": FLIPS, "rng": np.random.default_rng(0)}
        return float(stats.permutation_test((np.asarray(self.values),), np.mean, **how).pvalue)

    @property
    def detectable(self) -> float:
        """The smallest true difference that such a design finds four times in five, at 5 % and with this standard error; NaN without one.

        It is for one test; after Holm the design sees less.
        """
        return _detectable(self.df) * self.se if self.given else nan


@cache
def _quantile(df: float) -> float:
    """Of t: how many standard errors a 95 % interval reaches to either side."""
    return float(stats.t.ppf(1 - LEVEL / 2, df))


def _detectable(df: float) -> float:
    """In standard errors: the shift at which the t test, two-sided at 5 %, is significant on the right side with 80 % power."""
    return float(nctdtrinc(df, 1 - POWER, _quantile(df)))


def datasets_needed(d: Difference, effect: float) -> float:
    """The least number of data sets, as unlike as those of `d`, with which a true difference of `effect` is found four times in five.

    Under *data sets like these*, at 5 %; infinite above a thousand, NaN where there is no interval.
    """
    if not d.given or d.estimand != ESTIMANDS[0]:
        return nan
    sd = d.se * d.datasets**0.5
    return next((float(n) for n in range(2, 1001) if _detectable(n - 1) * sd / n**0.5 <= effect), inf)


def difference(pairs: pd.Series, estimand: Estimand = "data sets like these") -> Difference:
    """The mean of `pairs` over data sets, each with the mean over its seeds, under one of the two questions.

    `pairs` is indexed by (dataset, seed). Both questions have the same mean; they differ in what is drawn anew.
    """
    by_dataset = [own.to_numpy(dtype=float) for _, own in pairs.groupby(level="dataset", sort=False)]
    means = np.array([own.mean() for own in by_dataset])
    se, df = over_datasets(means) if estimand == ESTIMANDS[0] else over_seeds(by_dataset)
    return Difference(estimand, float(means.mean()), se, df, tuple(map(float, means)), len(pairs))


def over_datasets(means: np.ndarray) -> tuple[float, float]:
    """Standard error and degrees of freedom of the mean of the data sets' values; NaN of a single one and of equal ones."""
    n, sd = len(means), _sd(means)
    return (sd / n**0.5, n - 1.0) if sd > 0 else (nan, nan)


def over_seeds(by_dataset: Sequence[np.ndarray]) -> tuple[float, float]:
    """Standard error of the mean of the data sets' means, given each one's values by seed, and Satterthwaite's degrees of freedom.

    NaN where a data set has one seed, and where the seeds of every data set agree exactly.
    """
    counts = np.array([len(own) for own in by_dataset])
    parts = np.array([_sd(own) ** 2 for own in by_dataset]) / counts
    if (counts < 2).any() or parts.sum() == 0:
        return nan, nan
    return float(np.sqrt(parts.sum())) / len(parts), float(parts.sum() ** 2 / (parts**2 / (counts - 1)).sum())


def _sd(values: np.ndarray) -> float:
    """Sample standard deviation (ddof = 1); exactly 0 of values that are equal to rounding."""
    return float(values.std(ddof=1)) if np.ptp(values) > ROUNDING else 0.0


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values: one false rejection or more among all has a chance of at most 5 %. NaN stays, and counts for nothing.

    The smallest of m is multiplied by m, the next by m − 1 and so on; none falls below the one before, none exceeds 1.
    """
    values = np.asarray(p, dtype=float)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    found = np.full(values.shape, nan)
    found[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return found


def verdict(mean: float, p: float, p_effect: float = nan) -> Verdict:
    """On the claim that a difference is positive, from adjusted p-values.

    Args:
        p: against 0. NaN: there is no interval, the verdict is not given.
        p_effect: against the effect that the paper reports, NaN where it reports none. If the sign stays open and the mean
            lies significantly below that effect, the effect is excluded: whatever there is, it is smaller.
    """
    if np.isnan(p):
        return NOT_GIVEN
    if p < LEVEL:
        return HOLDS if mean > 0 else FAILS
    return EXCLUDED if p_effect < LEVEL else UNDECIDED


def joint(verdicts: Sequence[str]) -> Verdict:
    """On a claim of several differences: it holds if all do, and one that fails or is excluded is enough against it."""
    if FAILS in verdicts:
        return FAILS
    if EXCLUDED in verdicts:
        return EXCLUDED
    only = set(verdicts)
    if only == {HOLDS}:
        return HOLDS
    if only == {NOT_RUN}:
        return NOT_RUN
    return NOT_GIVEN if only == {NOT_GIVEN} else UNDECIDED
