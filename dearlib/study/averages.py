"""Means and spreads over seeds and data sets: the numbers of Tables 2 to 6, long for computing and wide for reading."""

from collections.abc import Sequence

import pandas as pd

from dearlib.errors import InputError
from dearlib.methods.evaluation import harmonic_mean

AVERAGE = "average"


def base_to_novel(metrics: pd.DataFrame, datasets: Sequence[str], methods: Sequence[str]) -> pd.DataFrame:
    """Table 2 in long form, from test pictures: a row per data set (and 'average') and method, with mean, sd and n of base, novel and HM.

    HM is that of the mean accuracies, as the paper computes it; its sd is that of the seeds' own HMs. The average
    row takes, per seed, the mean over the data sets. sd is the sample standard deviation (ddof = 1) over seeds; it
    is empty for a method without seeds.

    Raises:
        InputError: a data set or a half of it is missing.
    """
    rows = []
    for method in methods:
        ours = metrics[(metrics["method"] == method) & (metrics["part"] == "test") & metrics["split"].isin(["base", "novel"])]
        seeds = pd.to_numeric(ours["seed"]).fillna(0).astype(int)
        wide = ours.assign(seed=seeds).pivot(index=["dataset", "seed"], columns="split", values="accuracy")
        wide = wide.reindex(columns=["base", "novel"])
        missing = set(datasets) - set(wide.index.get_level_values("dataset"))
        if missing or wide.isna().any(axis=None):
            gap = ", ".join(sorted(missing)) or "a half"
            raise InputError(f"table 2: expected base and novel of {method} on every data set, got none of {gap}; run it first")
        per_dataset = {name: wide.loc[name] for name in datasets}
        if len({tuple(frame.index) for frame in per_dataset.values()}) > 1:
            raise InputError(f"table 2: expected the same seeds of {method} on every data set, got others; rerun with one list of seeds")
        for name, frame in {**per_dataset, "average": wide.loc[list(datasets)].groupby("seed").mean()}.items():
            hms = [harmonic_mean(b, n) for b, n in zip(frame["base"], frame["novel"], strict=True)]
            base, novel = frame["base"].mean(), frame["novel"].mean()
            seeded = bool(ours["seed"].notna().any())
            means = {"base": base, "novel": novel, "hm": harmonic_mean(base, novel)}
            each = {"base_sd": frame["base"], "novel_sd": frame["novel"], "hm_sd": pd.Series(hms)}
            deviations = {k: v.std(ddof=1) if seeded else float("nan") for k, v in each.items()}
            rows.append({"dataset": name, "method": method, "n": len(frame), **means, **deviations})
    return pd.DataFrame(rows)


def presentable(table: pd.DataFrame) -> pd.DataFrame:
    """The long table as people read it: a row per data set and method, 'mean ± sd' to two decimals."""

    def cell(row: pd.Series, name: str) -> str:
        spread = row[f"{name}_sd"]
        return f"{row[name]:.2f}" if pd.isna(spread) else f"{row[name]:.2f} ± {spread:.2f}"

    columns = {"Data set": table["dataset"], "Method": table["method"], "n": table["n"]}
    for name, title in (("base", "Base"), ("novel", "Novel"), ("hm", "HM")):
        columns[title] = table.apply(cell, axis=1, name=name)
    return pd.DataFrame(columns)


def accuracies(metrics: pd.DataFrame, datasets: Sequence[str], methods: Sequence[str], trained_on: str | None = None) -> pd.DataFrame:
    """Accuracy on all classes of each data set and on average: columns dataset, method, n, accuracy, accuracy_sd (percent).

    From test pictures. The average takes, per seed, the mean over the data sets. sd is the sample standard deviation
    (ddof = 1) over seeds, empty for a method without seeds.

    Raises:
        InputError: a method has no number on one of the data sets, or other seeds there.
    """
    rows = []
    for method in methods:
        ours = metrics[(metrics["method"] == method) & (metrics["part"] == "test") & (metrics["split"] == "all")]
        here = ours["trained_on"].isna() if trained_on is None else ours["trained_on"] == trained_on
        ours = ours[here | ours["seed"].isna()].drop_duplicates(["dataset", "seed"])
        seeded = bool(ours["seed"].notna().any())
        wide = ours.assign(seed=ours["seed"].fillna(0)).pivot(index="seed", columns="dataset", values="accuracy")
        missing = sorted(set(datasets) - set(wide.columns))
        if missing:
            raise InputError(f"table: expected {method} on every data set, got none on {', '.join(missing)}; run it first")
        wide = wide[list(datasets)]
        if wide.isna().any(axis=None):
            raise InputError(f"table: expected the same seeds of {method} on every data set, got others; rerun with one list of seeds")
        for name, values in {**{d: wide[d] for d in datasets}, AVERAGE: wide.mean(axis=1)}.items():
            sd = values.std(ddof=1) if seeded else float("nan")
            rows.append({"dataset": name, "method": method, "n": len(values), "accuracy": values.mean(), "accuracy_sd": sd})
    return pd.DataFrame(rows)


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
