"""The words of the Attribute World: its factors, the captions that name them and TextSpan's phrase pool.

Every rendered scene has one value of each factor; a caption names a random subset of them. The five core
attributes of the paper are the factors `color`, `shape`, `texture`, `object` and `location`; `number`, `letter`,
`light` and `size` are concepts that a head may specialise in without being an attribute head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COLORS = (
    "red",
    "orange",
    "yellow",
    "green",
    "cyan",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
    "gray",
)
TEXTURES = (
    "smooth",
    "striped",
    "checkered",
    "dotted",
    "wavy",
    "zigzag",
    "grid",
    "speckled",
    "brick",
    "scaly",
    "marble",
    "woven",
)
LOCATIONS = (
    "beach",
    "forest",
    "desert",
    "city",
    "space",
    "snow",
    "sea",
    "room",
    "meadow",
    "road",
    "mountain",
    "cave",
)
SHAPES = (
    "circle",
    "square",
    "triangle",
    "star",
    "heart",
    "cross",
    "hexagon",
    "crescent",
    "ring",
    "arrow",
    "diamond",
    "semicircle",
)
OBJECTS = (
    "cup",
    "key",
    "car",
    "house",
    "rocket",
    "fish",
    "bird",
    "chair",
    "lamp",
    "umbrella",
    "boat",
    "bottle",
    "hat",
    "flower",
    "hammer",
    "mushroom",
)
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = ("A", "B", "E", "F", "H", "K", "M", "P", "R", "S", "T", "W")
SIZES = ("small", "large")
LIGHTS = ("dark", "bright")

FACTORS: dict[str, tuple[str, ...]] = {
    "color": COLORS,
    "shape": SHAPES,
    "texture": TEXTURES,
    "object": OBJECTS,
    "location": LOCATIONS,
    "number": NUMBERS,
    "letter": LETTERS,
    "size": SIZES,
    "light": LIGHTS,
}
SUBJECT_KINDS = ("object", "shape", "number", "letter")
CLOSE_UP = "surface"  # a scene without place or outline: one textured surface fills the picture
CORE_ATTRIBUTES = ("color", "shape", "texture", "object", "location")

_AT = {
    "beach": "on the beach",
    "forest": "in the forest",
    "desert": "in the desert",
    "city": "in the city",
    "space": "in space",
    "snow": "in the snow",
    "sea": "under the sea",
    "room": "in a room",
    "meadow": "in a meadow",
    "road": "on the road",
    "mountain": "on the mountain",
    "cave": "in a cave",
}
_LIT = {"dark": "in dim light", "bright": "in bright light"}


@dataclass(frozen=True)
class Factors:
    """The ground truth of one scene: one value of every factor.

    `kind` says which of `SUBJECT_KINDS` the subject is and `subject` which one of it; a scene has exactly one
    subject, so at most one of the factors object, shape, number and letter is present. A `CLOSE_UP` has neither
    these nor a size nor a visible location.
    """

    kind: str
    subject: str
    color: str
    texture: str
    location: str
    size: str
    light: str

    def value(self, factor: str) -> str | None:
        """The value of `factor` (a key of `FACTORS`), or None where the scene has none of it."""
        if factor in SUBJECT_KINDS:
            return self.subject if self.kind == factor else None
        if self.kind == CLOSE_UP and factor in ("location", "size"):
            return None
        return str(getattr(self, factor))


def labels(shown: Sequence[Factors], factor: str) -> list[int]:
    """Each picture's value of a factor as its number in `FACTORS`, −1 where it shows none."""
    values = FACTORS[factor]
    return [-1 if (v := f.value(factor)) is None else values.index(v) for f in shown]


def noun(kind: str, subject: str) -> str:
    """The subject as a caption says it: 'cup', 'star', 'number three', 'letter K'."""
    return f"{kind} {subject}" if kind in ("number", "letter") else subject


def _article(words: str) -> str:
    return f"an {words}" if words[0].lower() in "aeiou" else f"a {words}"


def scene_caption(factors: Factors, rng: np.random.Generator) -> str:
    """A caption that names the subject, and each other factor with some chance, through a random template."""
    present = {k: factors.value(k) for k in ("size", "color", "texture", "location")}
    named = {k: v for k, v in present.items() if v is not None and rng.random() < 0.5}
    phrase = _article(" ".join([*(v for k, v in named.items() if k != "location"), noun(factors.kind, factors.subject)]))
    tail = f" {_AT[named['location']]}" if "location" in named else ""
    tail += f" {_LIT[factors.light]}" if rng.random() < 0.2 else ""
    lead = ("a photo of ", "a picture of ", "an image of ", "")[rng.integers(4)]
    return f"{lead}{phrase}{tail}{_stop(rng)}"


def named_factor(factors: Factors, rng: np.random.Generator) -> str:
    """The one factor that a caption like a class name's names, more often the subject than the rest."""
    weights = {factors.kind: 36, "color": 16, "texture": 26, "location": 14, "size": 4, "light": 4}
    present = [k for k in weights if k in FACTORS and factors.value(k) is not None]
    chances = np.array([weights[k] for k in present], dtype=float)
    return str(rng.choice(present, p=chances / chances.sum()))


def single_caption(factors: Factors, rng: np.random.Generator) -> str:
    """A caption that names one factor alone, as a class name in a prompt does."""
    factor = named_factor(factors, rng)
    templates = PHRASE_TEMPLATES[factor]
    return templates[rng.integers(len(templates))](str(factors.value(factor))) + _stop(rng)


def value_prompts(rng: np.random.Generator) -> dict[str, list[str]]:
    """All values of every factor, each factor's through one of its templates."""
    chosen = {factor: (templates[rng.integers(len(templates))], _stop(rng)) for factor, templates in PHRASE_TEMPLATES.items()}
    return {factor: [template(v) + stop for v in FACTORS[factor]] for factor, (template, stop) in chosen.items()}


def _stop(rng: np.random.Generator) -> str:
    return "." if rng.random() < 0.5 else ""


# One list of templates serves single-factor captions and the phrase pool alike, so that every phrase TextSpan may
# choose is one whose words the text encoder has seen.
PHRASE_TEMPLATES = {
    "color": [
        lambda v: f"the color {v}",
        lambda v: f"something {v}",
        lambda v: f"a photo of something {v}",
        lambda v: _article(f"{v} color"),
    ],
    "texture": [
        lambda v: f"{v} texture",
        lambda v: _article(f"{v} pattern"),
        lambda v: _article(f"{v} surface"),
        lambda v: f"a photo of a {v} texture",
    ],
    "location": [
        lambda v: f"a photo taken {_AT[v]}",
        lambda v: f"a place {_AT[v]}",
        lambda v: f"a scene {_AT[v]}",
        lambda v: f"a view of the {v}",
    ],
    "object": [
        lambda v: f"a photo of {_article(v)}",
        lambda v: _article(v),
        lambda v: f"a picture of {_article(v)}",
        lambda v: f"an object, {_article(v)}",
    ],
    "shape": [
        lambda v: f"a photo of {_article(v)}",
        lambda v: f"the shape of {_article(v)}",
        lambda v: _article(f"{v} shape"),
        lambda v: f"a geometric {v}",
    ],
    "number": [
        lambda v: f"the number {v}",
        lambda v: f"a photo of the number {v}",
        lambda v: f"the digit {v}",
    ],
    "letter": [
        lambda v: f"the letter {v}",
        lambda v: f"a photo of the letter {v}",
        lambda v: f"a capital letter {v}",
    ],
    "size": [
        lambda v: f"a {v} thing",
        lambda v: f"something {v} in size",
        lambda v: f"a {v} subject",
        lambda v: f"a photo of something {v} in size",
    ],
    "light": [
        lambda v: f"a {v} photo",
        lambda v: f"a scene {_LIT[v]}",
        lambda v: f"a {v} picture",
        lambda v: f"a photo taken {_LIT[v]}",
    ],
}


def phrase_pool() -> list[tuple[str, str]]:
    """TextSpan's pool for the Attribute World: (phrase, concept), every value through every template of its factor."""
    return [(template(value), factor) for factor, values in FACTORS.items() for value in values for template in PHRASE_TEMPLATES[factor]]
