"""Role masks: which token each head lets each token see (Eq. 7–9).

Token order: [CLS], patches, attribute tokens (those of the first attribute first). True means *may look*.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from dearlib.roles.rolefile import HeadRole, HeadRoles


def head_mask(role: HeadRole, attributes: tuple[str, ...], n_original: int, tokens_per_attribute: int = 1) -> Bool[Tensor, "query key"]:
    """One head's `may_attend`.

    - Generalization and other-specialised heads (Eq. 8): originals see originals, attribute tokens see attribute tokens.
    - Attribute heads (Eq. 9): every query sees the originals and the head's own attribute's tokens, no others.
    - Mixed heads: everything sees everything.
    """
    n_tokens = len(attributes) * tokens_per_attribute
    original = torch.arange(n_original + n_tokens) < n_original
    if role.role == "mixed":
        return torch.ones(len(original), len(original), dtype=torch.bool)
    if role.role == "attribute":
        owner = torch.full((n_original,), -1).tolist() + [a for a in range(len(attributes)) for _ in range(tokens_per_attribute)]
        own = torch.tensor(owner) == attributes.index(role.concept)
        return (original | own).expand(len(original), -1).clone()
    return original[:, None] == original[None, :]


def layer_mask(roles: HeadRoles, layer: int, n_original: int, tokens_per_attribute: int = 1) -> Bool[Tensor, "head query key"]:
    """All heads of one layer (1-based, J ≤ layer ≤ L)."""
    return torch.stack([head_mask(roles.at(layer, h), roles.attributes, n_original, tokens_per_attribute) for h in range(roles.heads)])
