"""What a style does to the composed picture: functions of the picture [64, 64, 3] in [0, 1] and the subject's mask [64, 64].

What leaves [0, 1] is cut off afterwards. Randomness comes from the scene's own generator.
"""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, sobel
from scipy.spatial import cKDTree

Picture = np.ndarray
Finish = Callable[[Picture, np.ndarray, np.random.Generator], Picture]


def plain(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    return image


def _gray(image: Picture) -> np.ndarray:
    return image @ np.array([0.299, 0.587, 0.114], dtype=image.dtype)


def _blur(image: Picture, sigma: float) -> Picture:
    return gaussian_filter(image, (sigma, sigma, 0))


def _edges(field: np.ndarray) -> np.ndarray:
    return np.hypot(sobel(field, 0), sobel(field, 1))


def _cast(image: Picture, tint: tuple[float, float, float], amount: float) -> Picture:
    """Multiplies by a tint, as a coloured lamp would."""
    return image * (1 - amount + amount * np.array(tint, dtype=image.dtype))


def _moved(image: Picture, down: np.ndarray, right: np.ndarray) -> Picture:
    """Every pixel taken from `down` and `right` pixels away, mirrored at the border."""
    y, x = np.mgrid[0:64, 0:64].astype(np.float32)
    at = [y + down, x + right]
    return np.stack([map_coordinates(image[..., c], at, order=1, mode="mirror") for c in range(3)], axis=2)


def sketch(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    gray = gaussian_filter(_gray(image), 0.5)
    ink = np.clip((_edges(gray) + 1.2 * _edges(mask)) * 0.9, 0, 1)
    paper = 0.93 + 0.03 * rng.standard_normal(gray.shape)
    return np.repeat((paper * (1 - 0.9 * ink))[..., None], 3, 2)


def poster(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    levels = 3.0
    flat = np.round(_blur(image, 0.8) * levels) / levels
    return flat * (1 - 0.8 * np.clip(_edges(mask), 0, 1)[..., None])


def cluttered(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
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


def chalk(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    """Pale strokes on a dark board: soft edges, washed-out colours, grain."""
    edge = np.clip(_edges(mask), 0, 1)[..., None]
    board = np.array([0.13, 0.22, 0.18], dtype=image.dtype)
    pale = 0.45 + 0.5 * image
    ink = np.clip(mask[..., None] * 0.75 + edge, 0, 1) * rng.uniform(0.55, 1.0, (64, 64, 1))
    return board * (1 - ink) + pale * ink


def night(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    dark = _cast(image, (0.32, 0.42, 0.85), 0.85) * 0.8
    return dark + 0.07 * rng.standard_normal(image.shape)


def thermal(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    """Brightness as a heat camera shows it: blue, magenta, orange, pale yellow."""
    steps = np.array([[0.02, 0.0, 0.2], [0.45, 0.0, 0.6], [0.9, 0.2, 0.35], [1.0, 0.65, 0.05], [1.0, 1.0, 0.75]])
    warm = gaussian_filter(_gray(image), 0.7)
    return np.stack([np.interp(warm, np.linspace(0, 1, 5), steps[:, c]) for c in range(3)], axis=2)


def fog(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    return 0.62 + 0.3 * (_blur(image, 1.2) - 0.5) + 0.03 * rng.standard_normal(image.shape)


def ripple(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    """Seen through moving water: waves bend the picture, their crests are bright."""
    y, x = np.mgrid[0:64, 0:64].astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, 2)
    across, along = np.sin(2 * np.pi * y / 15 + phase[0]), np.sin(2 * np.pi * x / 19 + phase[1])
    return _moved(image, 2.0 * along, 2.6 * across) + 0.12 * (across * along)[..., None]


def halftone(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    y, x = np.mgrid[0:64, 0:64]
    screen = 0.5 + 0.25 * (np.cos(np.pi * (x + y) / 2) + np.cos(np.pi * (x - y) / 2))
    return 0.5 + (image - 0.25 - 0.5 * screen[..., None]) * 2.0


def glass(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    """A stained window: cells of about seven pixels, each of one saturated colour, held by dark lead."""
    middles = 6.9 * (np.argwhere(np.ones((10, 10))) - 0.1 + 0.7 * rng.random((100, 2)))
    _, cell = cKDTree(middles).query(np.argwhere(np.ones((64, 64))))
    size = np.maximum(np.bincount(cell, minlength=100), 1)
    panes = np.stack([np.bincount(cell, image[..., c].ravel(), 100) / size for c in range(3)], axis=1)
    vivid = panes.mean(1, keepdims=True) + 1.3 * (panes - panes.mean(1, keepdims=True))
    label = cell.reshape(64, 64)
    lead = np.zeros((64, 64, 1), dtype=bool)
    lead[:-1, :, 0] |= label[1:] != label[:-1]
    lead[:, :-1, 0] |= label[:, 1:] != label[:, :-1]
    return np.where(lead, 0.06, vivid[label])


def lamp(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    return _cast(image, (1.25, 0.72, 0.35), 0.95)


def scanlines(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    """A tube screen: every third row is dark, rows slip sideways, columns shine red, green and blue in turn."""
    slip = gaussian_filter(rng.normal(0, 3.5, 64), 1.5)[:, None]
    out = _moved(image, np.zeros((64, 64)), np.broadcast_to(slip, (64, 64)))
    out[np.arange(64) % 3 == 2] *= 0.35
    return out * (0.75 + 0.5 * np.eye(3)[np.arange(64) % 3])[None] * 1.15


def watercolor(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    """Thin paint that runs over rough paper."""
    run = [2.2 * f / f.std() for f in (gaussian_filter(rng.standard_normal((64, 64)), 2.5) for _ in range(2))]
    wet = _moved(_blur(image, 0.8), *run)
    dry = np.clip(_edges(gaussian_filter(_gray(wet), 1.0)), 0, 1)[..., None]
    paper = gaussian_filter(rng.standard_normal((64, 64)), 0.7)[..., None]
    return 0.35 + 0.65 * wet - 0.25 * dry + 0.12 * paper


def misprint(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    """The three colour plates are out of register by some pixels."""
    angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi / 3 * np.arange(3)
    moves = np.round(3.2 * np.stack([np.sin(angle), np.cos(angle)], axis=1)).astype(int)
    return np.stack([np.roll(image[..., c], tuple(moves[c]), (0, 1)) for c in range(3)], axis=2)


def static(image: Picture, mask: np.ndarray, rng: np.random.Generator) -> Picture:
    """Poor reception: a third of the pixels are black, gray or white at random."""
    lost = rng.random((64, 64, 1)) < 0.35
    return np.where(lost, rng.random((64, 64, 1)), image)
