"""Run records, and the tables made from them.

A record is one JSON file: what was run, on what, with which hashes, and a tidy list of metrics (a row per data set,
seed, split and method). Tables are functions of records alone.
"""

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from dearlib import tables
from dearlib.checkpoint import write_text
from dearlib.errors import InputError
from dearlib.evaluation import harmonic_mean

PACKAGES = ("dearlib", "torch", "open_clip_torch", "numpy", "scikit-learn", "hdbscan", "sentence-transformers", "lightning-fabric")


class Metric(BaseModel):
    """One number: top-1 accuracy in percent of a method on one half of a data set's images.

    `part`: tables are made of 'test' alone; 'val' is what hyper-parameters may be chosen on. `seed` is None where a
    method has no randomness (zero-shot).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    dataset: str
    split: Literal["base", "novel", "all"]
    part: Literal["val", "test"]
    method: str
    seed: int | None
    accuracy: float


class RunRecord(BaseModel):
    """Everything needed to find and to repeat a run. Times are in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    notebook: str
    parameters: dict[str, Any]
    parameters_sha256: str
    weights_sha256: str
    roles_sha256: str
    split_sha256: dict[str, str]
    commit: str
    versions: dict[str, str]
    hardware: dict[str, str | int]
    wall_seconds: float
    metrics: tuple[Metric, ...]
    curves: dict[str, list[dict[str, float]]] = {}

    def save(self, path: Path) -> None:
        """Writes the record whole or not at all."""
        write_text(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "RunRecord":
        """Reads a record, or says in one line why not."""
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError as error:
            raise InputError(f"{path}: expected a run record, found none; run the training of {path.parent.name} first") from error
        except (ValidationError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: expected a run record, got something else; delete it and run again") from error


def provenance() -> dict[str, Any]:
    """The commit, package versions and hardware of this process, as a record wants them."""
    hardware: dict[str, str | int] = {"processor": _processor(), "threads": torch.get_num_threads(), "system": platform.system()}
    if torch.cuda.is_available():
        hardware["gpu"] = torch.cuda.get_device_name()
    return {"commit": tables.commit(), "versions": {p: version(p) for p in PACKAGES}, "hardware": hardware}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = [x.split(":", 1)[1].strip() for x in cpuinfo.read_text().splitlines() if x.startswith("model name")] if cpuinfo.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def load_records(paths: Iterable[Path]) -> list[RunRecord]:
    """Records that may stand in one table: same weights and roles, and one split file per data set.

    Raises:
        InputError: naming what differs.
    """
    records = [RunRecord.load(p) for p in paths]
    for name in ("weights_sha256", "roles_sha256"):
        seen = sorted({str(getattr(r, name)) for r in records})
        if len(seen) > 1:
            raise InputError(f"records: expected one {name}, got {', '.join(s[:12] for s in seen)}; rerun the older runs")
    splits: dict[str, str] = {}
    for record in records:
        for dataset, digest in record.split_sha256.items():
            if splits.setdefault(dataset, digest) != digest:
                two = f"{splits[dataset][:12]} and {digest[:12]}"
                raise InputError(f"records: expected one split file of {dataset}, got {two}; rerun the older runs")
    return records


def tidy(records: Sequence[RunRecord]) -> pd.DataFrame:
    """All metrics, a row each: dataset, split, part, method, seed, accuracy."""
    return pd.DataFrame([m.model_dump() for r in records for m in r.metrics])


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


def write_table(table: pd.DataFrame, stem: Path, sidecar: dict[str, Any]) -> None:
    """CSV (numbers), Markdown and LaTeX (booktabs) of one table, and a JSON file that says where it comes from."""
    tables.write(table, presentable(table), stem, sidecar)
