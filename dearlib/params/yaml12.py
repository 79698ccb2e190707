"""YAML as people read it: the scalars of YAML 1.2, so 1e-4 is a number and `no` a word; no key twice, no aliases, no tags.

The files of `params/` are written so that readers of YAML 1.1, papermill's among them, read the same (1.0e-4).
"""

import re
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from dearlib.errors import InputError
from dearlib.texts import read_text


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: 1e-4 is a number, `no` is a word, 2026-01-01 is a word; keys are words and given once. Errors, too, are an
    alias, by which a few lines can stand for gigabytes, and a tag such as !!set, which makes what no parameter is."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        tag = getattr(event, "tag", None)
        if tag or self.check_event(yaml.AliasEvent):
            got = f"a tag, {tag}; write the value alone" if tag else "an alias; write the value out"
            raise yaml.composer.ComposerError(None, None, got, event.start_mark)
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode) and "\0" in node.value:
            raise yaml.composer.ComposerError(None, None, "a NUL, which no name and no path can have", event.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"a key that is no word, {key}", node.start_mark)
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}  # none of YAML 1.1's
for _tag, _pattern, _first in (
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value))


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds one mapping. Raises InputError on anything else."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a parameter file, got nothing there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a readable text file, got: {error}") from None
    values = parse(text, str(path))
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected `key: value` lines, got {type(values).__name__}")
    return values


def parse(text: str, where: str) -> Any:
    """The value that a YAML text stands for; `where` it comes from opens the error's line."""
    return deepcopy(_parsed(text, where))  # whoever asked may change it


@lru_cache(maxsize=256)
def _parsed(text: str, where: str) -> Any:
    """Each text once: a study merges the same few files for each of hundreds of runs, and reading takes far longer than copying."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{where}: expected YAML, got: {error.problem}{line}") from None
    except RecursionError:
        raise InputError(f"{where}: expected YAML, got: lists nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # the last by a number of thousands of digits
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{where}: expected YAML, got: {reason}") from None
