"""Role-masked attention: the definition, and the fast form that equals it.

Masks are `may_attend`: True where a query may look at a key. They become additive in this module alone.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dearlib.clip.modules import Block


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
    """The same by the fastest exact kernel."""
    return attend(query, key, value, additive(may_attend, query.dtype))


def attend(
    query: Float[Tensor, "batch head query d_head"],
    key: Float[Tensor, "batch head key d_head"],
    value: Float[Tensor, "batch head key d_head"],
    bias: Float[Tensor, "#batch #head query key"] | None,
) -> Float[Tensor, "batch head query d_head"]:
    """`reference` with its mask made `additive` beforehand, None where all may look at all: the one place where a kernel is
    chosen, by device and shape.

    PyTorch's fused kernel with the mask as a bias, but for narrow heads on a CPU, where two plain matrix products are
    faster (notebook 13 shows the measurements, and what else was tried).
    """
    if query.device.type == "cpu" and query.shape[-1] < NARROW:
        scores = (query * query.shape[-1] ** -0.5) @ key.mT
        return torch.softmax(scores if bias is None else scores + bias, dim=-1) @ value
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


NARROW = 32  # heads of fewer dimensions fill no vector register; DeAR-Mini's have 12, CLIP's 64


def masked_layer(
    block: Block,
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
    return biased_layer(block, x, additive(may_attend, x.dtype), read)


def biased_layer(
    block: Block,
    x: Float[Tensor, "batch token d_model"],
    bias: Float[Tensor, "#batch #head query token"] | None,
    read: Float[Tensor, "batch query d_model"] | None = None,
    constant: int = 0,
) -> Float[Tensor, "batch query d_model"]:
    """`masked_layer` with its mask made `additive` beforehand, once for many steps.

    The first `constant` tokens depend on nothing that is trained (the originals entering layer J): their queries, keys
    and values are computed outside the graph, so that no gradient is sent where nobody wants it.
    """
    normed = block.ln_1(x)
    if read is None:
        read, (query, key, value) = x, project(block, normed, constant=constant)
    else:
        query = project(block, block.ln_1(read), 0, 1)[0]
        key, value = project(block, normed, 1, 3, constant)
    return finish(block, read, attend(query, key, value, bias))


def shared_layer(
    block: Block,
    shared: Float[Tensor, "run first d_model"],
    own: Float[Tensor, "row rest d_model"],
    read: Int[Tensor, "row"] | None = None,
) -> tuple[Float[Tensor, "run first d_model"], Float[Tensor, "row query d_model"]]:
    """One frozen causal layer over rows of which those of one run begin with the same `first` tokens, computed once a run.

    Equal to the layer on `[shared, own]` of every row: a causal query sees nothing behind itself, so what the rows share
    they share in every layer. Rows come run by run, as many for each. `read`: of each row only this position of `own` is
    wanted (the last layer's end of text); the shared tokens are then left as they are.
    """
    first, rest = shared.shape[1], own.shape[1]
    ahead = additive(torch.ones(rest, first + rest, dtype=torch.bool, device=own.device).tril(first), own.dtype)
    query, key, value = project(block, block.ln_1(own))
    shared_query, shared_key, shared_value = project(block, block.ln_1(shared))
    rows = len(own) // len(shared)  # of each run
    keys, values = (
        torch.cat([s[:, None].expand(-1, rows, -1, -1, -1).flatten(0, 1), o], dim=2) for s, o in ((shared_key, key), (shared_value, value))
    )
    if read is not None:
        row = torch.arange(len(own), device=own.device)
        at_end = query[row, :, read][:, :, None]
        return shared, finish(block, own[row, read][:, None], attend(at_end, keys, values, ahead[read][:, None, None]))
    causal = additive(torch.ones(first, first, dtype=torch.bool, device=own.device).tril(), own.dtype)
    shared_out = finish(block, shared, attend(shared_query, shared_key, shared_value, causal[None, None]))
    return shared_out, finish(block, own, attend(query, keys, values, ahead[None, None]))


def project(block: Block, x: Float[Tensor, "batch token d_model"], first: int = 0, last: int = 3, constant: int = 0) -> list[Tensor]:
    """Of query, key and value (0, 1, 2) those from `first` to before `last`, each [batch, head, token, d_head].

    No gradient reaches the first `constant` tokens.
    """
    attn, d = block.attn, x.shape[-1]
    weight, bias = attn.in_proj_weight[first * d : last * d], attn.in_proj_bias[first * d : last * d]
    pieces = [x[:, :constant].detach(), x[:, constant:]] if constant else [x]
    parts = torch.cat([F.linear(piece, weight, bias) for piece in pieces], dim=1).chunk(last - first, dim=-1)
    return [rearrange(t, "batch token (head d) -> batch head token d", head=attn.num_heads) for t in parts]


def finish(block: Block, x: Float[Tensor, "batch query d_model"], mixed: Float[Tensor, "batch head query d_head"]) -> Tensor:
    """The rest of the layer after attention: output projection, residual, MLP."""
    joined = rearrange(mixed, "batch head token d -> batch token (head d)")
    out = x + block.ls_1(block.attn.out_proj(joined))
    return out + block.ls_2(block.mlp(block.ln_2(out)))
