"""Roles are read from training or validation pictures: no test picture is drawn, opened or listed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dearlib.datasets import entry, open_image
from dearlib.errors import InputError
from dearlib.roles.pictures import draw_pictures, write_list

NAME = "objects_chalk"
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "02_head_roles.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of twelve pictures whose test pictures cannot be opened: whoever reads one fails."""
    where = entry(NAME)
    folder = tmp_path / where.folder
    rows = {part: [] for part in ("train", "val", "test")}
    for i in range(12):
        part = ("train", "train", "val", "test")[i % 4]
        path = folder / where.images / f"{part}_{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if part == "test":
            path.write_bytes(b"no picture")
        else:
            Image.fromarray(np.full((8, 8, 3), i, dtype=np.uint8)).save(path)
        rows[part].append([path.name, i % 2, "ab"[i % 2]])
    (folder / where.split_file).write_text(json.dumps(rows))
    return tmp_path


@pytest.mark.parametrize(("part", "there"), [("train", 6), ("val", 3)])
def test_no_test_picture_is_opened(root: Path, part: str, there: int, tmp_path: Path) -> None:
    items = draw_pictures(root, NAME, part, 100, seed=1)
    assert len({i.path for i in items}) == there
    for item in items:
        open_image(item.path)  # a test picture would not open
    write_list(tmp_path / "images.json", items, root, NAME, part, 1)
    listed = json.loads((tmp_path / "images.json").read_text())
    assert listed["part"] == part
    assert all(Path(name).name.startswith(part) for name in listed["images"])


def test_test_pictures_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match="part: expected 'train' or 'val', got 'test'"):
        draw_pictures(root, NAME, "test", 3, seed=1)


def test_the_draw_is_the_seeds(root: Path) -> None:
    one, again, other = (draw_pictures(root, NAME, "train", 4, seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert len(one) == 4


def test_an_empty_part_is_one_line(root: Path) -> None:
    split = root / entry(NAME).folder / entry(NAME).split_file
    split.write_text(json.dumps({**json.loads(split.read_text()), "val": []}))
    with pytest.raises(InputError, match=f"expected pictures in 'val' of {NAME}, got none"):
        draw_pictures(root, NAME, "val", 4, seed=1)


def test_the_notebook_reads_pictures_by_this_function_alone() -> None:
    source = NOTEBOOK.read_text(encoding="utf-8")
    assert "draw_pictures(" in source
    assert source.count("open_image(") == 1
    assert "read_split" not in source
