"""Data sets without a split file: what the official lists of FGVCAircraft may say."""

from pathlib import Path

import pytest
from public_layout import build

from dearlib.datasets import read_split
from dearlib.errors import InputError


def test_lists_of_aircraft_are_read_with_a_byte_order_mark_and_name_no_variant_twice(tmp_path: Path) -> None:
    build(tmp_path, "fgvc_aircraft")
    plain = read_split(tmp_path, "fgvc_aircraft")
    variants = tmp_path / "fgvc_aircraft" / "variants.txt"
    for path in (variants, variants.with_name("images_variant_train.txt")):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_split(tmp_path, "fgvc_aircraft") == plain
    variants.write_text(variants.read_text(encoding="utf-8-sig") + "MD-11\n")
    with pytest.raises(InputError, match=r"variants\.txt: expected every variant once, got 'MD-11' again"):
        read_split(tmp_path, "fgvc_aircraft")


@pytest.mark.parametrize(
    ("part", "prefix", "fault"),
    [
        ("test", "../images/", r"one that leaves it by '\.\.'"),
        ("train", "../../outside/", r"one that leaves it by '\.\.'"),
        ("val", "/somewhere/", "an absolute one"),
    ],
    ids=["out and in again", "outside", "absolute"],
)
def test_lists_of_aircraft_name_no_picture_outside_the_images_folder(tmp_path: Path, part: str, prefix: str, fault: str) -> None:
    """A second way to a training picture would be tested on, and what lies elsewhere is not part of the data set."""
    build(tmp_path, "fgvc_aircraft")
    lists = tmp_path / "fgvc_aircraft"
    lines = (lists / "images_variant_train.txt").read_text().splitlines()
    (lists / f"images_variant_{part}.txt").write_text("".join(f"{prefix}{line}\n" for line in lines))
    with pytest.raises(InputError, match=rf"images_variant_{part}\.txt: expected a picture under .*images in line 1, got {fault}"):
        read_split(tmp_path, "fgvc_aircraft")
