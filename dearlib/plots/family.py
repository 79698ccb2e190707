"""Where methods put what they learn: notebook 16."""

from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from dearlib.methods.interface import Entry
from dearlib.plots.style import LINE_COLORS

# Pale ones for the rules whose bars carry a letter.
RULES = {"words": LINE_COLORS[3], "insert": LINE_COLORS[2], "replace": LINE_COLORS[5], "blend": LINE_COLORS[1],
         "project": LINE_COLORS[0], "unfreeze": LINE_COLORS[4]}  # fmt: skip
MARKS = {"parameter": "", "per class": "c", "per picture": "p", "projected": "m", "clusters": "g"}
MEANS = "c: made for each class, p: for each picture, m: by a map from another, g: for groups of classes"


def family_chart(axes: Iterable[Axes], methods: Mapping[str, Sequence[Entry]], layers: int) -> list[Axes]:
    """Layer × modality × rule: a row per method, a panel per modality, a bar where something learned enters.

    0 is the input (of the text encoder the words), `layers` + 1 what comes behind the last layer. The colour is the rule, a letter
    the source where it is not a plain parameter. `axes`: the image encoder's and the text encoder's.
    """
    both = list(axes)
    for ax, modality in zip(both, ("image", "text"), strict=True):
        for row, entries in enumerate(methods.values()):
            own = [e for e in entries if e.modality == modality]
            for e in own:
                same = [o for o in own if o.layers == e.layers and o.rule == e.rule]
                height = 0.76 / len(same)
                low = row - 0.38 + same.index(e) * height
                first, last = e.layers
                ax.add_patch(Rectangle((first - 0.46, low), last - first + 0.92, height, facecolor=RULES[e.rule], edgecolor="white"))
                if MARKS[e.source]:
                    ax.text((first + last) / 2, low + height / 2, MARKS[e.source], ha="center", va="center", fontsize=7)
        ax.set(
            xlim=(-0.7, layers + 1.7), ylim=(len(methods) - 0.5, -0.5), title={"image": "image encoder", "text": "text encoder"}[modality]
        )
        places = ["words" if modality == "text" else "input", *(f"L{n}" for n in range(1, layers + 1)), "after"]
        ax.set_xticks(range(layers + 2), places, rotation=90)
        ax.set_yticks(range(len(methods)), list(methods))
        ax.set_xlabel(MEANS if modality == "image" else "")
        ax.tick_params(length=0)
        ax.grid(axis="y", color="#E6E6E6", linewidth=0.6)
        ax.set_axisbelow(True)
    handles = [Patch(color=color, label=rule) for rule, color in RULES.items()]
    both[0].get_figure().legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return both
