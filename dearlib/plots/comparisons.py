"""Tables as pictures: differences cell by cell, base against novel accuracy, one method against all others. Notebooks 10 and 12."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm

from dearlib.plots.style import DIVERGING, LINE_COLORS, METHOD_COLORS


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
            at = np.flatnonzero(inside & (equal < limits[1][1] - 0.04 * (limits[1][1] - limits[1][0])))[0]  # below the title
            ax.text(line[at], equal[at], f" HM {hm}", fontsize=7, color="#8A8A8A", va="bottom")
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
    ax.set(xlim=limits[0], ylim=limits[1], xlabel="base accuracy (%)", ylabel="novel accuracy (%)")
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
    ax.set(xlabel=label, ylabel="", ylim=(len(order) - 0.5, -0.5))
    return ax


def accuracy_cost(ax: Axes, points: pd.DataFrame, cost: str, label: str, marked: str = "DeAR") -> Axes:
    """HM against a cost, a point and a name for each method (columns method, hm, `cost`, transductive), costs logarithmic.

    What is transductive has a hollow point; methods of no cost are left out, and a dashed line may stand for them.
    """
    drawn = points[points[cost] > 0].sort_values("hm")
    for i, one in enumerate(drawn.to_dict("records")):
        side, ha = (5, "left") if i % 2 else (-5, "right")  # neighbours in height have their names on two sides
        color = METHOD_COLORS[1] if one["method"] == marked else "#4D4D4D"
        ax.plot(one[cost], one["hm"], "o", markersize=7 if one["method"] == marked else 5, color=color,
                markerfacecolor="white" if one["transductive"] else color)  # fmt: skip
        weight = "bold" if one["method"] == marked else "normal"
        at = (one[cost], one["hm"])
        ax.annotate(one["method"], at, (side, 2), textcoords="offset points", ha=ha, fontsize=7.5, color=color, weight=weight)
    ax.set(xscale="log", xlabel=label, ylabel="HM (%)")
    ax.margins(x=0.18)
    return ax
