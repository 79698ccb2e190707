"""The data sets of the Attribute World: which classes, in which style, how many pictures.

Twenty-four targets (`targets` says by which rules) and the real digits of scikit-learn, a source data set in the
pre-training style, and four shifted versions of the source's test part.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dearlib.datasets.splits import PARTS
from dearlib.datasets.world import vocabulary
from dearlib.datasets.world.families import CLASSES, SOURCE
from dearlib.datasets.world.scene import SIDE, scene
from dearlib.datasets.world.targets import LEAST, TARGETS, measured, strongest
from dearlib.datasets.world.vocabulary import Factors

SEED = 0
DIGITS = "digits"
DIGITS_TRAIN, DIGITS_VAL = 80, 20  # Images a class; the rest, 74 to 83, are for testing.


@dataclass(frozen=True)
class WorldSet:
    """One rendered data set.

    `strength` mixes the style with the pre-training style: 0 is the latter, 1 the style itself. `train`, `val`,
    `test`: images a class.
    """

    classes: str
    style: str
    strength: float
    train: int
    val: int
    test: int


_ZERO_SHOT = measured()
SETS: dict[str, WorldSet] = {
    SOURCE: WorldSet(SOURCE, "render", 1.0, train=60, val=8, test=40),
    "source_redrawn": WorldSet(SOURCE, "redrawn", 1.0, train=0, val=0, test=40),
    "source_sketch": WorldSet(SOURCE, "sketch", 1.0, train=0, val=0, test=40),
    "source_adversarial": WorldSet(SOURCE, "adversarial", 1.0, train=0, val=0, test=40),
    "source_renditions": WorldSet(SOURCE, "rendition", 1.0, train=0, val=0, test=40),
    **{
        name: WorldSet(target.family, target.style, strongest(_ZERO_SHOT[name], LEAST), train=40, val=10, test=200)
        for name, target in TARGETS.items()
    },
}
NAMES = (*SETS, DIGITS)


@dataclass(frozen=True)
class Picture:
    """One image of a data set as it is written; `factors` is None for the real digits."""

    part: str
    label: int
    classname: str
    png: bytes
    factors: Factors | None


@dataclass(frozen=True)
class Planned:
    """A picture before it is drawn: scene `index` of `split`, with the class's factors pinned."""

    part: str
    label: int
    classname: str
    style: str
    strength: float
    split: str
    index: int
    pinned: dict[str, str]


Each = Callable[[Callable[[Planned], Picture], Iterable[Planned]], Iterator[Picture]]  # `map`, or one that uses several processes


def pictures(name: str, each: Each = map) -> Iterator[Picture]:
    """All images of a data set in the order of its split file, each a pure function of (`VERSION`, name, part, index)."""
    return _digits() if name == DIGITS else iter(each(draw, planned(name)))


def planned(name: str) -> Iterator[Planned]:
    """What a rendered data set is to hold, in order."""
    how = SETS[name]
    for part in PARTS:
        count = getattr(how, part)
        for label, (classname, pinned) in enumerate(CLASSES[how.classes]):
            for i in range(count):
                yield Planned(part, label, classname, how.style, how.strength, f"{name}/{part}", label * count + i, pinned)


def count(name: str) -> int:
    """How many images `pictures` yields."""
    if name == DIGITS:
        return len(_handwritten()[1])
    how = SETS[name]
    return len(CLASSES[how.classes]) * (how.train + how.val + how.test)


def draw(plan: Planned) -> Picture:
    """The planned picture."""
    pixels, factors = scene(plan.split, SEED, plan.index, plan.style, plan.strength, **plan.pinned)
    return Picture(plan.part, plan.label, plan.classname, _png(Image.fromarray(pixels)), factors)


def _digits() -> Iterator[Picture]:
    """Scikit-learn's 8×8 handwritten digits, enlarged by bicubic interpolation, grey to RGB, split by a fixed seed."""
    images, target = _handwritten()
    ends = {"train": (0, DIGITS_TRAIN), "val": (DIGITS_TRAIN, DIGITS_TRAIN + DIGITS_VAL), "test": (DIGITS_TRAIN + DIGITS_VAL, None)}
    orders = [np.random.default_rng([SEED, label]).permutation(np.flatnonzero(target == label)) for label in range(10)]
    for part in PARTS:
        for label, order in enumerate(orders):
            for i in order[slice(*ends[part])]:
                small = Image.fromarray((images[i].reshape(8, 8) * (255 / 16)).round().astype(np.uint8))
                big = small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")
                yield Picture(part, label, vocabulary.NUMBERS[label], _png(big), None)


def _handwritten() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # here, because processes that draw do without it and start sooner

    images, target = load_digits(return_X_y=True)
    return images, target


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG", compress_level=1)  # a third smaller than raw pixels; more levels cost time and gain little
    return data.getvalue()
