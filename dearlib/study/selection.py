"""The accuracies that a table or a contrast is made of: one for each data set, half and seed, or a refusal.

A metrics frame holds whatever was run. Nothing is averaged over or left out in silence here: rows that contradict each
other, a missing data set, half or seed, and what is no percentage are errors.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dearlib.errors import InputError

NO_SEED = -1  # stands for the seed of a method without randomness


def accuracies_of(
    metrics: pd.DataFrame,
    method: str,
    splits: Sequence[str],
    datasets: Sequence[str],
    trained_on: str | None = None,
    shots: int | None = None,
    for_: str = "table",
) -> pd.DataFrame:
    """Accuracy on test pictures in percent: a row per (dataset, seed), data sets in the order asked for, a column per split.

    `trained_on`: None takes runs trained on the data set itself, a name those trained there; what has no seed was trained
    nowhere and stands beside both. `shots`: runs with that many pictures a class; None where runs have one number of them.
    `for_` opens the error messages.

    Raises:
        InputError: two values for one cell, a data set, half or seed that is missing, a data set that is asked for twice, or a value
            outside 0–100.
    """
    if len(set(datasets)) < len(datasets):
        raise InputError(f"{for_}: expected distinct data sets, got {', '.join(datasets)}; name each once")
    rows = metrics[(metrics["method"] == method) & (metrics["part"] == "test") & metrics["split"].isin(list(splits))]
    where = rows["trained_on"].isna() if trained_on is None else rows["trained_on"] == trained_on
    rows = rows[(where | rows["seed"].isna()) & rows["dataset"].isin(list(datasets))]
    if shots is not None:
        rows = rows[rows["shots"].isna() | (rows["shots"] == shots)]
    rows = rows.assign(seed=pd.to_numeric(rows["seed"]).fillna(NO_SEED).astype(int), accuracy=pd.to_numeric(rows["accuracy"]))
    _refuse_bad_numbers(rows, f"{for_}: {method}")
    cells = rows.drop_duplicates(["dataset", "seed", "split"]).pivot(index=["dataset", "seed"], columns="split", values="accuracy")
    cells = cells.reindex(columns=list(splits))
    _refuse_gaps(cells, datasets, f"{for_}: expected {' and '.join(splits)} of {method}")
    return cells.loc[list(datasets)]


def _refuse_bad_numbers(rows: pd.DataFrame, who: str) -> None:
    odd = rows[~(np.isfinite(rows["accuracy"]) & rows["accuracy"].between(0, 100))]
    if len(odd):
        told = f"{odd['accuracy'].iloc[0]} on {odd['dataset'].iloc[0]}"
        raise InputError(f"{who}: expected percentages, got {told}; delete that record and run again")
    key = ["dataset", "seed", "split"]
    clash = rows.drop_duplicates([*key, "accuracy"])
    clash = clash[clash.duplicated(key, keep=False)].sort_values(key)
    if len(clash):
        first, second = clash.iloc[0], clash.iloc[1]
        cell = f"{first['split']} of {first['dataset']}" + ("" if first["seed"] == NO_SEED else f", seed {first['seed']}")
        two = f"{first['accuracy']:.2f} and {second['accuracy']:.2f}"
        raise InputError(f"{who}: expected one value for {cell}, got {two}; name the shots, or keep the records of one run")


def _refuse_gaps(cells: pd.DataFrame, datasets: Sequence[str], expected: str) -> None:
    there = {name: tuple(own.index.get_level_values("seed")) for name, own in cells.groupby(level="dataset")}
    if missing := [name for name in datasets if name not in there]:
        raise InputError(f"{expected} on every data set, got none on {', '.join(missing)}; run it first")
    if cells.isna().any(axis=None):
        dataset, seed = cells.index[cells.isna().any(axis=1)][0]
        half = cells.columns[cells.loc[(dataset, seed)].isna()][0]
        raise InputError(f"{expected} on every data set, got no {half} of {dataset}; run it first")
    if len(set(there.values())) > 1:
        lists = "; ".join(f"{name} {_told(seeds)}" for name, seeds in there.items())
        raise InputError(f"{expected} with the same seeds on every data set, got {lists}; rerun with one list of seeds")
    seeds = next(iter(there.values()))
    if NO_SEED in seeds and len(seeds) > 1:
        raise InputError(f"{expected} either with seeds or without, got both; keep the records of one run")


def _told(seeds: Sequence[int]) -> str:
    return "none" if tuple(seeds) == (NO_SEED,) else ", ".join(map(str, seeds))
