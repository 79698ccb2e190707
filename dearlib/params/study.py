"""What a study runs, as `params/<profile>/study.yaml` says it: groups of runs, each on some data sets."""

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from dearlib.errors import InputError
from dearlib.params.methods import FOLDER, MethodFile, MethodRun, deep, method_files, method_values
from dearlib.params.mistakes import line_of
from dearlib.params.reading import PROFILE, merged
from dearlib.params.schemas import Variant
from dearlib.params.types import Name
from dearlib.params.yaml12 import read_yaml

STUDY = "study.yaml"
CLIP, PROBE, CLASS_FEATURE = "CLIP", "linear probe", " (class feature)"  # rows that stand beside the runs', and what ends the names of some
LONGEST = 100  # letters of a run's name


def _each_once(datasets: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(datasets)) < len(datasets):
        raise PydanticCustomError("distinct", "distinct data sets")
    return datasets


Distinct = Annotated[tuple[Name, ...], AfterValidator(_each_once)]  # one that is named twice would count twice in an average
Datasets = Annotated[Distinct, Field(min_length=1)]


class Group(BaseModel):
    """Runs that are made together on each of `datasets`: one record a data set.

    `classes`: train on the base half and test both halves, or train and test on all. `settings` are what the whole group has in
    place of the profile's, `runs` a name for each run and what it has in place of these. A run that names a `method` is that method's,
    with the values of its own file (`dearlib.params.methods`), all others are DeAR's; `others` is what those runs have in place of their
    files' values. `targets`: other data sets that the trained models are tested on. `linear_probe`: a logistic regression on the
    frozen features beside them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    datasets: Datasets
    classes: Literal["halves", "all"]
    settings: dict[str, Any] = {}
    others: dict[str, Any] = {}
    runs: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    targets: Distinct = ()
    linear_probe: bool = False

    @field_validator("targets")
    @classmethod
    def trained_elsewhere(cls, targets: tuple[str, ...], known: Any) -> tuple[str, ...]:
        if set(targets) & set(known.data.get("datasets", ())):
            raise PydanticCustomError("targets", "other data sets than those that are trained on")
        return targets

    @field_validator("runs")
    @classmethod
    def rows_of_their_own(cls, runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for run in runs:
            if not run.strip() or not run.isprintable() or len(run) > LONGEST:
                raise PydanticCustomError("names", "names of 1 to {most} letters that can be printed", {"most": LONGEST})
            if row(run) in (CLIP, PROBE) or row(run).endswith(CLASS_FEATURE):
                taken = {"one": CLIP, "two": PROBE, "end": CLASS_FEATURE.strip()}
                raise PydanticCustomError("names", "names other than {one}, {two} and … {end}, whose rows are made beside the runs'", taken)
        return runs

    @field_validator("runs")
    @classmethod
    def files_of_their_own(cls, runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        names: dict[str, str] = {}
        for run in runs:
            if (other := names.setdefault(tokens_file(run, 0), run)) != run:
                told = {"one": other, "two": run}
                raise PydanticCustomError("names", "names that differ in more than blanks, '_' and '/', unlike '{one}' and '{two}'", told)
        return runs

    @property
    def dear(self) -> list[str]:
        """The names of DeAR's own runs."""
        return [name for name, own in self.runs.items() if "method" not in own]

    @property
    def methods(self) -> list[str]:
        """The rows of the other methods, each once: their runs' names up to the first comma."""
        return list(dict.fromkeys(row(name) for name, own in self.runs.items() if "method" in own))

    def only(self, rows: Collection[str]) -> "Group":
        """Without the other methods that `rows` does not name; DeAR's own runs stay, for all are compared with it."""
        kept = {name: own for name, own in self.runs.items() if "method" not in own or row(name) in rows}
        return self.model_copy(update={"runs": kept})


def tokens_file(run: str, seed: int) -> str:
    """The file that a run of DeAR leaves its trained part in."""
    return f"tokens-{run.replace(' ', '_').replace('/', '_')}-seed{seed}.safetensors"


def row(run: str) -> str:
    """The row of a table that a run belongs to: its name up to the first comma."""
    return run.partition(",")[0]


def trainings(settings: Mapping[str, Variant | MethodRun]) -> list[str]:
    """The runs that are trained: of runs that differ only after training the first."""
    seen: list[Variant | MethodRun] = []
    found = []
    for run, p in settings.items():
        trained = p.as_trained if isinstance(p, Variant) else p
        if isinstance(p, MethodRun) or trained not in seen:
            found.append(run)
        seen.append(trained)
    return found


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
    study = _joined(study, method_files(folder))
    for name, group in study.groups.items():
        for run in group.runs:
            run_settings(folder, group, run, group.datasets[0], where=f"{path}: {name}")
    return study


def _joined(study: Study, files: Mapping[str, MethodFile]) -> Study:
    """With a run of every method that joins a group by its own file, after the group's own runs."""
    groups = dict(study.groups)
    for method, told in files.items():
        for name in told.joins:
            if name not in groups:
                expected = ", ".join(groups)
                raise InputError(f"{FOLDER}/{method}.yaml: joins: expected groups among {expected}, got {name}; correct the file")
            if (new := told.row or method) in groups[name].runs:
                raise InputError(f"{FOLDER}/{method}.yaml: row: expected a name that {name} does not have, got {new}; choose another")
            groups[name] = groups[name].model_copy(update={"runs": {**groups[name].runs, new: {"method": method}}})
    return study.model_copy(update={"groups": groups})


def rows_named(study: Study, names: Sequence[str]) -> list[str]:
    """The rows that a user names: as tables do, up to a row's first blank, or by the method's own name.

    Raises `InputError` for a name that no group has.
    """
    rows = {name: str(own["method"]) for group in study.groups.values() for name, own in group.runs.items() if "method" in own}
    known = {key: row(name) for name, method in rows.items() for key in (method, row(name).partition(" ")[0], row(name))}
    known["DeAR"] = "DeAR"
    if unknown := [name for name in names if name not in known]:
        near = difflib.get_close_matches(unknown[0], known, n=1) or [f"some of {', '.join(dict.fromkeys(known.values()))}"]
        raise InputError(f"--methods: expected {near[0]}, got {unknown[0]}; correct the name")
    return list(dict.fromkeys(known[name] for name in names))


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
    folder: Path,
    group: Group,
    run: str,
    dataset: str,
    where: str = "study",
    given: Mapping[str, Any] | None = None,
    chosen: bool = True,
) -> Variant | MethodRun:
    """All settings of one run on one data set.

    Of DeAR: over the profile's values stand the group's, then the profile's own for this data set, the run's, those `given` by hand.
    Of another method its file stands above the profile, both with what they say of this data set; of the group's settings those
    count that it knows, and above them what the group says of others. `chosen`: with what trials chose (`MethodFile.chosen`).
    """
    own, given = group.runs[run], dict(given or {}) | {"dataset": dataset}
    if "method" in own:
        model: type[Variant] | type[MethodRun] = MethodRun
        values = _of_method(folder, group, own, dataset, f"{where}: runs.{run}", chosen) | given
    else:
        model = Variant
        values = merged(folder / PROFILE, Variant.model_fields)
        special = values.pop("per_dataset", {})
        values |= group.settings | _of_this(special, dataset, where) | own | given
    try:
        return model.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        first = next(iter(sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")))
        raise InputError(f"{where}: runs.{run}: {line_of(first, model)}; correct the file") from None


def _of_method(folder: Path, group: Group, own: Mapping[str, Any], dataset: str, where: str, chosen: bool) -> dict[str, Any]:
    """A method's values, see `run_settings`."""
    shared = merged(folder / PROFILE, {*MethodRun.model_fields, "per_dataset"})
    special = _of_this(shared.pop("per_dataset", {}), dataset, where)
    try:
        values = shared | _known(special) | method_values(folder, str(own["method"]), dataset, chosen)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return deep(deep(values | _known(group.settings), group.others), own)


def _of_this(special: object, dataset: str, where: str) -> dict[str, Any]:
    """What a profile says of one data set."""
    own = special.get(dataset, {}) if isinstance(special, dict) else special
    if not isinstance(own, dict):
        expected = "{data set: {key: value}} in " + PROFILE
        raise InputError(f"{where}: per_dataset: expected {expected}, got {own!r}; correct the file")
    return own


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in MethodRun.model_fields}


def dear_settings(
    folder: Path, group: Group, run: str, dataset: str, where: str = "study", given: Mapping[str, Any] | None = None
) -> Variant:
    """`run_settings` of one of DeAR's own runs. Raises `InputError` if it is another method's."""
    settings = run_settings(folder, group, run, dataset, where, given)
    if not isinstance(settings, Variant):
        raise InputError(f"{where}: runs.{run}: expected a run of DeAR, got one of {settings.method}; correct the file")
    return settings
