"""open_clip's encoders with what pre-training needs of them: masked patches, short texts, and what every late head writes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.clip.attention import attend, finish, project
from dearlib.clip.modules import ClipModel, Vision


def encode_image(
    visual: Vision, images: Float[Tensor, "batch 3 side side"], kept: Int[Tensor, "batch kept"] | None = None
) -> Float[Tensor, "batch d_embed"]:
    """open_clip's image encoder, over the `kept` patches alone (all of them where it is None)."""
    x = visual.transformer(embedded(visual, images, kept))
    return visual.ln_post(x[:, 0]) @ visual.proj


def encode_parts(
    visual: Vision,
    images: Float[Tensor, "batch 3 side side"],
    kept: Int[Tensor, "batch kept"] | None,
    first_layer: int,
    asker: Float[Tensor, "batch 1 d_model"] | None = None,
) -> tuple[Float[Tensor, "batch d_embed"], Float[Tensor, "batch asking head d_embed"]]:
    """`encode_image`, and of the heads of layers `first_layer` … L what each adds to [CLS] and to an `asker`, layer by layer.

    An asker is a token that goes in behind the patches at `first_layer`, sees all the others and is seen by none, as DeAR's tokens
    will be in a head that serves them; it is given in units of the stream's standard deviation there. Without one the axis `asking`
    has [CLS] alone. Parts are taken as `dearlib.roles.heads` takes them, but without biases and with each part centred by its own
    mean: what varies over pictures is the same up to one direction.
    """
    x = embedded(visual, images, kept)
    n, blocks, written = x.shape[1], visual.transformer.resblocks, []
    asking = [0] if asker is None else [0, n]
    for layer, block in enumerate(blocks, start=1):
        if layer < first_layer:
            x = block(x)
            continue
        if layer == first_layer and asker is not None:
            x = torch.cat([x, asker * x.detach().std()], dim=1)
        query, key, value = project(block, block.ln_1(x))
        unseen = torch.zeros(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device)
        unseen[:n, n:] = True
        bias = x.new_zeros(1, 1, *unseen.shape).masked_fill(unseen, float("-inf"))
        if layer == len(blocks):
            query, x, bias = query[:, :, asking], x[:, asking], bias[:, :, asking]
        mixed = attend(query, key, value, bias)
        w_out = block.attn.out_proj.weight.unflatten(1, (block.attn.num_heads, block.attn.head_dim))
        rows = mixed if layer == len(blocks) else mixed[:, :, asking]
        written.append(torch.einsum("bhae,dhe->bahd", rows, w_out))
        x = finish(block, x, mixed)
    heads, norm = torch.cat(written, dim=2), visual.ln_post
    scale = (x.var(dim=-1, correction=0, keepdim=True) + norm.eps).sqrt()[:, :, None]
    parts = ((heads - heads.mean(dim=-1, keepdim=True)) / scale * norm.weight) @ visual.proj
    return norm(x[:, 0]) @ visual.proj, parts


def embedded(
    visual: Vision, images: Float[Tensor, "batch 3 side side"], kept: Int[Tensor, "batch kept"] | None
) -> Float[Tensor, "batch token d_model"]:
    """The states entering layer 1, of the `kept` patches alone (of all where it is None)."""
    x = visual.conv1(images).flatten(2).transpose(1, 2) + visual.positional_embedding[1:]
    if kept is not None:
        x = x.gather(1, kept[..., None].expand(-1, -1, x.shape[-1]))
    cls = (visual.class_embedding + visual.positional_embedding[0]).expand(len(x), 1, -1)
    return visual.ln_pre(torch.cat([cls, x], dim=1))


def encode_text(model: ClipModel, tokens: Int[Tensor, "batch token"]) -> Float[Tensor, "batch d_embed"]:
    """open_clip's text encoder, cut after the batch's longest end of text (exact: attention is causal)."""
    end = tokens.argmax(dim=1)
    length = int(end.max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    return model.ln_final(x[torch.arange(len(x)), end]) @ model.text_projection
