"""Figures draw what they are given, keep one look, and are the same bytes twice."""

import matplotlib as mpl

mpl.use("Agg")

from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from dearlib import plots
from dearlib.methods import masks
from dearlib.methods.interface import Entry
from dearlib.plots.comparisons import named_points
from dearlib.plots.style import CONCEPT_COLORS, OTHER_CONCEPTS
from dearlib.roles.rolefile import HeadRoles


@pytest.fixture(autouse=True)
def _close() -> None:
    plt.close("all")


def test_saved_figures_are_the_same_bytes_twice(tmp_path: Path, roles: HeadRoles) -> None:
    for name in ("a", "b"):
        fig, ax = plots.figure()
        plots.role_map(ax, roles)
        plots.save(fig, tmp_path / name, "map")
    for kind in ("svg", "png"):
        assert (tmp_path / "a" / f"map.{kind}").read_bytes() == (tmp_path / "b" / f"map.{kind}").read_bytes()
    assert sorted(f.name for f in (tmp_path / "a").iterdir()) == ["map.png", "map.svg"]


def test_a_users_own_style_changes_no_figure(tmp_path: Path) -> None:
    def drawn() -> bytes:
        fig, ax = plots.figure()
        ax.plot([1, 2])
        plots.save(fig, tmp_path, "line")
        return (tmp_path / "line.svg").read_bytes()

    plain = drawn()
    with mpl.rc_context({"lines.linewidth": 9, "axes.facecolor": "black", "axes.grid": True}):
        assert drawn() == plain


def test_role_map_has_the_colour_of_each_role_at_its_head(roles: HeadRoles) -> None:
    fig, ax = plots.figure()
    image = plots.role_map(ax, roles).images[0]
    colors = image.to_rgba(image.get_array())
    for entry in roles.entries:
        drawn = colors[entry.layer - roles.first_layer, entry.head]
        assert np.allclose(drawn, mpl.colors.to_rgba(plots.ROLE_COLORS[entry.role]), atol=1 / 255)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["L9", "L10", "L11", "L12"]
    assert len(fig.legends) == 1


@pytest.mark.parametrize("per", [1, 2])
def test_mask_drawing_colours_what_may_be_seen(roles: HeadRoles, per: int) -> None:
    head = next(e for e in roles.entries if e.role == "attribute")
    may = masks.head_mask(head, roles.attributes, 7, per).numpy()
    _, ax = plots.figure()
    plots.mask_drawing(ax, may, 7, roles.attributes, "#E69F00")
    values = np.asarray(ax.collections[0].get_array())
    expected = np.delete(np.delete(may, range(2, 7), axis=0), range(2, 7), axis=1)  # one patch stands for all
    assert np.array_equal(values.astype(bool), expected)


def test_mask_drawing_refuses_patches_that_differ(roles: HeadRoles) -> None:
    may = np.ones((12, 12), dtype=bool)
    may[3, 4] = False
    _, ax = plots.figure()
    with pytest.raises(ValueError, match="one value for all patches"):
        plots.mask_drawing(ax, may, 7, roles.attributes, "#E69F00")


def test_ablation_matrix_says_where_no_head_is() -> None:
    change = np.array([[-3.0, 0.5], [np.nan, np.nan]])
    _, ax = plots.figure()
    plots.ablation_matrix(ax, change, change - 1, change + 1, ["color", "shape"], ["color", "shape"])
    assert [t.get_text() for t in ax.texts] == ["-3.0\n[-4.0, -2.0]", "+0.5\n[-0.5, +1.5]", "no head has this role"]


def test_ablation_matrix_without_any_head() -> None:
    nothing = np.full((2, 2), np.nan)
    _, ax = plots.figure()
    plots.ablation_matrix(ax, nothing, nothing, nothing, ["color", "shape"], ["color", "shape"])
    assert [t.get_text() for t in ax.texts] == ["no head has this role"] * 2


def test_the_other_figures_draw(tmp_path: Path, roles: HeadRoles) -> None:
    rng = np.random.default_rng(0)
    image = rng.random((16, 16, 3))
    fig, axes = plots.figure(3, 4, size=(12.0, 9.0))
    draw = iter(axes.flat)
    plots.patch_grid(next(draw), image, 4, marked=[0, 15])
    plots.attention_overlay(next(draw), image, rng.random((4, 4)))
    plots.contribution_map(next(draw), rng.normal(size=(3, 5)), 1, "share")
    plots.stacked_parts(next(draw), {"a": rng.random(3), "b": rng.random(3)}, "length")
    plots.entropy_map(next(draw), roles)
    assigned = np.array([0, 0, 1, 1, 0, 1])
    plots.cluster_scatter(next(draw), rng.random((6, 2)), np.array([0, 0, 1, 1, -1, -1]), assigned, ["color", "shape"])
    plots.concept_bars(next(draw), {"L9 H0": {"color": 0.75, "shape": 0.25, "size": 0.0}, "L9 H1": {"size": 1.0}})
    plots.role_map(next(draw), roles, legend=False)
    plots.role_counts(next(draw), [0.1, 0.2], {"attribute": [1, 2], "mixed": [3, 2]}, 0.15, "low")
    plots.token_flow(next(draw), np.ones((8, 8), dtype=bool), 3, roles.attributes, "#0072B2")
    plots.loss_curve(next(draw), [[{"loss": 2.0}, {"loss": 1.0}], [{"loss": 3.0}, {"loss": 1.0}]], "loss", "loss")
    table = pd.DataFrame({"dataset": ["a", "a"], "method": ["x", "y"], "hm": [50.0, 60.0], "hm_sd": [float("nan"), 1.0]})
    plots.base_novel_chart(next(draw), table)
    plots.save(fig, tmp_path, "all")
    assert (tmp_path / "all.svg").stat().st_size > 10_000


def test_the_map_of_heads_and_factors_frames_each_heads_own() -> None:
    confirmed = pd.DataFrame({"layer": [9, 9], "head": [0, 1], "attribute": ["shape", "color"], "difference": [-0.2, -0.1]})
    changes = pd.DataFrame(
        {"layer": 9, "head": [0, 0, 1, 1], "factor": ["color", "shape"] * 2, "kind": "margin", "change": [0.1, -0.2, -0.3, 0.0]}
    )
    _, ax = plots.figure()
    plots.head_factor_map(ax, changes, confirmed, ["color", "shape"])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["L9 H1", "L9 H0"]
    assert [t.get_text() for t in ax.texts] == ["-0.30", "+0.00", "+0.10", "-0.20"]
    assert [frame.get_xy() for frame in ax.patches] == [(0, 0), (1, 1)]


def test_a_concept_has_one_colour_everywhere_and_no_roles() -> None:
    few, many = plots.concept_colors(["color", "light"]), plots.concept_colors(["animal", "color", "color 2", "light", "none"])
    assert few["color"] == many["color"] == many["color 2"]
    assert len(set(many.values())) == 4
    assert not set(many.values()) & set(plots.ROLE_COLORS.values())
    theirs = {*plots.ROLE_COLORS.values(), *CONCEPT_COLORS.values(), *OTHER_CONCEPTS}
    assert not theirs & {*plots.LINE_COLORS, *plots.METHOD_COLORS}


def test_bars_of_several_heads_share_one_axis_and_fill_it() -> None:
    _, ax = plots.figure()
    plots.concept_bars(ax, {"a": {"color": 0.75, "size": 0.25}, "b": {"size": 1.0}})
    ends = {round(patch.get_y()): patch.get_x() + patch.get_width() for patch in ax.patches}
    assert ends == pytest.approx({0: 1.0, 1: 1.0})


def test_evidence_marks_specialised_heads_filled_where_ablation_confirms(roles: HeadRoles) -> None:
    table = pd.DataFrame({"layer": 9, "head": [0, 1, 2, 3], "concept": ["color", "shape", "shape", "letter"],
                          "entropy": [0.1, 0.2, 2.0, 0.3], "null_5": 1.0, "null_50": 1.5,
                          "role_null": ["attribute", "attribute", "generalization", "other"],
                          "confirmed": [True, False, None, None]})  # fmt: skip
    _, ax = plots.figure()
    plots.entropy_evidence(ax, table, {(9, h): (0.0, 2.1) for h in range(4)}, "null")
    assert [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "x"] == [3]  # nobody ablated it
    squares = [line for line in ax.lines if line.get_marker() == "s"]
    assert [line.get_markerfacecolor() for line in squares] == [plots.concept_colors(["color"])["color"], "none"]
    assert min(t.get_fontsize() for t in ax.get_xticklabels()) >= 7


def test_confirmation_forest_fills_what_is_confirmed() -> None:
    table = pd.DataFrame({"layer": 9, "head": [0, 1], "attribute": ["color", "shape"], "difference": [-1.0, 0.1], "low": [-1.2, -0.1],
                          "high": [-0.8, 0.3], "confirmed": [True, False]})  # fmt: skip
    _, ax = plots.figure()
    plots.confirmation_forest(ax, table)
    points = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() == "white" for line in points] == [False, True]


def test_difference_map_marks_what_fails_and_dots_what_passes() -> None:
    difference = pd.DataFrame({"a": [-0.424, 0.004], "b": [float("nan"), 0.012]}, index=["x", "y"])
    beyond = pd.DataFrame({"a": [0.414, 0.0], "b": [float("nan"), 0.002]}, index=["x", "y"])
    _, ax = plots.figure()
    plots.difference_map(ax, difference, beyond, "points")
    assert [(t.get_position(), t.get_text()) for t in ax.texts] == [((0, 0), "−0.42"), ((1, 1), "+0.01")]
    assert [tuple(line.get_xydata()[0]) for line in ax.lines] == [(0, 1)]


def test_trade_off_has_every_method_at_its_numbers() -> None:
    averages = pd.DataFrame({"base": [69.0, 85.0, 86.0], "novel": [74.0, 73.0, 80.0]}, index=["x", "y", "ours"])
    moved = pd.DataFrame({"base": [83.0], "novel": [74.0]}, index=["y"])
    _, ax = plots.figure()
    plots.trade_off(ax, averages, "ours", moved)
    assert ax.collections[0].get_offsets().tolist() == averages.values.tolist()
    assert tuple(ax.lines[-1].get_xydata()[0]) == (83.0, 74.0)
    curves = [line.get_xydata() for line in ax.lines[:-1]]
    means = [(2 * xy[:, 0] * xy[:, 1] / xy.sum(axis=1)) for xy in curves]
    assert all(np.allclose(hm, hm[0]) for hm in means)
    assert {f" HM {hm[0]:.0f}" for hm in means} < {t.get_text() for t in ax.texts}


def test_names_beside_points_cover_neither_each_other_nor_a_point() -> None:
    fig, ax = plots.figure()
    ax.set(xlim=(0, 10), ylim=(0, 10))
    points = [("one", 5.0, 5.0), ("another", 5.1, 5.0), ("a third one", 5.0, 5.1), ("at the edge", 9.9, 5.0)]
    named_points(ax, points, [{"fontsize": 8}] * 4)
    fig.draw_without_rendering()
    boxes = {t.get_text(): t.get_window_extent() for t in ax.texts}
    assert not any(a.overlaps(b) for a, b in combinations(boxes.values(), 2))
    for (name, *_), (px, py) in zip(points, ax.transData.transform([at[1:] for at in points]), strict=True):
        assert not any(box.contains(px, py) for other, box in boxes.items() if other != name)
    assert boxes["at the edge"].x1 <= ax.get_window_extent().x1


def test_method_forest_draws_means_both_intervals_and_what_can_be_seen() -> None:
    rows = pd.DataFrame({"against": ["x", "x", "y", "y"], "estimand": ["data sets like these", "these data sets"] * 2,
                         "difference": [2.0, 2.0, -1.0, -1.0], "low": [1.0, 1.5, -3.0, -np.inf], "high": [3.0, 2.5, 1.0, np.inf],
                         "detectable": [1.4, 0.7, 2.8, np.nan], "effect": [1.5, 1.5, np.nan, np.nan],
                         "verdict": ["holds", "holds", "undecided", "not given"]})  # fmt: skip
    points = pd.DataFrame({"against": ["x", "x", "y"], "difference": [1.0, 3.0, -1.0]})
    _, ax = plots.figure()
    plots.method_forest(ax, rows, points, "points")
    lines = [line.get_xydata().tolist() for line in ax.lines]
    assert lines[:2] == [[[1, 0], [3, 0]], [[1.5, 0], [2.5, 0]]]
    assert [[-3, 1], [1, 1]] in lines  # and no second interval where there is none
    marks = {tuple(line.get_xydata()[0]): line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"}
    assert marks == {(2, 0): plots.LINE_COLORS[0], (-1, 1): "white"}
    assert [tuple(line.get_xydata()[0]) for line in ax.lines if line.get_marker() == "D"] == [(1.5, 0)]
    assert sorted((p.get_x(), p.get_width()) for p in ax.patches) == [(-2.8, 5.6), (-1.4, 2.8)]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x", "y"]
    assert sum(len(c.get_offsets()) for c in ax.collections) == 3


def test_the_chart_of_methods_has_a_bar_for_every_entry() -> None:
    words = Entry(modality="text", layers=(0, 0), rule="words", source="per picture", count=4)
    deep = Entry(modality="text", layers=(2, 9), rule="replace", source="parameter", count=4)
    _, axes = plots.figure(1, 2)
    plots.family_chart(axes, {"CLIP": (), "CoCoOp": (words,), "both": (words, deep)}, layers=12)
    assert [len(ax.patches) for ax in axes] == [0, 3]
    assert [t.get_text() for t in axes[1].texts] == ["p", "p"]
    ends = [(p.get_x() + 0.46, p.get_x() + p.get_width() - 0.46) for p in axes[1].patches]
    assert np.allclose(ends, [(0, 0), (0, 0), (2, 9)])
