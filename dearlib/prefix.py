"""The prefix cache: what lies below layer J is frozen, so it is computed once per (weights, J, pictures, views).

Entries are safetensors files named by a hash of everything they depend on, written whole or not at all; two
processes that make the same entry at once write the same bytes, and the second rename wins.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dearlib.checkpoint import read_tensors, write_tensors
from dearlib.clip import FrozenClip, image_prefix, image_suffix, run_layers
from dearlib.datasets import Item, open_image
from dearlib.datasets.transforms import apply_view, draw_views


@dataclass(frozen=True)
class Prefix:
    """Pictures on the verge of layer J, and their frozen features.

    `states` [picture, token, D_v] enter layer J; `features` [picture, d_embed] are the frozen model's, before
    normalisation: the teacher of the regularisation, and zero-shot's answer.
    """

    states: Float[Tensor, "picture token d_model"]
    features: Float[Tensor, "picture d_embed"]


@torch.no_grad()
def compute(clip: FrozenClip, first_layer: int, count: int, picture: Callable[[int], Tensor], batch: int = 64) -> Prefix:
    """Runs layers 1 … J−1, and for the features the rest as well, over `count` pictures [3, side, side]."""
    states, features = [], []
    device = clip.visual.class_embedding.device  # type: ignore[union-attr]
    for start in range(0, count, batch):
        images = torch.stack([picture(i) for i in range(start, min(start + batch, count))]).to(device)
        states.append(image_prefix(clip.visual, images, first_layer))
        features.append(image_suffix(clip.visual, states[-1], first_layer))
    return Prefix(torch.cat(states).cpu(), torch.cat(features).cpu())


@torch.no_grad()
def deepened(clip: FrozenClip, made: Prefix, start: int, stop: int, batch: int = 256) -> Prefix:
    """From the verge of layer `start` to that of `stop`, a later one, through the frozen layers between."""
    if stop == start:
        return made
    device = clip.visual.class_embedding.device  # type: ignore[union-attr]
    runs = [run_layers(clip.visual.transformer, s.to(device), start, stop - 1).cpu() for s in made.states.split(batch)]  # type: ignore[arg-type]
    return Prefix(torch.cat(runs), made.features)


def entry(folder: Path, clip: FrozenClip, first_layer: int, identity: Any) -> Path:
    """Where the entry for these weights, this J and these pictures lies; `identity` is any JSON-able description."""
    text = json.dumps([clip.weights_sha256, first_layer, identity], sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"


def cached(folder: Path, clip: FrozenClip, first_layer: int, identity: Any, count: int, picture: Callable[[int], Tensor]) -> Prefix:
    """The prefix from the cache, computed and stored where it is not there yet."""
    path = entry(folder, clip, first_layer, identity)
    if not path.exists():
        made = compute(clip, first_layer, count, picture)
        write_tensors(path, {"states": made.states, "features": made.features}, {"identity": identity})
    tensors, _ = read_tensors(path)
    return Prefix(tensors["states"], tensors["features"])


def of_items(folder: Path, clip: FrozenClip, first_layer: int, items: Sequence[Item]) -> Prefix:
    """The plain pictures, as CLIP's test transform shows them, in the order of `items`."""
    return cached(folder, clip, first_layer, ["plain", contents(items)], len(items), lambda i: clip.preprocess(open_image(items[i].path)))


def of_views(
    folder: Path,
    clip: FrozenClip,
    first_layer: int,
    items: Sequence[Item],
    seed: int,
    views: int,
    scale: tuple[float, float],
    flip: bool,
) -> Prefix:
    """`views` augmented views of every picture: first view 0 of all `items`, then view 1, …

    View v of picture i depends on (seed, i, v) alone; `flip` False takes the mirroring out.
    """
    side = clip.visual.image_size[0]  # type: ignore[union-attr,index]
    drawn = [[replace(v, flip=v.flip and flip) for v in draw_views(seed, i, views, scale)] for i in range(len(items))]

    def picture(index: int) -> Tensor:
        view, i = divmod(index, len(items))
        return apply_view(open_image(items[i].path), drawn[i][view], side)

    identity = ["views", contents(items), seed, views, list(scale), flip]
    return cached(folder, clip, first_layer, identity, views * len(items), picture)


def contents(items: Sequence[Item]) -> str:
    """A hash of the pictures' bytes in order: a redrawn or refetched data set never meets an old entry."""
    hasher = hashlib.sha256()
    for item in items:
        hasher.update(hashlib.sha256(item.path.read_bytes()).digest())
    return hasher.hexdigest()[:32]


def digest(parts: Sequence[str]) -> str:
    """A short hash of several strings, for names of files that depend on all of them."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
