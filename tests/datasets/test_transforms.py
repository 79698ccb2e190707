"""Views: reproducible, inside the image, distributed as torchvision's, and pixel for pixel its transform."""

from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from dearlib.datasets.transforms import Preprocessing, View, apply_view, crop_box, draw_views, stack_views

SIDE = 32
OPENAI = Preprocessing((SIDE, SIDE), open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD, "bicubic", "shortest")
MEAN = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
STD = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)


def noise(width: int = 47, height: int = 41) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def whole(flip: bool = False) -> View:
    return View((1.0,), (1.0,), (0.0, 0.0), flip)


def test_a_view_is_a_pure_function_of_seed_image_and_view() -> None:
    assert draw_views(1, 2, 3) == draw_views(1, 2, 5)[:3]
    others = [draw_views(1, 2, 2)[1], draw_views(2, 2, 1)[0], draw_views(1, 3, 1)[0]]
    assert all(view != draw_views(1, 2, 1)[0] for view in others)
    assert torch.equal(*(apply_view(noise(), draw_views(4, 0, 1)[0], OPENAI) for _ in range(2)))
    assert draw_views(1, 2, 0) == ()


def test_mean_and_std_give_a_pictures_colours_back() -> None:
    mean, std = OPENAI.mean_and_std
    seen = apply_view(noise(SIDE, SIDE), whole(), OPENAI) * std + mean
    torch.testing.assert_close(seen, torch.from_numpy(np.array(noise(SIDE, SIDE))).permute(2, 0, 1) / 255)


@given(
    seed=st.integers(0, 1000),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    low=st.floats(0.05, 1),
)
def test_crops_lie_inside_the_image(seed: int, height: int, width: int, low: float) -> None:
    for view in draw_views(seed, 0, 3, scale=(low, 1.0)):
        top, left, h, w = crop_box(view, height, width)
        assert min(top, left) >= 0
        assert min(h, w) >= 1
        assert top + h <= height
        assert left + w <= width


def test_a_crop_may_be_one_pixel_wide_or_high() -> None:
    thin, middle = (5 / 9,), (0.5, 0.5)
    assert crop_box(View(thin, (1 / 5,), middle, False), height=9, width=1) == (2, 0, 5, 1)
    assert crop_box(View(thin, (5.0,), middle, False), height=1, width=9) == (0, 2, 1, 5)


def test_crops_are_distributed_as_torchvisions() -> None:
    n, height, width = 1500, 64, 64
    ours = torch.tensor([crop_box(draw_views(0, i, 1, scale=(0.3, 1))[0], height, width) for i in range(n)]).float()
    torch.manual_seed(0)
    reference = v2.RandomResizedCrop(8, scale=(0.3, 1))
    theirs = [reference.make_params([torch.zeros(3, height, width)]) for _ in range(n)]
    torchvisions = torch.tensor([[p[k] for k in ("top", "left", "height", "width")] for p in theirs]).float()
    error = ours.std(0) * (2 / n) ** 0.5
    assert ((ours.mean(0) - torchvisions.mean(0)).abs() < 4 * error).all()
    assert torch.allclose(ours.std(0), torchvisions.std(0), rtol=0.1)
    flips = sum(draw_views(0, i, 1)[0].flip for i in range(n)) / n
    assert abs(flips - 0.5) < 4 * 0.5 / n**0.5


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_a_view_is_torchvisions_crop_flip_and_normalisation(interpolation: str) -> None:
    view = next(v for v in draw_views(3, 1, 20) if v.flip)
    top, left, h, w = crop_box(view, 41, 47)
    crop = noise().crop((left, top, left + w, top + h))
    resized = crop.resize((SIDE, SIDE), Image.Resampling[interpolation.upper()])
    pixels = torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1).flip(2) / 255
    preprocess = replace(OPENAI, interpolation=interpolation)
    assert torch.allclose(apply_view(noise(), view, preprocess), (pixels - MEAN) / STD, atol=1e-5)


def test_the_whole_image_unflipped_is_clips_own_test_transform() -> None:
    image = noise(53, 53)
    plain = open_clip.image_transform(SIDE, is_train=False)(image)
    assert torch.equal(OPENAI(image), plain)
    assert torch.allclose(apply_view(image, whole(), OPENAI), plain, atol=1e-6)
    assert torch.allclose(apply_view(image, whole(flip=True), OPENAI).flip(2), plain, atol=0.1), "resizing is symmetrical"
    assert torch.equal(stack_views(image, (), OPENAI), plain[None])
    views = draw_views(0, 0, 3)
    stacked = stack_views(image, views, OPENAI)
    assert stacked.shape == (3, 3, SIDE, SIDE)
    assert torch.equal(stacked[2], apply_view(image, views[2], OPENAI))


def test_no_candidate_fits() -> None:
    assert crop_box(View((1.0, 1.0), (1.3, 1.2), (0.5, 0.5), False), 10, 10) == (0, 0, 10, 10)
