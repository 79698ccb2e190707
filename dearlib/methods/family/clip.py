"""CLIP, zero-shot: the frozen features' cosine with one prompt a class. Nothing is trained (Radford et al., ICML 2021).

Source of the tables' rows: the data set's one template, not an ensemble of seven or eighty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

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


class Clip(nn.Module):
    """v · t of the frozen features."""

    title: ClassVar = "CLIP"
    wants: ClassVar = ()
    weights: Mapping[str, float] = {"cross_entropy": 1.0}
    enters: tuple[Entry, ...] = ()

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        self.clip, self.settings = clip, settings
        self.needs = Needs(image_from=clip.layers + 1, text_from=clip.layers + 1)

    def prepare(self, classes: Classes) -> Float[Tensor, "class_ d_embed"]:
        """The frozen text features."""
        return self.clip.encode_text(classes.prompts)

    def losses(self, batch: Batch, text: Float[Tensor, "class_ d_embed"]) -> dict[str, Tensor]:
        """Cross-entropy, to be looked at; it has no gradient."""
        return {"cross_entropy": F.cross_entropy(self.logits(batch, text, "base"), batch.labels)}

    def encode(self, text: Float[Tensor, "class_ d_embed"]) -> Float[Tensor, "class_ d_embed"]:
        """As they are."""
        return text

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos, the same for every split."""
        return cosine_logits(pictures.features, encoded, self.clip.scale)


METHOD = Clip
