"""Do reported tables add up? Recomputes from the printed numbers all that follows from them.

A number printed with two decimals stands for an interval, ± `HALF`. What is recomputed from such numbers is an interval
too, and a check fails only where the two have no point in common: rounding alone never makes a mismatch. `checks` has a
row per check, `mismatches` those that fail, `suspects` which of three cells a failed harmonic mean speaks against.
"""

from statistics import harmonic_mean
from typing import Any

import numpy as np
import pandas as pd

from dearlib.errors import InputError

HALF = 0.005  # half a unit of the last printed digit, in percentage points
FUZZ = 1e-9  # of floating point, far below HALF
ROW = ["table", "dataset", "method"]
CELL = ["dataset", "method", "metric"]
WHAT = {
    "hm": "HM of the row's base and novel",
    "mean": "mean over the data sets",
    "hm of means": "HM of the means over the data sets",
    "repeat": "the same number in an earlier table",
}


def checks(tables: pd.DataFrame, claimed: pd.DataFrame) -> pd.DataFrame:
    """All checks of `reported.all_reported()` and `reported.reported_claims()`, a row each, in percentage points (ranks, counts).

    check (a key of `WHAT`, or the kind of a claim), table, dataset, method, metric; what it is printed against; printed,
    recomputed, difference = printed − recomputed; beyond: the part that rounding cannot explain, 0 where it can.
    """
    parts = [harmonic_means(tables), means(tables), harmonic_means_of_means(tables), repeats(tables), claims(tables, claimed)]
    return pd.concat(parts, ignore_index=True)


def mismatches(checked: pd.DataFrame) -> pd.DataFrame:
    """The checks that fail, in the order of `checks`, and within a kind of check the worst first."""
    failed = checked[checked["beyond"] > 0]
    order = pd.Categorical(failed["check"], failed["check"].unique())
    return failed.assign(order=order).sort_values(["order", "beyond"], ascending=[True, False]).drop(columns="order").reset_index(drop=True)


def presentable(failed: pd.DataFrame) -> pd.DataFrame:
    """Checks as people read them: three decimals, because some slips are smaller than a hundredth; ranks and counts whole."""

    def cell(row: pd.Series, name: str, form: str) -> str:
        whole = row["check"] in ("rank", "rank from below", "count")
        return f"{row[name]:{form.split('.')[0]}.0f}" if whole else f"{row[name]:{form}}"

    titles = {"table": "Table", "dataset": "Data set", "method": "Method", "metric": "Metric", "what": "What"}
    columns = {title: failed[name] for name, title in titles.items()}
    for name, title, form in (("printed", "Reported", ".2f"), ("recomputed", "Recomputed", ".3f"), ("difference", "Difference", "+z.3f")):
        columns[title] = pd.Series([cell(row, name, form) for _, row in failed.iterrows()], failed.index, dtype=str)
    return pd.DataFrame(columns)


def harmonic_means(tables: pd.DataFrame) -> pd.DataFrame:
    """Every printed HM against HM = 2BN / (B + N) of the base and novel accuracy beside it."""
    rows = _wide(tables).assign(metric="hm")
    return _checked("hm", rows, rows["hm"], *_hm(rows["base"], rows["novel"]))


def means(tables: pd.DataFrame) -> pd.DataFrame:
    """Every printed average accuracy against the mean over the table's target data sets; its error is at most HALF, as theirs are."""
    rows = _averages(tables)
    rows = rows[rows["metric"] != "hm"]
    return _checked("mean", rows, rows["value"], rows["mean"], rows["mean"] - HALF, rows["mean"] + HALF)


def harmonic_means_of_means(tables: pd.DataFrame) -> pd.DataFrame:
    """Every printed average HM against the HM of the means over the target data sets, which is how the paper averages."""
    rows = _averages(tables)
    wide = rows.pivot(index=ROW, columns="metric", values="mean").reindex(columns=["base", "novel"]).dropna().reset_index()
    rows = rows[rows["metric"] == "hm"].merge(wide, on=ROW)
    return _checked("hm of means", rows, rows["value"], *_hm(rows["base"], rows["novel"]))


def repeats(tables: pd.DataFrame) -> pd.DataFrame:
    """A number in a second table against the first: printed from the same result, they are equal."""
    several = tables[(tables["role"] != "average") | (tables["metric"] != "accuracy")]  # Tables 3 and 4 average over different targets
    first = several.drop_duplicates(CELL)
    again = several.drop(first.index).merge(first[[*CELL, "value"]], on=CELL, suffixes=("", "_first"))
    exact = again["value_first"]
    return _checked("repeat", again, again["value"], exact, exact, exact, half=0.0)


def claims(tables: pd.DataFrame, claimed: pd.DataFrame) -> pd.DataFrame:
    """Every claim of the prose against the tables.

    Kinds: 'value', the cell of `table`, `dataset`, `metric` and `method`; 'difference', that cell less method `minus`'s;
    'rank', the place of `method` in its column, the highest first and method `without` left out; 'rank from below', the
    lowest first; 'count', the number of target data sets of `table` ('2+4': of both).
    """
    found = pd.DataFrame([_claim(c, tables) for c in claimed.to_dict("records")], columns=["recomputed", "low", "high"])
    half = (claimed["kind"] == "difference") * HALF  # values are compared as printed, ranks and counts are whole
    rows = claimed.assign(what=claimed["claim"])
    return _checked(rows["kind"], rows, claimed["printed"], found["recomputed"], found["low"], found["high"], half)


def suspects(tables: pd.DataFrame) -> pd.DataFrame:
    """For each data set whose HM fails: which one of its three cells could be wrong, judged by the row's averages.

    A row per failed HM and cell: what the cell would have to be, given the other two, and whether the printed averages
    of base and novel agree with that. One agreeing cell of three is a finding, several or none leave it open.
    """
    failed = mismatches(harmonic_means(tables[tables["role"] == "target"]))
    wide = _wide(tables).set_index(ROW)
    rows = []
    for table, dataset, method in failed[ROW].values:
        key = (int(table), dataset, method)
        cells = wide.loc[key]
        for cell, (implied, low, high) in _implied(cells["base"], cells["novel"], cells["hm"]).items():
            agree = all(_average_agrees(tables, key, m, (low, high) if m == cell else None) for m in ("base", "novel"))
            rows.append([*key, cell, cells[cell], implied, agree])
    return pd.DataFrame(rows, columns=[*ROW, "cell", "printed", "implied", "averages_agree"])


def times_best(tables: pd.DataFrame) -> pd.DataFrame:
    """On how many target data sets a method has the highest reported number: table, metric, method, best, of. Ties count for each."""
    targets = tables[tables["role"] == "target"]
    keys = ["table", "metric"]
    leads = targets["value"] == targets.groupby([*keys, "dataset"])["value"].transform("max")
    return targets.assign(best=leads).groupby([*keys, "method"], sort=False)["best"].agg(best="sum", of="size").reset_index()


def _wide(tables: pd.DataFrame) -> pd.DataFrame:
    """A row per table, data set and method that has base, novel and HM."""
    wide = tables[tables["metric"] != "accuracy"].pivot(index=ROW, columns="metric", values="value")
    return wide.reindex(columns=["base", "novel", "hm"]).dropna().reset_index()


def _averages(tables: pd.DataFrame) -> pd.DataFrame:
    """The printed averages of tables that also print what they average, with its `mean`."""
    keys = ["table", "method", "metric"]
    mean = tables[tables["role"] == "target"].groupby(keys)["value"].mean().rename("mean").reset_index()
    return tables[tables["role"] == "average"].merge(mean, on=keys)


def _hm(base: pd.Series, novel: pd.Series) -> tuple[pd.Series, pd.Series, pd.Series]:
    """HM, and its least and greatest value when base and novel are off by HALF: it rises with both."""
    shifted = ((base + s, novel + s) for s in (0.0, -HALF, HALF))
    hm, low, high = (pd.Series([harmonic_mean(x) for x in zip(b.clip(0), n.clip(0), strict=True)], base.index) for b, n in shifted)
    return hm, low, high


def _checked(
    check: str | pd.Series,
    rows: pd.DataFrame,
    printed: pd.Series,
    value: pd.Series,
    low: pd.Series,
    high: pd.Series,
    half: float | pd.Series = HALF,
) -> pd.DataFrame:
    """Rows as `checks` describes them, from the recomputed value, its least and greatest, and half a unit of the printed one."""
    beyond = np.maximum(0, np.maximum(low - (printed + half), printed - half - high))
    return pd.DataFrame(
        {
            "check": check,
            **{c: rows[c].astype(str) for c in [*ROW, "metric"]},
            "what": WHAT[check] if isinstance(check, str) else rows["what"],
            "printed": printed.astype(float),
            "recomputed": value.astype(float),
            "difference": (printed - value).astype(float),
            "beyond": beyond.where(beyond > FUZZ, 0.0).astype(float),
        }
    )


def _claim(claim: dict[str, Any], tables: pd.DataFrame) -> tuple[float, float, float]:
    """The recomputed value, its least and its greatest."""
    own_tables = tables[tables["table"].astype(str).isin(claim["table"].split("+"))]
    if claim["kind"] == "count":
        return (float(own_tables[own_tables["role"] == "target"]["dataset"].nunique()),) * 3
    column = own_tables[(own_tables["dataset"] == claim["dataset"]) & (own_tables["metric"] == claim["metric"])]
    values = column.set_index("method")["value"].drop(claim["without"], errors="ignore")
    missing = {claim["method"], claim["minus"]} - {""} - set(values.index)
    if missing:
        where = f"table {claim['table']}, {claim['dataset']}, {claim['metric']}"
        raise InputError(f"claims.csv: {claim['id']}: expected a method of {where}, got {', '.join(missing)}; correct the claim")
    own = values[claim["method"]]
    match claim["kind"]:
        case "value":
            return (own,) * 3
        case "difference":
            gain = own - values[claim["minus"]]
            return gain, gain - 2 * HALF, gain + 2 * HALF
        case "rank" | "rank from below" as kind:
            ahead = int((values > own if kind == "rank" else values < own).sum())
            return 1.0 + ahead, 1.0 + ahead, float(ahead + int((values == own).sum()))  # equal as printed: either may lead
        case other:
            kinds = "value, difference, rank, rank from below or count"
            raise InputError(f"claims.csv: {claim['id']}: expected kind {kinds}, got {other!r}; correct the claim")


def _implied(base: float, novel: float, hm: float) -> dict[str, tuple[float, float, float]]:
    """What each cell must be, given the other two: value, least and greatest. From 2BN = HM (B + N): N = HM · B / (2B − HM)."""

    def other(one: float) -> tuple[float, float, float]:
        return tuple((hm + s) * (one - s) / (2 * (one - s) - hm - s) for s in (0.0, -HALF, HALF))  # type: ignore[return-value]

    value, low, high = (harmonic_mean([base + s, novel + s]) for s in (0.0, -HALF, HALF))
    return {"base": other(novel), "novel": other(base), "hm": (value, low, high)}


def _average_agrees(tables: pd.DataFrame, key: tuple[Any, ...], metric: str, replaced: tuple[float, float] | None) -> bool:
    """Whether a method's printed average agrees with its data sets, one of them `replaced` by an interval."""
    table, dataset, method = key
    own = tables[(tables["table"] == table) & (tables["method"] == method) & (tables["metric"] == metric)].set_index("role")
    targets = own.loc[["target"]].set_index("dataset")["value"]
    low, high = targets - HALF, targets + HALF
    if replaced is not None:
        low[dataset], high[dataset] = replaced
    printed = own.loc["average", "value"]
    return bool(low.mean() - HALF - FUZZ <= printed <= high.mean() + HALF + FUZZ)
