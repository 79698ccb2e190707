"""One harness for every method: training on cached pictures, and accuracy. DeAR has a faster road of its own (`training`)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn

from dearlib.clip.prefix import Prefix, Source, Streamed
from dearlib.errors import InputError
from dearlib.methods.interface import Batch, Method, Pictures, Split
from dearlib.methods.loop import Curve, descend
from dearlib.methods.recipe import Recipe
from dearlib.methods.training import TrainingSet, shuffled


@dataclass(frozen=True)
class Run:
    """One method to be trained: on what, how, and the seed that orders its pictures and its chance."""

    method: Method
    data: TrainingSet
    recipe: Recipe
    seed: int

    def order(self, epoch: int) -> list[Int[Tensor, "batch"]]:
        """The batches of one epoch, a pure function of (seed, epoch)."""
        labels, batch = self.data.labels, self.recipe.batch
        if self.method.needs.one_class:
            return one_class_batches(labels, batch, self.seed, epoch)
        return list(shuffled(len(labels), batch, self.seed, epoch).split(batch))

    def batches(self, epoch: int, device: torch.device) -> Iterator[Batch]:
        """The steps of one epoch; epoch e trains on view e mod V, or on as many views as the method wants in one step."""
        per_step, have = self.method.needs.views, self.data.views
        views = [(per_step * epoch + v) % have for v in range(per_step)]
        chance = torch.Generator().manual_seed(_epoch_seed(self.seed, epoch))
        for chosen in self.order(epoch):
            each = [rows(self.method, self.data.source, view * len(self.data.labels) + chosen) for view in views]
            states, features = (torch.cat(part).to(device) for part in zip(*((p.states, p.features) for p in each), strict=True))
            yield Batch(states, features, self.data.labels[chosen].repeat(per_step).to(device), chance)


def train(
    run: Run, text: Any, fabric: Fabric, checkpoint: Path | None = None, each_epoch: Callable[[Method], dict[str, float]] | None = None
) -> Curve:
    """Trains a method in place; a row per epoch: its mean terms, and what `each_epoch` reports. Nothing to train: no rows.

    Args:
        text: `run.method.prepare` of the classes it is trained on.
        checkpoint: see `loop.descend`.

    Raises:
        InputError: fewer views than a step wants; several processes; a loss or a parameter is no finite number.
    """
    method = run.method
    if not list(method.parameters()):
        return []
    if fabric.world_size > 1:
        raise InputError(f"training: expected one process for {method.title}, got {fabric.world_size}; ask for one device")
    if run.data.views < method.needs.views:
        raise InputError(f"training: expected {method.needs.views} views a picture for {method.title}, got {run.data.views}; draw more")

    def steps(epoch: int) -> Iterator[tuple[float, Tensor]]:
        for batch in run.batches(epoch, fabric.device):
            with fabric.autocast():
                found = method.losses(batch, text)
            yield 1.0, torch.stack([found[name] for name in method.weights])[None]

    weights = {name: [weight] for name, weight in method.weights.items()}
    report = (lambda: [each_epoch(method)]) if each_epoch else None
    return descend([cast(nn.Module, method)], [run.recipe], steps, weights, fabric, checkpoint, report)[0]


@torch.no_grad()
def answers(method: Method, source: Source, text: Any, split: Split, batch: int = 256) -> Iterator[Float[Tensor, "_ class_"]]:
    """A trained method's logits for pictures on the verge of its layer, piece by piece."""
    encoded, device = method.encode(text), source.features.device
    for chosen in torch.arange(len(source.features), device=device).split(batch):
        yield method.logits(rows(method, source, chosen), encoded, split)


def accuracy(method: Method, source: Source, labels: Int[Tensor, "picture"], text: Any, split: Split, batch: int = 256) -> float:
    """Top-1 accuracy in percent."""
    found = torch.cat([logits.argmax(dim=1).cpu() for logits in answers(method, source, text, split, batch)])
    return 100 * int((found == labels).sum()) / len(labels)


def rows(method: Method, source: Source, chosen: Int[Tensor, "batch"]) -> Pictures:
    """Some pictures as a method wants them: without states, if it runs no layer on them."""
    place = method.clip.visual.proj  # type: ignore[union-attr]
    if method.needs.image_from > method.clip.layers:
        features = source.features[chosen]
        states = features.new_empty(len(chosen), 0, method.clip.d_model)
    else:
        states, features = source.rows(chosen)
    return Pictures(states.to(place.device, place.dtype), features.to(place.device, place.dtype))  # type: ignore[union-attr,arg-type]


def taught(data: TrainingSet, features: Float[Tensor, "row d_embed"]) -> TrainingSet:
    """The same pictures with another teacher's features: of every row, or of every picture for all of its views."""
    if len(features) == len(data.labels):
        features = features.repeat(data.views, 1)
    source = data.source
    if not isinstance(source, Prefix | Streamed):
        raise InputError(f"training: expected a kept or a streamed prefix, got {type(source).__name__}; make one of the pictures first")
    return replace(data, source=replace(source, features=features))


def one_class_batches(labels: Int[Tensor, "picture"], batch: int, seed: int, epoch: int) -> list[Int[Tensor, "batch"]]:
    """Batches of one class each, the next class drawn among those that still fill a batch; what is left over is left out."""
    draw = torch.Generator().manual_seed(_epoch_seed(seed, epoch))
    left: Mapping[int, list[Tensor]] = {}
    for label in labels.unique().tolist():
        own = (labels == label).nonzero()[:, 0]
        whole = own[torch.randperm(len(own), generator=draw)].split(batch)
        left = {**left, label: [b for b in whole if len(b) == batch]}
    left = {label: batches for label, batches in left.items() if batches}
    if not left:
        raise InputError(f"training: expected a class with {batch} pictures for a batch of one class, got none; use a smaller batch")
    made = []
    while left:
        label = list(left)[int(torch.randint(len(left), (1,), generator=draw))]
        made.append(left[label].pop())
        left = {k: v for k, v in left.items() if v}
    return made


def _epoch_seed(seed: int, epoch: int) -> int:
    return 1000 * seed + epoch
