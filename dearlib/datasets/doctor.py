"""The doctor: what of the public data sets is there, what is missing, and where it comes from. Changes nothing."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dearlib.datasets import folders
from dearlib.datasets.catalogue import CATALOGUE, SOURCE, entry
from dearlib.datasets.generated import declaration
from dearlib.datasets.pictures import open_image
from dearlib.datasets.splits import NONE_PRESENT, PARTS, absent, listed_split, read_split
from dearlib.errors import InputError

Sizes = tuple[int, int, int, int]  # training, validation and test images; classes
_SHOWN = 3  # missing files named for each data set
_AT_ONCE = 1024  # images handed to the threads at a time


@dataclass(frozen=True)
class Report:
    """What was found of one data set: its state, one line for each fault, its images that exist, and the sizes it should have."""

    dataset: str
    state: Literal["found", "incomplete", "missing"]
    faults: tuple[str, ...]
    images: tuple[Path, ...]
    sizes: Sizes


def examine(root: Path, dataset: str) -> Report:
    """Compares files and folders with what the split file names and with the published counts; opens no image.

    A root of generated pictures declares counts of its own; those of a user's own data set are its split file's.
    """
    where = entry(dataset)
    folder = root / where.folder
    if where.sizes is None and dataset in CATALOGUE:
        raise InputError(f"data set: expected a public one, got '{dataset}', which is made here; `dearlib world` makes it")
    declared = declaration(root)
    sizes = where.sizes or _own_sizes(root, dataset)
    sizes = declared.sizes.get(dataset, sizes) if declared else sizes
    look = _class_folders if where.source == "folders" else _listed
    try:
        if not folder.is_dir() or not any(folder.iterdir()):
            return Report(dataset, "missing", (f"no folder {folder}, or an empty one",), (), sizes)
        faults, images = look(root, dataset, sizes)
    except InputError as error:
        return Report(dataset, "incomplete", (str(error),), (), sizes)
    except OSError as error:
        return Report(dataset, "incomplete", (f"{error.filename}: expected a folder that can be read, got '{error.strerror}'",), (), sizes)
    return Report(dataset, "incomplete" if faults else "found", tuple(faults), tuple(images), sizes)


def _own_sizes(root: Path, dataset: str) -> Sizes:
    """Nobody published counts of a user's own data set: its split file's are the right ones."""
    try:
        split = listed_split(root, dataset)
    except InputError:
        return (0, 0, 0, 0)
    return len(split.train), len(split.val), len(split.test), len({item.label for item in split.items})


def _listed(root: Path, dataset: str, sizes: Sizes) -> tuple[list[str], list[Path]]:
    """Faults and images of a data set with a split file or official lists."""
    where = entry(dataset)
    path = root / where.folder / where.split_file
    try:
        split = listed_split(root, dataset)
    except InputError as error:
        images = root / where.folder / where.images
        return [str(error)] + ([] if images.is_dir() else [f"no folder {images}"]), []
    missing = absent(split.items)
    if len(missing) == len(split.items):
        return [f"{path}: {NONE_PRESENT.format(len(split.items), missing[0].path)}"], []
    found = (len(split.train), len(split.val), len(split.test), len({item.label for item in split.items}))
    faults = [
        f"{path}: expected {expected} {what}, got {got}"
        for what, got, expected in zip((*(f"{part} images" for part in PARTS), "classes"), found, sizes, strict=True)
        if got != expected
    ]
    if missing:
        named = ", ".join(str(item.path) for item in missing[:_SHOWN]) + (" …" if len(missing) > _SHOWN else "")
        faults.append(f"{len(missing)} of {len(split.items)} images missing: {named}")
    gone = {item.path for item in missing}
    return faults, [item.path for item in split.items if item.path not in gone]


def _class_folders(root: Path, dataset: str, sizes: Sizes) -> tuple[list[str], list[Path]]:
    """Faults and images of a data set with one folder a class. Part by part, so that one missing part hides no other."""
    where = entry(dataset)
    images = root / where.folder / where.images
    faults: list[str] = []
    present: list[Path] = []
    for part, folder in {"test": images}.items() if where.classes_of else {"train": images / "train", "val": images / "val"}.items():
        if not folder.is_dir():
            faults.append(f"no folder {folder}")
            continue
        held = {name: folders.pictures(folder / name) for name in folders.class_folders(folder)}
        wrong_folders = list(_misplaced(root, folder, set(held), sizes[3]))
        faults += wrong_folders or list(_miscounted(folder, held, sizes[PARTS.index(part)]))
        present += [folder / name / file for name, files in held.items() for file in files]
    return faults, present


def _misplaced(root: Path, folder: Path, names: set[str], expected: int) -> Iterator[str]:
    """Class folders that are missing, by name where the names can be known, or that are no classes of ImageNet."""
    known = _known_classes(root, names)
    strange = sorted(names - known) if known else []
    if strange:
        yield f"{folder}: expected folders called like ImageNet's classes, got {', '.join(strange[:_SHOWN])}"
    if len(names) - len(strange) != expected:
        missing = sorted(known - names) if len(known) == expected else []
        named = f"; missing: {', '.join(missing[:_SHOWN])}" if missing else ""
        yield f"{folder}: expected {expected} class folders, got {len(names) - len(strange)}{named}"


def _known_classes(root: Path, names: set[str]) -> set[str]:
    """The names class folders may have: numbers, or ImageNet's own as its fuller part has them; empty if unknown."""
    where = entry(SOURCE)
    classes = where.sizes[3] if where.sizes else 0
    if names and all(name.isdecimal() for name in names):
        return {str(label) for label in range(classes)}
    parts = [root / where.folder / where.images / part for part in ("train", "val")]
    full = max((folders.class_folders(part) for part in parts if part.is_dir()), key=len, default=[])
    return set(full) if len(full) == classes else set()


def _miscounted(folder: Path, held: dict[str, list[str]], expected: int) -> Iterator[str]:
    found = sum(map(len, held.values()))
    if found != expected:
        least = min(held, key=lambda name: len(held[name]))
        yield f"{folder}: expected {expected} images, got {found}; fewest in {least} ({len(held[least])})"


def corrupt(images: Iterable[Path], progress: Callable[[int], object] = lambda done: None) -> list[str]:
    """One line for each image that does not open whole. Pillow decodes outside the interpreter's lock, so threads pay."""
    waiting, faults = iter(images), []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        while some := list(itertools.islice(waiting, _AT_ONCE)):
            for fault in pool.map(_fault, some):
                faults.extend([fault] if fault else [])
                progress(1)
    return faults


def _fault(path: Path) -> str | None:
    try:
        open_image(path)
    except InputError as error:
        return str(error)
    return None


def repeated(root: Path, dataset: str) -> list[str]:
    """A line on validation or test images that are, byte for byte, training images as well, under another name.

    A remark, no fault: some public data sets were published so, and their numbers are compared as they are [ours].
    """
    where = entry(dataset)
    split = read_split(root, dataset) if where.source == "folders" else listed_split(root, dataset)
    seen = {_bytes(item.path) for item in split.train if item.path.is_file()}
    lines = []
    for part, items in (("val", split.val), ("test", split.test)):
        again = [item.path for item in items if item.path.is_file() and _bytes(item.path) in seen]
        if again:
            lines.append(f"{len(again)} of {len(items)} images of '{part}' are in 'train' as well, first {again[0]}")
    return lines


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def summary(report: Report) -> str:
    """A line of state, and for what is not whole its faults and where to get it."""
    where = entry(report.dataset)
    train, val, test, _ = report.sizes
    expected = train + test if where.source == "folders" else train + val + test  # ImageNet's test part is its validation part
    lines = [f"{report.dataset:<16} {report.state:<11} {len(report.images)} of {expected} images"]
    if report.state != "found":
        lines += [f"    {fault}" for fault in report.faults] + [f"    - {line}" for line in where.obtain]
    return "\n".join(lines)
