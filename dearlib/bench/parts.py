"""The parts that are measured, each beside the plain way."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from dearlib.bench.meters import LET_GO, Measurer, Row, count, peak_of, textspan_input
from dearlib.bench.ways import Bench, J, build, step, total
from dearlib.clip import image_prefix
from dearlib.heads import head_contributions
from dearlib.model import Losses
from dearlib.prefix import together
from dearlib.suffix import frozen_features
from dearlib.textspan import textspan


def steps(m: Measurer, batch: int, classes: int, memory: bool = False) -> list[Row]:
    """A training step both ways."""
    bench = build(m.name, batch, classes, device=m.device)
    ways: dict[str, Callable[[], object]] = {way: partial(step, getattr(bench, way), bench.stack) for way in ("straightforward", "fast")}
    if m.device != "cpu":
        ways |= gpu_ways(bench)
    peaks = {way: peak_of(m.name, way, batch, classes) for way in ("straightforward", "fast")} if memory else None
    return m.rows("training step", ways, peaks, batch=batch, classes=classes, k=5)


def growth(m: Measurer, **at: int) -> list[Row]:
    """A fast training step somewhere else: other batch, classes, K, J or number of runs."""
    bench = build(m.name, device=m.device, **({"batch": 4, "classes": 50} | at))
    return m.rows("growth", {"fast": partial(step, bench.fast, bench.stack)}, None, **({"batch": 4, "classes": 50, "k": 5} | at))


def encoding(m: Measurer, batch: int) -> list[Row]:
    """Pictures to features: CLIP's own way, DeAR's at inference, with every head's contribution, and the kept prefix."""
    bench = build(m.name, batch, 2, device=m.device)
    clip, visual, images = bench.model.clip, bench.model.clip.visual, bench.images

    def kept() -> list[Tensor]:
        return [frozen_features(visual, image_prefix(visual, some, J), J) for some in images.split(together(clip))]

    ways = {
        "plain encode_image": lambda: clip.encode_image(images),
        "DeAR image features": lambda: bench.model.image_features(image_prefix(visual, images, J)),
        "head contributions": lambda: head_contributions(visual, images, J),
        "prefix and teacher": kept,
    }
    peaks = {way: peak_of(m.name, way, batch, 2) for way in ("plain encode_image", "head contributions")} if m.device == "cpu" else {}
    with torch.no_grad():
        return m.rows("image encoding", ways, peaks, batch=batch)


def imagenet_size(m: Measurer, batch: int = 32, classes: int = 1000) -> list[Row]:
    """A training step among as many class names as ImageNet has, its states computed when asked for; its time, and its memory by itself."""
    bench = build(m.name, batch, classes)

    def streamed() -> float:
        with torch.no_grad():
            states = image_prefix(bench.model.clip.visual, bench.images, J)
        return step(replace(bench, states=states).fast, bench.stack)

    peaks = {"fast, streamed": peak_of(m.name, "streamed", batch, classes)}
    return m.rows("ImageNet size", {"fast, streamed": streamed}, peaks, batch=batch, classes=classes, k=5)


def spans(m: Measurer) -> list[Row]:
    """TextSpan of all late heads over 5,000 pictures and 3,498 phrases, 20 phrases each."""
    inputs = textspan_input(m.name, m.device)
    with torch.no_grad():
        peaks = {"all heads at once": peak_of(m.name, "TextSpan", 1, 2)} if m.device == "cpu" else {}
        return m.rows("TextSpan", {"all heads at once": lambda: textspan(*inputs, rank=80, steps=20)}, peaks, batch=len(inputs[0]))


def gpu_ways(bench: Bench) -> dict[str, Callable[[], object]]:
    """What only a GPU is worth it for: bfloat16, the same compiled, and compiled with CUDA graphs."""

    def in_half(way: Callable[[], Losses]) -> Callable[[], object]:
        def run() -> None:
            for model in bench.stack.models:
                model.zero_grad()
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss = total(way())
            loss.backward()

        return run

    return {
        "fast, bf16": in_half(bench.fast),
        "fast, bf16, compiled": in_half(torch.compile(bench.fast)),
        "fast, bf16, graphed": in_half(torch.compile(bench.fast, mode="reduce-overhead")),
    }


def whole_run(name: str, classes: int = 25, shots: int = 16, epochs: int = 10, share: int = 50) -> pd.DataFrame:
    """A 16-shot run of 25 classes for 10 epochs, views = 10, of which one part in `share` is really run.

    Every cost of the run is proportional to its steps and views, so its seconds are `share` times those measured here. Ways:
    the straightforward loop; the fast one with its prefix made first; a second run on the same prefix.
    """
    batch = 4
    steps = epochs * classes * shots // batch // share
    bench = build(name, batch, classes)
    visual, images = bench.model.clip.visual, bench.images.repeat(steps, 1, 1, 1)
    step(bench.fast, bench.stack)  # the first pays for what is made once

    def make_prefix(pictures: Tensor) -> None:
        with torch.no_grad():
            for some in pictures.split(together(bench.model.clip)):
                frozen_features(visual, image_prefix(visual, some, J), J)

    counted = {way: count(partial(step, getattr(bench, way), bench.stack)) for way in ("straightforward", "fast")}
    counted["prefix"] = count(lambda: make_prefix(bench.images))
    began = time.perf_counter()
    for _ in range(steps):
        step(bench.straightforward, bench.stack)
    straightforward = time.perf_counter() - began
    began = time.perf_counter()
    make_prefix(images)
    prefix = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(steps):
        step(bench.fast, bench.stack)
    fast = time.perf_counter() - began
    ways = {"straightforward": straightforward, "fast, prefix included": prefix + fast, "fast, on a kept prefix": fast}
    gflop = [counted["straightforward"], counted["prefix"] + counted["fast"], counted["fast"]]
    rows = pd.DataFrame({"way": ways.keys(), "seconds": [share * s for s in ways.values()], "gflop": [share * steps * g for g in gflop]})
    return rows.assign(part="whole run", batch=batch, classes=classes)


GROWTH: tuple[dict[str, int], ...] = (
    *({"batch": b} for b in (1, 8)),
    *({"classes": c} for c in (10, 200)),
    *({"first_layer": j} for j in (7, 11)),
    *({"runs": r} for r in (2, 4)),
    {"k": 20},
)


def measure(
    name: str, repeats: int, device: str, top: float, batches: Sequence[int] = (4, 32), classes: int = 50
) -> Iterator[pd.DataFrame]:
    """All parts, one after the other; `top` is the machine's ceiling in GFLOP/s."""
    m = Measurer(name, top, repeats, device)
    for batch in batches:
        yield pd.DataFrame(map(asdict, steps(m, batch, classes, memory=device == "cpu")))
        if device == "cpu":
            least = {"part": "memory", "way": LET_GO, "batch": batch, "classes": classes, "k": 5, "first_layer": J, "runs": 1}
            yield pd.DataFrame([least | {"peak_gb": peak_of(name, LET_GO, batch, classes)}])
    yield pd.DataFrame(map(asdict, encoding(m, max(batches))))
    yield pd.DataFrame(map(asdict, spans(m)))
    if device == "cpu":
        yield whole_run(name)
        yield pd.DataFrame(map(asdict, imagenet_size(replace(m, repeats=1))))
    for at in GROWTH:
        yield pd.DataFrame(map(asdict, growth(m, **at)))
