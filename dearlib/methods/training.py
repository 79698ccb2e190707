"""`fit`: DeAR's training over cached prefixes; several runs at once, as one batch.

The order of the pictures in epoch e is a pure function of (seed, e).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor

from dearlib.clip.cut import TextStates, check_layer
from dearlib.clip.prefix import Source
from dearlib.errors import InputError
from dearlib.methods.dear import DeAR
from dearlib.methods.loop import Curve, descend
from dearlib.methods.recipe import Recipe
from dearlib.methods.stack import Stack


@dataclass(frozen=True, kw_only=True)
class Schedule(Recipe):
    """How DeAR is trained. `lambda_reg`, `lambda_fusion`: weights in Eq. 12.

    `lr_tokens`, `lr_fusion`: learning rates of all tokens and of the fusion weights; None: the same as `lr`.
    """

    lambda_reg: float = 1.0
    lambda_fusion: float = 0.1
    lr_tokens: float | None = None
    lr_fusion: float | None = None

    def lr_of(self, name: str) -> float:
        """See `Recipe`."""
        own = {"attribute_tokens": self.lr_tokens, "text_tokens": self.lr_tokens, "fusion": self.lr_fusion}.get(name)
        return super().lr_of(name) if own is None else own


@dataclass(frozen=True)
class TrainingSet:
    """Views of labelled pictures on the verge of layer J: `source` has first view 0 of all pictures, then view 1, …

    Epoch e trains on view e mod V. `block`: how many pictures to ask for at once, more than a batch where `source` computes
    them when asked.
    """

    source: Source
    labels: Int[Tensor, "picture"]
    block: int = 1

    @property
    def views(self) -> int:
        """V."""
        return len(self.source.features) // len(self.labels)

    def rows(self, view: int, chosen: Int[Tensor, "batch"]) -> tuple[Float[Tensor, "batch token d_model"], Float[Tensor, "batch d_embed"]]:
        """The states of view `view` of the `chosen` pictures, and their frozen features."""
        return self.source.rows(view * len(self.labels) + chosen)


@dataclass(frozen=True)
class TrainingRun:
    """One model to be trained: on what, how, and the seed that orders its pictures.

    Raises `InputError` if the pictures' states enter another layer than the model's J.
    """

    model: DeAR
    data: TrainingSet
    schedule: Schedule
    seed: int

    def __post_init__(self) -> None:
        check_layer(self.data.source.first_layer, self.model.settings.first_layer)

    def order(self, epoch: int) -> Int[Tensor, "picture"]:
        """The pictures of one epoch."""
        return shuffled(len(self.data.labels), self.schedule.batch, self.seed, epoch)


def shuffled(pictures: int, batch: int, seed: int, epoch: int) -> Int[Tensor, "picture"]:
    """The pictures of one epoch in a new order, whole batches alone (all of them if there is not one)."""
    order = torch.randperm(pictures, generator=torch.Generator().manual_seed(1000 * seed + epoch))
    whole = pictures // batch * batch
    return order[:whole] if whole else order


def fit(
    runs: Sequence[TrainingRun],
    text: TextStates,
    frozen_text: Float[Tensor, "class_ d_embed"],
    fabric: Fabric,
    checkpoint: Path | None = None,
    each_epoch: Callable[[list[DeAR]], list[dict[str, float]]] | None = None,
) -> list[Curve]:
    """Trains the models of all `runs` in place, as one batch; returns of each run a row per epoch.

    A row has the mean losses, α_cls and what `each_epoch` reports of its model. The result of a run does not depend, to
    rounding, on which others it is trained with, nor on how many processes share the batches. `checkpoint`: a file written
    after every epoch and read at the start if it is there.

    Raises:
        InputError: the runs differ in epochs, batch or number of pictures, or their models in shape; there are more
            processes than pictures in a batch; a loss or a parameter is no finite number.
    """
    stack, models = Stack([r.model for r in runs]), [r.model for r in runs]
    batch = _common(runs, fabric.world_size)

    def steps(epoch: int) -> Iterator[tuple[float, Tensor]]:
        for share, states, frozen, labels in _batches(runs, epoch, batch, fabric):
            with fabric.autocast():
                found = stack.losses(states, text, frozen, frozen_text, labels)
            yield share, torch.stack([found.cross_entropy, found.regularisation, found.fusion], dim=1)

    weights: dict[str, Sequence[float]] = {
        "cross_entropy": [1.0 for _ in runs],
        "regularisation": [r.schedule.lambda_reg for r in runs],
        "fusion": [r.schedule.lambda_fusion for r in runs],
    }
    report = partial(each_epoch, models) if each_epoch else None
    recipes = [r.schedule for r in runs]
    return descend(models, recipes, steps, weights, fabric, checkpoint, report, lambda i: {"alpha_cls": models[i].alpha[0].item()})


def _common(runs: Sequence[TrainingRun], processes: int) -> int:
    """The batch of all runs, or the reason why they cannot be trained as one, or by so many processes."""
    alike = {(r.schedule.epochs, r.schedule.batch, len(r.data.labels)) for r in runs}
    if len(alike) != 1:
        raise InputError(f"fit: expected runs of the same epochs, batch and pictures, got {sorted(alike)}; train them apart")
    _, batch, pictures = alike.pop()
    if min(batch, pictures) < processes:
        raise InputError(f"fit: expected at most {min(batch, pictures)} processes, one per picture of a batch, got {processes}; use fewer")
    return batch


def _batches(runs: Sequence[TrainingRun], epoch: int, batch: int, fabric: Fabric) -> Iterator[tuple[float, Tensor, Tensor, Tensor]]:
    """Of every step of an epoch: this process's share of the batch; states, frozen features and labels of it, [run, picture, …] each.

    Pictures are asked for a block of batches at a time and handed on in batches.
    """
    orders = [r.order(epoch).split(batch) for r in runs]
    whole = len(orders[0][0])
    own = [[b.tensor_split(fabric.world_size)[fabric.global_rank] for b in order] for order in orders]
    size = len(own[0][0])
    block = max(1, runs[0].data.block // batch)
    for start in range(0, len(own[0]), block):
        parts = []
        for run, order in zip(runs, own, strict=True):
            chosen = torch.cat(order[start : start + block])
            parts.append((*run.data.rows(epoch % run.data.views, chosen), run.data.labels[chosen]))
        states, frozen, labels = (fabric.to_device(torch.stack(p)) for p in zip(*parts, strict=True))
        for first in range(0, labels.shape[1], size):
            here = slice(first, first + size)
            yield size / whole, states[:, here], frozen[:, here], labels[:, here]
