"""Reading parameters: a file, a record or a notebook's cell, checked by its schema before anything runs."""

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dearlib.errors import InputError
from dearlib.params.schemas import MODELS, Run, line_of, plain
from dearlib.params.yaml12 import parse, read_yaml


def load_params(notebook: str, path: Path | str, overrides: Mapping[str, str] | None = None) -> Run:
    """The validated parameters of `notebook` (its stem, "05_training") from a file; `overrides` are YAML scalars as text."""
    values = read_yaml(Path(path))
    given = {key: parse(text, f"-p {key}={text}") for key, text in (overrides or {}).items()}
    values |= given
    if isinstance(special := values.get("per_dataset"), dict) and "per_dataset" not in given:  # what is given by hand wins
        values["per_dataset"] = {
            n: {k: v for k, v in own.items() if k not in given} if isinstance(own, dict) else own for n, own in special.items()
        }
    return _check(notebook, values, str(path))


def load_values(notebook: str, values: Mapping[str, Any]) -> Any:
    """The validated parameters of `notebook` from a run record's."""
    return _check(notebook, dict(values), f"record of {notebook}")


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


def processes(device: str) -> int:
    """How many processes share a notebook's training: 2 for "2 x cuda"."""
    count = device.rpartition(" x ")[0]
    return int(count) if count else 1


def accelerator(device: str) -> str:
    """What each of them computes on: "cuda" for "2 x cuda"."""
    return device.rpartition(" x ")[2]


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
