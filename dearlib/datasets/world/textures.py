"""The twelve surface patterns of the Attribute World, as functions of surface coordinates.

Each pattern maps coordinates (u, v), in units of one period, to a value in [0, 1]: 0 the base tone, 1 the second.
Edges are softened over about one pixel, so nothing aliases at 64×64.
"""

from collections.abc import Callable

import numpy as np

Field = np.ndarray


def _soft(x: Field, edge: float = 0.18) -> Field:
    """A step from 0 to 1 at x = 0 that takes `edge` units."""
    return np.clip(x / edge + 0.5, 0, 1)


def _wave(x: Field) -> Field:
    """A triangle wave of period 1 in [-1, 1]."""
    return 4 * np.abs(x - np.floor(x + 0.5)) - 1


def _smooth(u: Field, v: Field, rng: np.random.Generator) -> Field:
    return np.zeros_like(u)


def _striped(u: Field, v: Field, rng: np.random.Generator) -> Field:
    return _soft(_wave(u), 0.7)


def _checkered(u: Field, v: Field, rng: np.random.Generator) -> Field:
    return _soft(_wave(u / 1.5) * _wave(v / 1.5), 0.25)


def _dotted(u: Field, v: Field, rng: np.random.Generator) -> Field:
    return _soft(0.34 - np.hypot(u - np.round(u), v - np.round(v)), 0.2)


def _wavy(u: Field, v: Field, rng: np.random.Generator) -> Field:
    return _soft(_wave(u + 0.35 * np.sin(2 * np.pi * v / 1.8)), 0.7)


def _zigzag(u: Field, v: Field, rng: np.random.Generator) -> Field:
    return _soft(_wave(u + 0.5 * _wave(v / 1.6)), 0.7)


def _grid(u: Field, v: Field, rng: np.random.Generator) -> Field:
    return np.maximum(_soft(-0.62 - _wave(u / 1.3), 0.4), _soft(-0.62 - _wave(v / 1.3), 0.4))


def _speckled(u: Field, v: Field, rng: np.random.Generator) -> Field:
    return (rng.random(u.shape) < 0.28).astype(float)


def _brick(u: Field, v: Field, rng: np.random.Generator) -> Field:
    shifted = u / 2 + 0.5 * (np.floor(v) % 2)
    return np.maximum(_soft(-0.66 - _wave(shifted), 0.35), _soft(-0.55 - _wave(v + 0.5), 0.5))


def _scaly(u: Field, v: Field, rng: np.random.Generator) -> Field:
    row = np.floor(v)
    x = u + 0.5 * (row % 2)
    radius = np.hypot(x - np.round(x), (v - row) * 0.9)
    return _soft(0.12 - np.abs(radius - 0.55), 0.2)


def _marble(u: Field, v: Field, rng: np.random.Generator) -> Field:
    phase = rng.uniform(0, 2 * np.pi, 4)
    turn = sum(np.sin((1.1 + 0.7 * k) * (u * np.cos(2.4 * k) + v * np.sin(2.4 * k)) + phase[k]) / (1 + 0.4 * k) for k in range(4))
    return np.clip(1.1 - 2.2 * np.abs(np.sin(0.6 * u + 1.6 * turn)), 0, 1)


def _woven(u: Field, v: Field, rng: np.random.Generator) -> Field:
    over = (np.floor(u / 1.5) + np.floor(v / 1.5)) % 2
    return np.where(over > 0, _soft(_wave(u * 2), 1.2), _soft(_wave(v * 2), 1.2))


PATTERNS: dict[str, Callable[[Field, Field, np.random.Generator], Field]] = {
    "smooth": _smooth,
    "striped": _striped,
    "checkered": _checkered,
    "dotted": _dotted,
    "wavy": _wavy,
    "zigzag": _zigzag,
    "grid": _grid,
    "speckled": _speckled,
    "brick": _brick,
    "scaly": _scaly,
    "marble": _marble,
    "woven": _woven,
}
