"""A linear map of CLIP's class feature, the identity at the start: a projection that is trained without any token [ours].

As many numbers as P_attr at equal widths, nothing else; new classes and other data sets get the same map.
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
from dearlib.params.types import NonNegative

RECIPE = Recipe()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`weight`: of the distance between mapped and frozen features, as λ_reg in Eq. 12."""

    weight: NonNegative = 0.0


class LinearMap(nn.Module):
    """d × d numbers."""

    title: ClassVar = "CLIP + linear map"
    wants: ClassVar = ()

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        self.clip, self.settings = clip, settings
        self.map = nn.Parameter(torch.eye(clip.d_embed))
        self.weights: Mapping[str, float] = {"cross_entropy": 1.0, "image": settings.weight}
        self.needs = Needs(image_from=clip.layers + 1, text_from=clip.layers + 1)
        after = (clip.layers + 1, clip.layers + 1)
        self.enters = (Entry(modality="image", layers=after, rule="project", source="parameter"),)

    def prepare(self, classes: Classes) -> Float[Tensor, "class_ d_embed"]:
        """The frozen text features."""
        return self.clip.encode_text(classes.prompts)

    def losses(self, batch: Batch, text: Float[Tensor, "class_ d_embed"]) -> dict[str, Tensor]:
        """Cross-entropy, and how far the map leads away from CLIP's feature."""
        away = 1 - F.cosine_similarity(batch.features @ self.map, batch.features, dim=-1).mean()
        return {"cross_entropy": F.cross_entropy(self.logits(batch, text, "base"), batch.labels), "image": away}

    def encode(self, text: Float[Tensor, "class_ d_embed"]) -> Float[Tensor, "class_ d_embed"]:
        """As they are."""
        return text

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos of the mapped feature."""
        return cosine_logits(pictures.features @ self.map, encoded, self.clip.scale)


METHOD = LinearMap
