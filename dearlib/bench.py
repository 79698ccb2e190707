"""What DeAR costs at the paper's size, beside the straightforward way, in the same run: `python -m dearlib.bench --out FILE.csv`.

Weights are random, which changes no operation. Every pair of ways is first held to the same losses, then timed in turn,
so that whatever else the machine does falls on both. Operations are counted by PyTorch's own counter while the code runs,
and set against what a plain matrix product reaches on this machine. Memory is the peak of a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dearlib.attention import masked_layer
from dearlib.checkpoint import write_text
from dearlib.clip import FrozenClip, TextStates, image_prefix, image_suffix, random_clip, run_layers, text_prefix
from dearlib.heads import head_contributions
from dearlib.model import DeAR, ImageFeatures, Losses, Settings, losses
from dearlib.results import provenance
from dearlib.roles import HeadRole, HeadRoles, Role
from dearlib.textspan import textspan

ATTRIBUTES = ("color", "shape", "texture", "object", "location")


@dataclass(frozen=True)
class Row:
    """One measurement: seconds are the median of `repeats`, memory the peak of a process in GB, None where not measured."""

    part: str
    way: str
    batch: int
    classes: int
    gflop: float
    seconds: float
    repeats: int
    gflop_per_second: float
    share_of_ceiling: float
    peak_gb: float | None


def example_roles(clip: FrozenClip, first_layer: int = 9) -> HeadRoles:
    """Roles dealt out in turn: with random weights there is none to find, and timing asks for no other."""
    kinds: tuple[Role, ...] = ("attribute", "generalization", "mixed", "generalization")
    places = [(layer, head) for layer in range(first_layer, clip.layers + 1) for head in range(clip.heads)]
    told = {"entropy": 1.0, "interval": (1.0, 1.0), "distribution": {}, "phrases": ()}
    entries = [
        HeadRole(layer=n, head=h, role=kinds[(n + h) % 4], concept=ATTRIBUTES[(n + h) % len(ATTRIBUTES)], **told)  # type: ignore[arg-type]
        for n, h in places
    ]
    shape = {"first_layer": first_layer, "layers": clip.layers, "heads": clip.heads}
    names = {"attributes": ATTRIBUTES, "concepts": ATTRIBUTES, "settings": {}, "pool_sha256": "0" * 64}
    return HeadRoles(model=clip.name, weights_sha256=clip.weights_sha256, entries=tuple(entries), **shape, **names)  # type: ignore[arg-type]


class Straightforward:
    """DeAR's step as a plain loop writes it: nothing kept, nothing shared, nothing left out.

    Pictures pass through all layers every time, and once more through the frozen teacher; prompts keep all 77 columns; the
    last layer computes every token. The losses are those of `model` to rounding.
    """

    def __init__(self, model: DeAR, texts: Sequence[str]) -> None:
        self.model = model
        self.tokens = model.clip.tokenize(texts)
        self.frozen_text = model.clip.encode_text(texts)

    def losses(self, images: Float[Tensor, "batch 3 side side"], labels: Int[Tensor, "batch"]) -> Losses:
        """The three losses of one batch of pictures."""
        teacher = self.model.clip.encode_image(images)
        return losses(self.model, self.image_features(images), self.text_features(), teacher, self.frozen_text, labels)

    def image_features(self, images: Float[Tensor, "batch 3 side side"]) -> ImageFeatures:
        """f_cls and f_a, every token in every layer."""
        model, visual = self.model, self.model.clip.visual
        s = model.settings
        with torch.no_grad():
            x = image_prefix(visual, images, s.first_layer)
        n_original, raw = x.shape[1], model.attribute_tokens.expand(len(x), -1, -1)
        own = raw
        for layer in range(s.first_layer, model.clip.layers + 1):
            own = raw if layer == s.first_layer else s.beta * raw + (1 - s.beta) * own
            may_attend: Tensor = getattr(model, f"may_attend_{layer}")[None]
            out = masked_layer(visual.transformer.resblocks[layer - 1], torch.cat([x, own], dim=1), may_attend)  # type: ignore[union-attr,index]
            x, own = out[:, :n_original], out[:, n_original:]
        own = visual.ln_post(own) @ model.projection  # type: ignore[operator]
        per_attribute = own.unflatten(1, (len(model.roles.attributes), -1)).mean(dim=2)
        return ImageFeatures(visual.ln_post(x[:, 0]) @ visual.proj, per_attribute)  # type: ignore[operator]

    def text_features(self) -> Float[Tensor, "class_ d_embed"]:
        """f_t over all columns of the context."""
        model, text = self.model, self.model.clip.model
        s, k = model.settings, model.settings.text_tokens
        with torch.no_grad():
            x = text.token_embedding(self.tokens) + text.positional_embedding  # type: ignore[operator]
            x = run_layers(text.transformer, x, 1, s.first_layer - 1, text.attn_mask)  # type: ignore[arg-type]
        raw = model.text_tokens.expand(len(x), -1, -1)
        size = x.shape[1] + k
        causal = torch.full((size, size), float("-inf")).triu(1)
        start, own, rest = x[:, :1], raw, x[:, 1:]
        for layer in range(s.first_layer, len(text.transformer.resblocks) + 1):  # type: ignore[union-attr,arg-type]
            own = raw if layer == s.first_layer else s.beta * raw + (1 - s.beta) * own
            x = text.transformer.resblocks[layer - 1](torch.cat([start, own, rest], dim=1), attn_mask=causal)  # type: ignore[union-attr,index,operator]
            start, own, rest = x[:, :1], x[:, 1 : 1 + k], x[:, 1 + k :]
        end = self.tokens.argmax(dim=1) + k
        return text.ln_final(x[torch.arange(len(x)), end]) @ text.text_projection  # type: ignore[operator]


@dataclass(frozen=True)
class Bench:
    """One model, one batch, the two ways to make a step of it."""

    model: DeAR
    plain: Straightforward
    images: Tensor
    labels: Tensor
    states: Tensor
    features: Tensor
    text: TextStates

    def fast(self) -> Losses:
        """A step's losses from the kept prefix."""
        image, text = self.model.image_features(self.states), self.model.text_features(self.text)
        return losses(self.model, image, text, self.features, self.plain.frozen_text, self.labels)

    def straightforward(self) -> Losses:
        """The same from the pictures."""
        return self.plain.losses(self.images, self.labels)


def build(name: str, batch: int, classes: int, side: int | None = None) -> Bench:
    """A batch of random pictures and `classes` prompts of the usual length."""
    clip = random_clip(name)
    model = DeAR(clip, example_roles(clip), Settings())
    texts = [f"a photo of a {word} {i}." for i, word in zip(range(classes), _words(classes), strict=True)]
    draw = torch.Generator().manual_seed(0)
    side = side or clip.visual.image_size[0]  # type: ignore[index]
    images = torch.randn(batch, 3, side, side, generator=draw)
    labels = torch.randint(classes, (batch,), generator=draw)
    with torch.no_grad():
        states = image_prefix(clip.visual, images, 9)
        features = image_suffix(clip.visual, states, 9)
    return Bench(model, Straightforward(model, texts), images, labels, states, features, text_prefix(clip, texts, 9))


def _words(count: int) -> list[str]:
    some = ("cup", "old lighthouse", "fire truck", "bird", "maple tree", "violin", "mountain bike", "harbour seal")
    return [some[i % len(some)] for i in range(count)]


def total(terms: Losses) -> Tensor:
    """Eq. 12 with weights of one."""
    return terms.cross_entropy + terms.regularisation + terms.fusion


def step(way: Callable[[], Losses], model: DeAR, optimiser: torch.optim.Optimizer | None = None) -> float:
    """Forward, backward and the optimiser's step; returns the loss."""
    model.zero_grad()
    loss = total(way())
    loss.backward()
    if optimiser:
        optimiser.step()
    return loss.item()


def same_losses(name: str, batch: int, classes: int, steps: int = 20) -> float:
    """Largest difference of the two ways' losses along `steps` steps of training from one start."""
    curves = []
    for way in ("fast", "straightforward"):
        bench = build(name, batch, classes)
        optimiser = torch.optim.AdamW(bench.model.parameters(), lr=1e-3)
        curves.append([step(getattr(bench, way), bench.model, optimiser) for _ in range(steps)])
    return max(abs(a - b) for a, b in zip(*curves, strict=True))


def count(run: Callable[[], object]) -> float:
    """Operations of matrix products and attention in GFLOP, counted while `run` runs."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def ceiling(size: int = 2048, repeats: int = 7) -> float:
    """GFLOP/s of a plain float32 matrix product on this machine, the best of several."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e9


def interleaved(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each way, one after the other, `repeats` times, after one run of each that is not counted."""
    for run in ways.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def rows_of(
    part: str,
    batch: int,
    classes: int,
    ways: Mapping[str, Callable[[], object]],
    top: float,
    repeats: int,
    peaks: Mapping[str, float] | None = None,
) -> list[Row]:
    """Counts and times every way of one part."""
    counted = {name: count(run) for name, run in ways.items()}
    rows = []
    for name, seconds in interleaved(ways, repeats).items():
        typical = median(seconds)
        rate = counted[name] / typical
        peak = (peaks or {}).get(name)
        rows.append(Row(part, name, batch, classes, counted[name], typical, repeats, rate, rate / top, peak))
    return rows


def peak_of(name: str, way: str, batch: int, classes: int) -> float:
    """Peak memory in GB of a process that makes three steps one way, weights included."""
    code = [sys.executable, "-m", "dearlib.bench", "--peak", json.dumps([name, way, batch, classes])]
    return float(subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()[-1])


def _peak(name: str, way: str, batch: int, classes: int) -> float:
    bench = build(name, batch, classes)
    for _ in range(3):
        step(getattr(bench, way), bench.model)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def measure(name: str, batches: Sequence[int], classes: int, repeats: int) -> pd.DataFrame:
    """All parts: training steps, image encoding at inference, head contributions, TextSpan."""
    top, rows = ceiling(), []
    for batch in batches:
        bench = build(name, batch, classes)
        ways = {way: lambda way=way, bench=bench: step(getattr(bench, way), bench.model) for way in ("straightforward", "fast")}  # type: ignore[misc]
        peaks = {way: peak_of(name, way, batch, classes) for way in ways}
        rows += rows_of("training step", batch, classes, ways, top, repeats, peaks)
    clip, visual, images = bench.model.clip, bench.model.clip.visual, bench.images
    with torch.no_grad():
        encode = {
            "plain encode_image": lambda: clip.encode_image(images),
            "DeAR image features": lambda: bench.model.image_features(image_prefix(visual, images, 9)),
            "head contributions": lambda: head_contributions(visual, images, 9),
        }
        rows += rows_of("image encoding", len(images), 0, encode, top, repeats)
        span = _textspan_input(clip)
        rows += rows_of("TextSpan", len(span[0]), 0, {"48 heads at once": lambda: textspan(*span, rank=80, steps=20)}, top, 1)
    return pd.DataFrame(asdict(r) for r in rows).assign(ceiling=top)


def _textspan_input(clip: FrozenClip, images: int = 5000, phrases: int = 3498) -> tuple[Tensor, Tensor]:
    """Random contributions of as many dimensions as a head has, and random texts."""
    draw, d_head = torch.Generator().manual_seed(0), clip.d_model // clip.heads
    heads = 4 * clip.heads
    spanned = torch.randn(heads, images, d_head, generator=draw) @ torch.randn(heads, d_head, clip.d_embed, generator=draw)
    return spanned, F.normalize(torch.randn(phrases, clip.d_embed, generator=draw), dim=-1)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dearlib.bench", description="Time DeAR at the paper's size beside the plain way.")
    parser.add_argument("--model", default="ViT-B-16", help="an open_clip model; random weights")
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 32])
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="CSV")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.peak:
        print(_peak(*json.loads(args.peak)))
        return 0
    table = measure(args.model, args.batches, args.classes, args.repeats)
    told = provenance()
    where = {"processor": told["hardware"]["processor"], "threads": told["hardware"]["threads"], "torch": told["versions"]["torch"]}
    differ = same_losses(args.model, args.batches[0], args.classes)
    table = table.assign(model=args.model, losses_differ=differ, **where)
    if args.out:
        write_text(args.out, table.to_csv(index=False, float_format="%.6g"))
    print(table.drop(columns=["processor", "model", "torch"]).round(3).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
