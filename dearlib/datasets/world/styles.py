"""How a scene is drawn: the style of pre-training, four shifted ones, and the target styles that pre-training never sees.

A style changes pose ranges and then finishes the composed picture; the factors stay what they are.
"""

from dataclasses import dataclass

from dearlib.datasets.world import finishes
from dearlib.datasets.world.finishes import Finish


@dataclass(frozen=True)
class Style:
    """Pose ranges and the finishing of one drawing style.

    `scale`: half the subject's size as a fraction of the image, `size` factor small / large halves the range;
    `rotation`: degrees either way; `contrast`: how strongly the texture's second tone differs, in [0, 1].
    """

    scale: tuple[float, float] = (0.58, 0.92)
    rotation: float = 18.0
    contrast: float = 1.0
    finish: Finish = finishes.plain


STYLES = {
    "render": Style(),
    "redrawn": Style(scale=(0.5, 0.95), rotation=28.0),
    "sketch": Style(finish=finishes.sketch),
    "adversarial": Style(scale=(0.36, 0.66), rotation=40.0, contrast=0.7, finish=finishes.cluttered),
    "rendition": Style(finish=finishes.poster),
    "lamp": Style(finish=finishes.lamp),
    "glass": Style(finish=finishes.glass),
    "fog": Style(finish=finishes.fog),
    "chalk": Style(finish=finishes.chalk),
    "thermal": Style(finish=finishes.thermal),
    "scanlines": Style(finish=finishes.scanlines),
    "night": Style(finish=finishes.night),
    "misprint": Style(finish=finishes.misprint),
    "halftone": Style(finish=finishes.halftone),
    "ripple": Style(finish=finishes.ripple),
    "static": Style(finish=finishes.static),
    "watercolor": Style(finish=finishes.watercolor),
}
