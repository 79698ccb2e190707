"""Pages and parts of pages that are made from the tree: a line `<!-- generated: NAME -->` in docs/ is where one goes."""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import yaml

from dearlib.errors import InputError
from dearlib.paper.reported import reported_heads
from dearlib.site.artefacts import artefacts

MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
NOT_IMPORTED = ("__main__",)
LESSON = re.compile(r"^\d\d_")


def filled(text: str, root: Path) -> str:
    """The text of a page with all its marks replaced. Raises `InputError` for a mark that nothing makes."""

    def made(mark: re.Match[str]) -> str:
        if mark[1] not in PARTS:
            raise InputError(f"docs: expected a mark among {', '.join(PARTS)}, got '{mark[1]}'")
        return PARTS[mark[1]](root)

    return MARK.sub(made, text)


def notebooks(root: Path) -> list[Path]:
    """The lessons in their order, without assignments: those are handed out as notebooks of their own."""
    return sorted(path for path in (root / "notebooks").glob("*.ipynb") if LESSON.match(path.name))


def card(notebook: Path) -> tuple[str, str, str]:
    """A lesson's title, its question and what it reads, from its first cell; what the cell does not say is empty."""
    first = nbformat.read(notebook, as_version=4).cells[0].source
    title = first.partition("\n")[0].removeprefix("# ").strip()
    question = re.search(r"\*\*Question\.\*\*(.*?)(?:\n\s*\n|\Z)", first, re.DOTALL)
    reads = re.search(r"^\| Reads \|(.*)\|\s*$", first, re.MULTILINE)
    return title, " ".join(question[1].split()) if question else "", reads[1].strip() if reads else ""


def lessons(root: Path) -> str:
    """A list of all lessons with their questions."""
    lines = []
    for path in notebooks(root):
        title, question, reads = card(path)
        lines.append(
            f"- [{title}](/notebooks/{path.name})" + (f"\\\n  {question}" if question else "") + (f"\\\n  *Reads* {reads}" if reads else "")
        )
    return "\n".join(lines)


def contents(root: Path) -> str:
    """The tables of contents that Sphinx builds the sidebar from, in three groups."""
    groups = {
        "Lessons": [f"/notebooks/{path.stem}" for path in notebooks(root)],
        "Guide": [f"/docs/{name}" for name in _guide(root)],
        "Reference": ["/api/index"],
    }
    return "\n".join(f"```{{toctree}}\n:hidden:\n:caption: {name}\n\n" + "\n".join(pages) + "\n```\n" for name, pages in groups.items())


def _guide(root: Path) -> list[str]:
    """Pages of docs/ in reading order: those named here first, then whatever else lies there."""
    first = ("tour", "glossary", "own-data", "teaching", "reproducibility", "beside_the_authors", "reported", "cite")
    found = {path.stem for path in (root / "docs").glob("*.md")} - {"index"}
    return [name for name in first if name in found] + sorted(found - set(first))


def modules(root: Path) -> dict[str, bool]:
    """Every module of the package → whether it is a package itself, without those that are only run."""
    found = {}
    for path in sorted((root / "dearlib").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] not in NOT_IMPORTED:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = parts[-1] == "__init__"
    return dict(sorted(found.items()))


def reference(root: Path) -> dict[str, str]:
    """The pages of the reference, name → Markdown: one for every module, and an index by folder."""
    known = modules(root)
    pages = {}
    for name, is_package in known.items():
        below = [other for other in known if other.rpartition(".")[0] == name]
        named = [f"{other.rpartition('.')[2]} <{other}>" for other in below]
        tree = "\n".join(["```{toctree}", ":maxdepth: 1", "", *named, "```", ""]) if below else ""
        members = "" if is_package else _members(root.joinpath(*name.split(".")).with_suffix(".py"))
        pages[name] = f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n{members}```\n\n{tree}"
    pages["index"] = (
        "# Reference\n\nEvery public name, from its docstring. Shapes are those that the tests check.\n\n```{toctree}\n\ndearlib\n```\n"
    )
    return pages


def _members(module: Path) -> str:
    """The public functions and classes that a module defines itself, in its order; what it imports has a page of its own."""
    defined = [n.name for n in ast.parse(module.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    public = [name for name in defined if not name.startswith("_")]
    return f"   :members: {', '.join(public)}\n   :undoc-members:\n   :show-inheritance:\n" if public else ""


def reported(root: Path) -> str:
    """The paper's tables as they were transcribed, a row per method; every heading says that they are reported."""
    folder = root / "dearlib" / "paper" / "reported"
    parts = []
    heads = reported_heads(folder)
    phrases = heads.groupby(["attribute", "layer", "head"], sort=False)["phrase"].apply("; ".join).reset_index()
    parts.append(f"## Table 1 (reported phrases)\n\n{phrases.to_markdown(index=False)}\n")
    for path in sorted(folder.glob("table[2-6].csv")):
        table = pd.read_csv(path)
        order = {column: table[column].drop_duplicates() for column in ("method", "dataset")}
        for metric, rows in table.groupby("metric", sort=False):
            wide = rows.pivot(index="method", columns="dataset", values="value")
            wide = wide.reindex(index=order["method"], columns=order["dataset"]).dropna(how="all").dropna(how="all", axis=1)
            shown = wide.map(lambda value: "" if pd.isna(value) else f"{value:.2f}")
            number = path.stem.removeprefix("table")
            parts.append(f"## Table {number}, {metric} (reported, percent)\n\n{shown.to_markdown(disable_numparse=True)}\n")
    return "\n".join(parts)


def citation(root: Path) -> str:
    """BibTeX for the paper, from CITATION.cff."""
    content: dict[str, Any] = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    paper = content["preferred-citation"]
    authors = " and ".join(f"{a['family-names']}, {a['given-names']}" for a in paper["authors"])
    key = f"{paper['authors'][0]['family-names'].lower()}{paper['year']}dear"
    fields = {"title": paper["title"], "author": authors, "year": paper["year"], "url": paper["url"]}
    entry = ",\n".join(f"  {name:<6} = {{{value}}}" for name, value in fields.items())
    software = f"The software: *{content['title']}*, version {content['version']}, {content['license']} licence."
    return f"```bibtex\n@article{{{key},\n{entry}\n}}\n```\n\n{software}"


def not_run(root: Path) -> str:
    """The README's own section on what has been run and what has not; its links as of a page in another folder."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## What has been run\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    if section is None:
        raise InputError("README.md: expected a section '## What has been run', got none; docs/reproducibility.md shows it")
    return re.sub(r"\]\((?![a-z]+:|[/#])", "](/", section[1].strip())


def explorer(root: Path) -> str:
    """A way to the head explorer, where its file was made."""
    if (root / "figures" / "mini" / "explorer.json").is_file():
        return '<p><a class="reference external" href="explorer.html"><strong>Open the head explorer</strong></a></p>'
    return "*The explorer's file was not made: run `make reproduce`.*"


def alone(root: Path) -> str:
    """What every notebook takes when it is opened first, in a fresh clone, as `make alone` measured it: a table for each hardware."""
    parts = []
    for path in sorted((root / "figures").glob("*/alone.csv")):
        rows = pd.read_csv(path)
        (commit,) = rows["commit"].unique()
        linked = [f"[{name}](/notebooks/{name}.ipynb)" for name in rows["notebook"]]
        seconds, gigabytes = (rows[column].map("{:.1f}".format) for column in ("seconds", "peak_gb"))
        shown = pd.DataFrame({"notebook": linked, "seconds": seconds, "memory, GB": gigabytes})
        parts.append(f"On {path.parent.name}, commit `{commit}`:\n\n{shown.to_markdown(index=False, disable_numparse=True)}\n")
    return "\n".join(parts) or "*Not measured: run `make alone`.*"


PARTS: dict[str, Callable[[Path], str]] = {
    "alone": alone,
    "artefacts": artefacts,
    "citation": citation,
    "contents": contents,
    "explorer": explorer,
    "lessons": lessons,
    "not-run": not_run,
    "reported": reported,
}
