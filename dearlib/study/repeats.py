"""The same runs made twice: how far an accuracy moves when settings, seeds, pictures and weights stay as they are.

Machine and commit may differ (the records name both). Another kind of processor sums in another order, and training can magnify a last
digit, one method's more than another's. A number is firm to what it moves by, and no further.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dearlib.errors import InputError
from dearlib.study.records import RunRecord

AGAIN = "again"  # below a profile's records: those that were made a second time
PLACE = ("runs_root", "cache_root", "roles", "data_root")  # settings that say where, not what
SAME = ("weights_sha256", "identity", "roles_sha256", "split_sha256")
KEYS = ["dataset", "split", "part", "method", "seed", "shots", "trained_on"]
FIRM = 0.05  # points: less is not seen in a table's first decimal


def other_runs(first: RunRecord, second: RunRecord) -> str:
    """What shows that two records are not of the same runs on the same input, '' if they are."""
    for name in SAME:
        if getattr(first, name) != getattr(second, name):
            return f"expected the committed {name}, got another"
    for run in {*first.runs, *second.runs}:
        then, now = ({k: v for k, v in r.runs.get(run, {}).items() if k not in PLACE} for r in (first, second))
        if then != now:
            keys = sorted(k for k in {*then, *now} if then.get(k) != now.get(k))
            return f"{run}: expected the committed settings, got other {', '.join(keys)}"
    if not _accuracies(first).index.sort_values().equals(_accuracies(second).index.sort_values()):
        return "expected the committed rows, got others"
    return ""


def side_by_side(first: RunRecord, second: RunRecord) -> pd.DataFrame:
    """Both records' numbers: `KEYS`, committed, fresh, record, trained.

    Raises `InputError` where they are not of the same runs on the same input.
    """
    where = f"{first.group}-{first.dataset}"
    if reason := other_runs(first, second):
        raise InputError(f"{where}: {reason}; make the records anew (`make reproduce`)")
    committed = _accuracies(first)
    both = pd.DataFrame({"committed": committed, "fresh": _accuracies(second).reindex(committed.index)}).reset_index()
    return both.assign(record=where, trained=both["seed"].notna())


def made_again(records: Sequence[RunRecord], records_root: Path) -> tuple[list[RunRecord], pd.DataFrame] | None:
    """The records' second making, of the rows that they have, and both side by side; None unless one of every record is kept.

    A second making of other runs (after a change of settings, weights or roles) is not theirs, so there is none.
    """
    paths = [records_root / AGAIN / f"{r.group}-{r.dataset}.json" for r in records]
    if not all(path.is_file() for path in paths):
        return None
    seconds = [_of(first, RunRecord.load(path)) for first, path in zip(records, paths, strict=True)]
    if any(other_runs(first, second) for first, second in zip(records, seconds, strict=True)):
        return None
    tables = [side_by_side(first, second) for first, second in zip(records, seconds, strict=True)]
    return seconds, pd.concat(tables, ignore_index=True)


def firmness(both: pd.DataFrame) -> pd.DataFrame:
    """By trained method of `side_by_side`, in points: numbers, how many of them are firm, their largest move, and the averages' moves.

    `base` and `novel` are of the averages over data sets and seeds, with their signs. The method that moves most comes first.
    """
    moves = both[both["trained"] & (both["part"] == "test")].assign(move=lambda t: t["fresh"] - t["committed"])
    if moves.empty or moves["move"].isna().any():
        raise InputError("second run: expected two numbers of every trained run, got one or none; make it anew")
    groups = moves.groupby("method", sort=False)["move"]
    table = pd.DataFrame({
        "numbers": groups.size(),
        "firm": groups.agg(lambda m: int((m.abs() < FIRM).sum())),
        "largest": groups.agg(lambda m: m.abs().max()),
    })  # fmt: skip
    averages = moves.pivot_table(index="method", columns="split", values="move", aggfunc="mean")
    return table.join(averages[["base", "novel"]]).sort_values("largest", ascending=False, kind="stable").reset_index()


def _of(first: RunRecord, second: RunRecord) -> RunRecord:
    """The second record with the first's rows alone: a user may have made those of some methods."""
    rows = {m.method for m in first.metrics}
    kept = {
        "runs": {run: own for run, own in second.runs.items() if run in first.runs},
        "metrics": tuple(m for m in second.metrics if m.method in rows),
    }
    return second.model_copy(update=kept)


def _accuracies(record: RunRecord) -> "pd.Series[float]":
    return pd.DataFrame([m.model_dump() for m in record.metrics]).set_index(KEYS)["accuracy"]
