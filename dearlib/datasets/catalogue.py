"""The catalogue: where each data set's files lie under the data root, and the one prompt template it is read with.

Templates follow CoOp's rule, one a data set; those of the Attribute World are taken from its captions [ours].
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dearlib.errors import InputError


@dataclass(frozen=True)
class Entry:
    """One data set.

    `template` has one `{}` for the class name; `folder` is relative to the data root, `images` and `split_file` to
    the folder; `classes_of` names the data set whose trained model is tested on this one (shifted test sets).
    """

    template: str
    folder: str
    images: str = "images"
    split_file: str = "split.json"
    classes_of: str | None = None


TARGETS_MINI = ("objects", "shapes", "textures", "places", "colors", "colored_textures", "letters", "digits")
SHIFTED_MINI = ("source_redrawn", "source_sketch", "source_adversarial", "source_renditions")
SOURCE_MINI = "source"

_TEMPLATES_MINI = {
    "objects": "a photo of a {}.",
    "shapes": "a photo of a {}.",
    "textures": "a photo of a {} texture.",
    "places": "a view of the {}.",
    "colors": "a photo of something {}.",
    "colored_textures": "a photo of a {} texture.",
    "letters": "a photo of the letter {}.",
    "digits": "a photo of the number {}.",
    "source": "a photo of a {}.",
}

CATALOGUE: dict[str, Entry] = {
    **{name: Entry(template, folder=name) for name, template in _TEMPLATES_MINI.items()},
    **{name: Entry(_TEMPLATES_MINI[SOURCE_MINI], folder=name, classes_of=SOURCE_MINI) for name in SHIFTED_MINI},
}


def entry(dataset: str) -> Entry:
    """The catalogue's entry. Raises `InputError` with the known names if there is none."""
    if dataset not in CATALOGUE:
        raise InputError(f"data set: expected one of {', '.join(sorted(CATALOGUE))}, got '{dataset}'")
    return CATALOGUE[dataset]


def prompts(dataset: str, classnames: Iterable[str]) -> list[str]:
    """One prompt for each class name; underscores in names become blanks."""
    template = entry(dataset).template
    return [template.format(name.replace("_", " ")) for name in classnames]
