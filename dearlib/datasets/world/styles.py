"""How a scene is drawn: the style of pre-training, and the styles that pre-training never sees.

A style changes pose ranges and then finishes the composed picture; the factors stay what they are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, sobel

Picture = np.ndarray
Finish = Callable[[Picture, np.ndarray, np.random.Generator], Picture]


def _plain(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    return image


def _gray(image: Picture) -> np.ndarray:
    return image @ np.array([0.299, 0.587, 0.114], dtype=image.dtype)


def _blur(image: Picture, sigma: float) -> Picture:
    return gaussian_filter(image, (sigma, sigma, 0))


def _cast(image: Picture, tint: tuple[float, float, float], amount: float) -> Picture:
    """Multiplies by a tint, as a coloured lamp would."""
    return image * (1 - amount + amount * np.array(tint, dtype=image.dtype))


def _sketch(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    gray = gaussian_filter(_gray(image), 0.5)
    edges = np.hypot(sobel(gray, 0), sobel(gray, 1)) + 1.2 * np.hypot(sobel(mask, 0), sobel(mask, 1))
    ink = np.clip(edges * 0.9, 0, 1)
    paper = 0.93 + 0.03 * rng.standard_normal(gray.shape)
    return np.repeat((paper * (1 - 0.9 * ink))[..., None], 3, 2)


def _poster(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    levels = 3.0
    flat = np.round(_blur(image, 0.8) * levels) / levels
    edge = np.clip(np.hypot(sobel(mask, 0), sobel(mask, 1)), 0, 1)[..., None]
    return flat * (1 - 0.8 * edge)


def _cluttered(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    """Bars across the scene, low contrast and a tint: hard on purpose."""
    out = image.copy()
    for _ in range(3):
        x, w = rng.integers(0, 60), rng.integers(3, 7)
        bar = rng.uniform(0.1, 0.9, 3)
        if rng.random() < 0.5:
            out[:, x : x + w] = bar
        else:
            out[x : x + w] = bar
    return 0.3 + 0.5 * out


def _sepia(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    gray = _gray(image)[..., None] * np.array([1.05, 0.86, 0.62], dtype=image.dtype)
    return 0.25 * image + 0.75 * gray + 0.04 * rng.standard_normal(image.shape)


def _lamp(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    return _cast(image, (1.25, 0.80, 0.45), 0.85)


def _night(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    dark = _cast(image, (0.32, 0.42, 0.85), 0.85) * 0.8
    return dark + 0.05 * rng.standard_normal(image.shape)


def _mosaic(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    tiles = image.reshape(32, 2, 32, 2, 3).mean((1, 3)).repeat(2, 0).repeat(2, 1)
    seams = np.ones((64, 64, 1), dtype=image.dtype)
    seams[::4] = seams[:, ::4] = 0.7
    return tiles * seams


def _negative(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    return 1 - _gray(image)[..., None] * np.array([0.95, 0.9, 0.75], dtype=image.dtype)


def _halftone(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    y, x = np.mgrid[0:64, 0:64]
    screen = 0.5 + 0.25 * (np.cos(np.pi * (x + y) / 2) + np.cos(np.pi * (x - y) / 2))
    return np.clip(0.5 + (image - 0.25 - 0.5 * screen[..., None]) * 1.4, 0, 1)


def _fog(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    return 0.62 + 0.3 * (_blur(image, 1.2) - 0.5) + 0.03 * rng.standard_normal(image.shape)


def _chalk(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    """Pale strokes on a dark board: soft edges, washed-out colours, grain."""
    edge = np.clip(np.hypot(sobel(mask, 0), sobel(mask, 1)), 0, 1)[..., None]
    board = np.array([0.13, 0.22, 0.18], dtype=image.dtype)
    pale = 0.45 + 0.5 * image
    ink = np.clip(mask[..., None] * 0.75 + edge, 0, 1) * rng.uniform(0.55, 1.0, (64, 64, 1))
    return board * (1 - ink) + pale * ink


@dataclass(frozen=True)
class Style:
    """Pose ranges and the finishing of one drawing style.

    `scale`: half the subject's size as a fraction of the image, `size` factor small / large halves the range;
    `rotation`: degrees either way; `contrast`: how strongly the texture's second tone differs, in [0, 1].
    """

    scale: tuple[float, float] = (0.58, 0.92)
    rotation: float = 18.0
    contrast: float = 1.0
    finish: Finish = _plain


STYLES = {
    "render": Style(),
    "redrawn": Style(scale=(0.5, 0.95), rotation=28.0),
    "sketch": Style(finish=_sketch),
    "adversarial": Style(scale=(0.36, 0.66), rotation=40.0, contrast=0.7, finish=_cluttered),
    "rendition": Style(finish=_poster),
    "sepia": Style(contrast=0.8, finish=_sepia),
    "lamp": Style(finish=_lamp),
    "night": Style(finish=_night),
    "mosaic": Style(finish=_mosaic),
    "negative": Style(rotation=25.0, finish=_negative),
    "halftone": Style(finish=_halftone),
    "fog": Style(finish=_fog),
    "chalk": Style(finish=_chalk),
}
