"""Roles, concepts and what ablating heads does: notebook 02."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, TwoSlopeNorm
from matplotlib.patches import Patch

from dearlib.plots.style import DIVERGING, LINE_COLORS, ROLE_COLORS, ROLE_NAMES, SEQUENTIAL, colorbar, layer_head_map
from dearlib.roles.rolefile import HeadRoles


def role_map(ax: Axes, roles: HeadRoles, legend: bool = True) -> Axes:
    """Layers × heads, a head's colour its role, the text its most frequent concept (left out where it means little: Generalization)."""
    kinds = list(ROLE_COLORS)
    values = np.array([[kinds.index(roles.at(layer, h).role) for h in range(roles.heads)] for layer in _layers(roles)])
    layer_head_map(ax, values, roles.first_layer, cmap=ListedColormap(list(ROLE_COLORS.values())), vmin=-0.5, vmax=len(kinds) - 0.5)
    for i, layer in enumerate(_layers(roles)):
        for h in range(roles.heads):
            entry = roles.at(layer, h)
            if entry.role != "generalization":
                weight = "normal" if entry.role == "mixed" else "bold"
                ax.text(h, i, _short(entry.concept), ha="center", va="center", fontsize=6, weight=weight)
    if legend:
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
    drawn = layer_head_map(ax, values, roles.first_layer, cmap=SEQUENTIAL, vmin=0, vmax=top)
    for (i, h), value in np.ndenumerate(values):
        ax.text(h, i, f"{value:.1f}", ha="center", va="center", fontsize=6, color="white" if value < 0.6 * top else "black")
    colorbar(ax, drawn, "Concept Entropy (bits)")
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
    colorbar(ax, drawn, label)
    return ax


def _layers(roles: HeadRoles) -> range:
    """The layers that have roles, J … L."""
    return range(roles.first_layer, roles.layers + 1)


def _short(name: str, letters: int = 8) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "…"
