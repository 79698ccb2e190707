"""Which pictures roles are read from: training or validation pictures, drawn by a seed, never those that tables score."""

import json
from pathlib import Path

import numpy as np

from dearlib.clip.cache import contents
from dearlib.datasets import entry, read_split
from dearlib.datasets.splits import Item
from dearlib.errors import InputError
from dearlib.files import write_text


def draw_pictures(data_root: Path, dataset: str, part: str, count: int, seed: int) -> list[Item]:
    """`count` pictures of a part of a data set without replacement, or all of them where it has fewer.

    Raises `InputError` for a part without pictures, or for test pictures: a role read from those would have seen the answers.
    """
    if part not in ("train", "val"):
        raise InputError(f"part: expected 'train' or 'val', got '{part}'; roles are never read from pictures that tables score")
    items = getattr(read_split(data_root, dataset), part)
    if not items:
        raise InputError(f"part: expected pictures in '{part}' of {dataset}, got none; name the other part or another data set")
    drawn = np.random.default_rng(seed).choice(len(items), size=min(count, len(items)), replace=False)
    return [items[i] for i in drawn]


def write_list(path: Path, items: list[Item], data_root: Path, dataset: str, part: str, seed: int) -> None:
    """Which pictures they were, with a hash of their bytes: another sample may give a head near a border another role."""
    folder = Path(data_root) / entry(dataset).folder
    names = [i.path.relative_to(folder).as_posix() if i.path.is_relative_to(folder) else i.path.as_posix() for i in items]
    listed = {"dataset": dataset, "part": part, "seed": seed, "sha256": contents(items), "images": names}
    write_text(path, json.dumps(listed, indent=1) + "\n")
