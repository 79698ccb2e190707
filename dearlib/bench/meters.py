"""Operations, seconds and memory of a piece of code, and what a plain matrix product reaches on the same machine."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from dearlib.bench.ways import Bench, J, assembled, step
from dearlib.clip.loading import FrozenClip, load
from dearlib.clip.prefix import MOST, Streamed
from dearlib.methods.training import Schedule, TrainingRun, TrainingSet, fit
from dearlib.roles.heads import head_contributions
from dearlib.roles.textspan import textspan


@dataclass(frozen=True)
class Row:
    """One measurement. `batch` pictures a step of each of `runs` runs, `classes` prompts, `k` text tokens, layers from `first_layer`.

    `seconds`: the median of `repeats`; `share_of_ceiling`: counted operations a second against a plain matrix product's;
    `peak_gb`: peak memory of a process of its own, None where it was not measured.
    """

    part: str
    way: str
    batch: int
    classes: int
    k: int
    first_layer: int
    runs: int
    gflop: float
    seconds: float
    repeats: int
    gflop_per_second: float
    share_of_ceiling: float
    peak_gb: float | None = None


def _sdpa(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object) -> int:
    return sdpa_flop_count(query, key, value)


def _sdpa_backward(grad: Sequence[int], query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


def _mha(query: Sequence[int], key: object, value: object, width: int, heads: int, *_: object, **__: object) -> int:
    """PyTorch's one-call attention layer: three projections, scores, mixture, output projection."""
    batch, tokens = query[0], query[1]
    return 2 * batch * (4 * tokens * width * width + 2 * tokens * tokens * width)


# What the counter has no formula for: the CPU's fused kernels.
_FORMULAS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _sdpa,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _sdpa_backward,
    torch.ops.aten._native_multi_head_attention: _mha,
}


def count(run: Callable[[], object]) -> float:
    """Operations of matrix products and attention in GFLOP, counted while `run` runs."""
    with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter:
        run()
    return counter.get_total_flops() / 1e9


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def ceiling(device: str = "cpu", repeats: int = 20) -> float:
    """GFLOP/s of a plain matrix product on this machine, float32 on a CPU and bfloat16 on a GPU, the best of several."""
    size, dtype = (2048, torch.float32) if device == "cpu" else (8192, torch.bfloat16)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        a @ b
        _wait(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e9


def interleaved(ways: Mapping[str, Callable[[], object]], repeats: int, device: str = "cpu") -> dict[str, list[float]]:
    """Seconds of each way, one after the other, `repeats` times, after one run of each that is not counted."""
    for run in ways.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, run in ways.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            seconds[name].append(time.perf_counter() - start)
    return seconds


@dataclass(frozen=True)
class Measurer:
    """Times ways beside each other on one machine and says what they make of its ceiling (GFLOP/s).

    `weights`: a file for the processes whose memory is measured; None, as on a GPU, measures none.
    """

    name: str
    top: float
    repeats: int
    device: str = "cpu"
    weights: Path | None = None

    def peaks(self, ways: Sequence[str], batch: int, classes: int) -> dict[str, float]:
        """Peak memory of the named ways in GB."""
        return {way: peak_of(self.name, self.weights, way, batch, classes) for way in ways} if self.weights else {}

    def rows(self, part: str, ways: Mapping[str, Callable[[], object]], peaks: Mapping[str, float], **at: int) -> list[Row]:
        """Counts and times every way of one part; `at` says batch, classes and so on."""
        where = {"batch": 1, "classes": 0, "k": 0, "first_layer": J, "runs": 1} | at
        counted = {name: count(run) for name, run in ways.items()}
        found = []
        for way, seconds in interleaved(ways, self.repeats, self.device).items():
            typical = median(seconds)
            rate, peak = counted[way] / typical, peaks.get(way)
            found.append(Row(part, way, **where, gflop=counted[way], seconds=typical, repeats=self.repeats,
                             gflop_per_second=rate, share_of_ceiling=rate / self.top, peak_gb=peak))  # fmt: skip
        return found


def peak_of(name: str, weights: Path, way: str, batch: int, classes: int) -> float:
    """Peak memory in GB of a process that loads `weights` and goes one way three times, libraries included."""
    code = [sys.executable, "-m", "dearlib.bench.command", json.dumps([name, str(weights), way, batch, classes])]
    return float(subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()[-1])


def peak(name: str, weights: str, way: str, batch: int, classes: int) -> float:
    if way == "all heads at once":
        inputs = textspan_input(load(name, weights), "cpu")
        textspan(*inputs, rank=80, steps=20)
        return _most_memory()
    clip = load(name, weights)
    side = clip.visual.image_size[0]
    kept = torch.randn(batch, clip.patches + 1, clip.d_model), torch.randn(batch, clip.d_embed)  # a prefix that another process made
    bench = assembled(clip, torch.randn(batch, 3, side, side), *kept, classes)
    if way == "fast, streamed":
        _epoch_of_streamed(bench, batch, classes)
        return _most_memory()
    ways: dict[str, Callable[[], object]] = {
        "plain encode_image": lambda: clip.encode_image(bench.images),
        "head contributions": lambda: head_contributions(clip.visual, bench.images, J),
        "straightforward": partial(step, bench.straightforward, bench.stack),
        "fast": partial(step, bench.fast, bench.stack),
    }
    for _ in range(3):
        ways[way]()
    return _most_memory()


def _epoch_of_streamed(bench: Bench, batch: int, classes: int, steps: int = 4) -> None:
    """An epoch of `fit` on pictures whose states are computed when asked for: `steps` steps, the peak is that of many."""
    clip, count, side = bench.model.clip, steps * batch, bench.images.shape[-1]
    pictures = Streamed(clip, J, lambda i: torch.randn(1, 3, side, side), 1, torch.randn(count, clip.d_embed))
    data = TrainingSet(pictures, torch.arange(count) % classes, MOST)
    run = TrainingRun(bench.model, data, Schedule(epochs=1, batch=batch, warmup_epochs=0), seed=0)
    fit([run], bench.text, bench.plain.frozen_text, Fabric(accelerator="cpu", devices=1, plugins=[LightningEnvironment()]))


def _most_memory() -> float:
    """Of this program alone: what Linux's getrusage tells includes the parent's size at the moment it was started."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 / 1e9 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def textspan_input(clip: FrozenClip, device: str, images: int = 5000, phrases: int = 3498) -> tuple[Tensor, Tensor]:
    """Random contributions of as many dimensions as a head has, and random texts."""
    draw, d_head = torch.Generator().manual_seed(0), clip.d_model // clip.heads
    heads = (clip.layers - J + 1) * clip.heads
    spanned = torch.randn(heads, images, d_head, generator=draw) @ torch.randn(heads, d_head, clip.d_embed, generator=draw)
    return spanned.to(device), F.normalize(torch.randn(phrases, clip.d_embed, generator=draw), dim=-1).to(device)
