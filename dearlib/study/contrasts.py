"""Paired differences between methods, with intervals, and the verdict on a claim.

Two methods are compared on the same data sets with the same seeds. Seeds of one data set resemble each other more than
data sets do, so the bootstrap draws whole data sets, each with all its seeds [ours]: an interval says how far the
difference would move had other data sets of this kind been chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from dearlib.errors import InputError
from dearlib.methods.evaluation import harmonic_mean

Measure = Literal["base", "novel", "hm", "all"]
RESAMPLES = 9999


@dataclass(frozen=True)
class Contrast:
    """`method` minus `against`, in `measure`, on the data sets that have both.

    `trained_on`: None compares runs trained on the data set itself, a name those trained there and tested elsewhere.
    `shots`: compare runs with that many pictures a class; None where runs have one number of them. `datasets`: only
    these; empty for all.
    """

    method: str
    against: str
    measure: Measure
    trained_on: str | None = None
    shots: int | None = None
    datasets: tuple[str, ...] = ()

    def __str__(self) -> str:
        shots = f", {self.shots} shots" if self.shots else ""
        return f"{self.method} − {self.against}, {'HM' if self.measure == 'hm' else self.measure}{shots}"


@dataclass(frozen=True)
class Difference:
    """A mean difference in points, its 95 % interval, and how many data sets and pairs (data set × seed) stand behind it."""

    mean: float
    low: float
    high: float
    datasets: int
    pairs: int


def paired(metrics: pd.DataFrame, contrast: Contrast) -> pd.Series:
    """The differences, in percentage points, indexed by (dataset, seed). A method without seeds stands beside every seed.

    Raises `InputError` if the two have no data set in common, or not the same seeds on one of them.
    """
    ours, theirs = (_values(metrics, name, contrast) for name in (contrast.method, contrast.against))
    common = sorted(set(ours) & set(theirs))
    if not common or set(contrast.datasets) - set(common):
        missing = ", ".join(sorted(set(contrast.datasets) - set(common))) or "any data set"
        raise InputError(f"{contrast}: expected runs of both on {missing}, got none; run them first")
    found: dict[tuple[str, int], float] = {}
    for dataset in common:
        a, b = _side_by_side(ours[dataset], theirs[dataset])
        if set(a) != set(b):
            odd = sorted(set(a) ^ set(b))
            raise InputError(f"{contrast}: expected the same seeds of both on {dataset}, got {odd} of one alone; rerun with one list")
        found |= {(dataset, seed): a[seed] - b[seed] for seed in sorted(a)}
    return pd.Series(found, name=str(contrast)).rename_axis(["dataset", "seed"])


_NO_SEED = -1


def _side_by_side(a: dict[int, float], b: dict[int, float]) -> tuple[dict[int, float], dict[int, float]]:
    """A value without a seed is repeated for each seed of the other."""
    if set(a) == {_NO_SEED}:
        a = dict.fromkeys(b, a[_NO_SEED])
    if set(b) == {_NO_SEED}:
        b = dict.fromkeys(a, b[_NO_SEED])
    return a, b


def _values(metrics: pd.DataFrame, method: str, contrast: Contrast) -> dict[str, dict[int, float]]:
    """Per data set and seed, the measure in percent on test pictures. What has no seed was trained nowhere."""
    rows = metrics[(metrics["method"] == method) & (metrics["part"] == "test")]
    trained_on = rows["trained_on"].isna() if contrast.trained_on is None else rows["trained_on"] == contrast.trained_on
    rows = rows[trained_on | rows["seed"].isna()]
    if contrast.shots is not None:
        rows = rows[rows["shots"].isna() | (rows["shots"] == contrast.shots)]
    if contrast.datasets:
        rows = rows[rows["dataset"].isin(contrast.datasets)]
    parts = ["base", "novel"] if contrast.measure == "hm" else [contrast.measure]
    found: dict[str, dict[int, float]] = {}
    for (dataset, seed), own in rows[rows["split"].isin(parts)].groupby(["dataset", "seed"], dropna=False):
        by_part = own.drop_duplicates("split").set_index("split")["accuracy"]
        if set(by_part.index) == set(parts):
            value = harmonic_mean(by_part["base"], by_part["novel"]) if contrast.measure == "hm" else float(by_part.iloc[0])
            found.setdefault(str(dataset), {})[_NO_SEED if pd.isna(seed) else int(seed)] = value
    return found


def difference(pairs: pd.Series, seed: int = 0) -> Difference:
    """The mean over data sets of the means over seeds, with a percentile bootstrap interval over data sets.

    With one data set there is nothing to draw from: the interval is then the whole line.
    """
    per_dataset = pairs.groupby("dataset").mean().to_numpy()
    mean = float(per_dataset.mean())
    low, high = -np.inf, np.inf
    if len(per_dataset) > 1 and np.ptp(per_dataset) > 0:
        how = {"method": "percentile", "n_resamples": RESAMPLES, "rng": np.random.default_rng(seed)}
        interval = bootstrap((per_dataset,), np.mean, **how).confidence_interval
        low, high = float(interval.low), float(interval.high)
    elif len(per_dataset) > 1:
        low = high = mean
    return Difference(mean, low, high, len(per_dataset), len(pairs))


def verdict(found: Sequence[Difference]) -> Literal["holds here", "does not hold here", "undecided"]:
    """On a claim that each of the differences is positive: all intervals above 0, one below 0, or neither."""
    if any(d.high < 0 for d in found):
        return "does not hold here"
    return "holds here" if all(d.low > 0 for d in found) else "undecided"
