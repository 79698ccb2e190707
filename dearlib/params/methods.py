"""What a run of a method other than DeAR is told: the profile's shared values, and `params/<profile>/methods/NAME.yaml`.

A method's file says its recipe and its settings, as far as they differ from its authors' (`dearlib.methods.family`), and how its
pictures are drawn. Where a profile extends another, its files stand above that one's of the same name, key by key.
"""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dearlib.errors import InputError
from dearlib.params.mistakes import line_of
from dearlib.params.reading import profile_layers
from dearlib.params.types import Count, CropScale, Name, NonNegative, OnClip, Seeds, Template
from dearlib.params.yaml12 import read_yaml

FOLDER = "methods"


class Teacher(BaseModel):
    """The tuned model whose answers a method learns: `method` trained on the same base classes with the same seed.

    `clip`: its frozen CLIP; null: the run's own. `recipe`, `settings`: in place of those of its own parameter file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    method: Name
    clip: Annotated[str, Field(min_length=1)] | None = None
    recipe: dict[str, Any] = {}
    settings: dict[str, Any] = {}


class MethodFile(BaseModel):
    """`params/<profile>/methods/NAME.yaml`.

    `recipe`, `settings`: what differs from the method's own `RECIPE` and `Settings`; `chosen`: what trials on validation pictures chose in
    their place (`dearlib.study.fair`). `views`, `crop_scale`, `flip`: in place of the
    profile's. `templates`: by data set, prompts of the method's own. `descriptions`: by data set, a JSON file with a list of sentences
    for each class. `per_dataset`: recipe and settings of single data sets. `joins`: groups of the study that the method joins under
    the name `row`, beside those whose runs name it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    recipe: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    chosen: dict[Literal["recipe", "settings"], dict[str, Any]] = {}
    views: Annotated[int, Field(ge=0)] | None = None
    crop_scale: CropScale | None = None
    flip: bool | None = None
    templates: dict[Name, Template] = {}
    descriptions: dict[Name, Path] = {}
    teacher: Teacher | None = None
    per_dataset: dict[Name, dict[Literal["recipe", "settings"], dict[str, Any]]] = {}
    joins: tuple[Name, ...] = ()
    row: str | None = None


class MethodRun(OnClip):
    """One run of another method, all its values in place. What stands here as in `Training` means the same.

    `roles` is for methods that want a role map; its first layer also says where kept states lie that several methods share.
    """

    method: Name
    dataset: Name
    roles: Path
    processes: Count
    cache_root: Path
    cache_dtype: Literal["float32", "float16", "bfloat16"]
    cache_gb: NonNegative
    together: Count
    shots: Count
    seeds: Seeds
    views: Annotated[int, Field(ge=0)]
    crop_scale: CropScale
    flip: bool
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    recipe: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    templates: dict[Name, Template] = Field(default_factory=dict)
    descriptions: dict[Name, Path] = Field(default_factory=dict)
    teacher: Teacher | None = None


def method_files(folder: Path) -> dict[str, MethodFile]:
    """All methods of a profile and of those that it extends, by name, the lowest profile's first.

    Raises `InputError` in one line that names the file, for what cannot be.
    """
    values: dict[str, dict[str, Any]] = {}
    for layer, _ in profile_layers(folder):
        for path in sorted((layer / FOLDER).glob("*.yaml")):
            values[path.stem] = deep(values.get(path.stem, {}), read_yaml(path))
    return {name: _one(folder / FOLDER / f"{name}.yaml", own) for name, own in values.items()}


def _one(path: Path, values: dict[str, Any]) -> MethodFile:
    try:
        return MethodFile.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        first = next(iter(sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")))
        raise InputError(f"{path}: {line_of(first, MethodFile)}; correct the file") from None


def method_file(folder: Path, name: str) -> MethodFile:
    """One method's. Raises `InputError` if the profile has no file for it."""
    files = method_files(folder)
    if name not in files:
        near = difflib.get_close_matches(name, files, n=1) or [f"one of {', '.join(files)}" if files else "no method but DeAR"]
        raise InputError(f"method: expected {near[0]}, got {name!r}; correct the name, or write {folder / FOLDER / name}.yaml")
    return files[name]


def method_values(folder: Path, name: str, dataset: str, chosen: bool = True) -> dict[str, Any]:
    """What a method's file says of a run on one data set: values for `MethodRun`; without what was `chosen`, as trials start from."""
    told = method_file(folder, name)
    values = told.model_dump(mode="json", exclude_defaults=True, exclude={"per_dataset", "joins", "row", "chosen"})
    values = deep(values, {str(k): v for k, v in told.chosen.items()}) if chosen else values
    values = {"method": name, **deep(values, {str(k): v for k, v in told.per_dataset.get(dataset, {}).items()})}
    if told.teacher:
        own = method_values(folder, told.teacher.method, dataset)
        values["teacher"] = deep({k: own[k] for k in ("recipe", "settings") if k in own}, values["teacher"])
    return values


def deep(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` above `under`, mappings within key by key."""
    both = {k: deep(under[k], v) if isinstance(v, dict) and isinstance(under.get(k), dict) else v for k, v in over.items()}
    return {**under, **both}
