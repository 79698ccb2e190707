"""Means and spreads over seeds and data sets: the numbers of Tables 2 to 6 and Figure 4, long for computing and wide for reading.

**One rule for HM, everywhere in this package: the HM of an average is the HM of the average accuracies**, as the paper
computes its average rows. A data set's HM is that of its mean accuracies over seeds, the average row's that of the means
over seeds and data sets. It is not the mean of the data sets' own HMs, which is as a rule smaller;
that stands in the column `own_hm` for comparison. Claims about HM (`contrasts`) have the same rule.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dearlib.errors import InputError
from dearlib.methods.evaluation import harmonic_mean
from dearlib.study.selection import accuracies_of

AVERAGE = "average"


def base_to_novel(metrics: pd.DataFrame, datasets: Sequence[str], methods: Sequence[str]) -> pd.DataFrame:
    """Table 2 in long form, from test pictures: a row per data set (and 'average') and method, with mean, sd and n of base, novel and HM.

    HM by the rule of this module; its sd is that of the seeds' HMs by the same rule. `own_hm`: the mean of the data sets'
    HMs. The average row takes, per seed, the mean over the data sets. sd is the sample standard deviation (ddof = 1) over
    seeds; it is empty for a method without seeds.

    Raises:
        InputError: a data set, a half or a seed is missing, or two values stand for one cell.
    """
    rows = []
    for method in methods:
        cells = accuracies_of(metrics, method, ["base", "novel"], datasets, for_="table 2")
        per_dataset = {name: cells.loc[name] for name in datasets}
        own = [harmonic_mean(f["base"].mean(), f["novel"].mean()) for f in per_dataset.values()]
        average = cells.groupby(level="seed").mean()
        for (name, frame), own_hm in zip([*per_dataset.items(), (AVERAGE, average)], [*own, float(np.mean(own))], strict=True):
            rows.append({"dataset": name, "method": method, "n": len(frame), **_halves(frame), "own_hm": own_hm})
    return pd.DataFrame(rows)


def _halves(frame: pd.DataFrame) -> dict[str, float]:
    """Mean and sd of base, novel and HM of one row of Table 2, given its accuracies by seed."""
    base, novel = float(frame["base"].mean()), float(frame["novel"].mean())
    hms = pd.Series([harmonic_mean(b, n) for b, n in zip(frame["base"], frame["novel"], strict=True)])
    each = {"base_sd": frame["base"], "novel_sd": frame["novel"], "hm_sd": hms}
    return {"base": base, "novel": novel, "hm": harmonic_mean(base, novel), **{k: _sd(v) for k, v in each.items()}}


def _sd(values: pd.Series) -> float:
    """Over seeds; NaN of a single one."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def presentable(table: pd.DataFrame) -> pd.DataFrame:
    """The long table as people read it: a row per data set and method, 'mean ± sd' to two decimals."""

    def cell(row: pd.Series, name: str) -> str:
        spread = row[f"{name}_sd"]
        return f"{row[name]:.2f}" if pd.isna(spread) else f"{row[name]:.2f} ± {spread:.2f}"

    columns = {"Data set": table["dataset"], "Method": table["method"], "n": table["n"]}
    for name, title in (("base", "Base"), ("novel", "Novel"), ("hm", "HM")):
        columns[title] = table.apply(cell, axis=1, name=name)
    return pd.DataFrame(columns)


def accuracies(
    metrics: pd.DataFrame, datasets: Sequence[str], methods: Sequence[str], trained_on: str | None = None, shots: int | None = None
) -> pd.DataFrame:
    """Accuracy on all classes of each data set and on average: columns dataset, method, n, accuracy, accuracy_sd (percent).

    From test pictures, with `shots` pictures a class where runs have several numbers of them. The average takes, per seed,
    the mean over the data sets. sd is the sample standard deviation (ddof = 1) over seeds, empty for a method without seeds.

    Raises:
        InputError: a method has no number on one of the data sets, other seeds there, or two values for one cell.
    """
    rows = []
    for method in methods:
        wide = accuracies_of(metrics, method, ["all"], datasets, trained_on, shots)["all"].unstack("dataset")
        for name, values in {**{d: wide[d] for d in datasets}, AVERAGE: wide.mean(axis=1)}.items():
            rows.append({"dataset": name, "method": method, "n": len(values), "accuracy": values.mean(), "accuracy_sd": _sd(values)})
    return pd.DataFrame(rows)


def by_shots(metrics: pd.DataFrame, datasets: Sequence[str], methods: Sequence[str], shots: Sequence[int]) -> pd.DataFrame:
    """Figure 4 in long form: `accuracies` at each number of pictures a class, columns dataset, method, shots, mean, sd, n.

    A seed that is missing on one data set or at one number of shots is an error, not a smaller mean.
    """
    at = pd.concat([accuracies(metrics, datasets, methods, shots=k).assign(shots=k) for k in shots], ignore_index=True)
    seeds = at.groupby("method")["n"].nunique()
    if (seeds > 1).any():
        raise InputError(f"few shots: expected as many seeds of {seeds.idxmax()} at every number of shots, got others; rerun with one list")
    return at.rename(columns={"accuracy": "mean", "accuracy_sd": "sd"})[["dataset", "method", "shots", "mean", "sd", "n"]]


def spread(mean: float, sd: float, best: bool = False) -> str:
    """'mean ± sd' to two decimals, without a spread where there is none; bold if it is the best."""
    text = f"{mean:.2f}" if pd.isna(sd) else f"{mean:.2f} ± {sd:.2f}"
    return f"**{text}**" if best else text


def methods_by_datasets(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The long table as people read it: a row per method, a column per data set, the best of each column in bold."""
    best = table.groupby("dataset")["accuracy"].transform("max").eq(table["accuracy"]) & (table["method"].nunique() > 1)
    text = table.assign(text=[spread(a, s, b) for a, s, b in zip(table["accuracy"], table["accuracy_sd"], best, strict=True)])
    wide = text.pivot(index="method", columns="dataset", values="text").loc[list(table["method"].unique()), list(columns)]
    wide.insert(0, "n", table.groupby("method")["n"].first())
    return wide.rename_axis(columns=None).reset_index().rename(columns={"method": "Method"})
