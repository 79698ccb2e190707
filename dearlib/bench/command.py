"""What DeAR costs at the paper's size, beside the straightforward way, in the same run: `dearlib bench`.

Weights are random, which changes no operation. Every pair of ways is first held to the same losses, then timed in turn,
so that whatever else the machine does falls on both. Operations are counted by PyTorch's own counter while the code runs,
and set against what a plain matrix product reaches on this machine. Memory is the peak of a process of its own, which loads
its weights from a file as every run does. On a GPU the same command measures there, in bfloat16 and with what only a GPU has:
`torch.compile` and CUDA graphs.
"""

import json
import re
import sys
from pathlib import Path

import pandas as pd
import torch

from dearlib.bench.meters import ceiling, peak
from dearlib.bench.parts import measure
from dearlib.bench.summary import speedups
from dearlib.bench.ways import same_losses
from dearlib.files import write_text
from dearlib.study.records import provenance


def hardware(device: str) -> str:
    """A folder's name for this machine: processor or GPU, and threads."""
    told = provenance()["hardware"]
    text = str(told["gpu"]) if device != "cpu" else f"{told['processor']} {told['threads']} threads"
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("(r)", "")).strip("-")


def bench(model: str, repeats: int, figures: Path) -> int:
    """Measures everything into `figures`/<hardware>/bench.csv and prints it; exit status 0."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    told = provenance()
    where = {"hardware": hardware(device), "threads": told["hardware"]["threads"], "torch": told["versions"]["torch"], "model": model}
    top = ceiling(device)
    where |= {"ceiling": top, "losses_differ": same_losses(model, 4, 50) if device == "cpu" else float("nan")}
    out = figures / str(where["hardware"]) / "bench.csv"
    tables: list[pd.DataFrame] = []
    for table in measure(model, repeats, device, top):
        print(table.drop(columns="model", errors="ignore").round(3).to_string(index=False, header=not tables), flush=True)
        tables.append(table)
        write_text(out, pd.concat(tables, ignore_index=True).assign(**where).to_csv(index=False, float_format="%.6g"))
    if device == "cpu":
        print(speedups(pd.concat(tables)).to_markdown(index=False, disable_numparse=True))
    print(f"{out}: losses of the two ways differ by at most {where['losses_differ']:.1e} over 20 steps")
    return 0


if __name__ == "__main__":  # a process of its own, whose peak of memory is wanted (`meters.peak_of`)
    print(peak(*json.loads(sys.argv[1])))
