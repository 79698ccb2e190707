"""`make figures`: every table and figure of a profile drawn anew from the records beside them, in one minute and without training.

The notebooks are the drawing programs. Run as they are by papermill, each would start a kernel and import everything again; here
their cells run one after the other in a process that has imported once, a process for each core. What they write is the same.
"""

import os
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing import get_context
from pathlib import Path

from dearlib.errors import InputError
from dearlib.params.schemas import plain
from dearlib.study.plan import MADE_OF
from dearlib.workflow.inputs import load_profile

LESSONS = ("00_pretrain_mini", "01_vit_internals")  # draw, too, but no table or figure of the paper


def redraw(profile: str, cores: int) -> int:
    """Runs the drawing notebooks of a profile; exit status 0, or 1 with a line for each that failed."""
    began = time.monotonic()
    loaded = load_profile(profile)
    names = [n for n in dict.fromkeys([*LESSONS, *(made.notebook for made in MADE_OF.values())]) if n in loaded.params]
    for module in ("torch", "open_clip", "pandas", "matplotlib.pyplot", "seaborn", "sklearn.manifold", "IPython.display"):
        __import__(module)  # once, before the processes fork
    failed = 0
    with ProcessPoolExecutor(cores or os.cpu_count() or 1, get_context("fork")) as pool:
        waiting = {pool.submit(draw, name, plain(loaded.params[name])): name for name in sorted(names, reverse=True)}
        for done in as_completed(waiting):
            seconds, reason = done.result()
            failed += bool(reason)
            print(f"{waiting[done]}: {reason or f'{seconds:.0f} s'}", file=sys.stderr, flush=True)
    print(f"{len(names) - failed} of {len(names)} notebooks drew their figures in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def draw(name: str, values: dict[str, object]) -> tuple[float, str]:
    """Runs the cells of a notebook with these parameters; how long it took, and why it failed ('' if it did not)."""
    import jupytext
    import matplotlib as mpl
    import torch

    mpl.use("Agg")
    torch.set_num_threads(1)
    began = time.monotonic()
    space: dict[str, object] = {"__name__": f"notebook {name}", "display": lambda *_: None}
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
    return time.monotonic() - began, ""
