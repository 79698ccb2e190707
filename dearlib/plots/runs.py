"""Training curves and tables as pictures: notebooks 04 and later."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from dearlib.plots.style import LINE_COLORS, MARKERS, METHOD_COLORS, SEQUENTIAL, colorbar


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
    """Bars per data set and method from `averages.base_to_novel`; whiskers are one standard deviation over seeds."""
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


def gain_dots(ax: Axes, rows: pd.DataFrame, group: str, hue: str, value: str, label: str) -> Axes:
    """A dot per row, a line of the chart per `group`, a colour and a mark per `hue`; a bar marks each mean, 0 is dashed."""
    groups, hues = list(rows[group].unique()), list(rows[hue].unique())
    for i, h in enumerate(hues):
        offset = (i - (len(hues) - 1) / 2) * 0.6 / len(hues)
        color, mark = LINE_COLORS[i % len(LINE_COLORS)], MARKERS[i % len(MARKERS)]
        for g, own in rows[rows[hue] == h].groupby(group, sort=False)[value]:
            y = groups.index(g) + offset
            ax.plot(own, np.full(len(own), y), mark, color=color, markersize=4, alpha=0.7, markeredgewidth=0)
            ax.plot([own.mean()] * 2, [y - 0.12, y + 0.12], color=color, linewidth=2)
        ax.plot([], [], mark, color=color, markersize=4, label=str(h))
    ax.axvline(0, color="black", linestyle="--", linewidth=0.8)
    ax.set_yticks(range(len(groups)), groups)
    ax.set(xlabel=label, ylim=(len(groups) - 0.5, -0.5))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(4, len(hues)), borderaxespad=0.3)
    return ax


def shot_curves(ax: Axes, rows: pd.DataFrame, flat: float | None, title: str = "") -> Axes:
    """Accuracy against shots: a line per method through the seeds' means, its band one standard deviation; `flat` is zero-shot.

    `rows` has the columns method, shots, mean and sd.
    """
    if flat is not None:
        ax.axhline(flat, color=METHOD_COLORS[0], linestyle="--", linewidth=1.4, label="zero-shot CLIP")
    for i, (method, own) in enumerate(rows.groupby("method", sort=False), start=1):
        own = own.sort_values("shots")
        x, mean, sd = np.log2(own["shots"]), own["mean"], own["sd"].fillna(0)
        color = METHOD_COLORS[i % len(METHOD_COLORS)]
        ax.plot(x, mean, f"{MARKERS[(i - 1) % len(MARKERS)]}-", color=color, markersize=4, label=str(method))
        ax.fill_between(x, mean - sd, mean + sd, color=color, alpha=0.15, linewidth=0)
    shots = sorted(rows["shots"].unique())
    ax.set_xticks(np.log2(shots), [str(int(s)) for s in shots])
    ax.set_title(title)
    return ax


def weight_map(
    ax: Axes, weights: Float[np.ndarray, "row column"], rows: Sequence[str], columns: Sequence[str], label: str, top: float | None = None
) -> Axes:
    """Weights in [0, 1], number and colour, a row per data set; `top`: the end of the colours, the largest weight if left out."""
    top = float(weights.max()) if top is None else top
    drawn = ax.imshow(weights, cmap=SEQUENTIAL, vmin=0, vmax=top, aspect="auto")
    for (i, j), value in np.ndenumerate(weights):
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if value < 0.6 * top else "black")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    colorbar(ax, drawn, label)
    return ax


def difference_forest(ax: Axes, rows: pd.DataFrame, label: str) -> Axes:
    """Paired differences with intervals (columns name, difference, low, high), one below the other; filled where clear of 0."""
    for i, row in enumerate(rows.to_dict("records")):
        clear = row["low"] > 0 or row["high"] < 0
        color = LINE_COLORS[0] if row["difference"] > 0 else LINE_COLORS[1]
        ax.plot([row["low"], row["high"]], [i, i], color=color, linewidth=1.6, alpha=1 if clear else 0.4)
        ax.plot(row["difference"], i, "o", color=color, markersize=5, markerfacecolor=color if clear else "white")
    ax.axvline(0, color="black", linestyle="--", linewidth=0.8)
    ax.set_yticks(range(len(rows)), rows["name"])
    ax.set(xlabel=f"{label}\n(filled: interval leaves out 0)", ylim=(len(rows) - 0.5, -0.5))
    return ax


def labelled_points(ax: Axes, points: Float[np.ndarray, "point 2"], labels: Int[np.ndarray, "point"]) -> Axes:
    """Points coloured by label; those without one (−1) are small and grey."""
    without = labels < 0
    ax.scatter(*points[without].T, s=4, color="#D0D0D0", linewidth=0)
    ax.scatter(*points[~without].T, s=9, c=labels[~without], cmap="tab20", linewidth=0)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax
