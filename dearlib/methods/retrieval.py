"""Attribute-conditioned retrieval: the pictures nearest to a query by one token's feature (the paper's Figure 3), and how
often they share the query's factor, which only a rendered world can say."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.clip.cut import check_layer
from dearlib.clip.prefix import Source, together
from dearlib.errors import InputError
from dearlib.methods.dear import DeAR

CLASS_FEATURE = "class feature"


@torch.no_grad()
def features_by_token(model: DeAR, source: Source) -> dict[str, Tensor]:
    """Normalised features [picture, d_embed] of every attribute's token and of [CLS], from states on the verge of layer J.

    Raises `InputError` if the states enter another layer than the model's J.
    """
    check_layer(source.first_layer, model.settings.first_layer)
    device = model.fusion.device
    parts = [model.image_features(s.to(device)) for s in source.chunks(together(model.clip))]
    attribute = F.normalize(torch.cat([part.attribute for part in parts]), dim=-1).cpu()
    cls = F.normalize(torch.cat([part.cls for part in parts]), dim=-1).cpu()
    return {**{name: attribute[:, i] for i, name in enumerate(model.roles.attributes)}, CLASS_FEATURE: cls}


def nearest(features: Float[Tensor, "picture d"], k: int) -> Int[Tensor, "picture k"]:
    """The k most similar other pictures of each, best first; a picture is no neighbour of its own.

    Raises `InputError` if there are not k others.
    """
    if not 1 <= k < len(features):
        raise InputError(f"k: expected 1 to {len(features) - 1} neighbours among {len(features)} pictures, got {k}")
    similarity = features @ features.T
    similarity.fill_diagonal_(-torch.inf)
    return similarity.topk(k, dim=1).indices


def precision(neighbours: Int[Tensor, "picture k"], labels: Int[Tensor, "picture"]) -> Float[Tensor, "picture"]:
    """Per query, the share of its neighbours that have its label; NaN for a query without one (label −1)."""
    hit = (labels[neighbours] == labels[:, None]).double().mean(dim=1)
    return hit.masked_fill(labels < 0, torch.nan)


def chance(labels: Int[Tensor, "picture"]) -> float:
    """Expected precision of neighbours drawn blindly from the other pictures, as a share."""
    counts = torch.bincount(labels[labels >= 0])
    same = counts[labels[labels >= 0]] - 1
    return float(same.double().mean() / (len(labels) - 1))
