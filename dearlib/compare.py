"""Compares a fresh base-to-novel table with the committed one: `python -m dearlib.compare COMMITTED.csv FRESH.csv --tolerance FILE`.

Zero-shot rows must agree everywhere; of trained methods only the averages are held, because on one small data set a
different rounding of the processor can turn a run. Exit status: 0 within tolerance, 1 not, 2 wrong input.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dearlib.errors import InputError
from dearlib.yaml12 import read_yaml

KEYS = ["dataset", "method"]
VALUES = ["base", "novel", "hm"]


class Tolerance(BaseModel):
    """Largest differences, in percentage points."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zero_shot: float = Field(ge=0)
    trained_average: float = Field(ge=0)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dearlib.compare")
    parser.add_argument("committed", type=Path)
    parser.add_argument("fresh", type=Path)
    parser.add_argument("--tolerance", type=Path, required=True)
    args = parser.parse_args(argv)
    try:
        differences = compare(_table(args.committed), _table(args.fresh), read_tolerance(args.tolerance))
    except InputError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    print(differences.to_string(index=False))
    beyond = differences[differences["difference"] > differences["tolerance"]]
    for row in beyond.itertuples():
        print(f"beyond tolerance: {row.method} on {row.dataset}, {row.value}: {row.committed:.2f} committed, {row.fresh:.2f} fresh")
    return 1 if len(beyond) else 0


def compare(committed: pd.DataFrame, fresh: pd.DataFrame, tolerance: Tolerance) -> pd.DataFrame:
    """A row per compared number: dataset, method, value, committed, fresh, difference, tolerance (percentage points).

    A row without seeds (no spread) is zero-shot. Raises InputError if the tables do not have the same rows.
    """
    rows = [set(map(tuple, table[KEYS].values)) for table in (committed, fresh)]
    if rows[0] != rows[1]:
        raise InputError(f"tables: expected the same rows, got only in one of them {sorted(rows[0] ^ rows[1])}")
    both = committed.merge(fresh, on=KEYS, suffixes=("_committed", "_fresh"), validate="one_to_one")
    compared = []
    for row in both.to_dict("records"):
        trained = not pd.isna(row["hm_sd_committed"])
        if trained and row["dataset"] != "average":
            continue
        limit = tolerance.trained_average if trained else tolerance.zero_shot
        for value in VALUES:
            old, new = row[f"{value}_committed"], row[f"{value}_fresh"]
            if pd.isna(old) or pd.isna(new):
                raise InputError(f"tables: expected a number for {value} of {row['method']} on {row['dataset']}, got none")
            compared.append([row["dataset"], row["method"], value, old, new, abs(new - old), limit])
    columns = [*KEYS, "value", "committed", "fresh", "difference", "tolerance"]
    return pd.DataFrame(compared, columns=columns)


def read_tolerance(path: Path) -> Tolerance:
    try:
        return Tolerance(**read_yaml(path))
    except (ValidationError, TypeError) as error:
        raise InputError(f"{path}: expected zero_shot and trained_average in percentage points, got {read_yaml(path)}") from error


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        raise InputError(f"{path}: expected a table, got nothing") from None
    missing = {*KEYS, *VALUES, "hm_sd"} - set(table.columns)
    if missing or table.empty:
        raise InputError(f"{path}: expected columns {[*KEYS, *VALUES, 'hm_sd']}, got without {sorted(missing)}, {len(table)} rows")
    return table


if __name__ == "__main__":
    sys.exit(main())
