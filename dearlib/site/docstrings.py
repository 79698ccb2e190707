"""Docstrings as this project writes them, made readable by Sphinx: formulas keep their lines, lists need no empty line before them."""

import re
from typing import Any

FORMULA = re.compile(r"^ {4,}\S")
SECTION = re.compile(r"^(Args|Raises|Returns|Yields|Note|Example|Source|Attributes)\b.*:\s*$")
ITEM = re.compile(r"^( *)(?:[-*]|\d+\.) ")


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("autodoc-process-docstring", _process, priority=100)  # before napoleon, which reads the sections
    return {"parallel_read_safe": True}


def _process(app: Any, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    lines[:] = formulas_kept(lists_apart(lines))


def formulas_kept(lines: list[str]) -> list[str]:
    """Puts `::` before an indented block that follows an empty line, unless a section such as `Args:` or a list holds it."""
    kept: list[str] = []
    inside = False  # a section, a list or a literal block: its indentation means something else
    for i, line in enumerate(lines):
        if line.strip() and not line.startswith(" "):
            inside = bool(SECTION.match(line)) or bool(ITEM.match(line)) or line.rstrip().endswith("::")
        starts = FORMULA.match(line) and (i == 0 or not lines[i - 1].strip())
        if starts and not inside:
            kept += ["::", ""]
            inside = True
        kept.append(line)
    return kept


def lists_apart(lines: list[str]) -> list[str]:
    """Puts an empty line before a list that follows a sentence at once, and after it."""
    kept: list[str] = []
    depth: int | None = None  # the indentation of the list that we are in
    for line in lines:
        item = ITEM.match(line)
        indent = len(line) - len(line.lstrip())
        if item and depth is None:
            if kept and kept[-1].strip():
                kept.append("")
            depth = len(item[1])
        elif line.strip() and depth is not None and not item and indent <= depth:
            if kept[-1].strip():
                kept.append("")
            depth = None
        kept.append(line)
    return kept
