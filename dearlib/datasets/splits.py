"""The community's split files: reading them, and refusing what contradicts itself.

A data set is a folder of images and one JSON file `{"train": [[path, label, classname], …], "val": …, "test": …}`
with paths relative to the images' folder and below it (the few without such a file: `dearlib.datasets.folders`).
"""

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dearlib.datasets import folders
from dearlib.datasets.catalogue import CATALOGUE, entry
from dearlib.datasets.paths import encodable, unusable
from dearlib.errors import InputError
from dearlib.texts import read_bytes, read_text

PARTS = ("train", "val", "test")
NONE_PRESENT = "expected the {} images it names, got none of them ({} …); is it the split file of another data set?"
_LAYOUT = '{"train": [[path, label, classname], …], "val": …, "test": …}'
_INVISIBLE = ("Cc", "Cf")  # categories of Unicode: control signs, and format signs such as a space of no width
_MAKE = "make the data set anew (mini ones: `dearlib world`) or fetch it again (`dearlib doctor`)"


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
        split = _split(dataset, folders.class_rows(Path(root), dataset))
        _check_labels(folder / where.images, split)  # parts with other class folders would count other labels
        return split
    split = listed_split(root, dataset)
    check_images(folder / where.split_file, split.items)
    return split


def listed_split(root: str | Path, dataset: str) -> Split:
    """What the split file or the official lists of a data set name, whether the images exist or not."""
    where = entry(dataset)
    folder = Path(root) / where.folder
    if where.source == "lists":
        split = _split(dataset, folders.list_rows(folder, folder / where.images))
        _check_labels(folder / where.split_file, split)
        _check_paths(folder / where.split_file, split)
        return split
    return parse_split(folder / where.split_file, folder / where.images, dataset)


def _split(name: str, rows: Mapping[str, Iterable[folders.Row]]) -> Split:
    train, val, test = (tuple(Item(*row) for row in rows[part]) for part in PARTS)
    return Split(name, train, val, test)


def parse_split(path: Path, images: Path, name: str) -> Split:
    """The split file at `path` with its image paths put under `images`, which need not exist."""
    try:
        content = json.loads(read_text(path), object_pairs_hook=_once)
    except FileNotFoundError:
        raise InputError(f"{path}: expected the split file of '{name}', got no such file; {_MAKE}") from None
    except OSError as error:
        raise InputError(f"{path}: expected a split file that can be read, got '{error.strerror}'") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected whole JSON, got a broken or truncated file ({_reason(error)}); {_MAKE}") from None
    if not isinstance(content, dict) or not set(PARTS) <= set(content):
        got = f"keys {sorted(content)}" if isinstance(content, dict) else f"a JSON {type(content).__name__}"
        raise InputError(f"{path}: expected {_LAYOUT}, got {got}; {_MAKE}")
    train, val, test = (_rows(path, images, part, content[part]) for part in PARTS)
    split = Split(name, train, val, test)
    _check_labels(path, split)
    _check_paths(path, split)
    return split


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object, unless a key is given twice: the first would be lost without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key that is given twice")
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "lists nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "bytes that are not UTF-8"
    return f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error).splitlines()[0]


def _rows(path: Path, images: Path, part: str, rows: object) -> tuple[Item, ...]:
    if not isinstance(rows, list):
        raise InputError(f"{path}: expected a list under '{part}', got {type(rows).__name__}; {_MAKE}")
    for i, row in enumerate(rows):
        if not isinstance(row, list) or [type(value) for value in row] != [str, int, str]:
            raise InputError(f"{path}: expected [path, label, classname] at {part}[{i}], got {str(row)[:80]!r}; {_MAKE}")
        if fault := unusable(row[0]):
            raise InputError(f"{path}: expected a path under {images} at {part}[{i}], got {fault}, {row[0][:80]!r}; {_MAKE}")
        if not encodable(row[2]) or not _as_read(row[2]):
            raise InputError(f"{path}: expected a class name at {part}[{i}], got {row[2][:80]!r}; {_MAKE}")
    return tuple(Item(images / row[0], row[1], row[2]) for row in rows)


@cache
def _as_read(name: str) -> str:
    """A class name as people and tokenizers read it: without case, underscores, invisible signs, and how its letters are encoded."""
    letters = unicodedata.normalize("NFKC", name.replace("_", " ")).casefold()
    seen = (" " if c.isspace() else c for c in letters if c.isspace() or unicodedata.category(c) not in _INVISIBLE)
    return " ".join("".join(seen).split())


def _check_labels(path: Path, split: Split) -> None:
    """Labels are 0 … n − 1, each has one class name, and no two have the same."""
    names: dict[int, str] = {}
    for item in split.items:
        if names.setdefault(item.label, item.classname) != item.classname:
            two = f"'{names[item.label]}' and '{item.classname}'"
            raise InputError(f"{path}: expected one class name for each label, got {two} for label {item.label}; {_MAKE}")
    labels = sorted(names)
    if not labels or labels != list(range(len(labels))):
        raise InputError(f"{path}: expected labels 0 … n-1, got {len(labels)} labels {labels[:3]} … {labels[-3:]}; {_MAKE}")
    first: dict[str, int] = {}
    for label in labels:
        if (other := first.setdefault(_as_read(names[label]), label)) != label:
            one, two = names[other], names[label]
            got = f"'{one}'" if one == two else f"'{one}' and '{two}', which read alike,"
            raise InputError(f"{path}: expected a name of its own for each class, got {got} for labels {other} and {label}; {_MAKE}")


def _check_paths(path: Path, split: Split) -> None:
    """No picture stands twice: not in two parts, where it would be trained and tested on, nor in one."""
    home: dict[Path, str] = {}
    twice = [(home[i.path], part, i.path) for part in PARTS for i in getattr(split, part) if home.setdefault(i.path, part) != part]
    if twice:
        one, other, picture = twice[0]
        raise InputError(
            f"{path}: expected every picture in one part, got {len(twice)} in two, first {picture} in '{one}' and '{other}'; {_MAKE}"
        )
    if len(home) < len(split.items):
        seen: set[Path] = set()
        again = next(i.path for i in split.items if i.path in seen or seen.add(i.path))  # type: ignore[func-returns-value]
        raise InputError(f"{path}: expected every picture once, got {len(split.items) - len(home)} again, first {again}; {_MAKE}")


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
    """The hash of what says which pictures, labels and names a number belongs to: the split file, else the rows themselves.

    Of a data set of the user's own the template belongs to it: it can change while everything else stays.
    """
    where = entry(dataset)
    folder = Path(root) / where.folder
    if where.source == "split file":
        content = read_bytes(folder / where.split_file)
        return hashlib.sha256(content if dataset in CATALOGUE else content + where.template.encode()).hexdigest()
    split = read_split(root, dataset)
    rows = ([(i.path.relative_to(folder).as_posix(), i.label, i.classname) for i in getattr(split, part)] for part in PARTS)
    return hashlib.sha256(json.dumps(list(rows)).encode()).hexdigest()


def classnames(split: Split) -> list[str]:
    """Class names by label."""
    names = {item.label: item.classname for item in split.items}
    return [names[label] for label in sorted(names)]
