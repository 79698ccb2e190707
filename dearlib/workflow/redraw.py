"""`make figures`: every table and figure of a profile drawn anew from the records beside them, in one minute and without training.

The notebooks are the drawing programs. Run as they are by papermill, each would start a kernel and import everything again; here
their cells run one after the other in a process that has imported once, a process for each core. What they write is the same.
"""

import os
import sys
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from dearlib.datasets.world import sets
from dearlib.datasets.world.writing import write_all
from dearlib.errors import InputError
from dearlib.params.reading import repository
from dearlib.params.types import Run, plain
from dearlib.study.plan import MADE_OF
from dearlib.workflow.inputs import ROLES, Profile, load_profile, opened
from dearlib.workflow.room import room

LESSONS = ("00_pretrain_mini", "01_vit_internals", "16_the_family")  # draw, too, but no table or figure of the paper
IMPORTED = ("torch", "open_clip", "pandas", "matplotlib.pyplot", "seaborn", "sentence_transformers", "IPython.display")
Drawn = tuple[float, str]  # seconds, and why a notebook failed: '' if it did not


def redraw(profile: str, cores: int) -> int:
    """Runs the drawing notebooks of a profile; exit status 0, or 1 with a line for each that failed.

    Raises `InputError` where a record that a table is drawn from is not there.
    """
    os.chdir(repository(Path.cwd()))
    began = time.monotonic()
    loaded = load_profile(profile)
    drawn = dict.fromkeys([*LESSONS, *(made.notebook for made in MADE_OF.values())])
    params = {name: loaded.params[name] for name in drawn if name in loaded.params}
    _check_records(loaded)
    at_once = cores or room(profile)
    _render(loaded, params, at_once)
    for module in IMPORTED:
        __import__(module)  # once, before the processes fork
    failed = _all(params, at_once)
    print(f"{len(params) - failed} of {len(params)} notebooks drew their figures in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def _check_records(loaded: Profile) -> None:
    """All records, before anything is drawn: what is missing is one line."""
    for group in loaded.plan.study.groups:
        loaded.plan.records(group)


def _render(loaded: Profile, params: Mapping[str, Run], processes: int) -> None:
    """Data sets of the Attribute World whose pictures a notebook opens, as far as they are not there yet."""
    read = dict.fromkeys(name for n in params for name in opened(loaded.plan, loaded.roles.dataset, n))
    write_all(loaded.roles.data_root, [name for name in read if name in sets.NAMES], processes)


def _all(params: Mapping[str, Run], processes: int) -> int:
    """Runs every notebook, those that read the role file after the one that writes it; how many failed."""
    later = [name for name, p in params.items() if hasattr(p, "roles") or name == MADE_OF["claims"].notebook]
    failed = 0
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        # The role file first: others wait for it.
        now = sorted((name for name in params if name not in later), key=lambda name: (name != ROLES, name))
        waiting: dict[Future[Drawn], str] = {pool.submit(draw, name, plain(params[name])): name for name in now}
        while waiting:
            for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                name, (seconds, reason) = waiting.pop(done), done.result()
                failed += bool(reason)
                print(f"{name}: {reason or f'{seconds:.0f} s'}", file=sys.stderr, flush=True)
                if name == ROLES:
                    waiting |= {pool.submit(draw, one, plain(params[one])): one for one in later}
    return failed


def draw(name: str, values: Mapping[str, Any]) -> Drawn:
    """Runs the cells of a notebook with these parameters."""
    import jupytext
    import matplotlib as mpl
    import matplotlib.pyplot as plt
    import torch
    from threadpoolctl import threadpool_limits

    mpl.use("Agg")
    torch.set_num_threads(1)
    threadpool_limits(1)  # of NumPy's products as well: as the notebooks are run, so that sums are taken in one order
    began = time.monotonic()
    space: dict[str, Any] = {"__name__": f"notebook {name}", "display": lambda *_: None}
    try:
        with redirect_stdout(StringIO()):
            for cell in jupytext.read(Path("notebooks") / f"{name}.py").cells:
                if cell.cell_type == "code":
                    exec(compile(cell.source, f"{name}.py", "exec"), space)
                    if "parameters" in cell.metadata.get("tags", []):
                        space |= values
    except InputError as error:
        return time.monotonic() - began, str(error)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return time.monotonic() - began, f"{type(error).__name__} in {where.filename}, line {where.lineno}: {error}"
    finally:
        plt.close("all")  # the next notebook draws in this process, too
    return time.monotonic() - began, ""
