"""Which methods there are: a module of `dearlib.methods.family` each, found by its name, built from plain settings."""

import dataclasses
import difflib
import inspect
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dearlib.clip.loading import FrozenClip
from dearlib.errors import InputError
from dearlib.methods import controls, family
from dearlib.methods.interface import Classes, Method
from dearlib.methods.recipe import Recipe


def names(package: ModuleType = family) -> list[str]:
    """The methods' names in parameter files: those of their modules, in the family or among the `controls`."""
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__))


def module(key: str) -> ModuleType:
    """A method's module: its class as `METHOD`, the class of its settings as `Settings`, its authors' recipe as `RECIPE`.

    Raises:
        InputError: there is no such method.
    """
    for package in (family, controls):
        if key in names(package):
            return import_module(f"{package.__name__}.{key}")
    known = names() + names(controls)
    near = difflib.get_close_matches(key, known, n=1)
    raise InputError(f"method: expected {near[0] if near else 'one of ' + ', '.join(known)}, got {key!r}; correct the name")


def build(key: str, clip: FrozenClip, classes: Classes, settings: Mapping[str, Any], seed: int, **given: Any) -> Method:
    """A method on a frozen CLIP for the classes that it will be trained on.

    Args:
        settings: what differs from the method's own defaults.
        given: what the method `wants` besides (`roles`, `teacher`); what it does not want it is not shown.

    Raises:
        InputError: an unknown method or setting, a value that cannot be, something wanted that is not given.
    """
    found = module(key)
    missing = [name for name in found.METHOD.wants if given.get(name) is None]
    if missing:
        raise InputError(f"{key}: expected {', '.join(missing)}, got none; {found.METHOD.title} cannot be trained without")
    wanted = {name: given[name] for name in found.METHOD.wants}
    return found.METHOD(clip, classes, checked(key, found.Settings, settings), seed, **wanted)


def recipe(key: str, changes: Mapping[str, Any]) -> Recipe:
    """The authors' recipe with some values changed."""
    start = module(key).RECIPE
    return checked(key, type(start), dataclasses.asdict(start) | dict(changes))


def checked(key: str, kind: type, values: Mapping[str, Any]) -> Any:
    """A dataclass from plain values, or one line that says which value is wrong."""
    fields = list(inspect.signature(kind).parameters)
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            raise InputError(
                f"{key}: expected {near[0] if near else 'one of ' + ', '.join(fields)}, got the unknown key {name!r}; correct it"
            )
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{key}: {name}: {first['msg']}, got {first['input']!r}; correct it") from error
