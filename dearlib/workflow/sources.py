"""Which files of the package a notebook or module stands on, so that Snakemake reruns what a change touches and no more."""

import ast
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def sources(start: Path) -> list[Path]:
    """The package's modules that `start` (a notebook's .py or a module) imports, directly or through one another, sorted.

    Found by reading import statements, also those inside functions; nothing is executed.
    """
    found: set[Path] = set()
    waiting = _imports(start)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting |= _imports(path)
    return sorted(found)


def _imports(path: Path) -> set[Path]:
    return {file for name in _names(path.read_text(encoding="utf-8")) if name.split(".")[0] == PACKAGE.name for file in _files(name)}


@lru_cache(maxsize=512)
def _names(text: str) -> frozenset[str]:
    """Whatever a source may import; each text is parsed once, though most notebooks stand on most modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def _files(name: str) -> list[Path]:
    """`dearlib.a.b` → the modules that importing it runs: the packages above it and itself."""
    parts = name.split(".")[1:]
    files = [PACKAGE.joinpath(*parts[:i], "__init__.py") for i in range(len(parts) + 1)]
    if parts:
        files.append(PACKAGE.joinpath(*parts).with_suffix(".py"))
    return [file for file in files if file.is_file()]
