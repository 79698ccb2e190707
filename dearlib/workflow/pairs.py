"""Pairs: `notebooks/NN_name.py` is the source, `NN_name.ipynb` the same cells with the outputs of one run.

What is committed must not churn: two runs with equal results give equal bytes. So cells get the ids cell-000, cell-001,
…, counts run from 1, and times, durations, standard error and papermill's own cells are left out.
"""

import os
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.params.reading import repository

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
PAIRED = {"formats": "ipynb,py:percent"}


def update_pair(notebook: Path, executed: NotebookNode) -> Path:
    """Writes the outputs of `executed` beside the cells of the `.py`, to its `.ipynb`. Raises InputError if they tell a machine's paths.

    A home that is `/`, or that nobody knows (`~`), as in a container, tells no machine.
    """
    try:
        node = paired(jupytext.read(notebook), executed)
    except InputError as error:
        raise InputError(f"{notebook.name}: {error}") from None
    for cell in node.cells:
        for folder in (str(repository(notebook.parent)), os.path.expanduser("~")):
            if len(folder) > 1 and any(folder in text for text in _texts(cell)):
                raise InputError(f"{notebook.name}: {cell.id}: expected output without paths of this machine, got {folder}")
    target = notebook.with_suffix(".ipynb")
    write_text(target, nbformat.writes(node) + "\n")
    return target


def paired(source: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The cells of `source` with the outputs of `executed`, free of what differs from run to run."""
    ran = [c for c in executed.cells if not {"injected-parameters", "papermill-error-cell-tag"} & set(c.metadata.get("tags", []))]
    if inputs(source) != [(c.cell_type, c.source, tags(c)) for c in ran]:
        raise InputError("expected an executed notebook with the cells of the .py, got others; run it again")
    node = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL, "jupytext": PAIRED, "language_info": {"name": "python"}})
    count = 0
    for index, (cell, done) in enumerate(zip(source.cells, ran, strict=True)):
        metadata = {"tags": list(tags(cell))} if tags(cell) else {}
        if cell.cell_type == "code":
            count += 1
            new = nbformat.v4.new_code_cell(
                cell.source, metadata=metadata, execution_count=count, outputs=stable_outputs(done.outputs, count)
            )
        else:
            prose = nbformat.v4.new_raw_cell if cell.cell_type == "raw" else nbformat.v4.new_markdown_cell
            new = prose(cell.source, metadata=metadata)
        new.id = f"cell-{index:03d}"
        node.cells.append(new)
    return node


def inputs(node: NotebookNode) -> list[tuple[str, str, tuple[str, ...]]]:
    """What makes two notebooks the same: each cell's type, source and tags."""
    return [(c.cell_type, c.source, tags(c)) for c in node.cells]


def tags(cell: NotebookNode) -> tuple[str, ...]:
    return tuple(cell.metadata.get("tags", ()))


def stable_outputs(outputs: list[NotebookNode], count: int) -> list[NotebookNode]:
    """Outputs without standard error, adjacent standard output joined, results numbered `count`."""
    stable: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if stable and stable[-1].output_type == "stream":
                stable[-1].text += output.text
                continue
        new = nbformat.from_dict({k: v for k, v in output.items() if k != "transient"})
        if new.output_type == "execute_result":
            new.execution_count = count
        stable.append(new)
    return stable


def _texts(cell: NotebookNode) -> list[str]:
    """Everything in a code cell's outputs that a reader sees as text; pictures are left out, their base64 may hold any letters."""
    texts = []
    for output in cell.get("outputs", []):
        texts += [output.get("text", ""), *output.get("traceback", [])]
        texts += [str(data) for kind, data in output.get("data", {}).items() if kind.startswith("text/")]
    return texts


def keep_outputs(profile: str) -> int:
    """Every notebook's last run in `runs/<profile>/` becomes its committed `.ipynb`; exit status 0."""
    for executed in sorted((Path("runs") / profile).glob("*/notebook.ipynb")):
        source = Path("notebooks") / f"{executed.parent.name}.py"
        if source.is_file():
            update_pair(source, nbformat.read(executed, as_version=4))
            print(f"{source.with_suffix('.ipynb')} <- {executed}")
    return 0
