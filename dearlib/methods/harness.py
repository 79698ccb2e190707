"""One harness for every method: training on cached pictures, and accuracy. DeAR has a faster road of its own (`training`)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn

from dearlib.clip.cut import check_layer
from dearlib.clip.finite import check_finite
from dearlib.clip.prefix import Prefix, Source, Streamed, together
from dearlib.errors import InputError
from dearlib.methods.interface import Batch, Method, Pictures, Split
from dearlib.methods.loop import Curve, descend
from dearlib.methods.recipe import Recipe
from dearlib.methods.together import Together
from dearlib.methods.training import TrainingSet, shuffled


@dataclass(frozen=True)
class Run:
    """One method to be trained: on what, how, and the seed that orders its pictures and its chance.

    Raises `InputError` if the pictures' states enter another layer than the first that the method runs on them.
    """

    method: Method
    data: TrainingSet
    recipe: Recipe
    seed: int

    def __post_init__(self) -> None:
        _check_states(self.method, self.data.source)

    def order(self, epoch: int) -> list[Int[Tensor, "batch"]]:
        """The batches of one epoch, a pure function of (seed, epoch)."""
        labels, batch = self.data.labels, self.recipe.batch
        if self.method.needs.one_class:
            return one_class_batches(labels, batch, self.seed, epoch)
        return list(shuffled(len(labels), batch, self.seed, epoch).split(batch))

    def batches(self, epoch: int, device: torch.device) -> Iterator[Batch]:
        """The steps of one epoch; epoch e trains on view e mod V, or on as many views as the method wants in one step.

        Pictures are asked for a block of batches at a time and handed on in batches.
        """
        per_step, have = self.method.needs.views, self.data.views
        views = [(per_step * epoch + v) % have for v in range(per_step)]
        chance = torch.Generator().manual_seed(_epoch_seed(self.seed, epoch))
        order, size = self.order(epoch), max(1, self.data.block // self.recipe.batch)
        for start in range(0, len(order), size):
            some = order[start : start + size]
            asked = torch.cat(some)
            each = [rows(self.method, self.data.source, view * len(self.data.labels) + asked) for view in views]
            lengths = [len(b) for b in some]
            states = zip(*(p.states.split(lengths) for p in each), strict=True)  # of every batch, view by view
            features = zip(*(p.features.split(lengths) for p in each), strict=True)
            for chosen, s, f in zip(some, states, features, strict=True):
                labels = self.data.labels[chosen].repeat(per_step)
                yield Batch(torch.cat(s).to(device), torch.cat(f).to(device), labels.to(device), chance)


def train(
    runs: Sequence[Run],
    text: Any,
    fabric: Fabric,
    checkpoint: Path | None = None,
    each_epoch: Callable[[Method], dict[str, float]] | None = None,
) -> list[Curve]:
    """Trains methods in place, as one batch where there are several; of each a row per epoch: its mean terms, and what
    `each_epoch` reports. Nothing to train: no rows.

    Args:
        runs: of one method with equal settings and recipe, on as many pictures; its `needs.stacks` says whether there may be
            several. The result of a run does not depend, to rounding, on the others.
        text: `prepare` of the classes that all are trained on.
        checkpoint: see `loop.descend`.

    Raises:
        InputError: the runs do not go together; fewer views than a step wants; several processes; a loss or a parameter is no
            finite number.
    """
    methods, first = [r.method for r in runs], runs[0]
    if not list(first.method.parameters()):
        return [[] for _ in runs]
    _check(runs, fabric)
    stack = Together(methods) if len(runs) > 1 else None

    def steps(epoch: int) -> Iterator[tuple[float, Tensor]]:
        for batches in zip(*(r.batches(epoch, fabric.device) for r in runs), strict=True):
            with fabric.autocast():
                if stack:
                    yield 1.0, stack.losses(batches, text)
                else:
                    found = first.method.losses(batches[0], text)
                    yield 1.0, torch.stack([found[name] for name in first.method.weights])[None]

    weights = {name: [m.weights[name] for m in methods] for name in first.method.weights}
    report = (lambda: [each_epoch(m) for m in methods]) if each_epoch else None
    return descend(cast(list[nn.Module], methods), [r.recipe for r in runs], steps, weights, fabric, checkpoint, report)


def _check_states(method: Method, source: Source) -> None:
    """Refuses states of another layer; a method that runs no layer may be shown any, for it looks at the features alone."""
    if method.needs.image_from <= method.clip.layers:
        check_layer(source.first_layer, method.needs.image_from)


def _check(runs: Sequence[Run], fabric: Fabric) -> None:
    """Refuses runs that cannot be trained, or not as one."""
    method, data = runs[0].method, runs[0].data
    if fabric.world_size > 1:
        raise InputError(f"training: expected one process for {method.title}, got {fabric.world_size}; ask for one device")
    if data.views < method.needs.views:
        raise InputError(f"training: expected {method.needs.views} views a picture for {method.title}, got {data.views}; draw more")
    if any(r.recipe != runs[0].recipe or len(r.data.labels) != len(data.labels) or r.data.views != data.views for r in runs):
        raise InputError("training: expected runs of one recipe on as many pictures and views; train them apart")


@torch.no_grad()
def answers(method: Method, source: Source, text: Any, split: Split, batch: int | None = None) -> Iterator[Float[Tensor, "_ class_"]]:
    """A trained method's logits for pictures on the verge of its layer, piece by piece; None: as many at once as go fastest.

    Raises `InputError` for logits that are no finite numbers.
    """
    _check_states(method, source)
    encoded, device, batch = method.encode(text), source.features.device, batch or together(method.clip)
    for chosen in torch.arange(len(source.features), device=device).split(batch):
        logits = method.logits(rows(method, source, chosen), encoded, split)
        check_finite(f"{method.title}: logits [picture, class]", logits)
        yield logits


def accuracy(method: Method, source: Source, labels: Int[Tensor, "picture"], text: Any, split: Split, batch: int | None = None) -> float:
    """Top-1 accuracy in percent."""
    found = torch.cat([logits.argmax(dim=1).cpu() for logits in answers(method, source, text, split, batch)])
    return 100 * int((found == labels).sum()) / len(labels)


def rows(method: Method, source: Source, chosen: Int[Tensor, "batch"]) -> Pictures:
    """Some pictures as a method wants them: without states, if it runs no layer on them."""
    place = method.clip.visual.proj
    if method.needs.image_from > method.clip.layers:
        features = source.features[chosen]
        states = features.new_empty(len(chosen), 0, method.clip.d_model)
    else:
        states, features = source.rows(chosen)
    return Pictures(states.to(place.device, place.dtype), features.to(place.device, place.dtype))


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
