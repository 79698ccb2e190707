"""What a profile costs before it is run: operations from shapes, pictures and steps from the parameter files.

Seconds follow from a rate that somebody has measured (notebook 13). A multiplication with its addition counts as two
operations; what is not a matrix product is not counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dearlib.clip.loading import FrozenClip
from dearlib.params.schemas import Training, Variant
from dearlib.params.study import trainings


def layers_gflop(layers: float, rows: float, tokens: float, width: int) -> float:
    """Transformer layers forward on `rows` sequences of `tokens`: 12·width² weights a token, two products a pair of tokens."""
    return layers * rows * tokens * (24 * width**2 + 4 * tokens * width) / 1e9


@dataclass(frozen=True)
class Shape:
    """A CLIP by its sizes. `text_length`: columns of the longest prompt; `text_shared`: those that all prompts share."""

    layers: int
    tokens: int
    width: int
    text_layers: int
    text_width: int
    text_length: int = 16
    text_shared: int = 5

    @classmethod
    def of(cls, clip: FrozenClip, text_length: int = 16, text_shared: int = 5) -> "Shape":
        """The shape of a loaded model."""
        text_layers = len(clip.model.transformer.resblocks)
        return cls(clip.layers, clip.patches + 1, clip.d_model, text_layers, clip.d_text, text_length, text_shared)

    def encode(self) -> float:
        """GFLOP of one picture through all layers: its share of a prefix, teacher included."""
        return layers_gflop(self.layers, 1, self.tokens, self.width)

    def image_suffix(self, first_layer: int, extra: int) -> float:
        """GFLOP of one picture through layers J … L with `extra` attribute tokens; of the last layer only what is read."""
        n, d = self.tokens + extra, self.width
        last = (4 * n * d**2 + (extra + 1) * (20 * d**2 + 4 * n * d)) / 1e9
        return layers_gflop(self.layers - first_layer, 1, n, d) + last

    def text_suffix(self, first_layer: int, classes: int, text_tokens: int) -> float:
        """GFLOP of all classes' prompts through layers J … L, shared columns once, of the last layer the end of text alone."""
        own, shared, d = self.text_length - self.text_shared, self.text_shared + text_tokens, self.text_width
        deep = self.text_layers - first_layer
        between = deep * classes * (own * 24 * d**2 + 4 * own * (own + shared) * d) / 1e9
        last = classes * (6 * own + 18) * d**2 / 1e9
        return between + layers_gflop(deep, 1, shared, d) + last

    def step(self, p: Training, classes: int, attributes: int = 5) -> float:
        """GFLOP of a training step of one run: forward, and backward through frozen layers, which costs the same."""
        image = p.batch * self.image_suffix(p.first_layer, attributes * p.tokens_per_attribute)
        return 2 * (image + self.text_suffix(p.first_layer, classes, p.text_tokens))


@dataclass(frozen=True)
class Sizes:
    """A data set by its numbers of test pictures and classes."""

    test: int
    classes: int

    def half(self, which: str) -> int:
        """Number of base, novel or all classes."""
        return {"base": (self.classes + 1) // 2, "novel": self.classes // 2, "all": self.classes}[which]


@dataclass(frozen=True)
class Work:
    """Operations of a job in GFLOP by kind, and what it keeps on disk in GB, the first time that anybody needs it."""

    prefix: float = 0.0
    training: float = 0.0
    evaluation: float = 0.0
    disk_gb: float = 0.0
    runs: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(getattr(self, f) + getattr(other, f) for f in self.__dataclass_fields__))


BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def group_work(
    shape: Shape, settings: Mapping[str, Variant], classes: Literal["halves", "all"], sizes: Sizes, targets: Mapping[str, Sizes], kept: bool
) -> Work:
    """A group of DeAR's runs on one data set; `kept`: its prefixes are those of another group, so they cost nothing more.

    A run's first layer changes its suffix and the states it starts from, not the prefix. Runs that differ only after training are
    trained once.
    """
    learned = "base" if classes == "halves" else "all"
    total, seen, trained = Work(), set(), trainings(settings)
    tested = sum(s.test for s in targets.values())
    pictures = tested + (0 if kept else sizes.test)
    for run, v in settings.items():
        train = sizes.half(learned) * v.shots
        if v.shots not in seen and not kept:  # few-shot samples of other sizes are other pictures
            seen.add(v.shots)
            pictures += max(1, v.views) * train * len(v.seeds)
        steps = len(v.seeds) * v.epochs * max(1, train // v.batch) if run in trained else 0
        answer = shape.image_suffix(v.first_layer, 5 * v.tokens_per_attribute)
        total += Work(
            training=steps * shape.step(v, sizes.half(learned)),
            evaluation=len(v.seeds) * (sizes.test + tested) * answer,
            runs=len(v.seeds),
        )
    return total + Work(prefix=pictures * shape.encode(), disk_gb=_disk(shape, next(iter(settings.values())), pictures))


def _disk(shape: Shape, p: Training, pictures: int) -> float:
    """States of `pictures` views in GB."""
    return pictures * shape.tokens * shape.width * BYTES[p.cache_dtype] / 1e9
