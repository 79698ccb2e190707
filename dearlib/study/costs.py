"""What a training takes: seconds an epoch and the process's peak memory, measured while it runs."""

import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import TracebackType

import torch

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class Meter:
    """Around a training: `with Meter(device) as meter`, and `meter.epoch()` after every epoch.

    `peak_gb`: of the device's memory on a GPU; else of this process since the training began, None where the system does not tell.
    """

    peak_gb: float | None = None

    def __init__(self, device: torch.device) -> None:
        self.device, self._ends = device, [time.perf_counter()]

    def __enter__(self) -> "Meter":
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError):
                _RESET.write_text("5")  # Linux: the peak starts anew at what is in use
        self._ends = [time.perf_counter()]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.device.type == "cuda":
            self.peak_gb = torch.cuda.max_memory_allocated(self.device) / 1e9
        elif _STATUS.exists():
            lines = _STATUS.read_text(encoding="utf-8").splitlines()
            self.peak_gb = next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM")), None)

    def epoch(self) -> dict[str, float]:
        """Says that an epoch of one run has ended; nothing for its curve."""
        self._ends.append(time.perf_counter())
        return {}

    def epochs(self, models: Sequence[object]) -> list[dict[str, float]]:
        """The same for several runs of a batch, which end an epoch at once."""
        self._ends.append(time.perf_counter())
        return [{} for _ in models]

    def seconds_per_epoch(self, runs: int = 1) -> float | None:
        """The median over the epochs that ran here, each of `runs` runs reporting its end; None if none ran."""
        ends = self._ends[:1] + self._ends[runs::runs]
        gone = [b - a for a, b in pairwise(ends)]
        return median(gone) if gone else None
