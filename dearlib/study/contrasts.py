"""Paired differences between methods on the same data sets with the same seeds.

One rule for HM (`averages`): the HM of an average is that of the average accuracies, as in the paper's tables. It is no
mean of the data sets' own HMs, so a data set has no HM difference that would average to it; it has a *share*, the first-order
expansion of HM around the average accuracies, 2N²/(B+N)² (b − B) + 2B²/(B+N)² (n − N) above HM(B, N) [ours]. Shares average
exactly to the HM of the table's average row, and their spread is the spread of that HM (the delta method). The measure
'own hm' is the other rule, each pair's own HM, for comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from dearlib.errors import InputError
from dearlib.methods.evaluation import harmonic_mean
from dearlib.study.inference import ESTIMANDS, Difference, difference, holm, verdict
from dearlib.study.selection import NO_SEED, accuracies_of

Measure = Literal["base", "novel", "hm", "own hm", "all"]
NAMES = {"hm": "HM", "own hm": "own HM"}


@dataclass(frozen=True)
class Contrast:
    """`method` minus `against`, in `measure`, on `datasets`, all of which must have both.

    `trained_on`: None compares runs trained on the data set itself, a name those trained there and tested elsewhere.
    `shots`: compare runs with that many pictures a class; None where runs have one number of them.
    """

    method: str
    against: str
    measure: Measure
    trained_on: str | None = None
    shots: int | None = None
    datasets: tuple[str, ...] = field(kw_only=True)

    def __str__(self) -> str:
        shots = f", {self.shots} {'shot' if self.shots == 1 else 'shots'}" if self.shots else ""
        return f"{self.method} − {self.against}, {NAMES.get(self.measure, self.measure)}{shots}"


def paired(metrics: pd.DataFrame, contrast: Contrast) -> pd.Series:
    """The differences, in percentage points, indexed by (dataset, seed). A method without seeds stands beside every seed.

    Raises `InputError` if no data set is named, one has not both, or the seeds are not the same.
    """
    if not contrast.datasets or len(set(contrast.datasets)) < len(contrast.datasets):
        raise InputError(f"{contrast}: expected distinct data sets, got {list(contrast.datasets)}; name each once")
    ours, theirs = (_values(metrics, name, contrast) for name in (contrast.method, contrast.against))
    ours, theirs = _beside(ours, theirs), _beside(theirs, ours)
    if set(ours.index) != set(theirs.index):
        odd = sorted({seed for _, seed in set(ours.index) ^ set(theirs.index)})
        raise InputError(f"{contrast}: expected the same seeds of both, got {odd} of one alone; rerun with one list of seeds")
    return (ours - theirs.reindex(ours.index)).rename(str(contrast))


def _values(metrics: pd.DataFrame, method: str, c: Contrast) -> pd.Series:
    halves = c.measure in ("hm", "own hm")
    cells = accuracies_of(metrics, method, ["base", "novel"] if halves else [c.measure], c.datasets, c.trained_on, c.shots, str(c))
    if not halves:
        return cells[c.measure].astype(float)
    if c.measure == "hm":
        return hm_shares(cells["base"], cells["novel"])
    own = [harmonic_mean(b, n) for b, n in zip(cells["base"], cells["novel"], strict=True)]
    return pd.Series(own, index=cells.index, dtype=float)


def hm_shares(base: pd.Series, novel: pd.Series) -> pd.Series:
    """Each row's share in HM(mean base, mean novel), in percent: they average to it exactly (module's docstring)."""
    b, n = float(base.mean()), float(novel.mean())
    if b + n == 0:
        return base * 0.0
    return harmonic_mean(b, n) + 2 * (n / (b + n)) ** 2 * (base - b) + 2 * (b / (b + n)) ** 2 * (novel - n)


def _beside(values: pd.Series, other: pd.Series) -> pd.Series:
    """Values without a seed, repeated for each seed of the other."""
    seeds = other.index.get_level_values("seed").unique()
    if set(values.index.get_level_values("seed")) != {NO_SEED} or set(seeds) == {NO_SEED}:
        return values
    per_dataset = values.droplevel("seed")
    index = pd.MultiIndex.from_product([per_dataset.index, seeds], names=["dataset", "seed"])
    return pd.Series(per_dataset.loc[index.get_level_values("dataset")].to_numpy(), index=index)


def summary(d: Difference) -> dict[str, object]:
    """What tables show of a difference: estimand, difference, low, high, se, df, datasets, pairs, p, p_flips, detectable."""
    return {"estimand": d.estimand, "difference": d.mean, "low": d.low, "high": d.high, "se": d.se, "df": d.df, "datasets": d.datasets,
            "pairs": d.pairs, "p": d.p(), "p_flips": d.p_flips, "detectable": d.detectable}  # fmt: skip


def compared(
    metrics: pd.DataFrame,
    method: str,
    others: Sequence[str],
    datasets: Sequence[str],
    measures: Sequence[Measure] = ("base", "novel", "hm"),
    trained_on: str | None = None,
    shots: int | None = None,
) -> pd.DataFrame:
    """`method` minus each of the others, paired over data sets and seeds: a row per measure, other method and estimand.

    Columns against, measure and those of `summary`, p_holm (over the other methods, within a measure and estimand) and
    verdict (that the method is ahead; from p_holm).
    """
    rows = []
    for measure in measures:
        for other in others:
            pairs = paired(metrics, Contrast(method, other, measure, trained_on, shots, datasets=tuple(datasets)))
            rows += [{"against": other, "measure": measure, **summary(difference(pairs, e))} for e in ESTIMANDS]
    table = pd.DataFrame(rows)
    table["p_holm"] = table.groupby(["measure", "estimand"])["p"].transform(lambda p: holm(list(p)))
    table["verdict"] = [verdict(r.difference, r.p_holm) for r in table.itertuples()]
    return table


def wins(
    metrics: pd.DataFrame, method: str, others: Sequence[str], measure: Literal["base", "novel", "own hm"], datasets: Sequence[str]
) -> pd.Series:
    """Whether `method` is best on each data set by its mean over seeds, level with another counted in: True or False by data set."""
    pairs = {other: paired(metrics, Contrast(method, other, measure, datasets=tuple(datasets))) for other in others}
    ahead = pd.DataFrame({other: p.groupby(level="dataset").mean() for other, p in pairs.items()})
    return (ahead >= 0).all(axis=1).loc[list(datasets)]
