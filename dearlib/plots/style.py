"""The one style of all figures: colours, canvas, files, and what several drawings share."""

import io
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dearlib.files import write_bytes
from dearlib.study.tables import GENERATED

ROLE_COLORS = {"attribute": "#E69F00", "other": "#CC79A7", "generalization": "#0072B2", "mixed": "#B8B8B8"}
ROLE_NAMES = {"attribute": "Attribute", "other": "Other specialised", "generalization": "Generalization", "mixed": "Mixed"}
# One colour per concept, none of them a role's; concepts that are not named here share those of OTHER_CONCEPTS by their name.
CONCEPT_COLORS = {
    "color": "#D55E00",
    "shape": "#56B4E9",
    "texture": "#009E73",
    "object": "#F0E442",
    "location": "#882255",
    "number": "#6A5ACD",
    "letter": "#999933",
    "size": "#A0522D",
    "light": "#DDCC77",
    "animal": "#44AA99",
    "general": "#332288",
    "none": "#D0D0D0",
}
OTHER_CONCEPTS = ("#117733", "#AA4499", "#7F7F00", "#5F9EA0", "#BC8F8F", "#4B0082")
# What is neither a role nor a concept: none of their colours, and no two alike to readers with red-green blindness. The first of
# METHOD_COLORS is zero-shot CLIP's, the second the method's that is marked. With MARKERS lines are told apart in black and white, too.
LINE_COLORS = ("#7B1FD0", "#E8175D", "#5EC000", "#C4A5FF", "#4A2C0A", "#00E0A0", "#000000")
METHOD_COLORS = ("#6B6B6B", "#7B1FD0", "#5EC000", "#4A2C0A", "#C4A5FF", "#E8175D", "#00E0A0", "#000000", "#1E5A00")
MARKERS = "osD^vPX*"
SEQUENTIAL, DIVERGING = "cividis", "PuOr"

STYLE: dict[str, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "image.interpolation": "nearest",
    "axes.prop_cycle": mpl.cycler(color=LINE_COLORS),
    "svg.hashsalt": "dear",
}


def concept_color(name: str) -> str:
    """The colour of a concept, the same wherever it is drawn; clusters of one name that a number tells apart share it."""
    bare = name.rstrip(" ()0123456789")
    return CONCEPT_COLORS.get(bare) or OTHER_CONCEPTS[sum(bare.encode()) % len(OTHER_CONCEPTS)]


def figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 3.6), **more: Any) -> tuple[Figure, Any]:
    """`plt.subplots` in the one style, whatever a user's own matplotlibrc says; `size` in inches, for the whole figure."""
    mpl.rcdefaults()
    mpl.rcParams.update(STYLE)
    return plt.subplots(rows, columns, figsize=size, **more)


def save(fig: Figure, folder: Path, name: str, generated: str | None = None) -> None:
    """Writes `folder`/`name`.svg and .png, each whole or not at all and without a date.

    `generated`: the note of a data root whose pictures stand in for real ones; it is drawn below the figure.
    """
    if generated:
        fig.supxlabel(textwrap.fill(f"{GENERATED}: {generated}", int(14 * fig.get_figwidth())), fontsize=8, color="#B22222")
    for kind, notes in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
        buffer = io.BytesIO()
        fig.savefig(buffer, format=kind, metadata=notes)
        write_bytes(folder / f"{name}.{kind}", buffer.getvalue())


def layer_head_map(ax: Axes, values: np.ndarray, first_layer: int, **how: Any) -> Any:
    """Layers downwards (1-based), heads to the right (0-based)."""
    drawn = ax.imshow(values, aspect="auto", **how)
    layers, heads = values.shape
    ax.set_xticks(range(heads), [f"H{h}" for h in range(heads)])
    ax.set_yticks(range(layers), [f"L{first_layer + i}" for i in range(layers)])
    ax.set_xticks(np.arange(-0.5, heads), minor=True)
    ax.set_yticks(np.arange(-0.5, layers), minor=True)
    ax.grid(which="minor", color="white", linewidth=1)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    return drawn


def colorbar(ax: Axes, drawn: Any, label: str) -> None:
    """A colour bar beside `ax`."""
    bar = ax.get_figure().colorbar(drawn, ax=ax, shrink=0.9, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)
