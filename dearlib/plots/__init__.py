"""Every figure, in one style: a function takes data and an `ax`, draws, and returns the `ax`.

`figure` makes the canvas, `save` writes SVG and PNG that are the
same bytes for the same data. Roles and concepts keep their colours everywhere, and lines and methods have others; entropies
and weights have a sequential map, differences a diverging one centred on 0; layers × heads maps have layers downwards (1-based)
and heads to the right (0-based).
"""

from dearlib.plots.comparisons import accuracy_cost, difference_map, method_forest, trade_off
from dearlib.plots.costs import counted_bars, growth_line, predicted_measured, ranked_bars, roofline
from dearlib.plots.family import family_chart
from dearlib.plots.framework import framework
from dearlib.plots.internals import attention_overlay, contribution_map, frame, patch_grid, picture, stacked_parts
from dearlib.plots.masks import mask_drawing, token_flow
from dearlib.plots.roles import (
    ablation_matrix,
    cluster_scatter,
    concept_bars,
    concept_colors,
    confirmation_forest,
    entropy_evidence,
    entropy_map,
    head_factor_map,
    planted_map,
    role_counts,
    role_legend,
    role_map,
)
from dearlib.plots.runs import (
    base_novel_chart,
    difference_forest,
    gain_dots,
    labelled_points,
    loss_curve,
    shot_curves,
    weight_map,
)
from dearlib.plots.style import (
    DIVERGING,
    LINE_COLORS,
    METHOD_COLORS,
    ROLE_COLORS,
    ROLE_NAMES,
    SEQUENTIAL,
    STYLE,
    colorbar,
    figure,
    layer_head_map,
    save,
)

__all__ = [
    "DIVERGING",
    "LINE_COLORS",
    "METHOD_COLORS",
    "ROLE_COLORS",
    "ROLE_NAMES",
    "SEQUENTIAL",
    "STYLE",
    "ablation_matrix",
    "accuracy_cost",
    "attention_overlay",
    "base_novel_chart",
    "cluster_scatter",
    "colorbar",
    "concept_bars",
    "concept_colors",
    "confirmation_forest",
    "contribution_map",
    "counted_bars",
    "difference_forest",
    "difference_map",
    "entropy_evidence",
    "entropy_map",
    "family_chart",
    "figure",
    "frame",
    "framework",
    "gain_dots",
    "growth_line",
    "head_factor_map",
    "labelled_points",
    "layer_head_map",
    "loss_curve",
    "mask_drawing",
    "method_forest",
    "patch_grid",
    "picture",
    "planted_map",
    "predicted_measured",
    "ranked_bars",
    "role_counts",
    "role_legend",
    "role_map",
    "roofline",
    "save",
    "shot_curves",
    "stacked_parts",
    "token_flow",
    "trade_off",
    "weight_map",
]
