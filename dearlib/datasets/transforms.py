"""What becomes of a picture before a model sees it: the model's own preprocessing, and training views.

Training views are random resized crops and flips, drawn beforehand as parameters.
What CLIP's frozen layers make of a view can be kept only if the view can be named, so a view is a few numbers that
depend on (seed, image, view) alone, and applying it is deterministic.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

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
class Preprocessing:
    """How one model wants its pictures: what its weights were trained with, which differs from tag to tag.

    Called with a PIL picture it gives the plain view [3, height, width], by open_clip's test transform. `size` is (height,
    width) in pixels; `mean` and `std` are of channels in [0, 1]; `resize_mode` says how a whole picture becomes `size`: its
    shortest side fits and the rest is cut, its longest fits and the rest is filled with `fill_color`, or it is squashed.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"]
    resize_mode: Literal["shortest", "longest", "squash"]
    fill_color: int = 0

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> "Preprocessing":
        """From open_clip's `preprocess_cfg`, as a loaded model carries it. 'random' interpolation is bicubic in its tests, too."""
        size = config["size"]
        return cls(
            size=(size, size) if isinstance(size, int) else (size[0], size[1]),
            mean=_three(config["mean"]),
            std=_three(config["std"]),
            interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
            resize_mode=config["resize_mode"],
            fill_color=config.get("fill_color", 0),
        )

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 height width"]:
        """The plain view."""
        return self._whole(image)

    @cached_property
    def _whole(self) -> Callable[[Image.Image], Tensor]:
        return open_clip.image_transform(is_train=False, image_size=self.size, **{k: v for k, v in asdict(self).items() if k != "size"})

    @property
    def mean_and_std(self) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
        """As tensors that go with [3, height, width]; x · std + mean gives colours in [0, 1] again."""
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return mean, std


def _three(values: float | Sequence[float]) -> tuple[float, float, float]:
    """A value per channel; open_clip's tables have one number for all three as well."""
    red, green, blue = [values] * 3 if isinstance(values, int | float) else values
    return float(red), float(green), float(blue)


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


def apply_view(image: Image.Image, view: View, preprocess: Preprocessing) -> Float[Tensor, "3 height width"]:
    """The view of an RGB image as the model's normalised input.

    A crop is squashed to the input's shape whatever `resize_mode` says of whole pictures, as open_clip's own training does.
    """
    top, left, height, width = crop_box(view, image.height, image.width)
    crop = F.resized_crop(image, top, left, height, width, list(preprocess.size), InterpolationMode(preprocess.interpolation))
    if view.flip:
        crop = F.horizontal_flip(crop)
    pixels = F.to_dtype(F.to_image(crop), torch.float32, scale=True)
    return F.normalize(pixels, list(preprocess.mean), list(preprocess.std))


def stack_views(image: Image.Image, views: Sequence[View], preprocess: Preprocessing) -> Float[Tensor, "view 3 height width"]:
    """All views of an image; without any, the one plain view: the model's own test transform."""
    if not views:
        return preprocess(image)[None]
    return torch.stack([apply_view(image, view, preprocess) for view in views])
