"""What stands beside a table: its rows as its records have them, what each method took, and the gates of DeAR's runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from dearlib.errors import InputError
from dearlib.methods import catalogue
from dearlib.params.study import row
from dearlib.study.records import RunRecord

COST = ["method", "parameters", "steps", "pictures", "seconds_per_step", "memory_gb", "trials", "transductive"]


def rows_of(records: Sequence[RunRecord]) -> list[str]:
    """The methods that some records of one group have, in the study's order.

    Raises:
        InputError: the records have different ones.
    """
    each = {record.dataset: list(dict.fromkeys(row(run) for run in record.runs)) for record in records}
    first, *rest = each.values()
    if any(other != first for other in rest):
        odd = sorted({name for one in each.values() for name in one if any(name not in other for other in each.values())})
        raise InputError(
            f"records: expected the same methods on every data set, got {', '.join(odd) or 'another order'} on some alone; run again"
        )
    return first


def others_of(records: Sequence[RunRecord]) -> list[str]:
    """`rows_of` without DeAR's own runs and its controls': what a user who names methods may leave out (`plan.rows_wanted`)."""
    family = catalogue.names()
    stay = {row(run) for record in records for run, settings in record.runs.items() if settings.get("method") not in family}
    return [name for name in rows_of(records) if name not in stay]


def marked(names: pd.Series, records: Sequence[RunRecord]) -> pd.Series:
    """Names as tables show them: a method that saw the test classes' unlabelled pictures says so."""
    apart = {cost.method for record in records for cost in record.costs.values() if cost.transductive}
    return names.map(lambda name: f"{name}, *transductive*" if name in apart else name)


def cost_table(records: Sequence[RunRecord], trials: pd.Series) -> pd.DataFrame:
    """What each method took, `COST`: means over data sets, of memory the largest.

    Seconds and memory are measured while the records were made, so they change from machine to machine. `trials`: of `trials_of`.
    """
    rows = [{**cost.model_dump(), "order": i} for record in records for i, cost in enumerate(record.costs.values())]
    if not rows:
        raise InputError("records: expected what the runs took, got none; run them again")
    frame = pd.DataFrame(rows).astype({"seconds_per_step": float, "memory_gb": float})
    groups = frame.groupby("method", sort=False)
    table = groups[["parameters", "steps", "pictures", "seconds_per_step"]].mean()
    table["memory_gb"] = groups["memory_gb"].max()
    table["transductive"] = groups["transductive"].any()
    table["trials"] = trials.reindex(table.index).fillna(0).astype(int)
    return table.reset_index()[COST]


def presentable_costs(table: pd.DataFrame, records: Sequence[RunRecord]) -> pd.DataFrame:
    """The cost table as people read it."""
    measured = {"seconds_per_step": ("ms a step", 1000, "{:.1f}"), "memory_gb": ("Peak GB", 1, "{:.2f}")}
    shown = {"Method": marked(table["method"], records)}
    for name, title in (("parameters", "Trained numbers"), ("steps", "Steps"), ("pictures", "Pictures seen"), ("trials", "Trials")):
        shown[title] = table[name].map("{:,.0f}".format)
    for name, (title, factor, form) in measured.items():
        shown[title] = table[name].map(lambda v, factor=factor, form=form: "" if pd.isna(v) else form.format(factor * v))
    return pd.DataFrame(shown)


def trials_of(path: Path, titles: Mapping[str, str]) -> pd.Series:
    """Trials of hyper-parameters by method, from the file of `dearlib.study.fair`; `titles`: a row's name for each method in it."""
    if not path.is_file():
        return pd.Series(dtype=int)
    found = pd.read_csv(path)
    return found[["method", "change", "factor"]].drop_duplicates().groupby("method").size().rename(titles)


def gates_table(records: Sequence[RunRecord]) -> pd.DataFrame:
    """The gates of every run of DeAR, means over data sets and seeds, as people read them."""
    rows = []
    for record in records:
        for key, own in record.gates.items():
            heads = ", ".join(f"{layer} {count}" for layer, count in own.shielded.items())
            rows.append({"Run": key.rpartition(", seed ")[0], "between": own.tokens, "class": own.class_feature, "Shielded heads": heads})
    frame = pd.DataFrame(rows, columns=["Run", "between", "class", "Shielded heads"]).astype({"between": float, "class": float})
    groups = frame.groupby("Run", sort=False)
    shown = pd.DataFrame({
        "Cosine between tokens": groups["between"].mean().map(lambda v: "" if pd.isna(v) else f"{v:.3f}"),
        "Cosine of the class feature with CLIP's": groups["class"].mean().map("{:.4f}".format),
        "Shielded heads": groups["Shielded heads"].agg(lambda s: s.iloc[0] if s.nunique() == 1 else "dealt anew"),
    })  # fmt: skip
    return shown.reset_index()
