"""The outlines of the Attribute World's subjects, as polygons in the square [-1, 1]² with y pointing down.

A subject is a list of parts drawn in order: `body` adds to the silhouette, `hole` cuts from it, and `detail` is a
mark inside it, drawn in a darker or lighter tone. Letters and digits come from matplotlib's own fonts.
"""

from functools import cache
from typing import Literal

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from dearlib.datasets.world.vocabulary import CLOSE_UP, NUMBERS

Part = tuple[Literal["body", "hole", "detail"], np.ndarray]

FONTS = (("DejaVu Sans", "bold"), ("DejaVu Serif", "bold"), ("DejaVu Sans Mono", "bold"))
_DIGITS = {word: str(digit) for digit, word in enumerate(NUMBERS)}


def _poly(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, dtype=float)


def _box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return _poly((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _arc(cx: float, cy: float, rx: float, ry: float, start: float = 0, stop: float = 360, n: int = 40) -> np.ndarray:
    """Points on an ellipse from angle `start` to `stop` in degrees, 0 to the right and 90 downwards."""
    t = np.radians(np.linspace(start, stop, n))
    return np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], axis=1)


def _regular(n: int, radius: float = 1.0, turn: float = -90) -> np.ndarray:
    t = np.radians(turn + 360 * np.arange(n) / n)
    return radius * np.stack([np.cos(t), np.sin(t)], axis=1)


def _star(n: int = 5, inner: float = 0.42) -> np.ndarray:
    t = np.radians(-90 + 180 * np.arange(2 * n) / n)
    r = np.where(np.arange(2 * n) % 2 == 0, 1.0, inner)
    return np.stack([r * np.cos(t), r * np.sin(t)], axis=1)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x / 17, -(y + 2.5) / 15], axis=1)


def _crescent() -> np.ndarray:
    outer, inner = _arc(0, 0, 1, 1, 50, 310), _arc(0.42, 0, 0.78, 0.78, 290, 70)
    return np.concatenate([outer, inner])


_PARTS: dict[str, list[Part]] = {
    # Geometric shapes.
    "circle": [("body", _arc(0, 0, 0.9, 0.9))],
    "square": [("body", _box(-0.8, -0.8, 0.8, 0.8))],
    "triangle": [("body", _poly((0, -0.9), (0.95, 0.75), (-0.95, 0.75)))],
    "star": [("body", _star())],
    "heart": [("body", _heart())],
    "cross": [("body", _box(-0.3, -0.95, 0.3, 0.95)), ("body", _box(-0.95, -0.3, 0.95, 0.3))],
    "hexagon": [("body", _regular(6, 0.95, 0))],
    "crescent": [("body", _crescent())],
    "ring": [("body", _arc(0, 0, 0.95, 0.95)), ("hole", _arc(0, 0, 0.55, 0.55))],
    "arrow": [("body", _poly((-0.95, -0.28), (0.1, -0.28), (0.1, -0.8), (0.98, 0), (0.1, 0.8), (0.1, 0.28), (-0.95, 0.28)))],
    "diamond": [("body", _poly((0, -1), (0.58, 0), (0, 1), (-0.58, 0)))],
    "semicircle": [("body", _arc(0, 0.4, 0.98, 0.98, 180, 360))],
    # Everyday objects.
    "cup": [
        ("body", _arc(0.52, 0.0, 0.42, 0.42)),
        ("hole", _arc(0.52, 0.0, 0.24, 0.24)),
        ("body", _poly((-0.75, -0.7), (0.5, -0.7), (0.4, 0.75), (-0.65, 0.75))),
        ("detail", _arc(-0.12, -0.7, 0.62, 0.13)),
    ],
    "key": [
        ("body", _arc(-0.58, 0, 0.42, 0.42)),
        ("hole", _arc(-0.62, 0, 0.18, 0.18)),
        ("body", _box(-0.25, -0.11, 0.98, 0.11)),
        ("body", _box(0.5, 0.1, 0.66, 0.42)),
        ("body", _box(0.8, 0.1, 0.96, 0.5)),
    ],
    "car": [
        ("body", _poly((-0.98, 0.0), (-0.62, -0.08), (-0.4, -0.5), (0.35, -0.5), (0.6, -0.08), (0.98, 0.02), (0.98, 0.38), (-0.98, 0.38))),
        ("body", _arc(-0.55, 0.38, 0.24, 0.24)),
        ("body", _arc(0.55, 0.38, 0.24, 0.24)),
        ("detail", _arc(-0.55, 0.38, 0.2, 0.2)),
        ("detail", _arc(0.55, 0.38, 0.2, 0.2)),
        ("detail", _poly((-0.47, -0.08), (-0.33, -0.4), (-0.05, -0.4), (-0.05, -0.08))),
        ("detail", _poly((0.05, -0.08), (0.05, -0.4), (0.3, -0.4), (0.45, -0.08))),
    ],
    "house": [
        ("body", _box(-0.7, -0.15, 0.7, 0.9)),
        ("body", _poly((-0.95, -0.12), (0, -0.92), (0.95, -0.12))),
        ("body", _box(0.35, -0.85, 0.58, -0.3)),
        ("detail", _box(-0.18, 0.35, 0.18, 0.9)),
        ("detail", _box(-0.55, 0.05, -0.28, 0.3)),
        ("detail", _box(0.28, 0.05, 0.55, 0.3)),
    ],
    "rocket": [
        ("body", _poly((0, -1), (0.24, -0.68), (0.32, -0.3), (0.32, 0.5), (-0.32, 0.5), (-0.32, -0.3), (-0.24, -0.68))),
        ("body", _poly((0.3, 0.1), (0.72, 0.72), (0.3, 0.56))),
        ("body", _poly((-0.3, 0.1), (-0.72, 0.72), (-0.3, 0.56))),
        ("detail", _arc(0, -0.28, 0.16, 0.16)),
        ("detail", _poly((-0.18, 0.52), (0.18, 0.52), (0, 0.98))),
        ("body", _poly((-0.16, 0.5), (0.16, 0.5), (0, 0.95))),
    ],
    "fish": [
        ("body", _arc(-0.15, 0, 0.75, 0.46)),
        ("body", _poly((0.4, 0), (0.98, -0.5), (0.85, 0), (0.98, 0.5))),
        ("body", _poly((-0.25, -0.4), (0.15, -0.75), (0.25, -0.3))),
        ("detail", _arc(-0.55, -0.1, 0.09, 0.09)),
    ],
    "bird": [
        ("body", _arc(-0.05, 0.15, 0.58, 0.36)),
        ("body", _arc(-0.55, -0.3, 0.27, 0.27)),
        ("body", _poly((-0.78, -0.38), (-1.0, -0.2), (-0.74, -0.2))),
        ("body", _poly((0.35, 0.0), (0.98, -0.22), (0.9, 0.1), (0.4, 0.35))),
        ("body", _poly((-0.15, 0.0), (0.35, -0.72), (0.42, 0.1))),
        ("body", _box(-0.16, 0.45, -0.08, 0.88)),
        ("body", _box(0.1, 0.45, 0.18, 0.88)),
        ("detail", _arc(-0.6, -0.36, 0.07, 0.07)),
    ],
    "chair": [
        ("body", _box(-0.6, -0.95, -0.38, 0.95)),
        ("body", _box(-0.6, 0.05, 0.62, 0.28)),
        ("body", _box(0.42, 0.2, 0.62, 0.95)),
        ("body", _box(-0.5, -0.8, -0.3, 0.1)),
    ],
    "lamp": [
        ("body", _poly((-0.32, -0.9), (0.32, -0.9), (0.72, -0.1), (-0.72, -0.1))),
        ("body", _box(-0.08, -0.12, 0.08, 0.75)),
        ("body", _arc(0, 0.92, 0.5, 0.24, 180, 360)),
    ],
    "umbrella": [
        ("body", _arc(0, 0.0, 0.98, 0.88, 180, 360)),
        ("hole", _arc(-0.66, 0.02, 0.33, 0.16)),
        ("hole", _arc(0.0, 0.02, 0.33, 0.16)),
        ("hole", _arc(0.66, 0.02, 0.33, 0.16)),
        ("body", _box(-0.06, -0.2, 0.06, 0.75)),
        ("body", np.concatenate([_arc(0.17, 0.72, 0.23, 0.23, 180, 0), _arc(0.17, 0.72, 0.11, 0.11, 0, 180)])),
    ],
    "boat": [
        ("body", _poly((-0.95, 0.3), (0.95, 0.3), (0.6, 0.82), (-0.65, 0.82))),
        ("body", _box(-0.09, -0.95, 0.0, 0.35)),
        ("body", _poly((0.08, -0.85), (0.75, 0.15), (0.08, 0.15))),
        ("body", _poly((-0.17, -0.6), (-0.17, 0.15), (-0.65, 0.15))),
    ],
    "bottle": [
        ("body", _box(-0.15, -0.98, 0.15, -0.4)),
        ("body", _poly((-0.15, -0.45), (0.15, -0.45), (0.38, -0.1), (0.38, 0.95), (-0.38, 0.95), (-0.38, -0.1))),
        ("detail", _box(-0.38, 0.2, 0.38, 0.6)),
        ("detail", _box(-0.15, -0.98, 0.15, -0.84)),
    ],
    "hat": [
        ("body", _arc(0, 0.5, 0.98, 0.24)),
        ("body", _poly((-0.5, 0.5), (-0.42, -0.55), (0.42, -0.55), (0.5, 0.5))),
        ("detail", _poly((-0.5, 0.4), (-0.47, 0.15), (0.47, 0.15), (0.5, 0.4))),
    ],
    "flower": [
        *[("body", _arc(0.42 * np.cos(a), -0.35 + 0.42 * np.sin(a), 0.27, 0.27)) for a in np.radians(np.arange(0, 360, 60))],
        ("body", _box(-0.06, 0.0, 0.06, 0.98)),
        ("body", _poly((0.0, 0.75), (0.5, 0.35), (0.3, 0.75))),
        ("detail", _arc(0, -0.35, 0.22, 0.22)),
    ],
    "hammer": [
        ("body", _box(-0.11, -0.5, 0.11, 0.98)),
        ("body", _poly((-0.75, -0.85), (0.4, -0.85), (0.75, -0.6), (0.4, -0.42), (-0.75, -0.42))),
    ],
    "mushroom": [
        ("body", _arc(0, 0.0, 0.92, 0.85, 180, 360)),
        ("body", _poly((-0.24, -0.05), (0.24, -0.05), (0.34, 0.9), (-0.34, 0.9))),
        ("detail", _arc(-0.4, -0.32, 0.15, 0.13)),
        ("detail", _arc(0.15, -0.55, 0.14, 0.12)),
        ("detail", _arc(0.5, -0.22, 0.13, 0.12)),
    ],
}


@cache
def _glyph(character: str, font: int) -> list[Part]:
    family, weight = FONTS[font]
    path = TextPath((0, 0), character, size=100, prop=FontProperties(family=family, weight=weight))
    polygons = path.to_polygons(closed_only=True)
    points = np.concatenate(polygons)
    centre = (points.max(0) + points.min(0)) / 2
    half = (points.max(0) - points.min(0)).max() / 2
    scaled = [((p - centre) / half) * [1, -1] * 0.98 for p in polygons]

    def area(p: np.ndarray) -> float:
        return float(np.sum(p[:-1, 0] * p[1:, 1] - p[1:, 0] * p[:-1, 1]))

    # TrueType fills the outer contour in one turning sense and holes in the other.
    outer = np.sign(area(max(scaled, key=lambda p: abs(area(p)))))
    parts: list[Part] = [("body", p) for p in scaled if np.sign(area(p)) == outer]
    return parts + [("hole", p) for p in scaled if np.sign(area(p)) != outer]


def outline(kind: str, subject: str, font: int = 0) -> list[Part]:
    """The parts of one subject; `font` (index into `FONTS`) matters for numbers and letters alone."""
    if kind in ("number", "letter"):
        return _glyph(_DIGITS.get(subject, subject), font)
    if kind == CLOSE_UP:
        return [("body", _box(-9, -9, 9, 9))]
    return _PARTS[subject]
