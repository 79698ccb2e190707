"""Reading parameters: a file or a notebook's cell, checked by its schema before anything runs."""

import difflib
import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dearlib.errors import InputError
from dearlib.params.mistakes import line_of
from dearlib.params.schemas import MODELS
from dearlib.params.types import Run, plain
from dearlib.params.yaml12 import parse, read_yaml

PROFILE = "profile.yaml"
MEMORY = "memory_gb"  # that a step takes at most: told to who runs the steps, not to a notebook


def load_params(notebook: str, path: Path | str, overrides: Mapping[str, str] | None = None) -> Run:
    """The validated parameters of `notebook` (its stem, "05_training") from a file and, beneath it, its profile's.

    `overrides` are YAML scalars as text. What a profile says of keys that this notebook does not have is left out; a notebook of
    which it says all needs no file of its own.
    """
    path = Path(path)
    values = merged(path, set(model_of(notebook).model_fields))
    if not values or (not path.is_file() and path.name != f"{notebook}.yaml"):
        values = read_yaml(path)
    given = {key: parse(text, f"-p {key}={text}") for key, text in (overrides or {}).items()}
    values |= given
    if isinstance(special := values.get("per_dataset"), dict) and "per_dataset" not in given:  # what is given by hand wins
        values["per_dataset"] = {
            n: {k: v for k, v in own.items() if k not in given} if isinstance(own, dict) else own for n, own in special.items()
        }
    return _check(notebook, values, str(path))


def split_overrides(pairs: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` → {KEY: VALUE}. Raises `InputError` for anything else, and where one key has two values."""
    told: dict[str, str] = {}
    for pair in pairs:
        key, given, value = pair.partition("=")
        if not given:
            raise InputError(f"-p {pair}: expected KEY=VALUE, got no '='")
        if told.setdefault(key, value) != value:
            raise InputError(f"-p {key}: expected one value, got {told[key]} and {value}; leave one out")
    return told


def merged(path: Path, keys: Collection[str]) -> dict[str, Any]:
    """A parameter file's values over those of its folder's `profile.yaml`, and over the profile that this one `extends`.

    Of the profiles only `keys` are taken; the file's own are all kept, so that a mistyped one is told.
    """
    values: dict[str, Any] = {}
    for folder, shared in profile_layers(path.parent):
        values |= {key: value for key, value in shared.items() if key in keys}
        if (folder / path.name).is_file() and path.name != PROFILE:
            values |= read_yaml(folder / path.name)
    return values


def profile_layers(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The profiles that lie beneath a folder of `params/`, the lowest first, each with its shared values; [] where there is none.

    Raises `InputError` for a key that no parameter file knows, or a profile that extends itself.
    """
    found: list[tuple[Path, dict[str, Any]]] = []
    while (path := folder / PROFILE).is_file():
        if folder in [seen for seen, _ in found]:
            raise InputError(f"{path}: extends: expected another profile, got one that leads back here; correct the file")
        values = read_yaml(path)
        below = values.pop("extends", None)
        known = {MEMORY, *(key for model in MODELS.values() for key in model.model_fields)}
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                raise InputError(f"{path}: {key}: expected {near[0] if near else 'a key of some parameter file'}, got an unknown key")
        found.append((folder, values))
        if below is None:
            break
        folder = folder.parent / str(below)
        if not (folder / PROFILE).is_file():
            raise InputError(f"{path}: extends: expected a profile with a {PROFILE} beside {path.parent}, got '{below}'; correct the name")
    return found[::-1]


def validated(notebook: str, namespace: Mapping[str, Any]) -> Any:
    """The parameters cell of `notebook`, checked by the model of its name: call it as `validated("05_training", globals())`.

    Goes to the repository's root first, so that relative paths mean the same under Jupyter, which starts in
    `notebooks/`, as under the runner.
    """
    os.chdir(repository(Path.cwd()))
    fields = model_of(notebook).model_fields
    return _check(notebook, {k: namespace[k] for k in fields if k in namespace}, f"notebooks/{notebook}.py")


def repository(start: Path) -> Path:
    """The nearest folder at or above `start` with `notebooks/` and `params/` in it; `start` itself if there is none."""
    start = start.resolve()
    return next((f for f in (start, *start.parents) if (f / "notebooks").is_dir() and (f / "params").is_dir()), start)


def model_of(notebook: str) -> type[Run]:
    if notebook not in MODELS:
        like = difflib.get_close_matches(notebook, MODELS) or [f"one of {len(MODELS)} of dearlib.params.schemas"]
        raise InputError(f"{notebook}: expected a notebook with parameters, {', '.join(like)}, got {notebook}")
    return MODELS[notebook]


def params_hash(params: Run) -> str:
    """16 hex digits of the SHA-256 of the resolved parameters; the key of caches that depend on all of them."""
    text = json.dumps({"model": type(params).__name__, **plain(params)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check(notebook: str, values: dict[str, Any], where: str) -> Run:
    model = model_of(notebook)
    special = values.get("per_dataset")
    if not isinstance(special, dict) or not special:
        return _one(model, values, where)
    rest = {key: value for key, value in values.items() if key != "per_dataset"}
    plain = _one(model, rest, where)
    each = {}
    for name, own in special.items():
        if not isinstance(own, dict) or {"dataset", "per_dataset"} & set(own):
            raise InputError(f"{where}: per_dataset.{name}: expected {{key: value}} of a run's settings, got {own}")
        each[name] = _one(model, rest | own | {"dataset": name}, f"{where}: per_dataset.{name}")
    return each.get(rest.get("dataset"), plain)


def _one(model: type[Run], values: dict[str, Any], where: str) -> Run:
    try:
        return model.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        errors = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise InputError(f"{where}: {line_of(errors[0], model)}{more}") from None
