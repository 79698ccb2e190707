"""Several processes that share each training batch, one GPU each, on one machine: `device: 2 x cuda` in a parameter file.

`runner.start` starts the runner once per process as `torchrun --standalone` would; every process executes the notebook,
`training.fit` splits the batches, and process 0 alone writes. Fabric finds its place by torchrun's environment, also inside a SLURM job
or allocation (`salloc -n 4`), whose own variables would make it refuse, or wait for processes that nobody starts.
"""

import os
from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy

from dearlib.params.reading import accelerator

ALONE: dict[str, Any] = {"devices": 1, "plugins": [LightningEnvironment()]}  # one process, whatever SLURM's variables say


class _Started(DDPStrategy):
    """Processes that torchrun has started: nothing is left to launch, so a notebook's kernel, which Fabric takes for a prompt, will do."""

    def _configure_launcher(self) -> None:
        self._launcher = None


def fabric(device: str, precision: str) -> Fabric:
    """Fabric on this process's device, joined with the other processes if torchrun started several."""
    count = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    several = {"strategy": _Started(), "devices": count}
    made = Fabric(accelerator=accelerator(device), precision=precision, **(several if count > 1 else ALONE))
    made.launch()
    return made
