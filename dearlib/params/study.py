"""What a study runs, as `params/<profile>/study.yaml` says it: groups of runs, each on some data sets."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dearlib.errors import InputError
from dearlib.params.mistakes import line_of
from dearlib.params.reading import PROFILE, merged
from dearlib.params.schemas import Name, Variant
from dearlib.params.yaml12 import read_yaml

STUDY = "study.yaml"
Datasets = Annotated[tuple[Name, ...], Field(min_length=1)]


class Group(BaseModel):
    """Runs that are made together on each of `datasets`: one record a data set.

    `classes`: train on the base half and test both halves, or train and test on all. `settings` are what the whole group has in
    place of the profile's, `runs` a name for each run and what it has in place of these. `targets`: other data sets that the
    trained models are tested on. `linear_probe`: a logistic regression on the frozen features beside them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    datasets: Datasets
    classes: Literal["halves", "all"]
    settings: dict[str, Any] = {}
    runs: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    targets: tuple[Name, ...] = ()
    linear_probe: bool = False


class Study(BaseModel):
    """All groups of a profile; `sets` names lists of data sets that several groups have."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sets: dict[Name, Datasets] = {}
    groups: Annotated[dict[Name, Group], Field(min_length=1)]


def read_study(folder: Path) -> Study:
    """The study of a profile's folder; where a profile extends another, its groups replace those of the same name.

    Raises `InputError` in one line: a key that no group has, a run whose settings cannot be.
    """
    path = folder / STUDY
    values = _with_sets(read_yaml(path))
    try:
        study = Study.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise InputError(f"{path}: {line_of(error.errors(include_url=False)[0], Group)}; correct the file") from None
    for name, group in study.groups.items():
        for run in group.runs:
            run_settings(folder, group, run, group.datasets[0], where=f"{path}: {name}")
    return study


def _with_sets(values: dict[str, Any]) -> dict[str, Any]:
    """The name of a set among a group's data sets stands for the set; whatever is wrong is left for the schema to tell."""
    sets, groups = values.get("sets", {}), values.get("groups")
    if isinstance(sets, dict) and isinstance(groups, dict):
        for group in groups.values():
            for key in ("datasets", "targets"):
                if isinstance(group, dict) and isinstance(named := group.get(key), list):
                    group[key] = [name for one in named for name in (sets.get(one, [one]) if isinstance(one, str) else [one])]
    return values


def run_settings(
    folder: Path, group: Group, run: str, dataset: str, where: str = "study", given: Mapping[str, Any] | None = None
) -> Variant:
    """All settings of one run on one data set.

    Over the profile's values stand the group's, then the profile's own for this data set, the run's, those `given` by hand.
    """
    values = merged(folder / PROFILE, Variant.model_fields)
    special = values.pop("per_dataset", {})
    values |= group.settings | special.get(dataset, {}) | group.runs[run] | dict(given or {}) | {"dataset": dataset}
    try:
        return Variant.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        first = next(iter(sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")))
        raise InputError(f"{where}: runs.{run}: {line_of(first, Variant)}; correct the file") from None
