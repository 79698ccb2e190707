"""What every attention head adds to CLIP's image feature (Gandelsman et al., ICLR 2024, Section 3).

The residual stream adds up, and `ln_post` is linear once the mean and standard deviation of the final [CLS] state are
held fixed, so the image feature before normalisation is a plain sum:

    visual(image) = embedding + Σ_l Σ_h head(l, h) + Σ_l mlp(l)

A head's part is its [CLS] attention row times its values, through its slice of the output projection, through the fixed
`ln_post`, through the projection. Only the [CLS] row is computed: nothing of size tokens × tokens × heads × width exists.

Biases are shared out as in the published code: the output projection's bias evenly over the heads of its layer; the
`ln_post` bias and mean evenly over the 2L + 1 writers (embedding, L attentions, L MLPs), an attention's share evenly
over its heads. A value bias stays with its head, because attention weights sum to one. The published code also divides
every part by the norm of the whole feature; here the parts stay as they are and add up to the feature itself.

Source: https://github.com/yossigandelsman/clip_text_span (prs_hook.py).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from dearlib.clip.attention import finish, project
from dearlib.clip.finite import check_finite
from dearlib.clip.modules import Block, Vision
from dearlib.errors import InputError


@dataclass(frozen=True)
class Parts:
    """The image feature taken apart: what the embedding, every head and every MLP adds to it."""

    embedding: Float[Tensor, "batch d_embed"]
    heads: Float[Tensor, "batch layer head d_embed"]
    mlps: Float[Tensor, "batch layer d_embed"]

    @property
    def total(self) -> Float[Tensor, "batch d_embed"]:
        """The sum of all parts: the image feature before normalisation."""
        return self.embedding + self.heads.sum(dim=(1, 2)) + self.mlps.sum(dim=1)


@torch.no_grad()
def decompose(visual: Vision, images: Float[Tensor, "batch 3 height width"]) -> Parts:
    """All parts of open_clip's `visual(images)`; `Parts.total` equals it up to rounding.

    `visual` is an open_clip VisionTransformer that pools the [CLS] token; the image side must be the model's own.
    Raises `InputError` for any other image encoder.
    """
    state = _embed(visual, images)
    embedding, heads, mlps = state[:, 0], [], []
    blocks = visual.transformer.resblocks
    for layer, block in enumerate(blocks, start=1):
        written, behind = _layer(block, state, only_cls=layer == len(blocks))
        heads.append(written)
        # From the heads' sum, not as what is left over: so that the parts add up only if every one of them is right.
        attended = state[:, 0] + written.sum(dim=1)
        mlps.append(block.ls_2(block.mlp(block.ln_2(attended))))
        state = behind
    check_finite("image encoder: [CLS] states [picture, dimension]", state[:, 0])
    h = heads[0].shape[1]
    return Parts(
        embedding=_to_feature(visual, embedding, state[:, 0], share=1),
        heads=_to_feature(visual, torch.stack(heads, dim=1), state[:, 0], share=h),
        mlps=_to_feature(visual, torch.stack(mlps, dim=1), state[:, 0], share=1),
    )


@torch.no_grad()
def head_contributions(
    visual: Vision, images: Float[Tensor, "batch 3 height width"], first_layer: int
) -> Float[Tensor, "batch layer head d_embed"]:
    """Direct contributions of every head of the layers from `first_layer` (1-based) on: `decompose(...).heads` cut there.

    Raises `InputError` if the model has no layer `first_layer` or is not one that `decompose` takes.
    """
    state = _embed(visual, images)
    blocks = visual.transformer.resblocks
    if not 1 <= first_layer <= len(blocks):
        raise InputError(f"first_layer: expected 1 to {len(blocks)} (the model's layers), got {first_layer}")
    heads = []
    for layer, block in enumerate(blocks, start=1):
        if layer < first_layer:
            state = block(state)
        else:
            written, state = _layer(block, state, only_cls=layer == len(blocks))
            heads.append(written)
    check_finite("image encoder: [CLS] states [picture, dimension]", state[:, 0])
    return _to_feature(visual, torch.stack(heads, dim=1), state[:, 0], share=heads[0].shape[1])


def mean_ablate(
    total: Float[Tensor, "batch d_embed"],
    contributions: Float[Tensor, "batch layer head d_embed"],
    chosen: Bool[Tensor, "layer head"],
    means: Float[Tensor, "layer head d_embed"] | None = None,
) -> Float[Tensor, "batch d_embed"]:
    """The image features `total` with the contributions of the `chosen` heads replaced by their mean over a data set.

    `means` holds those means; None takes them over this batch, which is right when the batch is the whole data set.
    Only the direct effect is removed: later layers still see what the heads wrote.
    """
    if means is None:
        means = contributions.mean(dim=0)
    weight = chosen.to(contributions.dtype)
    return total - torch.einsum("blhd,lh->bd", contributions - means, weight)


def _embed(visual: Vision, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch token d_model"]:
    """The residual stream before the first layer."""
    _check(visual)
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    if x.shape[1] + 1 != len(visual.positional_embedding):
        raise InputError(f"images: expected side {visual.image_size}, got {tuple(images.shape[2:])}; resize them")
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
    return visual.ln_pre(visual.patch_dropout(x + visual.positional_embedding))


def _check(visual: Vision) -> None:
    """Only a [CLS]-pooled VisionTransformer with nn.MultiheadAttention has the parts that this module walks through."""
    walkable = (
        hasattr(visual, "class_embedding")
        and getattr(visual, "attn_pool", None) is None
        and getattr(visual, "pool_type", None) == "tok"
        and visual.transformer.batch_first
        and all(isinstance(b.attn, nn.MultiheadAttention) for b in visual.transformer.resblocks)
    )
    if not walkable:
        raise InputError(
            "image encoder: expected open_clip's VisionTransformer pooled at [CLS] with nn.MultiheadAttention, "
            f"got {type(visual).__name__} of another kind; choose a plain ViT such as ViT-B-16"
        )


def _layer(
    block: Block, state: Float[Tensor, "batch token d_model"], only_cls: bool
) -> tuple[Float[Tensor, "batch head d_model"], Float[Tensor, "batch token_out d_model"]]:
    """What each head of a layer writes to the [CLS] position, and the residual stream behind the layer ([CLS] alone if `only_cls`).

    head_h = softmax(q_h K_h^T / sqrt(d_head)) V_h W_h + b / heads, with q the [CLS] query alone. Queries, keys and values
    are computed once, for the heads and for the layer.
    """
    attn = block.attn
    query, key, value = project(block, block.ln_1(state))
    weight = (query[:, :, :1] @ key.mT / attn.head_dim**0.5).softmax(dim=-1)
    read = weight @ value
    w_out = attn.out_proj.weight.unflatten(1, (attn.num_heads, attn.head_dim))
    written = block.ls_1(torch.einsum("bhe,dhe->bhd", read[:, :, 0], w_out) + attn.out_proj.bias / attn.num_heads)
    if only_cls:
        return written, finish(block, state[:, :1], read)
    return written, finish(block, state, scaled_dot_product_attention(query, key, value))


def _to_feature(
    visual: Vision, part: Float[Tensor, "batch *parts d_model"], final: Float[Tensor, "batch d_model"], share: int
) -> Float[Tensor, "batch *parts d_embed"]:
    """Parts of the final [CLS] state through `ln_post` (its statistics fixed to those of `final`) and the projection.

    `share` is the number of parts that divide one writer's share of the mean and the bias.
    """
    norm = visual.ln_post
    writers = (2 * len(visual.transformer.resblocks) + 1) * share
    mean = final.mean(dim=-1)
    std = (final.var(dim=-1, correction=0) + norm.eps).sqrt()
    one_each = (-1, *[1] * (part.ndim - 1))
    normed = (part - mean.view(one_each) / writers) / std.view(one_each) * norm.weight + norm.bias / writers
    return normed @ visual.proj
