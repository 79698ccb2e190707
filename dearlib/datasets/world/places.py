"""The twelve places of the Attribute World: backgrounds painted with Pillow at twice the final size."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

SIDE = 128
RGB = tuple[int, int, int]


def _rgb(rng: np.random.Generator, r: float, g: float, b: float, jitter: float = 18) -> RGB:
    """A colour within ±`jitter` of the given one."""
    c = np.clip(np.array([r, g, b]) + rng.uniform(-jitter, jitter, 3), 0, 255).astype(int)
    return int(c[0]), int(c[1]), int(c[2])


def _sky(d: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: float, top: RGB, low: RGB) -> None:
    bands = 10
    for i in range(bands):
        mix = i / (bands - 1)
        colour = tuple(int(a + (b - a) * mix) for a, b in zip(top, low, strict=True))
        d.rectangle((0, horizon * i / bands, SIDE, horizon * (i + 1) / bands + 1), fill=colour)


def _ground(d: ImageDraw.ImageDraw, y: float, colour: RGB) -> None:
    d.rectangle((0, y, SIDE, SIDE), fill=colour)


def _beach(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    h = rng.uniform(38, 58)
    _sky(d, rng, h, _rgb(rng, 120, 190, 240), _rgb(rng, 200, 230, 250))
    _ground(d, h, _rgb(rng, 40, 130, 190))
    shore = rng.uniform(70, 88)
    x = np.linspace(0, SIDE, 20)
    y = shore + 4 * np.sin(x / rng.uniform(8, 16) + rng.uniform(0, 6))
    line = list(zip(x, y, strict=True))
    d.polygon([*line, (SIDE, SIDE), (0, SIDE)], fill=_rgb(rng, 235, 210, 150))
    d.line(line, fill=(250, 250, 250), width=4)
    s = rng.uniform(15, 110)
    d.ellipse((s - 9, 6, s + 9, 24), fill=(255, 240, 150))


def _forest(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    _ground(d, 0, _rgb(rng, 150, 190, 150))
    _ground(d, 96, _rgb(rng, 70, 90, 40))
    for x in np.sort(rng.uniform(-5, SIDE + 5, 12)).tolist():
        base, height, half = rng.uniform(92, 122), rng.uniform(60, 95), rng.uniform(9, 16)
        d.rectangle((x - 2, base - 10, x + 2, base), fill=(85, 60, 35))
        green = _rgb(rng, 25, 95, 45, 22)
        for k in range(3):
            y = base - 8 - k * height * 0.28
            d.polygon([(x - half * (1 - 0.22 * k), y), (x + half * (1 - 0.22 * k), y), (x, y - height * 0.45)], fill=green)


def _desert(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    _sky(d, rng, 70, _rgb(rng, 240, 180, 110), _rgb(rng, 255, 225, 170))
    for k in range(3):
        y, x = 60 + 22 * k, np.linspace(0, SIDE, 24)
        top = y + 9 * np.sin(x / rng.uniform(14, 26) + rng.uniform(0, 6))
        d.polygon([*zip(x, top, strict=True), (SIDE, SIDE), (0, SIDE)], fill=_rgb(rng, 225 - 22 * k, 165 - 22 * k, 85 - 15 * k, 10))
    west = rng.random() < 0.5
    cactus, foot = (rng.uniform(8, 26) if west else rng.uniform(102, 120)), rng.uniform(100, 118)
    # Trunk, then two arms: an upright and a crosspiece each, relative to the cactus's foot.
    for x0, y0, x1, y1 in ((-4, -48, 4, 0), (-14, -32, -9, -16), (9, -38, 14, -22), (-14, -20, 0, -15), (0, -26, 14, -21)):
        box = (cactus + x0, foot + y0, cactus + x1, foot + y1)
        d.rectangle(box, fill=(50, 120, 55))


def _city(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    _sky(d, rng, 110, _rgb(rng, 150, 165, 195), _rgb(rng, 215, 205, 205))
    x = -4.0
    while x < SIDE:
        w, top = rng.uniform(16, 27), rng.uniform(10, 62)
        d.rectangle((x, top, x + w, SIDE), fill=_rgb(rng, 95, 95, 110, 28))
        lit = _rgb(rng, 245, 225, 130, 10)
        for wy in np.arange(top + 5, 112, 10):
            for wx in np.arange(x + 3, x + w - 4, 7):
                if rng.random() < 0.65:
                    d.rectangle((wx, wy, wx + 3, wy + 5), fill=lit)
        x += w + 1
    _ground(d, 114, (70, 70, 75))


def _space(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    _ground(d, 0, _rgb(rng, 14, 10, 34, 10))
    for _ in range(55):
        x, y, r = rng.uniform(0, SIDE), rng.uniform(0, SIDE), rng.uniform(0.6, 1.7)
        d.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, int(rng.uniform(180, 255))))
    px, py, pr = float(rng.choice([18, 108])) + rng.uniform(-8, 8), rng.uniform(14, 112), rng.uniform(9, 17)
    d.ellipse((px - pr, py - pr, px + pr, py + pr), fill=_rgb(rng, 200, 130, 90, 45))
    d.ellipse((px - 1.7 * pr, py - 0.3 * pr, px + 1.7 * pr, py + 0.3 * pr), outline=(220, 200, 170), width=2)


def _snow(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    _sky(d, rng, 75, _rgb(rng, 165, 190, 215), _rgb(rng, 215, 225, 238))
    _ground(d, 74, _rgb(rng, 240, 244, 250, 6))
    x = np.linspace(0, SIDE, 24)
    top = 78 + 7 * np.sin(x / rng.uniform(14, 26) + rng.uniform(0, 6))
    d.polygon([*zip(x, top, strict=True), (SIDE, SIDE), (0, SIDE)], fill=(248, 250, 254))
    for _ in range(70):
        px, py, r = rng.uniform(0, SIDE), rng.uniform(0, SIDE), rng.uniform(1.2, 2.6)
        d.ellipse((px - r, py - r, px + r, py + r), fill=(255, 255, 255))


def _sea(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    _sky(d, rng, SIDE, _rgb(rng, 40, 150, 190), _rgb(rng, 5, 45, 95))
    for _ in range(7):
        x, sway = rng.uniform(0, SIDE), rng.uniform(0, 6)
        depths = np.linspace(SIDE, rng.uniform(70, 100), 12)
        d.line([(x + 5 * np.sin(v / 9 + sway), v) for v in depths], fill=_rgb(rng, 30, 130, 75, 25), width=4)
    for _ in range(14):
        x, y, r = rng.uniform(0, SIDE), rng.uniform(0, 110), rng.uniform(2, 5)
        d.ellipse((x - r, y - r, x + r, y + r), outline=(190, 230, 245), width=1)


def _room(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    _ground(d, 0, _rgb(rng, 215, 195, 165, 25))
    _ground(d, 92, _rgb(rng, 130, 85, 55))
    for y in (100, 109, 119):
        d.line((0, y, SIDE, y), fill=(100, 62, 40), width=1)
    d.rectangle((0, 89, SIDE, 93), fill=(245, 240, 230))
    left = rng.uniform(6, 26) if rng.random() < 0.5 else rng.uniform(80, 94)
    d.rectangle((left, 12, left + 28, 52), fill=(165, 210, 240), outline=(250, 250, 245), width=4)
    d.line((left + 14, 12, left + 14, 52), fill=(250, 250, 245), width=3)
    d.line((left, 32, left + 28, 32), fill=(250, 250, 245), width=3)


def _meadow(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    h = rng.uniform(44, 62)
    _sky(d, rng, h, _rgb(rng, 110, 180, 240), _rgb(rng, 205, 230, 250))
    for _ in range(2):
        x, y = rng.uniform(0, SIDE), rng.uniform(8, 28)
        d.ellipse((x - 16, y - 6, x + 16, y + 6), fill=(250, 250, 252))
    _ground(d, h, _rgb(rng, 110, 185, 70))
    for _ in range(45):
        x, y = rng.uniform(0, SIDE), rng.uniform(h + 5, SIDE)
        r = 1 + 2.2 * (y - h) / (SIDE - h)
        c = ((250, 230, 80), (245, 120, 160), (250, 250, 250))[rng.integers(3)]
        d.ellipse((x - r, y - r, x + r, y + r), fill=c)


def _road(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    h = rng.uniform(40, 56)
    _sky(d, rng, h, _rgb(rng, 150, 190, 225), _rgb(rng, 220, 225, 230))
    _ground(d, h, _rgb(rng, 135, 160, 95))
    mid = rng.uniform(50, 78)
    d.polygon([(mid - 7, h), (mid + 7, h), (SIDE + 4, SIDE), (-4, SIDE)], fill=_rgb(rng, 78, 78, 84, 10))
    for k in range(5):
        a, b = (k / 5) ** 1.6, ((k + 0.55) / 5) ** 1.6
        ya, yb = h + (SIDE - h) * a, h + (SIDE - h) * b
        d.line((mid + (64 - mid) * a, ya, mid + (64 - mid) * b, yb), fill=(250, 240, 150), width=2 + k)


def _mountain(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    _sky(d, rng, SIDE, _rgb(rng, 125, 165, 215), _rgb(rng, 205, 215, 230))
    for x in (rng.uniform(8, 36), rng.uniform(92, 122), rng.uniform(48, 82)):
        top, half = rng.uniform(6, 34), rng.uniform(42, 58)
        d.polygon([(x, top), (x - half, 108), (x + half, 108)], fill=_rgb(rng, 110, 105, 115, 16))
        low, wide = top + 0.26 * (108 - top), 0.26 * half  # where the snow ends
        d.polygon([(x, top), (x - wide, low), (x - 4, top + 16), (x + 4, top + 20), (x + wide, low)], fill=(248, 250, 252))
    _ground(d, 104, _rgb(rng, 90, 120, 85))


def _cave(d: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    _ground(d, 0, _rgb(rng, 70, 55, 48, 12))
    x0, y0 = rng.uniform(46, 82), rng.uniform(50, 78)
    for k in range(4):
        r = 62 - 13 * k
        d.ellipse((x0 - r, y0 - r * 0.85, x0 + r, y0 + r * 0.85), fill=_rgb(rng, 95 + 32 * k, 80 + 28 * k, 65 + 22 * k, 6))
    for up in (True, False):
        for x in rng.uniform(0, SIDE, 8):
            length, half = rng.uniform(14, 38), rng.uniform(4, 8)
            base, tip = (0, length) if up else (SIDE, SIDE - length)
            d.polygon([(x - half, base), (x + half, base), (x, tip)], fill=_rgb(rng, 45, 35, 32, 10))


PAINTERS: dict[str, Callable[[ImageDraw.ImageDraw, np.random.Generator], None]] = {
    "beach": _beach,
    "forest": _forest,
    "desert": _desert,
    "city": _city,
    "space": _space,
    "snow": _snow,
    "sea": _sea,
    "room": _room,
    "meadow": _meadow,
    "road": _road,
    "mountain": _mountain,
    "cave": _cave,
}


def paint(location: str, rng: np.random.Generator) -> np.ndarray:
    """The place as [64, 64, 3] floats in [0, 1], mirrored half of the time."""
    image = Image.new("RGB", (SIDE, SIDE))
    PAINTERS[location](ImageDraw.Draw(image), rng)
    pixels = np.asarray(image.reduce(2), dtype=np.float32) / 255
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels
