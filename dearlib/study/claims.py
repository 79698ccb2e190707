"""The verdict on every claim of `family`, from runs: what `figures/<profile>/claims.*` is made from.

A row is one difference under one of the two questions of `inference`. The verdict uses Holm's adjusted p, not the raw
one; Holm counts the rows of one question and one origin (stated, tabulated, ours), for the sign and for the paper's
effect each. What was not run keeps its row and says so.
"""

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from dearlib.errors import InputError
from dearlib.study.contrasts import Contrast, paired, summary, wins
from dearlib.study.family import Best, Claim, Expected
from dearlib.study.inference import ESTIMANDS, LEVEL, NOT_GIVEN, NOT_RUN, Estimand, difference, holm, joint, verdict

COLUMNS = ["place", "origin", "claim", "contrast", "on", "estimand", "difference", "low", "high", "se", "df", "datasets", "pairs",
           "own_hm", "effect", "source", "p", "p_holm", "p_effect", "p_effect_holm", "p_flips", "detectable", "verdict"]  # fmt: skip
Excluded = Collection[str | tuple[str, str]]


def claims_table(metrics: pd.DataFrame, claims: Sequence[Claim], not_run: Excluded = ()) -> pd.DataFrame:
    """A row per expected difference and question, `COLUMNS`; differences, intervals and effects in points.

    `on`: the data sets, by name. `own_hm`: for a difference in HM, the mean of the data sets' own HM differences beside it.
    `p_effect`: against the reported effect, where the mean lies below it. `not_run`: methods that were not run, or
    (place, method) for those that were not run for one table; their rows have no numbers.

    Raises:
        InputError: naming the claim whose runs are missing, contradict each other, or are there although told not to be.
    """
    rows = []
    for claim in claims:
        for expected in claim.expected:
            common = {"place": claim.place, "origin": claim.origin, "claim": claim.statement, **_named(expected)}
            try:
                found = _rows(metrics, expected, _left_out(metrics, claim.place, expected, not_run))
            except InputError as error:
                raise InputError(f"claims: {claim.place}, '{claim.statement}': {error}") from None
            rows += [{**common, **row} for row in found]
    return _judged(pd.DataFrame(rows).reindex(columns=COLUMNS))


def absent(metrics: pd.DataFrame, claims: Sequence[Claim]) -> set[str | tuple[str, str]]:
    """What `claims_table` is to be told as not run: methods without any row, and (place, method) without one where the claim asks.

    A method that is there on some of a claim's data sets alone is not absent but incomplete, and `claims_table` refuses it.
    """
    found: set[str | tuple[str, str]] = set()
    for claim in claims:
        for expected in claim.expected:
            what = expected.contrast if isinstance(expected, Expected) else expected
            splits = ["all"] if what.measure == "all" else ["base", "novel"]
            trained_on = what.trained_on if isinstance(what, Contrast) else None
            for method in expected.methods:
                rows = metrics[metrics["method"] == method]
                asked = rows[rows["dataset"].isin(what.datasets) & rows["split"].isin(splits)]
                where = asked["trained_on"].isna() if trained_on is None else asked["trained_on"] == trained_on
                if rows.empty:
                    found.add(method)
                elif not (where | asked["seed"].isna()).any():
                    found.add((claim.place, method))
    return found


def _named(expected: Expected | Best) -> dict[str, str | float]:
    what = expected.contrast if isinstance(expected, Expected) else expected
    return {"contrast": str(what), "on": " ".join(what.datasets), "effect": expected.effect, "source": expected.source}


def _left_out(metrics: pd.DataFrame, place: str, expected: Expected | Best, not_run: Excluded) -> bool:
    out = {m for m in expected.methods if m in not_run or (place, m) in not_run}
    if there := sorted({m for m in out if m in not_run} & set(metrics["method"])):
        raise InputError(f"expected no runs of {', '.join(there)}, said not to be run, got some; correct one of the two")
    return bool(out)


def _rows(metrics: pd.DataFrame, expected: Expected | Best, left_out: bool) -> list[dict[str, object]]:
    if left_out:
        return [{"estimand": e, "verdict": NOT_RUN} for e in ESTIMANDS]
    if isinstance(expected, Best):
        return [_best(metrics, expected), {"estimand": ESTIMANDS[1], "verdict": NOT_GIVEN}]  # a count has no seeds
    contrast = expected.contrast
    pairs, own = paired(metrics, contrast), float("nan")
    if contrast.measure == "hm":
        both = Contrast(contrast.method, contrast.against, "own hm", contrast.trained_on, contrast.shots, datasets=contrast.datasets)
        own = float(paired(metrics, both).mean())
    return [{**_row(pairs, e, expected.effect), "own_hm": own} for e in ESTIMANDS]


def _row(pairs: pd.Series, estimand: Estimand, effect: float) -> dict[str, object]:
    d = difference(pairs, estimand)
    if not effect > 0:  # none is reported, or its sign is against the claim
        return summary(d)
    return {**summary(d), "p_effect": d.p(effect) if d.mean < effect or not d.given else 1.0}


def _best(metrics: pd.DataFrame, best: Best) -> dict[str, object]:
    """Exact binomial test and interval (Clopper and Pearson) for the share of data sets."""
    won = wins(metrics, best.method, best.others, best.measure, best.datasets)
    k, n = int(won.sum()), len(won)
    interval = binomtest(k, n).proportion_ci(1 - LEVEL)
    share, low, high = (100 * x - best.chance for x in (k / n, interval.low, interval.high))
    p_effect = binomtest(k, n, (best.effect + best.chance) / 100).pvalue if share < best.effect else 1.0
    return {"estimand": ESTIMANDS[0], "difference": share, "low": low, "high": high, "datasets": n, "pairs": n,
            "p": binomtest(k, n, best.chance / 100).pvalue, "p_effect": p_effect}  # fmt: skip


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """With Holm's p-values and the verdicts that follow from them."""
    table = table.astype(dict.fromkeys(("difference", "low", "high", "effect", "p", "p_effect", "detectable"), float))
    table = table.astype({"datasets": "Int64", "pairs": "Int64"})  # empty where nothing was run
    same = [table["origin"], table["estimand"]]
    for name in ("p", "p_effect"):
        table[f"{name}_holm"] = table.groupby(same)[name].transform(lambda p: holm(list(p)))
    said = [verdict(r.difference, r.p_holm, r.p_effect_holm) for r in table.itertuples()]
    table["verdict"] = table["verdict"].where(table["verdict"].isin([NOT_RUN]), pd.Series(said, index=table.index, dtype=object))
    return table


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """One row per claim, for reading: under each of the two questions its differences in points with 95 % intervals, and the verdict.

    p is Holm's; "sees" is the detectable difference.
    """
    rows = []
    for (place, claim), own in table.groupby(["place", "claim"], sort=False):
        row = {"Place": place, "Claim": claim, "Whose": own["origin"].iloc[0]}
        for estimand in ESTIMANDS:
            asked = own[own["estimand"] == estimand]
            name = estimand[0].upper() + estimand[1:]
            row |= {name: "; ".join(map(_cell, asked.to_dict("records"))), f"Verdict, {estimand}": joint(list(asked["verdict"]))}
        rows.append(row)
    return pd.DataFrame(rows)


def _cell(row: dict[str, Any]) -> str:
    """A difference in one line: interval, adjusted p, what the design can see, what the paper reports."""
    if row["verdict"] == NOT_RUN or pd.isna(row["difference"]):
        return f"{row['contrast']}: {row['verdict']}"
    effect = "" if pd.isna(row["effect"]) else f", *reported* {row['effect']:+.2f}"
    said = f"{row['contrast']}: {row['difference']:+.2f}"
    if pd.isna(row["p"]):
        return f"{said}, no interval{effect}"
    seen = "" if pd.isna(row["detectable"]) else f", sees {row['detectable']:.2f}"
    return f"{said} [{row['low']:+.2f}, {row['high']:+.2f}], p {row['p_holm']:.3f}{seen}{effect}"
