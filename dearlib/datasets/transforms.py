"""Training views: random resized crops and flips, drawn beforehand as parameters.

What CLIP's frozen layers make of a view can be kept only if the view can be named, so a view is a few numbers that
depend on (seed, image, view) alone, and applying it is deterministic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import open_clip
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

_TRIES = 10


@dataclass(frozen=True)
class View:
    """One random resized crop, for an image of any size.

    `areas` (fractions of the image) and `ratios` (width / height) are candidates in order: the first that fits inside
    the image is taken, as torchvision does; `at` places the crop within the room left over, vertically and
    horizontally, each in [0, 1]; `flip` mirrors left and right.
    """

    areas: tuple[float, ...]
    ratios: tuple[float, ...]
    at: tuple[float, float]
    flip: bool


def draw_views(
    seed: int,
    image: int,
    views: int,
    scale: tuple[float, float] = (0.5, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[View, ...]:
    """The `views` training views of image number `image`: area uniform in `scale`, log ratio uniform, flip ½.

    View v is the same however many are drawn. Source of the default scale: MMRL; of the distribution: torchvision.
    """
    return tuple(_draw(np.random.default_rng([seed, image, view]), scale, ratio) for view in range(views))


def _draw(rng: np.random.Generator, scale: tuple[float, float], ratio: tuple[float, float]) -> View:
    areas = tuple(rng.uniform(*scale, _TRIES).tolist())
    ratios = tuple(np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1]), _TRIES)).tolist())
    down, right = rng.random(2).tolist()
    return View(areas, ratios, (down, right), bool(rng.random() < 0.5))


def crop_box(view: View, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the view's crop in pixels; the whole image where no candidate fits [ours]."""
    for area, ratio in zip(view.areas, view.ratios, strict=True):
        h, w = (round((height * width * area * r) ** 0.5) for r in (1 / ratio, ratio))
        if 0 < h <= height and 0 < w <= width:
            return int(view.at[0] * (height - h + 1)), int(view.at[1] * (width - w + 1)), h, w
    return 0, 0, height, width


def apply_view(
    image: Image.Image, view: View, side: int, interpolation: Literal["bicubic", "bilinear"] = "bicubic"
) -> Float[Tensor, "3 side side"]:
    """The view of an RGB image as CLIP's normalised input of `side` × `side` pixels."""
    mode = InterpolationMode(interpolation)
    top, left, height, width = crop_box(view, image.height, image.width)
    crop = F.resized_crop(image, top, left, height, width, [side, side], mode)
    if view.flip:
        crop = F.horizontal_flip(crop)
    pixels = F.to_dtype(F.to_image(crop), torch.float32, scale=True)
    return F.normalize(pixels, list(open_clip.OPENAI_DATASET_MEAN), list(open_clip.OPENAI_DATASET_STD))


def stack_views(
    image: Image.Image,
    views: Sequence[View],
    side: int,
    preprocess: Callable[[Image.Image], Tensor],
    interpolation: Literal["bicubic", "bilinear"] = "bicubic",
) -> Float[Tensor, "view 3 side side"]:
    """All views of an image; without any, the one plain view: CLIP's own test transform `preprocess`."""
    if not views:
        return preprocess(image)[None]
    return torch.stack([apply_view(image, view, side, interpolation) for view in views])
