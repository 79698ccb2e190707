"""The prefix: pictures on the verge of layer J, kept or computed when asked for.

What lies below layer J is frozen, so it is computed once per (weights, J, pictures, views); `dearlib.clip.cache` keeps it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dearlib import machine
from dearlib.clip.cut import frozen_features, image_prefix, run_layers
from dearlib.clip.finite import check_finite
from dearlib.clip.loading import FrozenClip
from dearlib.errors import InputError

MOST = 64  # pictures that go through the frozen layers together at most
NEAR = (
    20e6  # bytes of a batch's widest states (the MLP's, single precision) that a CPU's caches hold: beyond it every layer waits for memory
)

States = Float[Tensor, "picture token d_model"]
Features = Float[Tensor, "picture d_embed"]


@runtime_checkable
class Source(Protocol):
    """Pictures on the verge of layer J, kept or computed when asked for; `features` are the frozen model's, before normalisation."""

    @property
    def first_layer(self) -> int:
        """J: the layer that the states enter. States of one layer look like those of any other: only this tells."""

    @property
    def features(self) -> Features:
        """[picture, d_embed]"""

    def rows(self, chosen: Int[Tensor, "batch"]) -> tuple[Float[Tensor, "batch token d_model"], Float[Tensor, "batch d_embed"]]:
        """States and features of some pictures."""

    def chunks(self, size: int) -> Iterator[States]:
        """The states of all pictures, piece by piece."""


@dataclass(frozen=True)
class Prefix:
    """A kept `Source`.

    `states` [picture, token, D_v] enter layer J = `first_layer`; `features` [picture, d_embed] are the teacher of the regularisation, and
    zero-shot's answer. `seconds`: what it took to compute, None where that is not known.
    """

    states: States
    features: Features
    first_layer: int
    seconds: float | None = None

    def rows(self, chosen: Int[Tensor, "batch"]) -> tuple[Float[Tensor, "batch token d_model"], Float[Tensor, "batch d_embed"]]:
        """See `Source`; in the features' precision."""
        return self.states[chosen].to(self.features.dtype), self.features[chosen]

    def chunks(self, size: int) -> Iterator[States]:
        """See `Source`."""
        return (s.to(self.features.dtype) for s in self.states.split(size))


@dataclass(frozen=True)
class Streamed:
    """A `Source` of which the features alone are kept. `picture(i)`: the views of picture i, [view, 3, side, side]."""

    clip: FrozenClip
    first_layer: int
    picture: Callable[[int], Tensor]
    views: int
    features: Features

    def rows(self, chosen: Int[Tensor, "batch"]) -> tuple[Float[Tensor, "batch token d_model"], Float[Tensor, "batch d_embed"]]:
        """See `Source`."""
        count = len(self.features) // self.views

        def picture(n: int) -> Tensor:
            return self.picture(int(chosen[n]) % count)[int(chosen[n]) // count]

        pictures = _loaded(picture, len(chosen), together(self.clip), decoders(self.clip))
        parts = [_states(self.clip, self.first_layer, batch) for batch in pictures]
        return torch.cat(parts), self.features[chosen]

    def chunks(self, size: int) -> Iterator[States]:
        """See `Source`."""
        return (self.rows(chosen)[0] for chosen in torch.arange(len(self.features)).split(size))


def _loaded(picture: Callable[[int], Tensor], count: int, batch: int, threads: int) -> Iterator[Tensor]:
    """Pictures 0 … count − 1 in stacks of `batch`; the next ones are decoded, in `threads`, while the caller computes."""
    with ThreadPoolExecutor(threads) as pool:
        starts = list(range(0, count, batch))
        ahead = [pool.submit(picture, i) for i in range(min(batch, count))]
        for start in starts:
            now, ahead = ahead, [pool.submit(picture, i) for i in range(start + batch, min(start + 2 * batch, count))]
            yield torch.stack([f.result() for f in now])


def _place(clip: FrozenClip) -> torch.device:
    return clip.visual.class_embedding.device


def together(clip: FrozenClip) -> int:
    """Pictures that go through the frozen layers together: on a CPU as many as its caches hold (8 of ViT-B/16, `MOST` of DeAR-Mini)."""
    widest = 4 * 4 * clip.d_model * (clip.patches + 1)
    return MOST if _place(clip).type != "cpu" else max(1, min(MOST, int(NEAR // widest)))


def decoders(clip: FrozenClip) -> int:
    """Threads that decode pictures: on a CPU as many as compute, for a GPU one on each core, for there computing takes none."""
    return machine.cores() if _place(clip).type != "cpu" else torch.get_num_threads()


@torch.no_grad()
def _states(clip: FrozenClip, first_layer: int, images: Tensor) -> Tensor:
    return image_prefix(clip.visual, images.to(_place(clip)), first_layer)


@torch.no_grad()
def compute(
    clip: FrozenClip,
    first_layer: int,
    count: int,
    picture: Callable[[int], Tensor],
    views: int = 1,
    states: Tensor | None = None,
    features: Tensor | None = None,
) -> None:
    """Runs layers 1 … J−1, and for the features the rest as well, over the `views` views of `count` pictures.

    Rows go into `states` and `features`, where given: first view 0 of all pictures, then view 1, … All is computed in single
    precision; states kept in half are rounded once, so that features, which teach and answer zero-shot, are the same whether
    states are kept or not, and in which precision.
    """
    batch = max(1, together(clip) // views)
    done = 0
    for images in _loaded(picture, count, batch, decoders(clip)):
        at = (torch.arange(done, done + len(images))[:, None] + count * torch.arange(views)).flatten()
        done += len(images)
        found = _states(clip, first_layer, images.flatten(0, 1))
        check_finite(f"{clip.name}: states [picture, token, dimension]", found)
        if features is not None:
            features[at] = frozen_features(clip.visual, found, first_layer).to(features)
            check_finite(f"{clip.name}: features [picture, dimension]", features[at])
        if states is not None:
            states[at] = found.to(states)


@torch.no_grad()
def deepened(source: "Prefix | Streamed", clip: FrozenClip, stop: int) -> "Prefix | Streamed":
    """On the verge of layer `stop`, through the frozen layers between. Raises `InputError` if the states are beyond it."""
    start = source.first_layer
    if stop == start:
        return source
    if stop < start:
        raise InputError(f"first_layer: expected {start} or later, where the kept states are, got {stop}; keep states of an earlier layer")
    if isinstance(source, Streamed):
        return replace(source, first_layer=stop)
    run = [run_layers(clip.visual.transformer, s.to(_place(clip)), start, stop - 1).cpu() for s in source.chunks(together(clip))]
    return Prefix(torch.cat(run), source.features, stop)
