"""The gallery of Figure 3: whose factors it knows, and what it says of a damaged file."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from dearlib.datasets.world import vocabulary
from dearlib.errors import InputError
from dearlib.study.neighbours import CLASS, _found, _queries, _query, gallery


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four test pictures of two classes."""
    folder = tmp_path / "objects_chalk"
    (folder / "images").mkdir(parents=True)
    rows = [[f"{i}.png", i % 2, "ab"[i % 2]] for i in range(4)]
    for path, _, _ in rows:
        Image.new("RGB", (4, 4)).save(folder / "images" / path)
    (folder / "split.json").write_text(json.dumps({"train": [], "val": [], "test": rows}))
    return tmp_path


def test_a_factor_that_no_picture_has_is_left_out(root: Path) -> None:
    """Its precision would be a mean over nothing."""
    assert set(gallery(root, "objects_chalk", ("color", "location"), None).labels) == {CLASS}, "no file: classes alone"
    close_up = dict.fromkeys(("location", "size"), "")
    close_up |= {"kind": vocabulary.CLOSE_UP, "subject": "x", "color": vocabulary.COLORS[0], "texture": vocabulary.TEXTURES[1], "light": ""}
    (root / "objects_chalk" / "factors.json").write_text(json.dumps({f"{i}.png": close_up for i in range(4)}))
    path = root / "objects_chalk" / "factors.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as some editors save it
    found = gallery(root, "objects_chalk", ("color", "location", "object", "mood"), None)
    assert {name: values.tolist() for name, values in found.labels.items()} == {"color": [0, 0, 0, 0]}
    assert _queries(found, 1) == (0,)
    assert _queries(found, 3) == (0, 1, 2)
    assert _queries(found, 9) == (0, 1, 2, 3), "each once, and no more than there are"
    assert _query(found) == 0, "striped, colourful objects cannot be looked for"


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"0.png": {"mood": "glad"}}', "[" * 10_000, '{"0.png": 3}'])
def test_damaged_factors_are_one_line(root: Path, text: str) -> None:
    (root / "objects_chalk" / "factors.json").write_text(text)
    with pytest.raises(InputError, match=r"factors\.json: expected the factors of every picture, got") as error:
        gallery(root, "objects_chalk", ("color",), None)
    assert "\n" not in str(error.value)
    assert "mood" not in text or "argument" in str(error.value), "the reason is told"


def test_what_is_found_lies_query_after_query() -> None:
    """On a line 0, 1, 3, 7: the two nearest of the last picture, then those of the first."""
    features = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.3], [1.0, 0.7]]), dim=-1)
    assert _found(features, (3, 0), 2) == (2, 1, 1, 2)
