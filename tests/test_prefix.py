"""The prefix cache: the cut is exact, entries are keyed by what they depend on, and views are what their names say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dearlib import prefix
from dearlib.clip import FrozenClip, image_suffix, random_clip
from dearlib.datasets import Item
from dearlib.errors import InputError


@pytest.fixture(scope="module")
def mini() -> FrozenClip:
    return random_clip()


@pytest.fixture
def items(tmp_path) -> list[Item]:
    draw = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    return [Item(tmp_path / f"{i}.png", i, f"class {i}") for i in range(3)]


def test_cut_at_any_layer_gives_the_whole_encoders_feature(mini, items, tmp_path) -> None:
    images = torch.stack([mini.preprocess(Image.open(i.path)) for i in items])
    whole = mini.encode_image(images)
    for first_layer in (1, 9, 12):
        kept = prefix.of_items(tmp_path / "cache", mini, first_layer, items)
        torch.testing.assert_close(kept.features, whole, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(image_suffix(mini.visual, kept.states, first_layer), whole, rtol=1e-4, atol=1e-5)


def test_the_second_time_nothing_is_computed(mini, items, tmp_path) -> None:
    first = prefix.cached(tmp_path / "cache", mini, 9, "x", 2, lambda i: torch.full((3, 64, 64), float(i)))
    again = prefix.cached(tmp_path / "cache", mini, 9, "x", 2, lambda i: pytest.fail("computed again"))
    assert torch.equal(first.states, again.states)
    assert torch.equal(first.features, again.features)


def test_entries_differ_by_weights_layer_and_pictures(mini, items) -> None:
    other = random_clip(seed=1)
    assert other.weights_sha256 != mini.weights_sha256
    at = {prefix.entry(Path("c"), c, j, i) for c in (mini, other) for j in (8, 9) for i in ("x", "y")}
    assert len(at) == 8


def test_a_picture_with_new_bytes_is_a_new_entry(items) -> None:
    before = prefix.contents(items)
    Image.new("RGB", (64, 64)).save(items[1].path)
    assert prefix.contents(items) != before


def test_views_come_view_by_view_and_depend_on_seed_and_place_alone(mini, items, tmp_path) -> None:
    def views(n: int, seed: int = 1, flip: bool = False) -> torch.Tensor:
        return prefix.of_views(tmp_path / "cache", mini, 9, items, seed, n, (0.5, 1.0), flip).states

    three, one = views(3), views(1)
    assert len(three) == 9
    torch.testing.assert_close(three[:3], one)
    assert not torch.allclose(three[3:6], one)
    assert not torch.allclose(views(1, seed=2), one)
    assert not torch.allclose(views(3, flip=True), three)


def test_a_truncated_entry_is_one_line(mini, tmp_path) -> None:
    path = prefix.entry(tmp_path, mini, 9, "x")
    path.write_bytes(b"half")
    with pytest.raises(InputError, match="safetensors"):
        prefix.cached(tmp_path, mini, 9, "x", 1, lambda i: torch.zeros(3, 64, 64))


def test_cached_states_can_train(mini, items, tmp_path) -> None:
    """Tensors made under inference mode could not be saved for backward."""
    kept = prefix.compute(mini, 9, 1, lambda i: torch.zeros(3, 64, 64))
    weight = torch.ones(mini.d_model, requires_grad=True)
    (kept.states * weight).sum().backward()
    assert weight.grad is not None
