"""Every figure, in one style: a function takes data and an `ax`, draws, and returns the `ax`.

Append functions, do not change what others draw with. `figure` makes the canvas, `save` writes SVG and PNG that are the
same bytes for the same data. Roles and methods keep their colours everywhere (Okabe and Ito's, safe for colour-blind
readers); entropies and weights have a sequential map, differences a diverging one centred on 0; layers × heads maps have
layers downwards (1-based) and heads to the right (0-based).
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, SymLogNorm, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dearlib.roles import HeadRoles

ROLE_COLORS = {"attribute": "#E69F00", "other": "#CC79A7", "generalization": "#0072B2", "mixed": "#B8B8B8"}
ROLE_NAMES = {"attribute": "Attribute", "other": "Other specialised", "generalization": "Generalization", "mixed": "Mixed"}
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
METHOD_COLORS = ("#8C8C8C", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
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


def figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 3.6), **more: Any) -> tuple[Figure, Any]:
    """`plt.subplots` in the one style; `size` in inches, for the whole figure."""
    mpl.rcParams.update(STYLE)
    return plt.subplots(rows, columns, figsize=size, **more)


def save(fig: Figure, folder: Path, name: str) -> None:
    """Writes `folder`/`name`.svg and .png, each whole or not at all and without a date."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, notes in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
        buffer = io.BytesIO()
        fig.savefig(buffer, format=kind, metadata=notes)
        partial = folder / f"{name}.{kind}.{os.getpid()}.partial"
        partial.write_bytes(buffer.getvalue())
        os.replace(partial, folder / f"{name}.{kind}")


# Pictures and attention (notebook 01)


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
        ax.annotate(str(number), corner, (2, -2), textcoords="offset points", va="top", fontsize=6, color="white", weight="bold")
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
    drawn = _layer_head_map(ax, values, first_layer, cmap=DIVERGING, norm=TwoSlopeNorm(0, -bound, bound))
    _colorbar(ax, drawn, label)
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


# Roles (notebook 02)


def role_map(ax: Axes, roles: HeadRoles) -> Axes:
    """Layers × heads, a head's colour its role, the text its most frequent concept (left out where it means little: Generalization)."""
    kinds = list(ROLE_COLORS)
    values = np.array([[kinds.index(roles.at(layer, h).role) for h in range(roles.heads)] for layer in _layers(roles)])
    _layer_head_map(ax, values, roles.first_layer, cmap=ListedColormap(list(ROLE_COLORS.values())), vmin=-0.5, vmax=len(kinds) - 0.5)
    for i, layer in enumerate(_layers(roles)):
        for h in range(roles.heads):
            entry = roles.at(layer, h)
            if entry.role != "generalization":
                weight = "normal" if entry.role == "mixed" else "bold"
                ax.text(h, i, _short(entry.concept), ha="center", va="center", fontsize=6, weight=weight)
    role_legend(ax, [r for r in kinds if (values == kinds.index(r)).any()])
    return ax


def role_legend(ax: Axes, roles: Sequence[str]) -> Axes:
    """A legend of role colours above the whole figure that `ax` is in."""
    handles = [Patch(color=ROLE_COLORS[r], label=ROLE_NAMES[r]) for r in roles]
    ax.get_figure().legend(handles=handles, loc="outside upper center", ncols=len(handles))  # type: ignore[union-attr]
    return ax


def entropy_map(ax: Axes, roles: HeadRoles) -> Axes:
    """Layers × heads, colour and number the Concept Entropy in bits; 0 is one concept only, log2 k all alike."""
    values = np.array([[roles.at(layer, h).entropy for h in range(roles.heads)] for layer in _layers(roles)])
    top = float(np.log2(len(roles.concepts)))
    drawn = _layer_head_map(ax, values, roles.first_layer, cmap=SEQUENTIAL, vmin=0, vmax=top)
    for (i, h), value in np.ndenumerate(values):
        ax.text(h, i, f"{value:.1f}", ha="center", va="center", fontsize=6, color="white" if value < 0.6 * top else "black")
    _colorbar(ax, drawn, "Concept Entropy (bits)")
    return ax


def cluster_scatter(ax: Axes, points: Float[np.ndarray, "phrase 2"], labels: Int[np.ndarray, "phrase"], names: Sequence[str]) -> Axes:
    """Phrases in two dimensions, a colour and a marker per cluster, the name at its middle; label -1 is noise, small and grey."""
    noise = labels < 0
    ax.scatter(*points[noise].T, s=6, color="#C8C8C8", marker=".")
    for i, name in enumerate(names):
        own = points[labels == i]
        ax.scatter(*own.T, s=12, color=LINE_COLORS[i % 7], marker="osD^vPX*"[i // 7 % 8], alpha=0.7, linewidth=0)
        if len(own):
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": LINE_COLORS[i % 7], "alpha": 0.85}
            ax.annotate(name, np.median(own, axis=0), fontsize=7, ha="center", va="center", bbox=box)
    ax.set(xticks=[], yticks=[], xlabel="grey: in no cluster" if noise.any() else "")
    ax.spines[:].set_visible(False)
    return ax


def concept_bars(ax: Axes, distribution: Mapping[str, float], title: str, color: str = LINE_COLORS[0]) -> Axes:
    """P(concept) of one head (Eq. 3), as horizontal bars, most frequent on top."""
    shown = sorted(((c, v) for c, v in distribution.items() if v > 0), key=lambda item: item[1])
    ax.barh([c for c, _ in shown], [v for _, v in shown], color=color)
    ax.set(xlim=(0, 1), xlabel="share of phrases")
    ax.set_title(title)
    return ax


def entropy_intervals(ax: Axes, roles: HeadRoles, null: Float[np.ndarray, "draw"]) -> Axes:
    """Every head's entropy with its interval, lowest first, in its role's colour; behind it the range of the shuffled null (5–95 %)."""
    entries = sorted(roles.entries, key=lambda e: (e.entropy, e.layer, e.head))
    if len(null):
        low, high = np.quantile(null, [0.05, 0.95])
        ax.axhspan(low, high, color="#DDDDDD", label="shuffled phrases, 5–95 %")
    for i, e in enumerate(entries):
        ax.plot([i, i], e.interval, color=ROLE_COLORS[e.role], linewidth=1.2)
        ax.plot(i, e.entropy, "o", color=ROLE_COLORS[e.role], markersize=3.5, markeredgecolor="black", markeredgewidth=0.3)
    names = [f"L{e.layer} H{e.head}" for e in entries]
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=5)
    ax.set(ylabel="Concept Entropy (bits)", xlim=(-1, len(names)), ylim=(0, None))
    here = [r for r in ROLE_COLORS if any(e.role == r for e in entries)]
    handles = [Patch(color=ROLE_COLORS[r], label=ROLE_NAMES[r]) for r in here]
    ax.legend(handles=[*handles, *ax.get_legend_handles_labels()[0]], loc="lower right")
    return ax


def role_counts(ax: Axes, fractions: Sequence[float], counts: Mapping[str, Sequence[int]], chosen: float, label: str) -> Axes:
    """How many heads have each role (stacked) as one threshold moves; a line at the chosen value."""
    here = [r for r in ROLE_COLORS if r in counts]
    ax.stackplot(fractions, [counts[r] for r in here], colors=[ROLE_COLORS[r] for r in here], step="post")
    ax.axvline(chosen, color="black", linestyle="--", linewidth=1)
    ax.set(xlabel=label, ylabel="heads", xlim=(min(fractions), max(fractions)), ylim=(0, sum(counts[r][0] for r in here)))
    return ax


def ablation_matrix(
    ax: Axes,
    drop: Float[np.ndarray, "role factor"],
    low: Float[np.ndarray, "role factor"],
    high: Float[np.ndarray, "role factor"],
    rows: Sequence[str],
    columns: Sequence[str],
    label: str = "change of accuracy (points)",
) -> Axes:
    """Change of every factor's accuracy when the heads of a role are ablated, with intervals; NaN rows have no head."""
    bound = float(np.nanmax(np.abs(drop), initial=0.0)) or 1.0
    cmap = mpl.colormaps[DIVERGING].with_extremes(bad="#EFEFEF")
    drawn = ax.imshow(np.ma.masked_invalid(drop), cmap=cmap, norm=TwoSlopeNorm(0, -bound, bound), aspect="auto")
    for (i, j), value in np.ndenumerate(drop):
        if np.isfinite(value):
            inside = "white" if abs(value) > 0.6 * bound else "black"
            ax.text(j, i, f"{value:+.1f}\n[{low[i, j]:+.1f}, {high[i, j]:+.1f}]", ha="center", va="center", fontsize=7, color=inside)
    for i in np.flatnonzero(np.isnan(drop).all(axis=1)):
        ax.text((len(columns) - 1) / 2, i, "no head has this role", ha="center", va="center", fontsize=8, style="italic")
    for i in np.flatnonzero(np.isfinite(drop).any(axis=1)):
        ax.add_patch(plt.Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.6, clip_on=False))
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlabel="factor that is read out", ylabel="heads that are ablated")
    _colorbar(ax, drawn, label)
    return ax


# Masks (notebook 03)


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
    """Who reads from whom in one head, as arrows from key to query between patches, [CLS] and attribute tokens.

    Arrows inside a group are left out. One token stands for each attribute.
    """
    places = {"patches": (0.0, 0.0), "[CLS]": (0.0, 1.6)}
    at = {"[CLS]": 0, "patches": 1}
    per_attribute = (len(may_attend) - n_original) // len(attributes)
    for i, name in enumerate(attributes):
        places[name] = (3.0, 1.9 - i * 2.2 / max(1, len(attributes) - 1))
        at[name] = n_original + i * per_attribute
    for query, end in places.items():
        for key, start in places.items():
            if start[0] != end[0]:
                allowed = bool(may_attend[at[query], at[key]])
                _arrow(ax, start, end, color if allowed else "#D0D0D0", allowed)
    for name, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "black" if x == 0 else LINE_COLORS[1]}
        ax.text(x, y, name, ha="right" if x == 0 else "left", va="center", bbox=box)
    ax.set(xlim=(-1.1, 4.2), ylim=(-0.6, 2.3))
    ax.set_axis_off()
    ax.set_title(title)
    return ax


# Training and tables (notebooks 04–06)


def loss_curve(ax: Axes, curves: Sequence[Sequence[Mapping[str, float]]], key: str, label: str, color: str = LINE_COLORS[0]) -> Axes:
    """One quantity against epochs (or steps): a thin line for each run, their mean thick."""
    rows = [[row[key] for row in curve] for curve in curves]
    length = min(len(r) for r in rows)
    values = np.array([r[:length] for r in rows])
    ax.plot(np.arange(1, length + 1), values.T, color=color, alpha=0.35, linewidth=0.9)
    ax.plot(np.arange(1, length + 1), values.mean(axis=0), color=color, linewidth=2, label=label)
    ax.set(ylabel=label)
    return ax


def base_novel_chart(ax: Axes, table: pd.DataFrame, column: str = "hm") -> Axes:
    """Bars per data set and method from `results.base_to_novel`; whiskers are one standard deviation over seeds."""
    datasets, methods = list(table["dataset"].unique()), list(table["method"].unique())
    width = 0.8 / len(methods)
    for i, method in enumerate(methods):
        own = table[table["method"] == method].set_index("dataset").loc[datasets]
        x = np.arange(len(datasets)) + (i - (len(methods) - 1) / 2) * width
        spread = own[f"{column}_sd"].to_numpy(dtype=float)
        shown = np.isfinite(spread)
        ax.bar(x, own[column], width, label=method, color=METHOD_COLORS[i])
        ax.errorbar(x[shown], own[column][shown], spread[shown], fmt="none", ecolor="black", elinewidth=0.9, capsize=2)
    ax.set_xticks(range(len(datasets)), [d.replace("_", "\n") for d in datasets])
    ax.set(ylabel={"hm": "HM (%)"}.get(column, f"{column} accuracy (%)"), ylim=(0, 100))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(methods), borderaxespad=0.3)
    return ax


# The paper's reported tables (notebook 12)


def difference_map(ax: Axes, difference: pd.DataFrame, beyond: pd.DataFrame, label: str) -> Axes:
    """Two tables of one shape: where `beyond` is positive the signed difference, elsewhere a dot; where there is no number, nothing."""
    values = difference.to_numpy(dtype=float)
    fails = beyond.to_numpy(dtype=float) > 0
    bound = float(np.abs(values[fails]).max(initial=0.0)) or 1.0
    norm = SymLogNorm(linthresh=0.05, vmin=-bound, vmax=bound)  # slips span two orders of magnitude
    drawn = ax.imshow(np.where(fails, values, 0.0), cmap=DIVERGING, norm=norm, aspect="auto")
    for i, j in np.argwhere(np.isfinite(values) & ~fails):
        ax.plot(j, i, ".", color="#9A9A9A", markersize=2.5)
    for i, j in np.argwhere(fails):
        dark = abs(float(norm(values[i, j])) - 0.5) > 0.33
        ax.text(j, i, f"{values[i, j]:+.2f}".replace("-", "−"), ha="center", va="center", fontsize=7, color="white" if dark else "black")
    ax.set_xticks(range(values.shape[1]), list(difference.columns), rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(values.shape[0]), list(difference.index))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ticks = {t: text for t, text in ((-1, "−1"), (-0.1, "−0.1"), (0, "0"), (0.1, "+0.1"), (1, "+1")) if abs(t) <= bound}
    bar = ax.get_figure().colorbar(drawn, ax=ax, pad=0.02, ticks=list(ticks))  # type: ignore[union-attr]
    bar.ax.set_yticklabels(list(ticks.values()))
    bar.set_label(label)
    bar.outline.set_visible(False)  # type: ignore[operator]
    return ax


def trade_off(ax: Axes, averages: pd.DataFrame, marked: str, moved: pd.DataFrame, places: Mapping[str, tuple[str, str]]) -> Axes:
    """Base against novel accuracy, a point per method (index; columns base and novel), over curves of equal HM.

    The point of `marked` is coloured; methods in `moved` have a hollow point at its values and an arrow to it. `places` are
    the horizontal and vertical alignment of a method's name at its point, where not on the right.
    """
    base, novel = averages["base"], averages["novel"]
    limits = [(float(s.min()) - pad, float(s.max()) + pad) for s, pad in ((base, 1.5), (novel, 1.2))]
    line = np.linspace(*limits[0], 200)
    for hm in range(50, 100, 2):
        equal = hm * line / (2 * line - hm)
        inside = (equal > limits[1][0]) & (equal < limits[1][1])
        if inside.sum() > 30:
            ax.plot(line[inside], equal[inside], color="#DDDDDD", linewidth=0.8, zorder=0)
            at = np.flatnonzero(inside)[0] + 1
            ax.text(line[at], equal[at], f" HM {hm}", fontsize=6.5, color="#8A8A8A", va="bottom")
    colors = [METHOD_COLORS[1] if m == marked else "#4D4D4D" for m in averages.index]
    ax.scatter(base, novel, s=[50 if m == marked else 22 for m in averages.index], c=colors, zorder=2)
    for method, x, y in zip(averages.index, base, novel, strict=True):
        ha, va = places.get(method, ("left", "center"))
        offset = ({"left": 6, "right": -6}.get(ha, 0), {"bottom": 5, "top": -5}.get(va, 0))
        style = {"color": METHOD_COLORS[1], "weight": "bold"} if method == marked else {}
        ax.annotate(method, (x, y), offset, textcoords="offset points", ha=ha, va=va, fontsize=8, **style)
    for method in moved.index:
        start, end = (frame.loc[method, ["base", "novel"]].to_numpy(dtype=float) for frame in (averages, moved))
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": LINE_COLORS[0], "shrinkB": 4})
        ax.plot(*end, "o", markersize=5, markerfacecolor="white", markeredgecolor=LINE_COLORS[0])
    ax.set(xlim=limits[0], ylim=limits[1], xlabel="reported base accuracy (%)", ylabel="reported novel accuracy (%)")
    return ax


# What the figures share


def _layers(roles: HeadRoles) -> range:
    """The layers that have roles, J … L."""
    return range(roles.first_layer, roles.layers + 1)


def _layer_head_map(ax: Axes, values: np.ndarray, first_layer: int, **how: Any) -> Any:
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


def _colorbar(ax: Axes, drawn: Any, label: str) -> None:
    bar = ax.get_figure().colorbar(drawn, ax=ax, shrink=0.9, pad=0.02)  # type: ignore[union-attr]
    bar.set_label(label)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str, allowed: bool) -> None:
    bend = 0.08 if start[0] < end[0] else -0.08
    style = {"arrowstyle": "-|>", "color": color, "linewidth": 1.1 if allowed else 0.7, "linestyle": "-" if allowed else ":"}
    a, b = ((x + (0.12 if x == 0 else -0.12), y + bend) for x, y in (start, end))
    ax.annotate("", b, a, arrowprops=style)


def _short(name: str, letters: int = 8) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "…"
