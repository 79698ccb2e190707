"""The prefix cache: what lies below layer J is frozen, so it is computed once per (model, J, pictures, views); features once for all J.

Entries are safetensors files named by a hash of everything they depend on, mapped into memory, written whole or not at
all, their bytes checked when they are opened; two processes that make the same entry at once both write it whole, and
the second rename wins. What the cache's budget has no room for is computed anew whenever it is asked for, in large batches.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dearlib.clip.loading import FrozenClip
from dearlib.clip.prefix import Prefix, Streamed, compute
from dearlib.datasets import Item, open_image, picture_bytes, picture_size
from dearlib.datasets.transforms import draw_views, stack_views
from dearlib.errors import InputError
from dearlib.files import filled_tensors, mapped_tensors, sweep

VERSION = 3  # of the code that makes entries (pictures, views, frozen layers): raise it when what it computes changes


@dataclass(frozen=True)
class Cache:
    """Where entries are kept, in which precision (states alone: features stay in single), and how large all may be together."""

    folder: Path
    dtype: torch.dtype = torch.float32
    gigabytes: float = math.inf

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes keep to the budget; what killed processes left half written is deleted first."""
        sweep(self.folder)
        used = 0
        for file in (*self.folder.glob("*.safetensors"), *self.folder.glob(".*.partial")):  # whole ones, and those being written
            with suppress(FileNotFoundError):  # another process may just have renamed it
                used += file.stat().st_size
        return used + size <= 1e9 * self.gigabytes


def entry(folder: Path, clip: FrozenClip, first_layer: int | None, identity: Any) -> Path:
    """Where the entry for this model, this J and these pictures lies; `identity` is any JSON-able description. J None: of features."""
    text = json.dumps([VERSION, clip.identity, first_layer, identity], sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"


def cached(
    cache: Cache, clip: FrozenClip, first_layer: int, identity: Any, count: int, picture: Callable[[int], Tensor], views: int = 1
) -> Prefix | Streamed:
    """The prefix from the cache, computed and stored where it is not there yet; streamed if there is no room for the states.

    Features are the same wherever the cut is, so they are an entry of their own: methods that enter other layers share it.
    """
    if not count:
        raise InputError("pictures: expected at least one, got none; is a part of the split file empty?")
    features = entry(cache.folder, clip, None, identity)
    states = entry(cache.folder, clip, first_layer, [identity, str(cache.dtype)])
    rows = views * count
    shape = (rows, clip.patches + 1, clip.d_model)
    missing: dict[Path, tuple[str, torch.dtype, tuple[int, ...]]] = {}
    if not features.exists():
        missing[features] = ("features", torch.float32, (rows, clip.d_embed))
    if not states.exists() and cache.has_room(math.prod(shape) * cache.dtype.itemsize):
        missing[states] = ("states", cache.dtype, shape)
    seconds = None
    if missing:
        began = time.monotonic()
        with ExitStack() as files:
            made: dict[str, Tensor] = {}
            for path, (name, dtype, size) in missing.items():
                made |= files.enter_context(filled_tensors(path, {name: (dtype, size)}, {"identity": identity}))
            compute(clip, first_layer, count, picture, views, made.get("states"), made.get("features"))
        seconds = time.monotonic() - began
    kept = mapped_tensors(features)[0]["features"]
    if states.exists():
        return Prefix(mapped_tensors(states)[0]["states"], kept, first_layer, seconds)
    return Streamed(clip, first_layer, picture, views, kept)


def of_items(cache: Cache, clip: FrozenClip, first_layer: int, items: Sequence[Item]) -> Prefix | Streamed:
    """The plain pictures, as CLIP's test transform shows them, in the order of `items`."""
    return of_views(cache, clip, first_layer, items, seed=0, views=0, scale=(1.0, 1.0), flip=False)


def of_views(
    cache: Cache,
    clip: FrozenClip,
    first_layer: int,
    items: Sequence[Item],
    seed: int,
    views: int,
    scale: tuple[float, float],
    flip: bool,
) -> Prefix | Streamed:
    """`views` augmented views of every picture: first view 0 of all `items`, then view 1, … With `views` 0, the plain one.

    View v of picture i depends on (seed, i, v) alone; `flip` False takes the mirroring out. A picture is opened once for all
    of its views.
    """
    drawn = [[replace(v, flip=v.flip and flip) for v in draw_views(seed, i, views, scale)] for i in range(len(items))]

    def picture(i: int) -> Tensor:
        return stack_views(open_image(items[i].path), drawn[i], clip.preprocess)

    identity = ["views", contents(items), seed, views, list(scale), flip] if views else ["plain", contents(items)]
    return cached(cache, clip, first_layer, identity, len(items), picture, max(1, views))


def contents(items: Sequence[Item]) -> str:
    """A hash of the pictures' bytes in order: a redrawn or refetched data set never meets an old entry."""
    return combined(hashes(items))


def hashes(items: Iterable[Item]) -> list[bytes]:
    """The SHA-256 of every picture's bytes."""
    return [hashlib.sha256(picture_bytes(item.path)).digest() for item in items]


def combined(each: Iterable[bytes]) -> str:
    """`contents` of pictures whose hashes are known."""
    return hashlib.sha256(b"".join(each)).hexdigest()[:32]


def sizes(items: Sequence[Item]) -> str:
    """A hash of the pictures' sizes in order, for more pictures than can be read on every call: a redrawn one has hardly its old size."""
    return hashlib.sha256(json.dumps([picture_size(item.path) for item in items]).encode()).hexdigest()[:32]


def digest(parts: Sequence[str]) -> str:
    """A short hash of several strings, for names of files that depend on all of them."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
