"""Role masks: which token each head lets each token see (Eq. 7–9).

Token order: [CLS], patches, attribute tokens (those of the first attribute first). True means *may look*.
"""

from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from dearlib.roles.rolefile import HeadRole, HeadRoles

Routing = Literal["printed", "exclusive"]


def head_mask(
    role: HeadRole, attributes: tuple[str, ...], n_original: int, tokens_per_attribute: int = 1, routing: Routing = "printed"
) -> Bool[Tensor, "query key"]:
    """One head's `may_attend`.

    - Generalization and other-specialised heads (Eq. 8): originals see originals, attribute tokens see attribute tokens.
      So in these heads no token ever sees the picture.
    - Attribute heads (Eq. 9): every query sees the originals and the head's own attribute's tokens, no others.
    - Mixed heads: everything sees everything.

    Args:
        routing: 'printed' is Eq. 9 as it stands, which hides other attributes' tokens as keys alone: as queries they read
            the picture here like the head's own. 'exclusive' [ours]: in an attribute head each token of another attribute
            sees itself and nothing else, so that only the head's own tokens read the picture.
    """
    n_tokens = len(attributes) * tokens_per_attribute
    original = torch.arange(n_original + n_tokens) < n_original
    if role.role == "mixed":
        return torch.ones(len(original), len(original), dtype=torch.bool)
    if role.role == "attribute":
        owner = torch.full((n_original,), -1).tolist() + [a for a in range(len(attributes)) for _ in range(tokens_per_attribute)]
        own = torch.tensor(owner) == attributes.index(role.concept)
        printed = (original | own).expand(len(original), -1).clone()
        if routing == "printed":
            return printed
        return torch.where((original | own)[:, None], printed, torch.eye(len(original), dtype=torch.bool))
    return original[:, None] == original[None, :]


def layer_mask(
    roles: HeadRoles, layer: int, n_original: int, tokens_per_attribute: int = 1, routing: Routing = "printed"
) -> Bool[Tensor, "head query key"]:
    """All heads of one layer (1-based, J ≤ layer ≤ L)."""
    heads = range(roles.heads)
    return torch.stack([head_mask(roles.at(layer, h), roles.attributes, n_original, tokens_per_attribute, routing) for h in heads])
