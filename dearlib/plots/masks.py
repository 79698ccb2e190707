"""Masks drawn: notebook 03."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import FancyBboxPatch

from dearlib.plots.style import concept_color

WIDTH = 1.15  # of a token's box


def mask_drawing(
    ax: Axes, may_attend: Bool[np.ndarray, "query key"], n_original: int, attributes: Sequence[str], color: str, title: str = ""
) -> Axes:
    """A head's mask with all patches drawn as one block: coloured where the query (row) may look at the key (column).

    Raises `ValueError` if patches differ among each other, which no role mask of the paper does.
    """
    blocks: list[np.ndarray] = [np.arange(1), np.arange(1, n_original), *(np.array([i]) for i in range(n_original, len(may_attend)))]
    tiles = [[may_attend[np.ix_(q, k)] for k in blocks] for q in blocks]
    if any(t.any() != t.all() for row in tiles for t in row):
        raise ValueError("mask: expected one value for all patches, got several")
    values = np.array([[t.all() for t in row] for row in tiles])
    per_attribute = max(1, (len(may_attend) - n_original) // len(attributes))
    names = ["[CLS]", "patches", *(a if per_attribute == 1 else f"{a} {i + 1}" for a in attributes for i in range(per_attribute))]
    edges = np.concatenate([[0, 1, 3], 3 + np.arange(1, len(blocks) - 1)])
    drawn = ax.pcolormesh(edges, edges, values, cmap=ListedColormap(["white", color]), vmin=0, vmax=1, edgecolor="#888888", linewidth=0.5)
    drawn.set_rasterized(False)
    for border in (ax.axvline, ax.axhline):
        border(3, color="black", linewidth=1.4)
    middles = (edges[1:] + edges[:-1]) / 2
    ax.set_xticks(middles, names, rotation=90)
    ax.set_yticks(middles, names)
    ax.tick_params(length=0)
    ax.set(xlabel="key", ylabel="query", aspect="equal", ylim=(edges[-1], 0))
    ax.set_title(title)
    return ax


def token_flow(
    ax: Axes, may_attend: Bool[np.ndarray, "query key"], n_original: int, attributes: Sequence[str], color: str, title: str = ""
) -> Axes:
    """Who reads from whom in one head, as arrows from key to query between patches, [CLS] and attribute tokens; what is cut is not drawn.

    On the left, between [CLS] and patches, what the frozen model does in any case; on the right, arcs between attribute tokens. One token
    stands for each attribute.
    """
    places = {"patches": (0.0, 0.1), "[CLS]": (0.0, 1.5)}
    at = {"[CLS]": 0, "patches": 1}
    per_attribute = (len(may_attend) - n_original) // len(attributes)
    for i, name in enumerate(attributes):
        places[name] = (3.0, 1.9 - i * 2.2 / max(1, len(attributes) - 1))
        at[name] = n_original + i * per_attribute
    for query, end in places.items():
        for key, start in places.items():
            if query == key or not may_attend[at[query], at[key]]:
                continue
            if start[0] == end[0] == 0:
                _upright(ax, start, end)
            else:
                (_arrow if start[0] != end[0] else _arc)(ax, start, end, color)
    for name, (x, y) in places.items():
        edge, left = ("black", x - WIDTH) if x == 0 else (concept_color(name), x)
        box = FancyBboxPatch((left, y - 0.12), WIDTH, 0.24, boxstyle="round,pad=0,rounding_size=0.06", facecolor="white", edgecolor=edge)
        ax.add_patch(box)
        ax.text(left + WIDTH / 2, y, name, ha="center", va="center")
    ax.set(xlim=(-WIDTH - 0.1, 5.2), ylim=(-0.5, 2.2))
    ax.set_axis_off()
    ax.set_title(title)
    return ax


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    """Between originals and attribute tokens; the two directions of a pair side by side."""
    bend = 0.08 if start[0] < end[0] else -0.08
    a, b = ((x + (0.12 if x == 0 else -0.12), y + bend) for x, y in (start, end))
    ax.annotate("", b, a, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.1})


def _arc(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    """From one attribute token to another, on the right of their boxes."""
    x = start[0] + WIDTH + 0.04
    rad = 0.45 if start[1] < end[1] else -0.45
    style = {"arrowstyle": "-|>", "color": color, "linewidth": 0.7, "connectionstyle": f"arc3,rad={rad}"}
    ax.annotate("", (x, end[1]), (x, start[1]), arrowprops=style)


def _upright(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Between [CLS] and patches, the two directions side by side."""
    up = start[1] < end[1]
    x, gap = -WIDTH / 2 + (0.12 if up else -0.12), 0.16 if up else -0.16
    ax.annotate("", (x, end[1] - gap), (x, start[1] + gap), arrowprops={"arrowstyle": "-|>", "color": "#444444", "linewidth": 1.1})
