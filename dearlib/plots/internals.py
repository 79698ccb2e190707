"""Pictures, patches and attention: notebook 01."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from dearlib.plots.style import DIVERGING, LINE_COLORS, colorbar, layer_head_map


def picture(ax: Axes, image: Float[np.ndarray, "height width 3"], title: str = "") -> Axes:
    """An RGB picture in [0, 1]."""
    ax.imshow(np.clip(image, 0, 1))
    ax.set_axis_off()
    ax.set_title(title)
    return ax


def patch_grid(ax: Axes, image: Float[np.ndarray, "height width 3"], patch: int, marked: Sequence[int] = ()) -> Axes:
    """The picture cut into patches of `patch` pixels; the patches `marked` (row by row from 0) framed and numbered."""
    picture(ax, image)
    height, width = image.shape[:2]
    ax.vlines(np.arange(0, width + 1, patch) - 0.5, -0.5, height - 0.5, color="white", linewidth=0.6)
    ax.hlines(np.arange(0, height + 1, patch) - 0.5, -0.5, width - 0.5, color="white", linewidth=0.6)
    for number in marked:
        row, column = divmod(number, width // patch)
        corner = (column * patch - 0.5, row * patch - 0.5)
        ax.add_patch(plt.Rectangle(corner, patch, patch, fill=False, edgecolor=LINE_COLORS[1], linewidth=1.6))
        ax.annotate(str(number), corner, (2, -2), textcoords="offset points", va="top", fontsize=7.5, color="white", weight="bold")
    return ax


def attention_overlay(
    ax: Axes,
    image: Float[np.ndarray, "height width 3"],
    weights: Float[np.ndarray, "row column"],
    title: str = "",
    top: float | None = None,
) -> Axes:
    """Attention over the patches as a tint on the greyed picture; `top` is the weight tinted most (None: the largest)."""
    picture(ax, 0.35 + 0.65 * image.mean(axis=2, keepdims=True).repeat(3, axis=2), title)
    height, width = image.shape[:2]
    tint = np.empty((*weights.shape, 4))
    tint[..., :3] = mpl.colors.to_rgb(LINE_COLORS[1])
    tint[..., 3] = 0.9 * np.clip(weights / (top or weights.max()), 0, 1)
    ax.imshow(tint, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    return ax


def contribution_map(ax: Axes, values: Float[np.ndarray, "layer head"], first_layer: int, label: str) -> Axes:
    """A signed number per head, diverging around 0."""
    bound = float(np.abs(values).max()) or 1.0
    drawn = layer_head_map(ax, values, first_layer, cmap=DIVERGING, norm=TwoSlopeNorm(0, -bound, bound))
    colorbar(ax, drawn, label)
    return ax


def stacked_parts(ax: Axes, parts: Mapping[str, Float[np.ndarray, "layer"]], label: str) -> Axes:
    """Side-by-side bars per layer (1-based), one colour for each kind of part."""
    width = 0.8 / len(parts)
    for i, (name, values) in enumerate(parts.items()):
        ax.bar(np.arange(1, len(values) + 1) + (i - (len(parts) - 1) / 2) * width, values, width, label=name, color=LINE_COLORS[i])
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set(xlabel="layer", ylabel=label, xticks=range(1, 1 + max(len(v) for v in parts.values())))
    ax.legend()
    return ax


def frame(ax: Axes, color: str) -> Axes:
    """A coloured frame around a picture drawn by `picture`."""
    width, height = ax.get_xlim()[1], ax.get_ylim()[0]
    ax.add_patch(plt.Rectangle((0, 0), width - 0.5, height - 0.5, fill=False, edgecolor=color, linewidth=3))
    return ax
