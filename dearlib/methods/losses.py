"""The three losses of DeAR (Eq. 12–16), of one run or of several at once."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.methods.dear import DeAR
from dearlib.methods.fusion import ImageFeatures, full_precision, similarities


@dataclass(frozen=True)
class Losses:
    """The terms of Eq. 12 for one batch, unweighted; of several runs' batches, one of each a run."""

    cross_entropy: Float[Tensor, "*run"]
    regularisation: Float[Tensor, "*run"]
    fusion: Float[Tensor, "*run"]


def losses(
    model: DeAR,
    image: ImageFeatures,
    text: Float[Tensor, "class_ d_embed"],
    frozen_image: Float[Tensor, "batch d_embed"],
    frozen_text: Float[Tensor, "class_ d_embed"],
    labels: Int[Tensor, "batch"],
) -> Losses:
    """Eq. 12–16: cross-entropy of ŷ; 1 − cos to the frozen features of the same view and of the prompts; −log α_cls."""
    return terms(model.alpha, model.clip.scale, image, text, frozen_image, frozen_text, labels)


def terms(
    alpha: Float[Tensor, "*run feature"],
    scale: float,
    image: ImageFeatures,
    text: Float[Tensor, "*run class_ d_embed"],
    frozen_image: Float[Tensor, "*run batch d_embed"],
    frozen_text: Float[Tensor, "class_ d_embed"],
    labels: Int[Tensor, "*run batch"],
) -> Losses:
    """`losses` of one run or of several, from their fusion weights and features; means are taken within a run."""
    with torch.autocast(text.device.type, enabled=False):
        fused_logits = torch.einsum("...f,...bfc->...bc", alpha, similarities(image, text, scale))
        each = F.cross_entropy(fused_logits.flatten(0, -2), labels.flatten(), reduction="none").view_as(labels)
        away_image = (1 - F.cosine_similarity(full_precision(image.cls), frozen_image, dim=-1)).mean(dim=-1)
        away_text = (1 - F.cosine_similarity(full_precision(text), frozen_text, dim=-1)).mean(dim=-1)
        return Losses(each.mean(dim=-1), away_image + away_text, -alpha[..., 0].log())
