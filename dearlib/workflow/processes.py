"""Several processes that share each training batch, one GPU each, on one machine: `processes: 2` in a parameter file.

`start` starts a command once per process as `torchrun --standalone` would; every process does the same,
`training.fit` splits the batches, and process 0 alone writes. Fabric finds its place by torchrun's environment, also inside a SLURM job
or allocation (`salloc -n 4`), whose own variables would make it refuse, or wait for processes that nobody starts. Other launchers (MPI,
Kubernetes) leave variables of torchrun's names even for one process alone: only those that torchrun has signed count.
"""

import os
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy

from dearlib import machine

_TORCHRUN = "TORCHELASTIC_RUN_ID" in os.environ
RANK = os.environ.get("RANK") if _TORCHRUN else None  # None if this is the only process
COMMANDS = "dearlib.commands"
ALONE: dict[str, Any] = {"devices": 1, "plugins": [LightningEnvironment()]}  # one process, whatever SLURM's variables say


class _Started(DDPStrategy):
    """Processes that torchrun has started: nothing is left to launch, so a notebook's kernel, which Fabric takes for a prompt, will do."""

    def _configure_launcher(self) -> None:
        self._launcher = None


def fabric(device: str, precision: str) -> Fabric:
    """Fabric on this process's device, joined with the other processes if torchrun started several. On a CPU it computes with one thread:
    sums are then added in one order, however many cores there are and whoever starts it, by hand or in batch.

    Raises `InputError` for a device that this machine does not have, or a precision that the device does not have.
    """
    kind = machine.device(device, precision)
    if kind == "cpu":
        torch.set_num_threads(1)
    count = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if _TORCHRUN else 1
    several = {"strategy": _Started(), "devices": count}
    made = Fabric(accelerator=kind, precision=precision, **(several if count > 1 else ALONE))
    made.launch()
    return made


def start(count: int, module: str, arguments: Sequence[str]) -> int:
    """Runs `python -m module arguments` in `count` processes that know of each other; the exit status of the first that failed, or 0."""
    from torch.distributed import run as torchrun  # here, because torch takes seconds to import
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        torchrun.run(torchrun.parse_args(["--standalone", f"--nproc-per-node={count}", "-m", module, *arguments]))
    except ChildFailedError as error:
        return error.get_first_failure()[1].exitcode
    return 0
