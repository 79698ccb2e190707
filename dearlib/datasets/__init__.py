"""Data sets: the split files everyone shares, few-shot sampling, transforms, and the Attribute World.

`dearlib.datasets.transforms` is not imported here: it needs torch, and writing the Attribute World does not.
"""

from dearlib.datasets.catalogue import CATALOGUE, SHIFTED_MINI, SOURCE_MINI, TARGETS_MINI, Entry, entry, prompts
from dearlib.datasets.splits import Item, Split, classnames, few_shot, half, open_image, parse_split, read_split, split_sha256

__all__ = [
    "CATALOGUE",
    "SHIFTED_MINI",
    "SOURCE_MINI",
    "TARGETS_MINI",
    "Entry",
    "Item",
    "Split",
    "classnames",
    "entry",
    "few_shot",
    "half",
    "open_image",
    "parse_split",
    "prompts",
    "read_split",
    "split_sha256",
]
