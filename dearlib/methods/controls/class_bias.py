"""A learned constant per class on CLIP's answers: all that attribute features can do which do not see the picture [ours].

Under All-Generalization s_a is a constant per class; so is this, and on the scale of a cosine as s_a is: multiplied by τ, so that
steps of one size move both alike. It knows the classes it was trained on alone: on new classes and other data sets the constant is
0, and the answers are CLIP's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dearlib.clip.loading import FrozenClip
from dearlib.methods.fusion import cosine_logits
from dearlib.methods.interface import Batch, Classes, Entry, Needs, Pictures, Split
from dearlib.methods.recipe import Recipe

RECIPE = Recipe()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Nothing can be set."""


class ClassBias(nn.Module):
    """One number a class, 0 at the start."""

    title: ClassVar = "CLIP + class constants"
    wants: ClassVar = ()
    weights: Mapping[str, float] = {"cross_entropy": 1.0}

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        self.clip, self.settings = clip, settings
        self.bias = nn.Parameter(torch.zeros(len(classes.names)))
        self.needs = Needs(image_from=clip.layers + 1, text_from=clip.layers + 1)
        self.enters: tuple[Entry, ...] = ()

    def prepare(self, classes: Classes) -> Float[Tensor, "class_ d_embed"]:
        """The frozen text features."""
        return self.clip.encode_text(classes.prompts)

    def losses(self, batch: Batch, text: Float[Tensor, "class_ d_embed"]) -> dict[str, Tensor]:
        """Cross-entropy."""
        return {"cross_entropy": F.cross_entropy(self.logits(batch, text, "base"), batch.labels)}

    def encode(self, text: Float[Tensor, "class_ d_embed"]) -> Float[Tensor, "class_ d_embed"]:
        """As they are."""
        return text

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · (cos + constant), the constants for the classes that have one."""
        frozen = cosine_logits(pictures.features, encoded, self.clip.scale)
        return frozen + self.clip.scale * self.bias if split == "base" else frozen


METHOD = ClassBias
