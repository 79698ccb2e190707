"""Operations and seconds as pictures: notebooks 13 and 14."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dearlib.plots.style import LINE_COLORS, MARKERS


def counted_bars(ax: Axes, names: Sequence[str], predicted: Sequence[float], counted: float, label: str) -> Axes:
    """What is left after each cut, the first on top; a dashed line marks what was counted at the end."""
    y = np.arange(len(names))
    ax.barh(y, predicted, color=LINE_COLORS[0])
    for at, value in zip(y, predicted, strict=True):
        ax.text(value, at, f" {value:.0f}", va="center", fontsize=8)
    ax.axvline(counted, color="black", linestyle="--", linewidth=0.9, label=f"counted at the end: {counted:.0f}")
    ax.set_yticks(y, names)
    ax.set(xlabel=label, ylim=(len(names) - 0.5, -0.5), xlim=(0, 1.1 * max(predicted)))
    ax.legend(loc="lower right")
    return ax


def roofline(ax: Axes, gflop: pd.Series, seconds: pd.Series, names: pd.Series, ceiling: float) -> Axes:
    """Seconds against operations, both logarithmic; the line is the ceiling (GFLOP/s), nothing can lie below it."""
    span = np.array([0.6 * gflop.min(), 1.8 * gflop.max()])
    ax.plot(span, span / ceiling, color="black", linewidth=0.9, label=f"a plain matrix product, {ceiling:.0f} GFLOP/s")
    for i, (x, y, name) in enumerate(zip(gflop, seconds, names, strict=True)):
        ax.plot(x, y, MARKERS[i % len(MARKERS)], color=LINE_COLORS[i % len(LINE_COLORS)], label=f"{name}: {x / y / ceiling:.0%}")
    ax.set(xscale="log", yscale="log", xlabel="GFLOP", ylabel="seconds")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def ranked_bars(ax: Axes, values: Mapping[str, float], label: str) -> Axes:
    """A bar each, shortest on top, with its number."""
    ordered = sorted(values.items(), key=lambda item: item[1])
    ax.barh(range(len(ordered)), [v for _, v in ordered], color=LINE_COLORS[0])
    for at, (_, value) in enumerate(ordered):
        ax.text(value, at, f" {value:.1f}", va="center", fontsize=8)
    ax.set_yticks(range(len(ordered)), [n for n, _ in ordered])
    ax.set(xlabel=label, ylim=(len(ordered) - 0.5, -0.5), xlim=(0, 1.15 * ordered[-1][1]))
    return ax


def growth_line(ax: Axes, at: pd.Series, seconds: pd.Series, label: str) -> Axes:
    """Seconds against one setting, from 0."""
    ax.plot(at, seconds, "o-", color=LINE_COLORS[0], markersize=4)
    ax.set(xlabel=label, ylim=(0, 1.15 * float(seconds.max())), xlim=(0, None))
    return ax


def predicted_measured(ax: Axes, predicted: pd.Series, measured: pd.Series, groups: pd.Series, unit: str) -> Axes:
    """A dot for each job, both axes logarithmic; on the line the prediction is right."""
    span = np.array([0.7 * min(predicted.min(), measured.min()), 1.4 * max(predicted.max(), measured.max())])
    ax.plot(span, span, color="black", linewidth=0.9)
    for i, (name, at) in enumerate(predicted.groupby(groups, sort=False).groups.items()):
        ax.plot(predicted[at], measured[at], MARKERS[i % len(MARKERS)], color=LINE_COLORS[i % len(LINE_COLORS)], label=str(name), alpha=0.8)
    ax.set(xscale="log", yscale="log", xlabel=f"predicted {unit}", ylabel=f"measured {unit}")
    for axis in (ax.xaxis, ax.yaxis):  # jobs of one profile often span less than a decade: 1, 2 and 5 of each are named
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
