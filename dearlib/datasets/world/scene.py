"""Renders one scene of the Attribute World: a subject, coloured and textured, in a place.

The picture is a pure function of (`VERSION`, split, seed, index): every draw comes from one generator seeded with
these four, and the arithmetic is NumPy's and Pillow's on the CPU.
"""

import zlib

import numpy as np
from PIL import Image, ImageDraw

from dearlib.datasets.world import vocabulary
from dearlib.datasets.world.places import paint
from dearlib.datasets.world.styles import STYLES, Style
from dearlib.datasets.world.subjects import FONTS, outline
from dearlib.datasets.world.textures import PATTERNS
from dearlib.datasets.world.vocabulary import Factors

VERSION = 1
SIDE = 64
_OVER = 3  # the silhouette is drawn at three times the size and averaged down: antialiasing

_RGB = {
    "red": (0.86, 0.10, 0.12),
    "orange": (0.98, 0.55, 0.06),
    "yellow": (0.98, 0.90, 0.12),
    "green": (0.10, 0.62, 0.18),
    "cyan": (0.15, 0.85, 0.88),
    "blue": (0.10, 0.22, 0.85),
    "purple": (0.52, 0.14, 0.68),
    "pink": (0.98, 0.55, 0.75),
    "brown": (0.45, 0.26, 0.10),
    "black": (0.07, 0.07, 0.08),
    "white": (0.96, 0.96, 0.96),
    "gray": (0.52, 0.52, 0.53),
}


def generator(split: str, seed: int, index: int) -> np.random.Generator:
    """The one source of randomness of a scene."""
    return np.random.default_rng([VERSION, zlib.crc32(split.encode()), seed, index])


def draw_factors(rng: np.random.Generator, **fixed: str) -> Factors:
    """Uniform random factors; keyword arguments pin some of them (`kind`, `subject`, `color`, …)."""
    # A pinned location must be visible, so it rules out close-ups.
    close_up = 0.0 if "location" in fixed else 0.15
    chances = np.array([*((1 - close_up) * np.array([0.36, 0.28, 0.18, 0.18])), close_up])
    kind = fixed.get("kind") or str(rng.choice([*vocabulary.SUBJECT_KINDS, vocabulary.CLOSE_UP], p=chances))
    values = {
        "subject": vocabulary.FACTORS.get(kind, (vocabulary.CLOSE_UP,)),
        "color": vocabulary.COLORS,
        "texture": vocabulary.TEXTURES,
        "location": vocabulary.LOCATIONS,
        "size": vocabulary.SIZES,
        "light": vocabulary.LIGHTS,
    }
    drawn = {name: options[rng.integers(len(options))] for name, options in values.items()}
    return Factors(kind=kind, **{**drawn, **{k: v for k, v in fixed.items() if k != "kind"}})


def render(factors: Factors, rng: np.random.Generator, style: str = "render", strength: float = 1.0) -> np.ndarray:
    """The scene as [64, 64, 3] bytes; `strength` mixes the style's finish with the unfinished picture, 0 is the latter alone."""
    how = STYLES[style]
    mask, detail, u, v = _silhouette(factors, rng, how)
    tone, second = _tones(factors.color, rng, how.contrast)
    pattern = PATTERNS[factors.texture](u, v, rng)[..., None].astype(np.float32)
    body = tone * (1 - pattern) + second * pattern
    mark = np.where(tone.mean() > 0.3, tone * 0.42, tone * 0.5 + 0.45)
    body = body * (1 - detail[..., None]) + mark * detail[..., None]
    ground = paint(factors.location, rng)
    halo = _dilate(mask)[..., None]
    rim = 0.12 if tone.mean() > 0.3 else 0.9
    image = ground * (1 - 0.75 * halo) + rim * 0.75 * halo
    image = image * (1 - mask[..., None]) + body * mask[..., None]
    image = _light(image, factors.light, rng)
    image = image + rng.normal(0, rng.uniform(0.0, 0.035), image.shape).astype(np.float32)
    image = np.clip(image, 0, 1)
    image = (1 - strength) * image + strength * np.clip(how.finish(image, mask, rng), 0, 1)
    return (image * 255 + 0.5).astype(np.uint8)


def scene(split: str, seed: int, index: int, style: str = "render", strength: float = 1.0, **fixed: str) -> tuple[np.ndarray, Factors]:
    """Picture and ground truth of scene `index` of a split; `fixed` pins factors."""
    rng = generator(split, seed, index)
    factors = draw_factors(rng, **fixed)
    return render(factors, rng, style, strength), factors


def _silhouette(f: Factors, rng: np.random.Generator, how: Style) -> tuple[np.ndarray, ...]:
    """Coverage of body and detail in [0, 1], and the surface coordinates (u, v) in texture periods."""
    low, high = how.scale
    middle = (low + high) / 2
    half = SIDE / 2 * (rng.uniform(low, middle - 0.02) if f.size == "small" else rng.uniform(middle + 0.02, high))
    angle = np.radians(rng.uniform(-how.rotation, how.rotation))
    stretch = np.exp(rng.uniform(-0.12, 0.12, 2))
    room = max(SIDE / 2 - half, 0) * 0.7
    centre = SIDE / 2 + rng.uniform(-room, room, 2)
    flip = -1.0 if f.kind == "object" and rng.random() < 0.5 else 1.0
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.diag(half * stretch * [flip, 1]) @ turn

    big = (SIDE * _OVER, SIDE * _OVER)
    layers = {"body": Image.new("L", big), "detail": Image.new("L", big)}
    pens = {name: ImageDraw.Draw(layer) for name, layer in layers.items()}
    for role, points in outline(f.kind, f.subject, int(rng.integers(len(FONTS)))):
        at = ((points @ matrix + centre) * _OVER).ravel().tolist()
        pens["detail" if role == "detail" else "body"].polygon(at, fill=0 if role == "hole" else 255)
    mask, detail = (np.asarray(layers[k].reduce(_OVER), dtype=np.float32) / 255 for k in ("body", "detail"))

    period = rng.uniform(5.5, 7.5)
    lean = angle + rng.uniform(-0.25, 0.25)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    x, y = x - centre[0] + rng.uniform(0, period), y - centre[1] + rng.uniform(0, period)
    u, v = (x * np.cos(lean) + y * np.sin(lean)) / period, (y * np.cos(lean) - x * np.sin(lean)) / period
    return mask, detail, u, v


def _dilate(mask: np.ndarray) -> np.ndarray:
    """One pixel of halo around the silhouette, so that a subject never melts into its place."""
    out = mask.copy()
    out[1:] = np.maximum(out[1:], mask[:-1])
    out[:-1] = np.maximum(out[:-1], mask[1:])
    out[:, 1:] = np.maximum(out[:, 1:], mask[:, :-1])
    out[:, :-1] = np.maximum(out[:, :-1], mask[:, 1:])
    return out


def _tones(color: str, rng: np.random.Generator, contrast: float) -> tuple[np.ndarray, np.ndarray]:
    """The jittered colour and the second tone of its texture: darker, or lighter where the colour is dark."""
    base = np.array(_RGB[color], dtype=np.float32)
    tone = np.clip(base + rng.uniform(-0.05, 0.05, 3).astype(np.float32), 0, 1)
    other = tone * 0.28 if tone @ [0.3, 0.6, 0.1] > 0.3 else tone * 0.4 + 0.58
    return tone, (tone + contrast * (other - tone)).astype(np.float32)


def _light(image: np.ndarray, light: str, rng: np.random.Generator) -> np.ndarray:
    """Overall brightness by the light factor, and a gentle gradient across the scene."""
    level = rng.uniform(0.50, 0.68) if light == "dark" else rng.uniform(0.92, 1.12)
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.12)
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    ramp = 1 + slope * (np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None])
    return (image * (level * ramp)[..., None]).astype(np.float32)
