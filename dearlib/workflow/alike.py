"""Two folders of tables and figures that were drawn from the same records: byte for byte the same, or alike to rounding.

On one kind of processor a redrawn figure is the committed one to the byte. Another sums in another order, so the last digits of what a
notebook computes itself differ, and with them a coordinate in its sixth decimal or the shade of a pixel. More than that is another figure.
"""

import base64
import io
import re
from itertools import zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from dearlib.errors import InputError

ABSOLUTE, RELATIVE = 1e-3, 1e-3  # of a number in a text, or one in its last decimal if that is more
SHADE, PIXELS = 32, 2e-3  # of 255; share of pixels that may differ by more
NUMBER = re.compile(r"(?<![\w.#])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?!\w)")  # no part of a hash
EMBEDDED = re.compile(r"base64,\s*([A-Za-z0-9+/=\s]+)")
NAMED = re.compile(r"\b(?:[a-z][0-9a-f]{10}|image[0-9a-f]{8,10})\b")  # parts of an SVG, by matplotlib: hashes of coordinates


def hold(committed: Path, fresh: Path) -> int:
    """Says how many files are the same, how many alike, and which are neither; exit status 0, or 1 if there are such.

    Raises `InputError` where a folder is not there.
    """
    for folder in (committed, fresh):
        if not folder.is_dir():
            raise InputError(f"{folder}: expected a folder of tables and figures, got none; correct the path")
    files = [sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()) for folder in (committed, fresh)]
    apart = dict.fromkeys(set(files[0]) ^ set(files[1]), "is in one folder alone")
    same = [name for name in files[0] if name not in apart and (committed / name).read_bytes() == (fresh / name).read_bytes()]
    rest = [name for name in files[0] if name not in apart and name not in same]
    apart |= {name: reason for name in rest if (reason := difference(committed / name, fresh / name))}
    for name, reason in sorted(apart.items()):
        print(f"{name}: {reason}")
    print(f"{len(same)} files the same, {len(rest) - len(apart.keys() & set(rest))} alike to rounding, {len(apart)} not")
    return 1 if apart else 0


def difference(one: Path, other: Path) -> str:
    """Why two files are not alike to rounding, '' where they are."""
    if one.suffix == ".png":
        return _pictures(one.read_bytes(), other.read_bytes())
    return _texts(one.read_text(encoding="utf-8"), other.read_text(encoding="utf-8"), drawn=one.suffix == ".svg")


def _texts(one: str, other: str, drawn: bool) -> str:
    embedded = [[base64.b64decode(found) for found in EMBEDDED.findall(text)] for text in (one, other)]
    if len(embedded[0]) != len(embedded[1]):
        return "has another number of pictures in it"
    if reasons := [reason for a, b in zip(*embedded, strict=True) if a != b and (reason := _pictures(a, b))]:
        return f"a picture in it {reasons[0]}"
    bare = [EMBEDDED.sub("base64,", text) for text in (one, other)]
    if drawn:
        bare = [NAMED.sub("part", text) for text in bare]
    for a, b in zip_longest(*(text.splitlines() for text in bare), fillvalue=""):
        if a == b:
            continue
        if NUMBER.sub("0", a) != NUMBER.sub("0", b):
            return f"says {b.strip()[:60]!r} for {a.strip()[:60]!r}"
        for x, y in zip(NUMBER.findall(a), NUMBER.findall(b), strict=True):
            last = 10.0 ** -len(x.partition(".")[2]) if "." in x and "e" not in x.lower() else 0.0
            if not abs(float(x) - float(y)) <= max(ABSOLUTE + RELATIVE * abs(float(x)), 1.01 * last):
                return f"has {y} for {x}"
    return ""


def _pictures(one: bytes, other: bytes) -> str:
    a, b = (np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"), dtype=int) for content in (one, other))
    if a.shape != b.shape:
        return f"is {b.shape[1]} × {b.shape[0]} pixels, not {a.shape[1]} × {a.shape[0]}"
    share = float((np.abs(a - b).max(axis=-1) > SHADE).mean())
    return f"differs in {share:.1%} of its pixels" if share > PIXELS else ""
