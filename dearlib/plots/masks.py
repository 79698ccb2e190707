"""Masks drawn: notebook 03."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from dearlib.plots.style import LINE_COLORS


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

    On the right, arcs between attribute tokens. What original tokens read of each other is left out. One token stands for each
    attribute.
    """
    places = {"patches": (0.0, 0.0), "[CLS]": (0.0, 1.6)}
    at = {"[CLS]": 0, "patches": 1}
    per_attribute = (len(may_attend) - n_original) // len(attributes)
    for i, name in enumerate(attributes):
        places[name] = (3.0, 1.9 - i * 2.2 / max(1, len(attributes) - 1))
        at[name] = n_original + i * per_attribute
    for query, end in places.items():
        for key, start in places.items():
            if query != key and (start[0] != 0 or end[0] != 0) and may_attend[at[query], at[key]]:
                (_arrow if start[0] != end[0] else _arc)(ax, start, end, color)
    for name, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "black" if x == 0 else LINE_COLORS[1]}
        ax.text(x, y, name, ha="right" if x == 0 else "left", va="center", bbox=box)
    ax.set(xlim=(-1.1, 5.4), ylim=(-0.6, 2.3))
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
    rad = 0.45 if start[1] < end[1] else -0.45
    style = {"arrowstyle": "-|>", "color": color, "linewidth": 0.7, "connectionstyle": f"arc3,rad={rad}"}
    ax.annotate("", (end[0] + 1.25, end[1]), (start[0] + 1.25, start[1]), arrowprops=style)
