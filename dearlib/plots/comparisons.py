"""Tables as pictures: differences cell by cell, base against novel accuracy, one method against all others. Notebooks 10 and 12."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.ticker import LogFormatterMathtext, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from dearlib.plots.style import DIVERGING, LINE_COLORS, METHOD_COLORS

# Where a name may stand beside its point, the first preferred: its alignment, and how far from the point (in points).
SIDES = (("left", "center", 6, 0), ("right", "center", -6, 0), ("left", "bottom", 5, 3), ("left", "top", 5, -3), ("right", "bottom", -5, 3),
         ("right", "top", -5, -3), ("center", "bottom", 0, 6), ("center", "top", 0, -6))  # fmt: skip


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
    bar = ax.get_figure().colorbar(drawn, ax=ax, pad=0.02, ticks=list(ticks))
    bar.ax.set_yticklabels(list(ticks.values()))
    bar.set_label(label)
    bar.outline.set_visible(False)
    return ax


def named_points(ax: Axes, points: Sequence[tuple[str, float, float]], styles: Sequence[dict[str, Any]]) -> None:
    """A name beside each of `points` (name, x, y), on the first side where it covers no point and no name and stays inside the axes.

    The limits must be set before. The points that lie closest to another one choose first; where no side is free a name stands where it
    covers least.
    """
    ax.get_figure().draw_without_rendering()  # only then are the axes where they will be
    inside = ax.get_window_extent()
    at = ax.transData.transform([(x, y) for _, x, y in points])
    apart = np.linalg.norm(at[:, None] - at[None], axis=-1) + np.where(np.eye(len(at)), np.inf, 0)
    taken = [Bbox.from_extents(*one - 5, *one + 5) for one in at]
    for own in np.argsort(apart.min(axis=1), kind="stable"):
        name, x, y = points[own]
        text = ax.annotate(name, (x, y), (0, 0), textcoords="offset points", **styles[own])
        covered = []
        for side in SIDES:
            box = _beside(text, side)
            out = box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1
            gaps = np.linalg.norm(np.maximum(0, np.maximum(box.min - at, at - box.max)), axis=1)
            nearer = bool(gaps.argmin() != own)  # another's point: the name would be taken for that one's
            covered.append(out + nearer / 2 + sum(box.overlaps(other) for i, other in enumerate(taken) if i != own))
        taken.append(_beside(text, SIDES[int(np.argmin(covered))]))


def _beside(text: Any, side: tuple[str, str, int, int]) -> Bbox:
    """Moves an annotation to a side of its point; where it then lies, in pixels."""
    text.set(ha=side[0], va=side[1])
    text.xyann = side[2:]
    return text.get_window_extent()


def trade_off(ax: Axes, averages: pd.DataFrame, marked: str, moved: pd.DataFrame) -> Axes:
    """Base against novel accuracy, a point per method (index; columns base and novel), over curves of equal HM.

    The point of `marked` is coloured; methods in `moved` have a hollow point at its values and an arrow to it.
    """
    base, novel = averages["base"], averages["novel"]
    limits = [(float(s.min()) - pad, float(s.max()) + pad) for s, pad in ((base, 1.5), (novel, 1.2))]
    line = np.linspace(*limits[0], 200)
    for hm in range(50, 100, 2):
        equal = hm * line / (2 * line - hm)
        inside = (equal > limits[1][0]) & (equal < limits[1][1])
        if inside.sum() > 30:
            ax.plot(line[inside], equal[inside], color="#DDDDDD", linewidth=0.8, zorder=0)
            at = np.flatnonzero(inside & (equal < limits[1][1] - 0.04 * (limits[1][1] - limits[1][0])))[0]  # below the title
            ax.text(line[at], equal[at], f" HM {hm}", fontsize=7, color="#8A8A8A", va="bottom")
    colors = [METHOD_COLORS[1] if m == marked else "#4D4D4D" for m in averages.index]
    ax.scatter(base, novel, s=[50 if m == marked else 22 for m in averages.index], c=colors, zorder=2)
    for method in moved.index:
        start, end = (frame.loc[method, ["base", "novel"]].to_numpy(dtype=float) for frame in (averages, moved))
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": LINE_COLORS[1], "shrinkB": 4})
        ax.plot(*end, "o", markersize=5, markerfacecolor="white", markeredgecolor=LINE_COLORS[1])
    ax.set(xlim=limits[0], ylim=limits[1], xlabel="base accuracy (%)", ylabel="novel accuracy (%)")
    bold = {"color": METHOD_COLORS[1], "weight": "bold"}
    styles = [{"fontsize": 8} | (bold if m == marked else {}) for m in averages.index]
    named_points(ax, list(zip(averages.index, base, novel, strict=True)), styles)
    return ax


def method_forest(ax: Axes, rows: pd.DataFrame, points: pd.DataFrame, label: str) -> Axes:
    """One method minus each of the others: a grey dot per data set, the mean with two 95 % intervals, what could be seen at all.

    `rows` are those of `contrasts.compared` for one measure: the thin line is *data sets like these*, the thick one *these
    data sets*; an open mark means that Holm's p of the former is not below 5 %. The pale band reaches to the detectable
    difference. `points` has columns against and difference. Where `rows` has a column effect, a diamond marks the reported one.
    """
    like, here = (rows[rows["estimand"] == e].set_index("against") for e in ("data sets like these", "these data sets"))
    order = list(like.index)
    sns.stripplot(points, x="difference", y="against", order=order, ax=ax, color="#8A8A8A", size=3, alpha=0.5, jitter=False, zorder=2)
    for y, name in enumerate(order):
        row, near = like.loc[name], here.loc[name]
        color = LINE_COLORS[0] if row["difference"] > 0 else LINE_COLORS[1]
        if np.isfinite(row["detectable"]):
            ax.barh(y, 2 * row["detectable"], left=-row["detectable"], height=0.8, color="#EDEDED", zorder=0)
        for own, width in ((row, 1.4), (near, 4.0)):
            if np.isfinite(own["high"]):
                ax.plot([own["low"], own["high"]], [y, y], color=color, linewidth=width, solid_capstyle="butt", zorder=3)
        sure = row["verdict"] in ("holds", "does not hold")
        ax.plot(row["difference"], y, "o", color=color, markersize=6, markerfacecolor=color if sure else "white", zorder=4)
        if np.isfinite(row.get("effect", np.nan)):
            ax.plot(row["effect"], y, "D", color="black", markersize=4, markerfacecolor="none", zorder=5)
    ax.axvline(0, color="black", linestyle="--", linewidth=0.8, zorder=1)
    ax.set(xlabel=f"{label}\n(filled: Holm's p below 5 %)", ylabel="", ylim=(len(order) - 0.5, -0.5))
    return ax


def accuracy_cost(ax: Axes, points: pd.DataFrame, cost: str, label: str, marked: str = "DeAR") -> Axes:
    """HM against a cost, a point and a name for each method (columns method, hm, `cost`, transductive), costs logarithmic.

    What is transductive has a hollow point; methods of no cost are left out, and a dashed line may stand for them.
    """
    drawn = points[points[cost] > 0].sort_values("hm")
    styles = []
    for one in drawn.to_dict("records"):
        color = METHOD_COLORS[1] if one["method"] == marked else "#4D4D4D"
        ax.plot(one[cost], one["hm"], "o", markersize=7 if one["method"] == marked else 5, color=color,
                markerfacecolor="white" if one["transductive"] else color)  # fmt: skip
        styles.append({"fontsize": 7.5, "color": color, "weight": "bold" if one["method"] == marked else "normal"})
    ax.set(xscale="log", xlabel=label, ylabel="HM (%)")
    ax.margins(x=0.18)
    few = drawn[cost].max() < 100 * drawn[cost].min()  # under two decades their powers alone would be one or two ticks
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    ax.xaxis.set_major_formatter("{x:g}" if few else LogFormatterMathtext())
    ax.xaxis.set_minor_formatter(NullFormatter())
    named_points(ax, list(zip(drawn["method"], drawn[cost], drawn["hm"], strict=True)), styles)
    return ax
