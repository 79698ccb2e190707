"""DeAR as a drawing (the paper's Figure 2), every number on it read off the model."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Patch

from dearlib.methods.dear import DeAR
from dearlib.plots.style import LINE_COLORS
from dearlib.roles.controls import role_counts

FROZEN, TRAINED, LOSS = "#DCE6F0", "#FBE3C8", "#E9E3F4"
NEXT = "\n"  # a new line beside formulas, whose backslashes want a raw string


def framework(ax: Axes, model: DeAR, classes: int) -> Axes:
    """The whole model for `classes` class names: what is frozen, what is trained, what it is held to; shapes leave the batch out."""
    clip, s = model.clip, model.settings
    tokens, d_v, d_t, d = len(model.attribute_tokens), clip.d_model, clip.d_text, clip.d_embed
    below, above = f"1 … {s.first_layer - 1}", f"{s.first_layer} … {clip.layers}"
    text_layers = f"{s.first_layer} … {len(clip.model.transformer.resblocks)}"
    masks = "\n".join(f"{count} {name}" for name, count in role_counts(model.roles).items())
    picture = _box(ax, 0, 2, f"picture\n{clip.patches} patches + [CLS]", "white")
    low = _box(ax, 1, 2, f"vision layers {below}\n[{clip.patches + 1}, {d_v}]", FROZEN)
    high = _box(ax, 2, 2, f"vision layers {above}\nrole mask per head\n[{clip.patches + 1 + tokens}, {d_v}]", FROZEN)
    attribute = _box(ax, 1, 3, f"attribute tokens\n[{tokens}, {d_v}], $\\beta$ = {s.beta:g}", TRAINED)
    cls = _box(ax, 3, 2, rf"$P_\mathrm{{vision}}$ of [CLS]{NEXT}$f_\mathrm{{cls}}$ [{d}]", FROZEN)
    own = _box(ax, 3, 3, rf"$P_\mathrm{{attr}}$ of the tokens{NEXT}$f_a$ [{len(model.roles.attributes)}, {d}]", TRAINED)
    names = _box(ax, 0, 0.6, f"{classes} prompts", "white")
    text_low = _box(ax, 1, 0.6, f"text layers {below}\n[{classes}, n, {d_t}]", FROZEN)
    text_high = _box(ax, 2, 0.6, f"text layers {text_layers}\n[{classes}, n + {s.text_tokens}, {d_t}]", FROZEN)
    text_tokens = _box(ax, 1, -0.3, f"text tokens\n[{s.text_tokens}, {d_t}]", TRAINED)
    f_t = _box(ax, 3, 0.6, f"projection of [EOT]\n$f_t$ [{classes}, {d}]", FROZEN)
    answer = r"$\hat{y} = \sum_i \alpha_i\, \tau\, \cos(f_i, f_t)$"
    fused = _box(ax, 4, 2.6, f"{answer}\n$\\alpha$: {len(model.fusion)} weights\n[{classes}]", TRAINED)
    for start, end in ((picture, low), (low, high), (high, cls), (names, text_low), (text_low, text_high), (text_high, f_t)):
        _arrow(ax, start, end)
    for start, end in ((attribute, high), (high, own), (text_tokens, text_high), (cls, fused), (own, fused), (f_t, fused)):
        _arrow(ax, start, end)
    _losses(ax, cls, f_t, fused, f"[{d}]", f"[{classes}, {d}]")
    ax.text(2, 3.0, masks, ha="center", va="center", fontsize=7)
    kinds = {"input": "white", "frozen": FROZEN, "trained": TRAINED, "loss": LOSS}
    handles = [Patch(facecolor=color, edgecolor="#555555", label=name) for name, color in kinds.items()]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 0), frameon=False)
    ax.set(xlim=(-0.5, 5.5), ylim=(-0.8, 3.6))
    ax.set_axis_off()
    return ax


Place = tuple[float, float]


def _losses(ax: Axes, cls: Place, f_t: Place, fused: Place, image_shape: str, text_shape: str) -> None:
    """The frozen branch that training is held to, the four losses and their sum (Eq. 12–16)."""
    original = _box(ax, 3, 1.3, rf"frozen CLIP, same view{NEXT}$f_\mathrm{{cls}}^\mathrm{{orig}}$ {image_shape}", FROZEN)
    named = _box(ax, 3, -0.3, rf"frozen CLIP, same prompts{NEXT}$f_t^\mathrm{{orig}}$ {text_shape}", FROZEN)
    image_loss = _box(ax, 4, 1.5, r"$1 - \cos(f_\mathrm{cls}, f_\mathrm{cls}^\mathrm{orig})$", LOSS)
    text_loss = _box(ax, 4, 0.2, r"$1 - \cos(f_t, f_t^\mathrm{orig})$", LOSS)
    right = _box(ax, 5, 2.6, rf"cross-entropy($\hat{{y}}, y$){NEXT}$-\,\lambda_\mathrm{{fusion}} \log \alpha_\mathrm{{cls}}$", LOSS)
    near = _box(ax, 5, 0.9, r"sum, times $\lambda_\mathrm{reg}$", LOSS)
    total = _box(ax, 5, 1.75, r"sum: $\mathcal{L}_\mathrm{total}$", LOSS)
    for start, end in ((cls, image_loss), (original, image_loss), (f_t, text_loss), (named, text_loss), (fused, right)):
        _arrow(ax, start, end)
    for start in (image_loss, text_loss):
        _arrow(ax, start, near)
    _arrow(ax, right, total)
    _arrow(ax, near, total)


def _box(ax: Axes, column: float, row: float, text: str, color: str) -> Place:
    """A labelled box centred on a grid place; returns the place."""
    how = {"boxstyle": "round,pad=0.02,rounding_size=0.05", "facecolor": color, "edgecolor": "#555555", "linewidth": 0.8}
    ax.add_patch(FancyBboxPatch((column - 0.41, row - 0.27), 0.82, 0.54, **how))
    ax.text(column, row, text, ha="center", va="center", fontsize=7.2)
    return column, row


def _arrow(ax: Axes, start: Place, end: Place) -> None:
    """From one box's right edge to the next one's left; within a column from upper or lower edge to the edge that faces it."""
    style = {"arrowstyle": "-|>", "color": LINE_COLORS[6], "linewidth": 0.9}
    up = 0.29 if end[1] > start[1] else -0.29
    dx, dy = (0, up) if start[0] == end[0] else (0.43, 0)
    ax.annotate("", (end[0] - dx, end[1] - dy), (start[0] + dx, start[1] + dy), arrowprops=style)
