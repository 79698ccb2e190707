"""Run records, and the tables made from them.

A record is one JSON file: what was run, on what, with which hashes, and a tidy list of metrics (a row per data set,
seed, split and method). Tables are functions of records alone.
"""

import platform
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dearlib.datasets.generated import note
from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.params.types import Run
from dearlib.study import tables
from dearlib.texts import read_text

PACKAGES = ("dearlib", "torch", "open_clip_torch", "numpy", "scikit-learn", "hdbscan", "sentence-transformers", "lightning-fabric")


class Metric(BaseModel):
    """One number: top-1 accuracy in percent of a method on one half of a data set's images, or on all of them.

    `part`: tables are made of 'test' alone; 'val' is what hyper-parameters may be chosen on. `seed` is None where a
    method has no randomness (zero-shot). `shots`: training pictures a class, None where there are none or the run has
    one number of them. `trained_on`: the data set of the training pictures, None if it is `dataset` itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    dataset: str
    split: Literal["base", "novel", "all"]
    part: Literal["val", "test"]
    method: str
    seed: int | None
    accuracy: float = Field(ge=0, le=100)
    shots: int | None = None
    trained_on: str | None = None


class RunCost(BaseModel):
    """What one run took; stands beside the tables, and no table's accuracy depends on it.

    `parameters`: trained numbers. `steps` of training; `pictures`: seen in them, every view counted. `seconds_per_step`: of one run, a
    batch of runs shared out evenly; `memory_gb`: the process's peak while they were trained; both None where they were not measured.
    `transductive`: it saw the test classes' unlabelled pictures, so it stands apart.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    method: str
    parameters: int = Field(ge=0)
    steps: int = Field(ge=0)
    pictures: int = Field(ge=0)
    seconds_per_step: float | None = Field(default=None, ge=0)
    memory_gb: float | None = Field(default=None, ge=0)
    transductive: bool = False

    @property
    def seconds(self) -> float:
        """Of all steps; 0 where they were not measured."""
        return self.steps * (self.seconds_per_step or 0.0)


class RunGates(BaseModel):
    """What must be so before a run of DeAR says anything about tokens and masks (`dearlib.methods.gates`), means over pictures.

    `tokens`: cosine between attribute tokens' features, None where there is one; `class_feature`: of it with the frozen model's;
    `shielded`: heads, by layer. `alpha`: the fusion weights, the class feature's and each attribute's (Eq. 19).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    tokens: float | None
    class_feature: float
    shielded: dict[str, int]
    alpha: dict[str, float]


class RunRecord(BaseModel):
    """Everything needed to find and to repeat the runs of one group on one data set. Times are in seconds.

    `wall_seconds`: of making it, and where an earlier call had made some of its runs, at least what these took.
    `identity` is the frozen model's (`FrozenClip.identity`). `runs` holds every run's settings as validated, `last` what its last epoch
    reported, and `gates`, of DeAR's own, by run and seed; `costs` what a run took. `generated` is the data root's note where its pictures
    only stand in for a public data set, else None.
    `neighbours` and `flat` belong to Figure 3: numbers of the gallery's pictures (a token's for one query after the other), and features
    in two dimensions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    profile: str
    group: str
    dataset: str
    runs: dict[str, dict[str, Any]]
    parameters_sha256: str
    weights_sha256: str
    identity: str
    roles_sha256: str
    split_sha256: dict[str, str]
    commit: str
    versions: dict[str, str]
    hardware: dict[str, str | int]
    wall_seconds: float
    metrics: tuple[Metric, ...]
    last: dict[str, dict[str, float]]
    costs: dict[str, RunCost] = {}
    gates: dict[str, RunGates] = {}
    neighbours: dict[str, tuple[int, ...]] = {}
    flat: dict[str, list[list[float]]] = {}
    generated: str | None = None

    def save(self, path: Path) -> None:
        """Writes the record whole or not at all."""
        write_text(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "RunRecord":
        """Reads a record, or says in one line why not."""
        try:
            return cls.model_validate_json(read_text(path))
        except FileNotFoundError as error:
            raise InputError(f"{path}: expected a run record, found none; `make reproduce` makes it") from error
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: expected a run record, got something else; delete it and run again") from error


def provenance(data_root: Path | None = None, others: Collection[str] = ()) -> dict[str, Any]:
    """The commit, package versions and hardware of this process, as a record wants them, and the data root's note if it has one.

    `others`: processors that made parts of the record in earlier sittings; they are named beside this one.
    """
    processors = ", ".join(sorted({processor(), *others}))
    hardware: dict[str, str | int] = {"processor": processors, "threads": torch.get_num_threads(), "system": platform.system()}
    if torch.cuda.is_available():
        hardware["gpu"] = torch.cuda.get_device_name()
    said = note(data_root) if data_root else None
    return {
        "commit": tables.commit(),
        "versions": {p: version(p) for p in PACKAGES},
        "hardware": hardware,
        **({"generated": said} if said else {}),
    }


def processor() -> str:
    """This machine's processor, by its own name."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [x.split(":", 1)[1].strip() for x in cpuinfo.read_text().splitlines() if x.startswith("model name")] if cpuinfo.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def together(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records themselves, if they may stand in one table: same weights, read as one model, same roles, one split file per data set.

    Raises:
        InputError: naming what differs.
    """
    for name in ("weights_sha256", "identity", "roles_sha256"):
        seen = sorted({str(getattr(r, name)) for r in records})
        if len(seen) > 1:
            raise InputError(f"records: expected one {name}, got {', '.join(s[:12] for s in seen)}; rerun the older runs")
    splits: dict[str, str] = {}
    for record in records:
        for dataset, digest in record.split_sha256.items():
            if splits.setdefault(dataset, digest) != digest:
                two = f"{splits[dataset][:12]} and {digest[:12]}"
                raise InputError(f"records: expected one split file of {dataset}, got {two}; rerun the older runs")
    return list(records)


def origin(notebook: str, params: Run, records: Sequence[RunRecord]) -> dict[str, Any]:
    """The sidecar of what was made from records: notebook, parameters' hash, weights, roles, and each record with its commit."""
    first = records[0]
    used = [r.model_dump(include={"group", "dataset", "commit", "parameters_sha256", "split_sha256"}) for r in records]
    said = next((r.generated for r in records if r.generated), None)
    return tables.origin(notebook, params, said, weights_sha256=first.weights_sha256, roles_sha256=first.roles_sha256, records=used)


def tidy(records: Sequence[RunRecord]) -> pd.DataFrame:
    """All metrics, a row each: dataset, split, part, method, seed, accuracy; of records that may stand in one table (`together`)."""
    return pd.DataFrame([m.model_dump() for r in together(records) for m in r.metrics])
