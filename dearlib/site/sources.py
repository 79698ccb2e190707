"""The folder that Sphinx reads: docs, notebooks and generated pages, laid out as in the repository so that links work in both.

A link to a file that is no page (a parameter file, a script) becomes the file's name; one to a module leads to its page in the
reference; one to nothing is an error.
"""

import os
import re
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode

from dearlib.errors import InputError
from dearlib.site.pages import filled, modules, notebooks, reference

LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\((?!https?://|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
FENCED = re.compile(r"(^```python\n.*?^```$)", re.MULTILINE | re.DOTALL)
SECRET = ("BEGIN SOLUTION", "BEGIN HIDDEN TESTS")  # otter's marks: what students must not see
PATH = re.compile(r"`(dearlib/[\w/]+\.py)(?:::(\w+))?`")


def lay_out(root: Path, target: Path) -> None:
    """Writes the sources of the site to `target`; what is there and the same stays untouched, so that Sphinx reads it no second time."""
    made = contents(root)
    for path in [p for p in target.rglob("*") if p.is_file() and p.relative_to(target).as_posix() not in made]:
        path.unlink()
    for name, content in made.items():
        path = target / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def contents(root: Path) -> dict[str, bytes]:
    """The sources of the site: name below the folder that Sphinx reads → content."""
    pages = _pages(root)
    made = {"conf.py": (root / "docs" / "conf.py").read_bytes(), "_static/site.css": (root / "docs" / "site.css").read_bytes()}
    for path in sorted((root / "docs").glob("*.md")):
        text = relinked(filled(path.read_text(encoding="utf-8"), root), PurePosixPath("docs") / path.name, root, pages)
        made["index.md" if path.stem == "index" else f"docs/{path.name}"] = text.encode()
    made |= {f"notebooks/{path.name}": _notebook(path, root, pages).encode() for path in notebooks(root)}
    made |= {f"api/{name}.md": text.encode() for name, text in reference(root).items()}
    made |= {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted((root / "figures").rglob("*.png"))}
    return made


def _pages(root: Path) -> set[str]:
    """The repository's files that are pages of the site."""
    return {f"docs/{path.name}" for path in (root / "docs").glob("*.md")} | {f"notebooks/{path.name}" for path in notebooks(root)}


def _notebook(source: Path, root: Path, pages: set[str]) -> str:
    node = nbformat.read(source, as_version=4)
    if any(mark in cell.source for cell in node.cells for mark in SECRET):
        raise InputError(f"{source.name}: expected a notebook that anyone may read, got one with solutions; the site shows none")
    for cell in node.cells:
        if cell.cell_type == "markdown":
            cell.source = relinked(cell.source, PurePosixPath("notebooks") / source.name, root, pages)
        elif folded(cell):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    return nbformat.writes(node)


def folded(cell: NotebookNode) -> bool:
    """Whether a code cell is set-up, which a reader of the site need not see at first: parameters, or imports alone."""
    lines = [line for line in cell.source.splitlines() if line.strip() and not line.startswith(("#", " ", ")"))]
    return "parameters" in cell.metadata.get("tags", []) or (bool(lines) and all(line.startswith(("import ", "from ")) for line in lines))


def relinked(text: str, page: PurePosixPath, root: Path, pages: set[str]) -> str:
    """The text of `page` (its path in the repository) with links as the site needs them; what stands between fences is code."""
    prose_and_code = FENCED.split(text)
    return "".join(_relinked(part, page, root, pages) if i % 2 == 0 else part for i, part in enumerate(prose_and_code))


def _relinked(text: str, page: PurePosixPath, root: Path, pages: set[str]) -> str:

    def one(link: re.Match[str]) -> str:
        label, target, anchor = link[1], link[2], link[3] or ""
        path = _resolved(page, target)
        if path in pages:
            return f"[{label}](/{'index.md' if path == 'docs/index.md' else path}{anchor})"
        if (name := _module(path, root)) is not None:
            return f"[{label}](/api/{name}.md)"
        if path.startswith(("api/", "figures/")) and target.startswith("/"):
            return link[0]
        if not (root / path).exists():
            raise InputError(f"{page}: expected links to files that exist, got '{target}'")
        return label if label.strip("`") == path else f"{label} (`{path}`)"

    linked = LINK.sub(one, text)
    return PATH.sub(lambda found: _named(found, root), linked) if page.parts[0] == "docs" else linked


def _resolved(page: PurePosixPath, target: str) -> str:
    """The file that a link on `page` means, seen from the repository's root."""
    return target.lstrip("/") if target.startswith("/") else os.path.normpath(str(page.parent / target))


def _module(path: str, root: Path) -> str | None:
    name = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    return name if path.endswith(".py") and name in modules(root) else None


def _named(found: re.Match[str], root: Path) -> str:
    """A file's name in a guide leads to its page in the reference; with `::name`, to that name on it."""
    name = _module(found[1], root)
    if name is None:
        return found[0]
    shown = found[0].strip("`")
    return f"{{py:obj}}`{shown} <{name}.{found[2]}>`" if found[2] else f"[`{shown}`](/api/{name}.md)"
