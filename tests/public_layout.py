"""Folders laid out as the public data sets are, with generated pictures of 8 × 8 pixels and as few as wanted.

What is real: folder and file names, split files and official lists, the order of labels, ImageNet's 1000 class folders
(invented WordNet ids: only their order matters), the 200 of ImageNet-A and -R, ImageNetV2's numbered ones.
"""

import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dearlib.datasets import PUBLIC
from dearlib.datasets.splits import PARTS

WORDNET_IDS = [f"n{1000000 + 37 * label:08}" for label in range(1000)]
SUBSETS = {"imagenet_sketch": WORDNET_IDS, "imagenet_a": WORDNET_IDS[1::5], "imagenet_r": WORDNET_IDS[3::5]}
VARIANTS = ("707-320", "F/A-18", "MD-11", "Tornado")

# Data set → what stands for a class in its paths, and the class name that its split file gives it.
CLASSES: dict[str, list[tuple[str, str]]] = {
    "caltech101": [("Faces", "face"), ("Leopards", "leopard"), ("airplanes", "airplane"), ("yin_yang", "yin_yang")],
    "oxford_pets": [("Abyssinian", "abyssinian"), ("Bengal", "bengal"), ("pug", "pug"), ("Sphynx", "sphynx")],
    "stanford_cars": [(n, n) for n in ("2000 AM General Hummer SUV", "2012 Acura RL Sedan", "2012 Audi TTS Coupe", "2012 FIAT 500 Abarth")],
    "oxford_flowers": [(n, n) for n in ("pink primrose", "canterbury bells", "passion flower", "blackberry lily")],
    "food101": [(n, n) for n in ("apple_pie", "caesar_salad", "takoyaki", "waffles")],
    "sun397": [("a/abbey", "abbey"), ("c/church/indoor", "indoor church"), ("c/church/outdoor", "outdoor church"), ("y/yard", "yard")],
    "dtd": [(n, n) for n in ("banded", "bubbly", "polka-dotted", "zigzagged")],
    "eurosat": [
        ("AnnualCrop", "Annual Crop Land"),
        ("Forest", "Forest"),
        ("Highway", "Highway or Road"),
        ("SeaLake", "Sea or Lake"),
    ],
    "ucf101": [(n, n) for n in ("Apply_Eye_Makeup", "Archery", "Tai_Chi", "Yo_Yo")],
}
# (path's class, number within the class, number within the data set, part) → path, relative to the images' folder.
PATHS: dict[str, Callable[[str, int, int, str], str]] = {
    "caltech101": lambda c, n, m, part: f"{c}/image_{n:04}.jpg",
    "oxford_pets": lambda c, n, m, part: f"{c}_{n}.jpg",
    "stanford_cars": lambda c, n, m, part: f"cars_{'test' if part == 'test' else 'train'}/{m:05}.jpg",
    "oxford_flowers": lambda c, n, m, part: f"image_{m:05}.jpg",
    "food101": lambda c, n, m, part: f"{c}/{100000 + m}.jpg",
    "sun397": lambda c, n, m, part: f"{c}/sun_{m:016x}.jpg",
    "dtd": lambda c, n, m, part: f"{c}/{c}_{n:04}.jpg",
    "eurosat": lambda c, n, m, part: f"{c}/{c}_{n}.jpg",
    "ucf101": lambda c, n, m, part: f"{c}/v_{c.replace('_', '')}_g{n:02}_c01.jpg",
}
NOT_SORTED = ("stanford_cars", "oxford_flowers")  # their train lists do not begin with label 0


@dataclass(frozen=True)
class Layout:
    """What was built: training, validation and test images and classes, and the class folders or names in label order."""

    sizes: tuple[int, int, int, int]
    classes: list[str]


def build(root: Path, dataset: str, classes: int | None = None, per_class: int = 2) -> Layout:
    """One data set with `per_class` images a class and part; all classes that are known here, or the first `classes`."""
    folder = root / PUBLIC[dataset].folder
    images = folder / PUBLIC[dataset].images
    if dataset == "imagenet":
        for part in ("train", "val"):
            _fill(images / part, WORDNET_IDS[:classes], per_class, ".JPEG")
        count = per_class * len(WORDNET_IDS[:classes])
        return Layout((count, count, count, len(WORDNET_IDS[:classes])), WORDNET_IDS[:classes])
    if PUBLIC[dataset].source == "folders":
        names = SUBSETS.get(dataset, [str(label) for label in range(1000)])[:classes]
        _fill(images, names, per_class, ".jpeg" if dataset == "imagenetv2" else ".jpg")
        (images / "README.txt").write_text("As in the archives of ImageNet-A and -R.\n")
        return Layout((0, 0, per_class * len(names), len(names)), names)
    split = _split(dataset, classes, per_class)
    for path in (path for rows in split.values() for path, _, _ in rows):
        _picture(images / path)
    if dataset == "fgvc_aircraft":
        (folder / "variants.txt").write_text("".join(f"{name}\n" for name in VARIANTS[:classes]))
        for part, rows in split.items():
            lines = "".join(f"{path.removesuffix('.jpg')} {name}\n" for path, _, name in rows)
            (folder / f"images_variant_{part}.txt").write_text(lines)
    else:
        (folder / PUBLIC[dataset].split_file).write_text(json.dumps(split, indent=4))
    names = dict(sorted((label, name) for _, label, name in split["test"]))
    return Layout((len(split["train"]), len(split["val"]), len(split["test"]), len(names)), list(names.values()))


def _split(dataset: str, classes: int | None, per_class: int) -> dict[str, list[tuple[str, int, str]]]:
    known = [(name, name) for name in VARIANTS] if dataset == "fgvc_aircraft" else CLASSES[dataset]
    labelled = list(enumerate(known[:classes]))
    split: dict[str, list[tuple[str, int, str]]] = {part: [] for part in PARTS}
    total = 0
    for i, part in enumerate(PARTS):
        for label, (name, classname) in reversed(labelled) if dataset in NOT_SORTED else labelled:
            for n in range(1 + i * per_class, 1 + (i + 1) * per_class):
                total += 1
                path = f"{1000000 + total}.jpg" if dataset == "fgvc_aircraft" else PATHS[dataset](name, n, total, part)
                split[part].append((path, label, classname))
    return split


def _fill(folder: Path, names: list[str], per_class: int, suffix: str) -> None:
    for name in names:
        for n in range(per_class):
            _picture(folder / name / f"{name}_{9 - n}{suffix}")


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_JPEG)


def bomb() -> bytes:
    """A one-bit PNG of 15,000 × 15,000 pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((15_000 // 8 + 1) * 15_000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 15_000, 15_000, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


def _jpeg() -> bytes:
    data = io.BytesIO()
    Image.linear_gradient("L").resize((8, 8)).convert("RGB").save(data, "JPEG")
    return data.getvalue()


_JPEG = _jpeg()
