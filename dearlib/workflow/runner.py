"""Runs one notebook with one parameter file: `dearlib notebook NOTEBOOK.py PARAMS.yaml --out DIR [-p key=value ...]`.

The parameters are validated before anything is written. The `.py` is executed by papermill with this very interpreter,
whatever kernels are installed, from the repository's root. DIR/notebook.ipynb exists only if every code cell completed; a failed run leaves
DIR/failed.ipynb for reading. Exit status: 0 done, 1 a cell failed, 2 the input was wrong.

With `processes: 2` the notebook runs in two processes that train together (`dearlib.workflow.processes`).
"""

import ast
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from dearlib.errors import InputError
from dearlib.files import alone
from dearlib.params.reading import load_params, model_of, repository, split_overrides
from dearlib.params.types import plain
from dearlib.workflow.pairs import KERNEL, update_pair
from dearlib.workflow.processes import COMMANDS, RANK, start
from dearlib.workflow.room import take_gpus

LONGEST = 70  # of a temporary folder's name: "/dear" and eight letters, "/k-ipc-5" come behind it


class NotebookFailed(RuntimeError):
    """A cell raised or the kernel died; the message names notebook, cell and error."""


def run_notebook(notebook: Path, params: Path, out: Path, overrides: Sequence[str], keep_pair: bool) -> int:
    """Runs a notebook, in several processes if it is told so; exit status 0, or 1 with a line if a cell failed.

    `keep_pair`: write the outputs to its committed `.ipynb` as well.
    """
    told = split_overrides(overrides)
    p = load_params(notebook.stem, params, told)
    count = getattr(p, "processes", 1)
    if RANK is None:
        take_gpus(getattr(p, "device", "cpu"), count)
    if count > 1 and RANK is None:
        more = [part for pair in overrides for part in ("-p", pair)] + (["--update-pair"] if keep_pair else [])
        return start(count, COMMANDS, ["notebook", str(notebook), str(params), "--out", str(out), *more])
    try:
        executed = run(notebook, params, out, told)
    except InputError as error:
        raise InputError(f"{notebook.stem}: {error}") from None
    except NotebookFailed as error:
        print(error, file=sys.stderr)
        return 1
    if keep_pair and RANK in (None, "0"):
        update_pair(notebook, executed)
    return 0


def run(notebook: Path, params: Path, out: Path, overrides: dict[str, str] | None = None) -> NotebookNode:
    """Executes `notebook` and returns it; writes `out`/notebook.ipynb whole or not at all.

    Raises InputError on bad parameters, on an InputError raised in a cell and on a full disk; NotebookFailed otherwise.
    """
    values = plain(load_params(notebook.stem, params, overrides))
    node = read(notebook)
    if RANK not in (None, "0"):
        out = out / f"rank{RANK}"  # of the processes after the first only a failure is kept
    partial = out.resolve() / "running.ipynb"
    try:
        with alone(out, "run of a notebook into it"):
            return _kept(node, partial, values, repository(notebook.parent), out)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise InputError(f"{out}: expected free disk space, got a full disk; free some and run again") from None
        raise InputError(f"{out}: expected a folder that can be written, got '{error.strerror or error}'; choose another") from None


def _kept(node: NotebookNode, partial: Path, values: dict[str, Any], cwd: Path, out: Path) -> NotebookNode:
    """Executes into `partial`, which becomes `out`/notebook.ipynb, or failed.ipynb and an error."""
    try:
        executed = _execute(node, partial, values, cwd, label=out.name)
    except PapermillExecutionError as error:
        os.replace(partial, out / "failed.ipynb")
        if error.ename == "InputError":
            raise InputError(error.evalue) from None
        if f"[Errno {errno.ENOSPC}]" in error.evalue:
            raise InputError(f"expected free disk space, got {error.evalue}; free some and run again") from None
        raise NotebookFailed(f"{failure(out / 'failed.ipynb')}; it is kept in {out / 'failed.ipynb'}") from None
    except NotebookFailed:
        raise
    except RuntimeError:  # a kernel that died, or never came to life
        os.replace(partial, out / "failed.ipynb")
        raise NotebookFailed(f"{failure(out / 'failed.ipynb')}; it is kept in {out / 'failed.ipynb'}") from None
    os.replace(partial, out / "notebook.ipynb")
    (out / "failed.ipynb").unlink(missing_ok=True)
    if RANK not in (None, "0"):
        shutil.rmtree(out)
    return executed


def read(notebook: Path) -> NotebookNode:
    """The `.py` as a notebook whose parameters cell has exactly the keys of its model. Raises InputError otherwise."""
    try:
        node = jupytext.read(notebook)
    except FileNotFoundError:
        raise InputError(f"{notebook}: expected a notebook, got nothing there") from None
    node.metadata["kernelspec"] = KERNEL
    expected, got = set(model_of(notebook.stem).model_fields), set(parameters_cell(node))
    if expected != got:
        raise InputError(
            f"{notebook}: expected one cell tagged `parameters` with the keys of {model_of(notebook.stem).__name__}, "
            f"got without {sorted(expected - got)} and with {sorted(got - expected)}"
        )
    return node


def parameters_cell(node: NotebookNode) -> dict[str, Any]:
    """Names and literal values of the first cell tagged `parameters`; empty if there is none."""
    cells = [c for c in node.cells if c.cell_type == "code" and "parameters" in c.metadata.get("tags", [])]
    values = {}
    for statement in ast.parse(cells[0].source).body if cells else []:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                values[name] = ast.literal_eval(value)
    return values


def failure(path: Path) -> str:
    """One line on a notebook that failed: its folder, the cell that stopped it and why."""
    node = nbformat.read(path, as_version=4)
    cells = [c for c in node.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])]
    for number, cell in enumerate(cells, start=1):
        errors = [o for o in cell.get("outputs", []) if o.output_type == "error"]
        if errors:
            first = (errors[-1].evalue.splitlines() or [""])[0]
            return f"{path.parent.name}: cell {number} of {len(cells)} ({_title(cells, number)}) failed: {errors[-1].ename}: {first}"
    last = max((n for n, c in enumerate(cells, start=1) if c.metadata.get("papermill", {}).get("start_time")), default=0)
    return f"{path.parent.name}: the kernel died in cell {last} of {len(cells)} ({_title(cells, last)}); not enough memory?"


def _execute(node: NotebookNode, partial: Path, values: dict[str, Any], cwd: Path, label: str) -> NotebookNode:
    with own_sockets() as config:
        executed = papermill.execute_notebook(
            node,
            str(partial),
            parameters=values,
            kernel_name=KERNEL["name"],
            kernel_manager_class=OwnKernel,
            progress_bar=False,
            cwd=str(cwd),
            config=config,
            on_cell_start=_progress(node, label),
        )
    unfinished = [i for i, c in enumerate(executed.cells, 1) if c.cell_type == "code" and c.metadata.papermill.status != "completed"]
    if unfinished:
        raise NotebookFailed(f"{label}: cells {unfinished} did not complete")
    return executed


class OwnKernel(AsyncKernelManager):
    """A kernel of this interpreter. By its name `python3` Jupyter would take the first of many folders that has one of that name.

    Nothing of the user's own runs in it before the first cell: no IPython profile, no PYTHONSTARTUP.
    """

    @property
    def kernel_spec(self) -> KernelSpec:
        """The one that ipykernel gives itself, with `sys.executable`."""
        alone = {"IPYTHONDIR": str(Path(self.connection_file).parent / "ipython"), "PYTHONSTARTUP": ""}
        return KernelSpec(resource_dir=RESOURCES, env=alone, **get_kernel_dict())


@contextmanager
def own_sockets() -> Iterator[Config]:
    """What tells a kernel's manager to use IPC sockets in a new folder, which goes when the kernel has ended."""
    with tempfile.TemporaryDirectory(prefix="dear", dir=short_folder()) as folder:
        # No TCP ports for parallel runs to fight over. The sockets' path must be short, so it is not Jupyter's.
        yield Config({"KernelManager": {"transport": "ipc", "connection_file": f"{folder}/k.json"}})


def short_folder() -> str:
    """The temporary folder, or /tmp where its name is too long for the sockets in it (107 bytes on Linux, 103 on macOS)."""
    for folder in (tempfile.gettempdir(), "/tmp"):
        if len(os.fsencode(folder)) <= LONGEST and os.access(folder, os.W_OK):
            return folder
    raise InputError(f"TMPDIR: expected a folder of at most {LONGEST} letters, got '{tempfile.gettempdir()}'; set TMPDIR to a shorter one")


def _progress(node: NotebookNode, label: str) -> Callable[..., None]:
    """Prints one line whenever a new section of the notebook begins."""
    began = time.monotonic()
    shown: list[str] = []
    total = len(node.cells) + 1  # papermill adds a cell with the values

    def on_cell_start(cell: NotebookNode, cell_index: int) -> None:
        title = _title([*node.cells], cell_index)
        if cell.cell_type == "code" and title not in shown[-1:]:
            shown.append(title)
            print(f"[{label}] {time.monotonic() - began:5.0f} s  cell {cell_index + 1}/{total}  {title}", file=sys.stderr, flush=True)

    return on_cell_start


def _title(cells: list[NotebookNode], number: int) -> str:
    """The last heading at or before cell `number` (1-based)."""
    lines = [line for c in cells[:number] if c.cell_type == "markdown" for line in c.source.splitlines()]
    return next((line.lstrip("# ") for line in reversed(lines) if line.startswith("#")), "no heading")
