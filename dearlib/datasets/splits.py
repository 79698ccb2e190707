"""The community's split files: reading and checking them, the few-shot sample, and the base and novel halves.

A data set is a folder of images and one JSON file `{"train": [[path, label, classname], …], "val": …, "test": …}`
with paths relative to the images' folder (the few without one: `dearlib.datasets.folders`). The few-shot sample and
the halves follow CoOp and Dassl to the last draw, so numbers compare with published ones.
"""

import hashlib
import json
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PIL import Image

from dearlib.datasets import folders
from dearlib.datasets.catalogue import entry
from dearlib.errors import InputError

PARTS = ("train", "val", "test")
NONE_PRESENT = "expected the {} images it names, got none of them ({} …); is it the split file of another data set?"
_LAYOUT = '{"train": [[path, label, classname], …], "val": …, "test": …}'
_MAKE = "make the data set anew (mini ones: python -m dearlib.datasets.world) or fetch it again (python -m dearlib.datasets doctor)"


@dataclass(frozen=True)
class Item:
    """One labelled image; labels count from 0 within a split."""

    path: Path
    label: int
    classname: str


@dataclass(frozen=True)
class Split:
    """A data set's three parts, each in the order of its split file."""

    name: str
    train: tuple[Item, ...]
    val: tuple[Item, ...]
    test: tuple[Item, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        return self.train + self.val + self.test


def read_split(root: str | Path, dataset: str) -> Split:
    """The split of a data set of the catalogue that lies under the data root; every image it names exists.

    Raises `InputError` if the split file is missing, truncated, of another layout or data set, or names a missing image.
    """
    where = entry(dataset)
    folder = Path(root) / where.folder
    if where.source == "folders":
        return _split(dataset, folders.class_rows(Path(root), dataset))
    split = listed_split(root, dataset)
    check_images(folder / where.split_file, split.items)
    return split


def listed_split(root: str | Path, dataset: str) -> Split:
    """What the split file or the official lists of a data set name, whether the images exist or not."""
    where = entry(dataset)
    folder = Path(root) / where.folder
    if where.source == "lists":
        return _split(dataset, folders.list_rows(folder, folder / where.images))
    return parse_split(folder / where.split_file, folder / where.images, dataset)


def _split(name: str, rows: Mapping[str, Iterable[folders.Row]]) -> Split:
    train, val, test = (tuple(Item(*row) for row in rows[part]) for part in PARTS)
    return Split(name, train, val, test)


def parse_split(path: Path, images: Path, name: str) -> Split:
    """The split file at `path` with its image paths put under `images`, which need not exist."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: expected the split file of '{name}', got no such file; {_MAKE}") from None
    except OSError as error:
        raise InputError(f"{path}: expected a split file that can be read, got '{error.strerror}'") from None
    except ValueError as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "bytes that are not UTF-8"
        raise InputError(f"{path}: expected whole JSON, got a broken or truncated file ({where}); {_MAKE}") from None
    if not isinstance(content, dict) or not set(PARTS) <= set(content):
        got = f"keys {sorted(content)}" if isinstance(content, dict) else f"a JSON {type(content).__name__}"
        raise InputError(f"{path}: expected {_LAYOUT}, got {got}; {_MAKE}")
    train, val, test = (_rows(path, images, part, content[part]) for part in PARTS)
    split = Split(name, train, val, test)
    _check_labels(path, split)
    return split


def _rows(path: Path, images: Path, part: str, rows: object) -> tuple[Item, ...]:
    if not isinstance(rows, list):
        raise InputError(f"{path}: expected a list under '{part}', got {type(rows).__name__}; {_MAKE}")
    for i, row in enumerate(rows):
        if not isinstance(row, list) or [type(value) for value in row] != [str, int, str]:
            raise InputError(f"{path}: expected [path, label, classname] at {part}[{i}], got {str(row)[:80]!r}; {_MAKE}")
    return tuple(Item(images / row[0], row[1], row[2]) for row in rows)


def _check_labels(path: Path, split: Split) -> None:
    """Labels are 0 … n − 1, and each has one class name."""
    names: dict[int, str] = {}
    for item in split.items:
        if names.setdefault(item.label, item.classname) != item.classname:
            two = f"'{names[item.label]}' and '{item.classname}'"
            raise InputError(f"{path}: expected one class name for each label, got {two} for label {item.label}; {_MAKE}")
    labels = sorted(names)
    if not labels or labels != list(range(len(labels))):
        raise InputError(f"{path}: expected labels 0 … n-1, got {len(labels)} labels {labels[:3]} … {labels[-3:]}; {_MAKE}")


def check_images(path: Path, items: Sequence[Item]) -> None:
    """Raises `InputError` for the first missing image of the split file `path`, or if there is none of its images."""
    missing = absent(items)
    if missing and len(missing) == len(items):
        raise InputError(f"{path}: {NONE_PRESENT.format(len(items), missing[0].path)}; {_MAKE}")
    if missing:
        raise InputError(f"{path}: expected every image it names, got no file {missing[0].path}; {_MAKE}")


def absent(items: Iterable[Item]) -> list[Item]:
    """Items whose image is not there. Lists each folder once instead of asking for every file."""
    present: dict[Path, set[str]] = {}
    for folder in {item.path.parent for item in items}:
        present[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
    return [item for item in items if item.path.name not in present[item.path.parent]]


def split_sha256(root: str | Path, dataset: str) -> str:
    """The hash of what says which pictures, labels and names a number belongs to: the split file, else the rows themselves."""
    where = entry(dataset)
    folder = Path(root) / where.folder
    if where.source == "split file":
        return hashlib.sha256((folder / where.split_file).read_bytes()).hexdigest()
    split = read_split(root, dataset)
    rows = ([(i.path.relative_to(folder).as_posix(), i.label, i.classname) for i in getattr(split, part)] for part in PARTS)
    return hashlib.sha256(json.dumps(list(rows)).encode()).hexdigest()


def classnames(split: Split) -> list[str]:
    """Class names by label."""
    names = {item.label: item.classname for item in split.items}
    return [names[label] for label in sorted(names)]


def few_shot(split: Split, shots: int, seed: int) -> Split:
    """`shots` training images of every class, and min(shots, 4) validation images; the test part stays whole.

    CoOp's algorithm: after `random.seed(seed)`, `random.sample` for each label in order of first appearance, training
    part first and the validation part from the same stream. A private generator gives that stream and leaves the
    global one alone. A class with too few validation images gives all it has, as there.

    Raises `InputError` if a class has fewer than `shots` training images.
    """
    if shots < 1:
        raise InputError(f"shots: expected 1 or more, got {shots}")
    stream = random.Random(seed)
    for items in _by_label(split.train).values():
        if len(items) < shots:
            got = f"{len(items)} in class '{items[0].classname}'"
            raise InputError(f"{split.name}: expected at least {shots} training images a class, got {got}; lower shots")
    return replace(split, train=_sample(split.train, shots, stream), val=_sample(split.val, min(shots, 4), stream))


def _by_label(items: Iterable[Item]) -> dict[int, list[Item]]:
    """Items of each label; labels in order of first appearance."""
    groups: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.label].append(item)
    return groups


def _sample(items: Sequence[Item], count: int, stream: random.Random) -> tuple[Item, ...]:
    groups = _by_label(items).values()
    return tuple(item for group in groups for item in (stream.sample(group, count) if len(group) >= count else group))


def half(split: Split, which: Literal["base", "novel", "all"]) -> Split:
    """The first ceil(n / 2) labels in sorted order (base), the others (novel), or all; relabelled from 0."""
    labels = sorted({item.label for item in split.items})
    middle = (len(labels) + 1) // 2
    halves = {"base": labels[:middle], "novel": labels[middle:], "all": labels}
    if which not in halves:
        raise InputError(f"half: expected one of {list(halves)}, got '{which}'")
    new = {label: i for i, label in enumerate(halves[which])}
    train, val, test = (
        tuple(replace(item, label=new[item.label]) for item in items if item.label in new) for items in (split.train, split.val, split.test)
    )
    return Split(split.name, train, val, test)


def open_image(path: Path) -> Image.Image:
    """The image in RGB, fully decoded. Raises `InputError` naming the file if it is missing, truncated or no image."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise InputError(f"{path}: expected an image, got no such file; {_MAKE}") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises any of the three on a damaged file.
        reason = str(error).split(" '")[0].splitlines()[0]
        raise InputError(f"{path}: expected a whole image, got '{reason}'; delete this file, then {_MAKE}") from None
