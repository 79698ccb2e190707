"""Roles, concepts and what ablating heads does: notebook 02."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dearlib.plots.style import CONCEPT_COLORS, DIVERGING, ROLE_COLORS, ROLE_NAMES, SEQUENTIAL, colorbar, concept_color, layer_head_map
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
                ax.text(h, i, _short(entry.concept), ha="center", va="center", fontsize=7, weight=weight)
    if legend:
        role_legend(ax, [r for r in kinds if (values == kinds.index(r)).any()])
    return ax


def role_legend(ax: Axes, roles: Sequence[str]) -> Axes:
    """A legend of role colours above the whole figure that `ax` is in."""
    handles = [Patch(color=ROLE_COLORS[r], label=ROLE_NAMES[r]) for r in roles]
    ax.get_figure().legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return ax


def entropy_map(ax: Axes, roles: HeadRoles) -> Axes:
    """Layers × heads, colour and number the Concept Entropy in bits; 0 is one concept only, log2 k all alike."""
    values = np.array([[roles.at(layer, h).entropy for h in range(roles.heads)] for layer in _layers(roles)])
    top = float(np.log2(len(roles.concepts)))
    drawn = layer_head_map(ax, values, roles.first_layer, cmap=SEQUENTIAL, vmin=0, vmax=top)
    for (i, h), value in np.ndenumerate(values):
        ax.text(h, i, f"{value:.1f}", ha="center", va="center", fontsize=7, color="white" if value < 0.6 * top else "black")
    colorbar(ax, drawn, "Concept Entropy (bits)")
    return ax


def concept_colors(names: Sequence[str]) -> dict[str, str]:
    """The colour of each concept; clusters of one name share it."""
    return {name: concept_color(name) for name in names}


def planted_map(ax: Axes, planted: Mapping[str, Sequence[int]], first_layer: int, layers: int, heads: int) -> Axes:
    """Layers × heads: the factor that pre-training gave each head, white for none."""
    names = list(planted)
    values = np.full(layers * heads, -1)
    for i, name in enumerate(names):
        values[list(planted[name])] = i
    colors = ["white", *(concept_color(name) for name in names)]
    layer_head_map(ax, values.reshape(layers, heads), first_layer, cmap=ListedColormap(colors), vmin=-1.5, vmax=len(names) - 0.5)
    handles = [Patch(color=concept_color(name), label=f"{name} ({len(planted[name])})") for name in names]
    ax.get_figure().legend(handles=handles, loc="outside upper center", ncols=-(-len(handles) // 2))
    return ax


def cluster_scatter(
    ax: Axes,
    points: Float[np.ndarray, "phrase 2"],
    labels: Int[np.ndarray, "phrase"],
    assignment: Int[np.ndarray, "phrase"],
    names: Sequence[str],
) -> Axes:
    """Phrases in two dimensions in the colour of their concept (Eq. 2); those that HDBSCAN left as noise (label -1) smaller and paler.

    A concept's name stands at the middle of its clustered phrases.
    """
    colors = concept_colors(names)
    for i, name in enumerate(names):
        for chosen, size, alpha in ((labels < 0, 9, 0.35), (labels >= 0, 18, 1.0)):
            own = points[(assignment == i) & chosen]
            if len(own):
                sns.scatterplot(x=own[:, 0], y=own[:, 1], color=colors[name], s=size, alpha=alpha, linewidth=0, ax=ax)
    for i, name in enumerate(names):
        own = points[labels == i]
        if len(own):
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colors[name], "alpha": 0.85}
            ax.annotate(name, np.median(own, axis=0), fontsize=7.5, ha="center", va="center", bbox=box)
    ax.set(xticks=[], yticks=[], xlabel="large: in a cluster; pale: noise, assigned by Eq. 2")
    ax.spines[:].set_visible(False)
    return ax


def concept_bars(ax: Axes, rows: Mapping[str, Mapping[str, float]]) -> Axes:
    """P(concept) of several heads (Eq. 3), stacked on one axis; `rows`: what stands beside each bar → its distribution."""
    names = sorted({c for p in rows.values() for c, share in p.items() if share > 0}, key=lambda c: (c not in CONCEPT_COLORS, c))
    colors = concept_colors(names)
    start = np.zeros(len(rows))
    for name in names:
        share = np.array([p.get(name, 0.0) for p in rows.values()])
        ax.barh(list(rows), share, left=start, color=colors[name], label=name, edgecolor="white", linewidth=0.8)
        start += share
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="share of the head's phrases")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), title="concept")
    return ax


def entropy_evidence(ax: Axes, table: pd.DataFrame, intervals: Mapping[tuple[int, int], tuple[float, float]], rule: str) -> Axes:
    """Every head's entropy against chance, lowest first, and what else speaks for its role (`dearlib.roles.evidence.evidence`).

    Colour: its role by `rule` ('null' or 'thresholds'); line: the 95 % interval over pictures; grey: from the null's 5 % quantile to
    its median for as many phrases. Below: the leading concept's colour; a filled square where ablation confirms it, an open one where
    it does not, a cross for a head that was not ablated, as its concept is no factor that can be read out.
    """
    at = np.arange(len(table))
    ax.fill_between(at, table["null_5"], table["null_50"], step="mid", color="#DEDEDE", label="chance: 5 % quantile to median", linewidth=0)
    roles = table[f"role_{rule}"]
    for x, head, entropy, role in zip(at, zip(table["layer"], table["head"], strict=True), table["entropy"], roles, strict=True):
        ax.plot([x, x], intervals[head], color=ROLE_COLORS[role], linewidth=1.6)
        ax.plot(x, entropy, "o", color=ROLE_COLORS[role], markersize=4.5, markeredgecolor="black", markeredgewidth=0.4)
    colors = concept_colors(list(dict.fromkeys(table["concept"])))
    for x, concept, role, confirmed in zip(at, table["concept"], roles, table["confirmed"], strict=True):
        if role in ("attribute", "other"):
            filled = colors[concept] if confirmed is True else "none"
            mark = "x" if pd.isna(confirmed) else "s"
            ax.plot(x, -0.22, mark, color=colors[concept], markerfacecolor=filled, markersize=5.5, clip_on=False)
    ax.set_xticks(at, [f"L{r.layer} H{r.head}" for r in table.itertuples()], rotation=90, fontsize=7)
    ax.set(ylabel="Concept Entropy (bits)", xlim=(-1, len(table)), ylim=(-0.4, None))
    specialised = table.loc[roles.isin(["attribute", "other"]), "concept"]
    handles = [Patch(color=ROLE_COLORS[r], label=ROLE_NAMES[r]) for r in ROLE_COLORS if (roles == r).any()]
    handles += [Line2D([], [], marker="s", linestyle="", color=colors[c], label=c) for c in sorted(set(specialised))]
    handles += [Line2D([], [], marker="s", linestyle="", color="black", markerfacecolor="none", label="open: not confirmed"),
                Line2D([], [], marker="x", linestyle="", color="black", label="cross: not ablated")]  # fmt: skip
    ax.legend(handles=[*ax.get_legend_handles_labels()[0], *handles], loc="lower left", bbox_to_anchor=(0, 1), ncols=6)
    return ax


def confirmation_forest(ax: Axes, table: pd.DataFrame) -> Axes:
    """Own factor's fall less the largest other's, head by head (`dearlib.roles.truth.confirmation`), with 95 % intervals.

    Left of zero the own factor falls most; filled where the whole interval lies there.
    """
    ordered = _by_attribute(table)
    for y, r in enumerate(ordered.itertuples()):
        color = CONCEPT_COLORS.get(r.attribute, "black")
        ax.plot([r.low, r.high], [y, y], color=color, linewidth=1.6)
        ax.plot(r.difference, y, "o", color=color, markerfacecolor=color if r.confirmed else "white", markersize=5)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(ordered)), [f"L{r.layer} H{r.head}" for r in ordered.itertuples()], fontsize=7)
    ax.set(xlabel="change of margin (logits): own factor less the largest other", ylim=(len(ordered) - 0.5, -0.5))
    handles = [Line2D([], [], marker="o", color=CONCEPT_COLORS.get(a, "black"), label=a) for a in dict.fromkeys(ordered["attribute"])]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.02), title="attribute of the head")
    return ax


def head_factor_map(ax: Axes, changes: pd.DataFrame, table: pd.DataFrame, factors: Sequence[str]) -> Axes:
    """Attribute heads × factors: the change of margin when the head alone is ablated (`dearlib.roles.truth.head_changes`).

    Rows in the order of `confirmation_forest`, each head's own factor framed.
    """
    ordered = _by_attribute(table)
    values = changes[changes["kind"] == "margin"].pivot(index=["layer", "head"], columns="factor", values="change")
    shown = values.loc[list(zip(ordered["layer"], ordered["head"], strict=True)), list(factors)].to_numpy()
    bound = float(np.abs(shown).max(initial=0.0)) or 1.0
    sns.heatmap(shown, vmin=-bound, vmax=bound, cmap=DIVERGING, annot=True, fmt="+.2f", annot_kws={"fontsize": 7}, ax=ax,
                xticklabels=list(factors), yticklabels=[f"L{r.layer} H{r.head}" for r in ordered.itertuples()],
                cbar_kws={"label": "change of margin (logits)"})  # fmt: skip
    for y, attribute in enumerate(ordered["attribute"]):
        ax.add_patch(plt.Rectangle((list(factors).index(attribute), y), 1, 1, fill=False, edgecolor="black", linewidth=1.2))
    ax.tick_params(length=0, rotation=0)
    ax.set_yticks(ax.get_yticks(), [t.get_text() for t in ax.get_yticklabels()], fontsize=7)
    ax.set(xlabel="factor that is read out", ylabel="head that is ablated")
    return ax


def _by_attribute(table: pd.DataFrame) -> pd.DataFrame:
    """Attribute heads by attribute, the clearest first."""
    return table.sort_values(["attribute", "difference"], ignore_index=True)


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
    """Change of every factor's reading when the heads of a role are ablated, with intervals; NaN rows have no head."""
    bound = float(np.nanmax(np.abs(drop), initial=0.0)) or 1.0
    text = np.array(
        [[f"{v:+.1f}\n[{a:+.1f}, {b:+.1f}]" for v, a, b in zip(*row, strict=True)] for row in zip(drop, low, high, strict=True)]
    )
    sns.heatmap(drop, mask=np.isnan(drop), vmin=-bound, vmax=bound, cmap=DIVERGING, annot=text, fmt="", annot_kws={"fontsize": 7},
                xticklabels=list(columns), yticklabels=list(rows), cbar_kws={"label": label}, ax=ax)  # fmt: skip
    ax.set_facecolor("#EFEFEF")
    ax.tick_params(length=0, rotation=0)
    for i, row in enumerate(drop):
        if np.isnan(row).all():
            ax.text(len(columns) / 2, i + 0.5, "no head has this role", ha="center", va="center", fontsize=8, style="italic")
        else:
            ax.add_patch(plt.Rectangle((i, i), 1, 1, fill=False, edgecolor="black", linewidth=1.6, clip_on=False))
    ax.set(xlabel="factor that is read out", ylabel="heads that are ablated")
    return ax


def _layers(roles: HeadRoles) -> range:
    """The layers that have roles, J … L."""
    return range(roles.first_layer, roles.layers + 1)


def _short(name: str, letters: int = 8) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "…"
