"""The class families of the Attribute World: which classes a data set has, and which factors each class fixes."""

from dearlib.datasets.world import vocabulary

Pinned = tuple[tuple[str, dict[str, str]], ...]  # (class name, the factors that the class fixes)

# Every colour and every texture is in both halves, no pair is: novel classes recombine what base classes show.
_PAIR_COLORS, _PAIR_TEXTURES = ("red", "green", "blue", "yellow"), ("striped", "checkered", "dotted", "wavy")
_PAIRS = sorted(
    ((c, t) for c in _PAIR_COLORS for t in _PAIR_TEXTURES),
    key=lambda pair: (_PAIR_COLORS.index(pair[0]) + _PAIR_TEXTURES.index(pair[1])) % 2,
)

# In the order in which they take their styles (`targets`): kindred families, far apart, get different ones.
FAMILIES: dict[str, Pinned] = {
    "colors": tuple((v, {"color": v}) for v in vocabulary.COLORS),
    "objects": tuple((v, {"kind": "object", "subject": v}) for v in vocabulary.OBJECTS),
    "textures": tuple((v, {"texture": v}) for v in vocabulary.TEXTURES),
    "letters": tuple((v, {"kind": "letter", "subject": v}) for v in vocabulary.LETTERS),
    "colored_textures": tuple((f"{c} {t}", {"color": c, "texture": t}) for c, t in _PAIRS),
    "places": tuple((v, {"location": v}) for v in vocabulary.LOCATIONS),
    "numbers": tuple((v, {"kind": "number", "subject": v}) for v in vocabulary.NUMBERS),
    "shapes": tuple((v, {"kind": "shape", "subject": v}) for v in vocabulary.SHAPES),
}
SOURCE = "source"
CLASSES: dict[str, Pinned] = {**FAMILIES, SOURCE: FAMILIES["objects"] + FAMILIES["shapes"]}


def about(family: str) -> set[str]:
    """The factors that tell the family's classes apart."""
    return {factor for _, pinned in CLASSES[family] for factor in pinned}
