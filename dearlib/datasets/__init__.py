"""Data sets: the public fifteen and their split files, few-shot sampling, transforms, and the Attribute World.

`dearlib.datasets.transforms` is not imported here: it needs torch, and writing the Attribute World does not.
"""

from dearlib.datasets.catalogue import (
    CATALOGUE,
    PUBLIC,
    SHIFTED,
    SHIFTED_MINI,
    SOURCE,
    SOURCE_MINI,
    TARGETS,
    TARGETS_MINI,
    Entry,
    entry,
    prompts,
)
from dearlib.datasets.pictures import open_image, picture_bytes, picture_size
from dearlib.datasets.samples import few_shot, half
from dearlib.datasets.splits import Item, Split, classnames, parse_split, read_split, split_sha256

__all__ = [
    "CATALOGUE",
    "PUBLIC",
    "SHIFTED",
    "SHIFTED_MINI",
    "SOURCE",
    "SOURCE_MINI",
    "TARGETS",
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
    "picture_bytes",
    "picture_size",
    "prompts",
    "read_split",
    "split_sha256",
]
