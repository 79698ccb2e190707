"""Compares a fresh figures folder with the committed one: `dearlib compare COMMITTED FRESH --tolerance FILE`.

Held are the numbers behind every table and figure, and what is concluded from them. What involves no training (roles,
zero-shot) must agree everywhere; of trained methods only averages over data sets are held, because on one small data set a
different rounding of the processor can turn a run. A claim's difference and both ends of its interval may move by less than
half the effect that the paper reports for it, and its verdict not at all. Exit status: 0 within tolerance, 1 not, 2 wrong input.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dearlib.errors import InputError
from dearlib.params.yaml12 import read_yaml
from dearlib.workflow.alike import hold

AVERAGE = "average"
ROLES, CLAIMS = "roles.csv", "claims.csv"


@dataclass(frozen=True)
class Kind:
    """How a file is read: the columns that name a row, those that are compared, and the one that is empty where nothing was trained.

    `averages`: every row is an average over data sets; otherwise only those whose dataset is 'average' are.
    """

    keys: tuple[str, ...]
    values: tuple[str, ...]
    spread: str
    averages: bool = False


FILES = {
    "table2.csv": Kind(("dataset", "method"), ("base", "novel", "hm"), "hm_sd"),
    "table3.csv": Kind(("dataset", "method"), ("accuracy",), "accuracy_sd"),
    "table4.csv": Kind(("dataset", "method"), ("accuracy",), "accuracy_sd"),
    "table5.csv": Kind(("method",), ("base", "novel", "hm"), "hm_sd", averages=True),
    "table6.csv": Kind(("method",), ("base", "novel", "hm"), "hm_sd", averages=True),
    "figure3.csv": Kind(("feature", "factor"), ("mean",), "std"),
    "figure4.csv": Kind(("dataset", "method", "shots"), ("mean",), "sd"),
}


class Tolerance(BaseModel):
    """Largest differences in percentage points; of roles, the share of heads whose role or concept may differ, in percent.

    `claims`: of a claim's difference and its interval's ends; where the paper reports an effect, half of it if that is less.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: float = Field(ge=0)
    zero_shot: float = Field(ge=0)
    trained_average: float = Field(ge=0)
    claims: float = Field(ge=0)


def compare_folders(committed: Path, fresh: Path, tolerance_file: Path | None) -> int:
    """Prints how far the numbers of two folders lie apart; exit status 0 within tolerance, 1 not. Without one all files: `alike.hold`."""
    if tolerance_file is None:
        return hold(committed, fresh)
    tolerance = read_tolerance(tolerance_file)
    tables = [compare_roles(committed / ROLES, fresh / ROLES, tolerance)]
    tables += [compare(committed / name, fresh / name, tolerance) for name in FILES]
    tables.append(compare_claims(committed / CLAIMS, fresh / CLAIMS, tolerance))
    differences = pd.concat(tables, ignore_index=True)
    print(widest(differences).to_string(index=False))
    beyond = differences[differences["difference"] > differences["tolerance"]]
    for row in beyond.itertuples():
        print(f"beyond tolerance: {row.file}, {row.row}, {row.value}: {row.committed:.2f} committed, {row.fresh:.2f} fresh")
    return 1 if len(beyond) else 0


def widest(differences: pd.DataFrame) -> pd.DataFrame:
    """Per file and tolerance, how many numbers were held and the largest difference."""
    groups = differences.groupby(["file", "tolerance"], sort=False)["difference"]
    return groups.agg(numbers="count", largest="max").reset_index()


def compare(committed: Path, fresh: Path, tolerance: Tolerance) -> pd.DataFrame:
    """A row per held number: file, row, value, committed, fresh, difference, tolerance. Raises `InputError` on other rows."""
    kind = FILES[committed.name]
    keys = list(kind.keys)
    both = _merged(committed, fresh, keys, [*kind.values, kind.spread])
    held = []
    for row in both.to_dict("records"):
        trained = not pd.isna(row[f"{kind.spread}_committed"])
        if trained and not kind.averages and row.get("dataset") != AVERAGE:
            continue
        limit = tolerance.trained_average if trained else tolerance.zero_shot
        name = ", ".join(str(row[k]) for k in keys)
        for value in kind.values:
            a, b = row[f"{value}_committed"], row[f"{value}_fresh"]
            if pd.isna(a) or pd.isna(b):
                raise InputError(f"{committed.name}: expected a number for {value} of {name}, got none; draw both anew")
            held.append([committed.name, name, value, a, b, abs(b - a), limit])
    return pd.DataFrame(held, columns=_COLUMNS)


def compare_roles(committed: Path, fresh: Path, tolerance: Tolerance) -> pd.DataFrame:
    """One row: the share of heads, in percent, that have another role or concept."""
    old, new = (_read(path, ["layer", "head", "role", "concept"]).set_index(["layer", "head"]).sort_index() for path in (committed, fresh))
    if not old.index.equals(new.index):
        raise InputError(f"{ROLES}: expected the same heads, got {len(old)} and {len(new)}; draw both anew")
    differ = 100 * float((old[["role", "concept"]] != new[["role", "concept"]]).any(axis=1).mean())
    return pd.DataFrame([[ROLES, "heads", "other role or concept (%)", 0.0, differ, differ, tolerance.roles]], columns=_COLUMNS)


def compare_claims(committed: Path, fresh: Path, tolerance: Tolerance) -> pd.DataFrame:
    """As `compare`, of the claims: differences and intervals, and a row for each verdict, 1 apart where it is another one."""
    both = _merged(committed, fresh, [*CLAIM], ["difference", "low", "high", "effect", "verdict"])
    held = []
    for row in both.to_dict("records"):
        name = ", ".join(str(row[k]) for k in CLAIM)
        effects = [abs(e) / 2 for e in (row["effect_committed"], row["effect_fresh"]) if not pd.isna(e)]
        limit = min([tolerance.claims, *effects])
        for value, allowed in (("difference", limit), ("low", limit), ("high", limit), ("effect", 0.0)):
            a, b = row[f"{value}_committed"], row[f"{value}_fresh"]
            if pd.isna(a) != pd.isna(b):
                raise InputError(f"{CLAIMS}: expected {value} of {name} in both or in neither, got one; draw both anew")
            if a != b and not pd.isna(a):  # equal ones may be infinite
                held.append([CLAIMS, name, value, a, b, abs(b - a), allowed])
        same = float(row["verdict_committed"] == row["verdict_fresh"])
        held.append([CLAIMS, name, f"verdict ({row['verdict_committed']} → {row['verdict_fresh']})", 1.0, same, 1 - same, 0.0])
    return pd.DataFrame(held, columns=_COLUMNS)


CLAIM = ("place", "claim", "contrast", "on", "estimand")
_COLUMNS = ["file", "row", "value", "committed", "fresh", "difference", "tolerance"]


def read_tolerance(path: Path) -> Tolerance:
    try:
        return Tolerance(**read_yaml(path))
    except (ValidationError, TypeError) as error:
        raise InputError(f"{path}: expected {', '.join(Tolerance.model_fields)} in percentage points, got {read_yaml(path)}") from error


def _merged(committed: Path, fresh: Path, keys: list[str], values: list[str]) -> pd.DataFrame:
    """The two tables side by side, if they have the same rows, each once."""
    old, new = (_read(path, [*keys, *values]) for path in (committed, fresh))
    if old.duplicated(keys).any() or new.duplicated(keys).any():
        raise InputError(f"{committed.name}: expected every row once by {', '.join(keys)}, got one twice; draw both anew")
    odd = set(map(tuple, old[keys].to_numpy())) ^ set(map(tuple, new[keys].to_numpy()))
    if odd:
        raise InputError(f"{committed.name}: expected the same rows, got only in one of them {sorted(map(str, odd))}; draw both anew")
    return old.merge(new, on=keys, suffixes=("_committed", "_fresh"), validate="one_to_one")


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError):  # pandas's own errors and bytes that are no text among the latter
        raise InputError(f"{path}: expected a table, got nothing that can be read; run `make reproduce`") from None
    missing = set(columns) - set(table.columns)
    if missing or table.empty:
        raise InputError(f"{path}: expected columns {columns}, got without {sorted(missing)}, {len(table)} rows; run `make reproduce`")
    return table
