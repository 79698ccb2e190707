"""The data sets of the Attribute World: which classes, in which style, how many, and how they get to disk.

Eight targets in styles that pre-training never saw (the digits are real: scikit-learn's handwritten ones), a source
data set in the pre-training style, and four shifted versions of the source's test part.
"""

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from dearlib.datasets.catalogue import entry
from dearlib.datasets.splits import PARTS, read_split
from dearlib.datasets.world import vocabulary
from dearlib.datasets.world.scene import SIDE, VERSION, scene
from dearlib.datasets.world.vocabulary import Factors
from dearlib.errors import InputError

SEED = 0
DIGITS = "digits"
_DIGITS_TRAIN, _DIGITS_VAL = 80, 20  # Images a class; the rest, 74 to 83, are for testing.

# Every colour and every texture is in both halves, no pair is: novel classes recombine what base classes show.
_PAIR_COLORS, _PAIR_TEXTURES = ("red", "green", "blue", "yellow"), ("striped", "checkered", "dotted", "wavy")
_PAIRS = sorted(
    ((c, t) for c in _PAIR_COLORS for t in _PAIR_TEXTURES),
    key=lambda pair: (_PAIR_COLORS.index(pair[0]) + _PAIR_TEXTURES.index(pair[1])) % 2,
)

_Pinned = tuple[tuple[str, dict[str, str]], ...]  # (class name, the factors that the class fixes)
_CLASSES: dict[str, _Pinned] = {
    "objects": tuple((v, {"kind": "object", "subject": v}) for v in vocabulary.OBJECTS),
    "shapes": tuple((v, {"kind": "shape", "subject": v}) for v in vocabulary.SHAPES),
    "textures": tuple((v, {"texture": v}) for v in vocabulary.TEXTURES),
    "places": tuple((v, {"location": v}) for v in vocabulary.LOCATIONS),
    "colors": tuple((v, {"color": v}) for v in vocabulary.COLORS),
    "colored_textures": tuple((f"{c} {t}", {"color": c, "texture": t}) for c, t in _PAIRS),
    "letters": tuple((v, {"kind": "letter", "subject": v}) for v in vocabulary.LETTERS),
}
_CLASSES["source"] = _CLASSES["objects"] + _CLASSES["shapes"]


@dataclass(frozen=True)
class WorldSet:
    """One rendered data set.

    `strength` mixes the style with the pre-training style: 0 is the latter, 1 the style itself, more exaggerates it;
    anything but 1 needs a style whose poses are the pre-training style's. `train`, `val`, `test`: images a class.
    """

    classes: str
    style: str
    strength: float
    train: int
    val: int
    test: int


SETS: dict[str, WorldSet] = {
    "source": WorldSet("source", "render", 1.0, train=60, val=8, test=40),
    "source_redrawn": WorldSet("source", "redrawn", 1.0, train=0, val=0, test=40),
    "source_sketch": WorldSet("source", "sketch", 1.0, train=0, val=0, test=40),
    "source_adversarial": WorldSet("source", "adversarial", 1.0, train=0, val=0, test=40),
    "source_renditions": WorldSet("source", "rendition", 1.0, train=0, val=0, test=40),
    "objects": WorldSet("objects", "chalk", 1.0, train=40, val=10, test=50),
    "shapes": WorldSet("shapes", "night", 1.1, train=40, val=10, test=50),
    "textures": WorldSet("textures", "sepia", 1.4, train=40, val=10, test=50),
    "places": WorldSet("places", "fog", 0.7, train=40, val=10, test=50),
    "colors": WorldSet("colors", "lamp", 1.0, train=40, val=10, test=50),
    "colored_textures": WorldSet("colored_textures", "halftone", 1.8, train=40, val=10, test=50),
    "letters": WorldSet("letters", "mosaic", 1.0, train=40, val=10, test=50),
}
NAMES = (*SETS, DIGITS)


@dataclass(frozen=True)
class Picture:
    """One image of a data set; `factors` is None for the real digits."""

    part: str
    label: int
    classname: str
    pixels: np.ndarray
    factors: Factors | None


def pictures(name: str) -> Iterator[Picture]:
    """All images of a data set in the order of its split file, each a pure function of (`VERSION`, name, part, index)."""
    if name == DIGITS:
        yield from _digits()
        return
    how = SETS[name]
    for part in PARTS:
        count = getattr(how, part)
        for label, (classname, pinned) in enumerate(_CLASSES[how.classes]):
            for i in range(count):
                pixels, factors = _draw(how, f"{name}/{part}", label * count + i, pinned)
                yield Picture(part, label, classname, pixels, factors)


def count(name: str) -> int:
    """How many images `pictures` yields."""
    if name == DIGITS:
        return len(load_digits().target)
    how = SETS[name]
    return len(_CLASSES[how.classes]) * (how.train + how.val + how.test)


def _draw(how: WorldSet, split: str, index: int, pinned: dict[str, str]) -> tuple[np.ndarray, Factors]:
    pixels, factors = scene(split, SEED, index, how.style, **pinned)
    if how.strength == 1:
        return pixels, factors
    plain, _ = scene(split, SEED, index, **pinned)
    mixed = plain + how.strength * (pixels.astype(np.float32) - plain)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8), factors


def _digits() -> Iterator[Picture]:
    """Scikit-learn's 8×8 handwritten digits, enlarged by bicubic interpolation, grey to RGB, split by a fixed seed."""
    images, target = load_digits(return_X_y=True)
    ends = {"train": (0, _DIGITS_TRAIN), "val": (_DIGITS_TRAIN, _DIGITS_TRAIN + _DIGITS_VAL), "test": (_DIGITS_TRAIN + _DIGITS_VAL, None)}
    orders = [np.random.default_rng([SEED, label]).permutation(np.flatnonzero(target == label)) for label in range(10)]
    for part in PARTS:
        for label, order in enumerate(orders):
            for i in order[slice(*ends[part])]:
                small = Image.fromarray((images[i].reshape(8, 8) * (255 / 16)).round().astype(np.uint8))
                big = small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")
                yield Picture(part, label, vocabulary.NUMBERS[label], np.asarray(big), None)


def stamp(name: str) -> dict[str, str | int]:
    """What a data set on disk was made from: the world's version, and a hash of its settings and first test image."""
    if name == DIGITS:
        settings: object = [SEED, _DIGITS_TRAIN, _DIGITS_VAL]
        probe = b""
    else:
        how = SETS[name]
        settings = [SEED, asdict(how), _CLASSES[how.classes]]
        probe = _draw(how, f"{name}/test", 0, _CLASSES[how.classes][0][1])[0].tobytes()
    return {"version": VERSION, "sha256": hashlib.sha256(json.dumps(settings).encode() + probe).hexdigest()}


def is_complete(root: Path, name: str) -> bool:
    """Whether the data set lies under `root`, whole and made from what would make it now."""
    try:
        made_from = json.loads((root / entry(name).folder / "world.json").read_text(encoding="utf-8"))
        read_split(root, name)
    except (OSError, ValueError):
        return False
    return bool(made_from == stamp(name))


def write(root: Path, name: str, progress: Callable[[], object] = lambda: None) -> bool:
    """Writes a data set under `root` unless it is there already; says whether it did. Calls `progress` for each image.

    The set is made beside its place and renamed into it, so it is there whole or not at all.

    Raises `InputError` if the disk is full or the folder cannot be written.
    """
    if is_complete(root, name):
        return False
    place = root / entry(name).folder
    partial, old = place.with_name(f"{place.name}.partial"), place.with_name(f"{place.name}.old")
    try:
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(parents=True)
        _write_files(partial, name, progress)
        if place.exists():
            os.rename(place, old)
        os.rename(partial, place)
    except OSError as error:
        raise InputError(_no_room(place, error)) from error
    finally:
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return True


def _write_files(folder: Path, name: str, progress: Callable[[], object]) -> None:
    split: dict[str, list[tuple[str, int, str]]] = {part: [] for part in PARTS}
    factors: dict[str, dict[str, str]] = {}
    images = folder / entry(name).images
    for picture in pictures(name):
        path = f"{picture.classname.replace(' ', '_')}/{picture.part}_{len(split[picture.part]):05d}.png"
        split[picture.part].append((path, picture.label, picture.classname))
        if picture.factors is not None:
            factors[path] = asdict(picture.factors)
        data = io.BytesIO()
        Image.fromarray(picture.pixels).save(data, "PNG", compress_level=1)
        (images / path).parent.mkdir(parents=True, exist_ok=True)
        (images / path).write_bytes(data.getvalue())
        progress()
    for file, content in ((entry(name).split_file, split), ("factors.json", factors), ("world.json", stamp(name))):
        if content:
            (folder / file).write_text(json.dumps(content, indent=1), encoding="utf-8")


def _no_room(place: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{place}: expected room for about {count(place.name) * 16 // 1024 + 1} MB, got a full disk; free some and run again"
    return f"{place}: expected a folder that can be written, got '{error.strerror}'; choose another or change its permissions"
