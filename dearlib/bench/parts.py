"""The parts that are measured, each beside the plain way."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from torch import Tensor

from dearlib.bench.meters import Measurer, Row, count, textspan_input
from dearlib.bench.ways import Bench, J, build, step, total
from dearlib.clip.cut import frozen_features, image_prefix
from dearlib.clip.loading import random_clip
from dearlib.clip.prefix import compute, together
from dearlib.files import write_tensors
from dearlib.methods.losses import Losses
from dearlib.roles.heads import head_contributions
from dearlib.roles.textspan import textspan


def steps(m: Measurer, batch: int, classes: int) -> list[Row]:
    """A training step both ways."""
    bench = build(m.name, batch, classes, device=m.device)
    ways: dict[str, Callable[[], object]] = {way: partial(step, getattr(bench, way), bench.stack) for way in ("straightforward", "fast")}
    if m.device != "cpu":
        ways |= gpu_ways(bench)
    return m.rows("training step", ways, m.peaks(("straightforward", "fast"), batch, classes), batch=batch, classes=classes, k=5)


def growth(m: Measurer, **at: int) -> list[Row]:
    """A fast training step somewhere else: other batch, classes, K, J or number of runs."""
    bench = build(m.name, device=m.device, **({"batch": 4, "classes": 50} | at))
    return m.rows("growth", {"fast": partial(step, bench.fast, bench.stack)}, {}, **({"batch": 4, "classes": 50, "k": 5} | at))


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
    peaks = m.peaks(("plain encode_image", "head contributions"), batch, 2)
    with torch.no_grad():
        return m.rows("image encoding", ways, peaks, batch=batch)


def imagenet_size(m: Measurer, batch: int = 32, classes: int = 1000) -> list[Row]:
    """A training step among as many class names as ImageNet has, its states computed when asked for; its time, and its memory by itself."""
    bench = build(m.name, batch, classes)

    def streamed() -> float:
        with torch.no_grad():
            states = image_prefix(bench.model.clip.visual, bench.images, J)
        return step(replace(bench, states=states).fast, bench.stack)

    return m.rows(
        "ImageNet size", {"fast, streamed": streamed}, m.peaks(("fast, streamed",), batch, classes), batch=batch, classes=classes, k=5
    )


def spans(m: Measurer) -> list[Row]:
    """TextSpan of all late heads over 5,000 pictures and 3,498 phrases, 20 phrases each."""
    inputs = textspan_input(random_clip(m.name), m.device)
    peaks = m.peaks(("all heads at once",), 1, 2)
    with torch.no_grad():
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
    clip, images = bench.model.clip, bench.images.repeat(steps, 1, 1, 1)
    step(bench.fast, bench.stack)  # the first pays for what is made once

    def make_prefix(pictures: Tensor) -> None:
        states = torch.empty(len(pictures), clip.patches + 1, clip.d_model)
        compute(clip, J, len(pictures), lambda i: pictures[i : i + 1], 1, states, torch.empty(len(pictures), clip.d_embed))

    def train(way: str) -> None:
        for _ in range(steps):
            step(getattr(bench, way), bench.stack)

    parts: dict[str, Callable[[], None]] = {
        "straightforward": partial(train, "straightforward"),
        "prefix": partial(make_prefix, images),
        "fast": partial(train, "fast"),
    }
    ways = {"straightforward": ["straightforward"], "fast, prefix included": ["prefix", "fast"], "fast, on a kept prefix": ["fast"]}
    seconds = {part: _seconds(run) for part, run in parts.items()}
    gflop = {way: steps * count(partial(step, getattr(bench, way), bench.stack)) for way in ("straightforward", "fast")}
    gflop["prefix"] = steps * count(partial(make_prefix, bench.images))
    sums = [
        {"way": way, **{c: share * sum(of[p] for p in own) for c, of in (("seconds", seconds), ("gflop", gflop))}}
        for way, own in ways.items()
    ]
    return pd.DataFrame(sums).assign(part="whole run", batch=batch, classes=classes)


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


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
    with TemporaryDirectory() as folder:
        weights = Path(folder) / f"{name}.safetensors" if device == "cpu" else None
        if weights:
            write_tensors(weights, random_clip(name).model.state_dict())
        yield from _parts(Measurer(name, top, repeats, device, weights), batches, classes)


def _parts(m: Measurer, batches: Sequence[int], classes: int) -> Iterator[pd.DataFrame]:
    for batch in batches:
        yield pd.DataFrame(map(asdict, steps(m, batch, classes)))
    yield pd.DataFrame(map(asdict, encoding(m, max(batches))))
    yield pd.DataFrame(map(asdict, spans(m)))
    if m.device == "cpu":
        yield whole_run(m.name)
        yield pd.DataFrame(map(asdict, imagenet_size(replace(m, repeats=1))))
    for at in GROWTH:
        yield pd.DataFrame(map(asdict, growth(m, **at)))
