"""Role-masked attention: the definition, and the fast form that equals it.

Masks are `may_attend`: True where a query may look at a key. They become additive in this module alone.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn


def additive(may_attend: Bool[Tensor, "*axes query key"], dtype: torch.dtype) -> Float[Tensor, "*axes query key"]:
    """M of Eq. 7: 0 where a query may look, −∞ where it may not."""
    return torch.zeros_like(may_attend, dtype=dtype).masked_fill(~may_attend, float("-inf"))


def reference(
    query: Float[Tensor, "batch head query d_head"],
    key: Float[Tensor, "batch head key d_head"],
    value: Float[Tensor, "batch head key d_head"],
    may_attend: Bool[Tensor, "#batch #head query key"],
) -> Float[Tensor, "batch head query d_head"]:
    """softmax(Q Kᵀ / √D_h + M) V, written out (Eq. 1 and 7). Every query must be allowed at least one key."""
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    return torch.softmax(scores + additive(may_attend, scores.dtype), dim=-1) @ value


def fused(
    query: Float[Tensor, "batch head query d_head"],
    key: Float[Tensor, "batch head key d_head"],
    value: Float[Tensor, "batch head key d_head"],
    may_attend: Bool[Tensor, "#batch #head query key"],
) -> Float[Tensor, "batch head query d_head"]:
    """The same through PyTorch's fused kernel, which takes the mask as a bias."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=additive(may_attend, query.dtype))


def masked_layer(
    block: nn.Module,
    x: Float[Tensor, "batch token d_model"],
    may_attend: Bool[Tensor, "#batch #head query token"],
    read: Float[Tensor, "batch query d_model"] | None = None,
) -> Float[Tensor, "batch query d_model"]:
    """One frozen open_clip layer with a mask per head.

    Args:
        block: an open_clip `ResidualAttentionBlock`.
        x: the states entering the layer: every token is a key.
        may_attend: True where query may look at key, per head or for all.
        read: the states, taken from `x`, of the tokens whose output is wanted; None for all. In the last layer only
            the tokens that are read need queries and an MLP: leaving the rest out is exact.
    """
    attn = block.attn
    heads: int = attn.num_heads  # type: ignore[assignment,union-attr]
    weight, bias = attn.in_proj_weight, attn.in_proj_bias  # type: ignore[union-attr]
    normed = block.ln_1(x)  # type: ignore[operator]
    if read is None:
        read = x
        query, key, value = F.linear(normed, weight, bias).chunk(3, dim=-1)  # type: ignore[arg-type]
    else:
        d = x.shape[-1]
        query = F.linear(block.ln_1(read), weight[:d], bias[:d])  # type: ignore[operator,index]
        key, value = F.linear(normed, weight[d:], bias[d:]).chunk(2, dim=-1)  # type: ignore[index]
    query, key, value = (rearrange(t, "batch token (head d) -> batch head token d", head=heads) for t in (query, key, value))
    mixed = rearrange(fused(query, key, value, may_attend), "batch head token d -> batch token (head d)")
    out = read + block.ls_1(attn.out_proj(mixed))  # type: ignore[operator,union-attr]
    return out + block.ls_2(block.mlp(block.ln_2(out)))  # type: ignore[operator]
