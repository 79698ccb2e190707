"""Data sets without a split file: ImageNet and its shifted test sets (one folder a class), FGVCAircraft (official lists).

What is read here are rows (path, label, class name); `dearlib.datasets.splits` makes items of them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from dearlib.datasets.catalogue import SOURCE, entry
from dearlib.datasets.generated import declaration
from dearlib.datasets.paths import unusable
from dearlib.errors import InputError
from dearlib.texts import read_text

Row = tuple[Path, int, str]
_SUFFIXES = (".jpg", ".jpeg", ".png")
_DOCTOR = "see `dearlib doctor`"


def class_rows(root: Path, dataset: str) -> dict[str, list[Row]]:
    """The rows of a data set of class folders, classes and file names sorted.

    ImageNet has no public test labels, so its validation images are the test part *and* the validation part: what is
    chosen on the one is chosen on the other. The shifted test sets have a test part alone.

    Few-shot samples of ImageNet are those of this sorted order [ours]. CoOp sampled from the order in which the file
    system of its machine listed each class, so its sample cannot be drawn again from the pictures alone; all other
    data sets' samples are the community's.

    A root that declares its pictures generated may leave folders empty: its classes are the others. Elsewhere that is a fault.
    """
    where = entry(dataset)
    images = root / where.folder / where.images
    if where.classes_of:
        return {"train": [], "val": [], "test": list(_rows(root, images))}
    val = list(_rows(root, images / "val"))
    return {"train": list(_rows(root, images / "train")), "val": val, "test": val}


def _rows(root: Path, folder: Path) -> Iterator[Row]:
    named = _named(root, folder)
    if declaration(root):
        named = [one for one in named if pictures(folder / one[0])]
    for label, (name, classname) in enumerate(named):
        for file in pictures(folder / name):
            yield folder / name / file, label, classname


def _named(root: Path, folder: Path) -> list[tuple[str, str]]:
    """Class folders of `folder` in label order, with their class names (`imagenet_classnames`).

    Folders are called by WordNet id, which sorted gives ImageNet's labels, or, in ImageNetV2, by the label itself:
    0 … 999, to be sorted as numbers. Where there are fewer than 1000 (the 200 of ImageNet-A and -R), labels count the
    present ones, and only these are candidates.
    """
    present = class_folders(folder)
    names = imagenet_classnames()
    known = [str(label) for label in range(len(names))] if all(name.isdecimal() for name in present) else wordnet_ids(root, len(names))
    classname = dict(zip(known, names, strict=True))
    strange = [name for name in present if name not in classname]
    if strange:
        raise InputError(f"{folder}: expected folders called like ImageNet's classes, got '{strange[0]}'; {_DOCTOR}")
    return [(name, classname[name]) for name in present]


# CLIP's list calls two classes 'missile' and two 'sunglasses'. Classes of one name have one prompt, so the second of each pair is
# never answered. The second name here is the class's own first word in WordNet [ours]; numbers of other projects keep the tie.
TOLD_APART = {744: "projectile", 836: "sunglass"}


def imagenet_classnames() -> list[str]:
    """CLIP's names of ImageNet's 1000 classes by label, no two alike."""
    from open_clip import IMAGENET_CLASSNAMES  # here, because it needs torch

    return [TOLD_APART.get(label, name) for label, name in enumerate(IMAGENET_CLASSNAMES)]


def wordnet_ids(root: Path, count: int) -> list[str]:
    """ImageNet's class folders (n01440764 …) in label order: those of its training part, else of its validation part."""
    where = entry(SOURCE)
    images = root / where.folder / where.images
    folder = next((images / part for part in ("train", "val") if (images / part).is_dir()), images / "train")
    names = class_folders(folder)
    if len(names) != count:
        raise InputError(f"{folder}: expected {count} class folders, which name ImageNet's classes, got {len(names)}; {_DOCTOR}")
    return names


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted, as numbers where they are numbers."""
    try:
        names = [found.name for found in os.scandir(folder) if found.is_dir() and not found.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: expected a folder with one folder a class, got '{error.strerror}'; {_DOCTOR}") from None
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names)


def pictures(folder: Path) -> list[str]:
    """Names of the picture files in `folder`, sorted."""
    return sorted(name for name in os.listdir(folder) if name.lower().endswith(_SUFFIXES) and not name.startswith("."))


def list_rows(folder: Path, images: Path) -> dict[str, list[Row]]:
    """The rows of FGVCAircraft: labels by the lines of `variants.txt`, parts by the official lists of variants."""
    names = _lines(folder / "variants.txt")
    label = {name: i for i, name in enumerate(names)}
    if len(label) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{folder / 'variants.txt'}: expected every variant once, got '{twice}' again; {_DOCTOR}")
    return {part: _listed(folder / f"images_variant_{part}.txt", images, label) for part in ("train", "val", "test")}


def _listed(path: Path, images: Path, label: dict[str, int]) -> list[Row]:
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        file, _, classname = line.partition(" ")
        if classname not in label:
            raise InputError(f"{path}: expected a number and a name of variants.txt in line {number}, got '{line[:60]}'; {_DOCTOR}")
        if fault := unusable(f"{file}.jpg"):
            raise InputError(f"{path}: expected a picture under {images} in line {number}, got {fault}, {file[:80]!r}; {_DOCTOR}")
        rows.append((images / f"{file}.jpg", label[classname], classname))
    return rows


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise InputError(f"{path}: expected a list of FGVCAircraft, got '{got}'; {_DOCTOR}") from None
