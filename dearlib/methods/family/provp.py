"""ProVP-Ref: image tokens that change slowly from layer to layer, and pictures told apart as CLIP does (Xu et al., IJCV 2024).

Sixteen tokens enter before layer 1, after `ln_pre`; before layer l ≥ 2 goes 0.99 · P_l + 0.01 · (their output of the layer before).
The text is frozen. Loss: CE + CE(v · v₀ᵀ over the batch, each picture being its own class, temperature 1), v₀ the frozen feature of
the same view.

Authors' recipe (MCG-NJU/ProVP): SGD 0.1, weight decay 1e-3, batch 32, 100 epochs, one at 1e-5, crops of (0.08, 1), tokens drawn
uniformly in ± √(6 / (3 · 14² + D_v)) whatever the patch size; templates of their own, given by `classes.template`. Their code
evaluates the test set every epoch and ends with the best; here the last epoch counts [ours].
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
from dearlib.methods.tokens import picture_features
from dearlib.params.types import Count, Fraction, NonNegative

RECIPE = Recipe(epochs=100, batch=32, lr=0.1, optimiser="sgd", weight_decay=1e-3)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`tokens`: 16, few-shot 50. `beta`: the share of a layer's own tokens. `weight`: of the second cross-entropy; 0 is ProVP."""

    tokens: Count = 16
    beta: Fraction = 0.99
    weight: NonNegative = 1.0


class ProVP(nn.Module):
    """Image tokens of every layer."""

    title: ClassVar = "ProVP"
    wants: ClassVar = ()

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        self.clip, self.settings = clip, settings
        bound = (6 / (3 * 14**2 + clip.d_model)) ** 0.5
        uniform = torch.rand(clip.layers, settings.tokens, clip.d_model, generator=torch.Generator().manual_seed(seed))
        self.tokens = nn.Parameter(bound * (2 * uniform - 1))
        self.weights: Mapping[str, float] = {"cross_entropy": 1.0, "pictures": settings.weight}
        self.needs = Needs(image_from=1, text_from=clip.layers + 1)
        self.enters = (
            Entry(modality="image", layers=(1, 1), rule="insert", source="parameter", count=settings.tokens),
            Entry(modality="image", layers=(2, clip.layers), rule="blend", source="parameter", count=settings.tokens),
        )

    def prepare(self, classes: Classes) -> Float[Tensor, "class_ d_embed"]:
        """The frozen text features."""
        return self.clip.encode_text(classes.prompts)

    def losses(self, batch: Batch, text: Float[Tensor, "class_ d_embed"]) -> dict[str, Tensor]:
        """Cross-entropy over classes, and over the batch's pictures."""
        v = self.image_features(batch)
        return {
            "cross_entropy": F.cross_entropy(cosine_logits(v, text, self.clip.scale), batch.labels),
            "pictures": F.cross_entropy(cosine_logits(v, batch.features, 1.0), torch.arange(len(v), device=v.device)),
        }

    def encode(self, text: Float[Tensor, "class_ d_embed"]) -> Float[Tensor, "class_ d_embed"]:
        """As they are."""
        return text

    def image_features(self, pictures: Pictures) -> Float[Tensor, "picture d_embed"]:
        """The class feature with the learned tokens."""
        return picture_features(self.clip, pictures.states, list(self.tokens.unsqueeze(1)), self.settings.beta)

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos, the same for every split."""
        return cosine_logits(self.image_features(pictures), encoded, self.clip.scale)


METHOD = ProVP
