"""What a step asks of a scheduler: GPUs as its parameter file's `device` says, memory and minutes as the profile's file says.

`params/<profile>/resources.yaml` names rules of the Snakefile; `default` holds for all others.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dearlib.errors import InputError
from dearlib.params.reading import accelerator, processes
from dearlib.params.schemas import Count
from dearlib.params.yaml12 import read_yaml


class Needs(BaseModel):
    """Upper bounds: a scheduler ends a job that takes more."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    memory_mb: Count
    minutes: Count


def load_resources(path: Path) -> dict[str, Needs]:
    """Rule → what it needs, with the entry `default`. Raises InputError in one line."""
    entries = read_yaml(path)
    if "default" not in entries:
        raise InputError(f"{path}: expected an entry `default` beside those of single rules, got {', '.join(entries) or 'none'}")
    return {rule: _needs(path, rule, values) for rule, values in entries.items()}


def _needs(path: Path, rule: str, values: object) -> Needs:
    try:
        return Needs.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join([rule, *map(str, first["loc"])])
        raise InputError(f"{path}: {where}: expected memory_mb and minutes, whole numbers from 1, got {first['input']!r}") from None


def workers(params: Path) -> int:
    """How many processes a notebook with this parameter file trains with."""
    return processes(str(read_yaml(params).get("device")))


def gpus(params: Path) -> int:
    """How many GPUs it wants: one for each of them where `device` is cuda, else none."""
    return workers(params) if accelerator(str(read_yaml(params).get("device"))) == "cuda" else 0
