"""Layers J … L with DeAR's tokens in them, as functions of (states, tokens, masks) alone: one model's, or many models' at once.

The frozen weights are the same for every DeAR model, so a row of a batch may belong to any of them: it brings its own
tokens, and its own mask where the models' differ. What is never read is not computed: in the last layer only [CLS], the
attribute tokens and the end of text have queries and an MLP; text that all classes share is computed once. Each of these
cuts is exact.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dearlib.clip.attention import biased_layer, shared_layer
from dearlib.clip.cut import TextStates, check_layer
from dearlib.clip.loading import FrozenClip


def image_states(
    clip: FrozenClip,
    states: Float[Tensor, "row token d_model"],
    tokens: Float[Tensor, "row extra d_model"],
    biases: Sequence[Float[Tensor, "#row head query query"]],
    beta: float | Float[Tensor, "row 1 1"],
) -> Float[Tensor, "row read d_model"]:
    """[CLS] and the extra tokens after the last layer, before `ln_post` (Eq. 5, 7–9).

    Args:
        states: [CLS] and patches on the verge of layer J; constants of the pictures, no gradient reaches them.
        tokens: the raw attribute tokens of each row. Into layer J they go as they are; into later layers goes
            β · raw + (1 − β) · (their output of the layer before).
        biases: the masks of layers J … L, made additive; their number says what J is.
        beta: β, one for all rows or one a row.
    """
    n_original, last = states.shape[1], len(biases) - 1
    blocks = clip.visual.transformer.resblocks[clip.layers - len(biases) :]  # type: ignore[union-attr,index]
    x = torch.cat([states, tokens], dim=1)
    read = torch.tensor([0, *range(n_original, x.shape[1])], device=x.device)
    for number, (block, bias) in enumerate(zip(blocks, biases, strict=True)):  # type: ignore[arg-type]
        if number:
            x = torch.cat([x[:, :n_original], beta * tokens + (1 - beta) * x[:, n_original:]], dim=1)
        constant = 0 if number else n_original
        if number < last:
            x = biased_layer(block, x, bias, constant=constant)
        else:
            x = biased_layer(block, x, bias[:, :, read], x[:, read], constant)
    return x


def text_features(
    clip: FrozenClip, text: TextStates, tokens: Float[Tensor, "run extra d_text"], first_layer: int, beta: float | Float[Tensor, "run 1 1"]
) -> Float[Tensor, "run class_ d_embed"]:
    """f_t of every class for every run's K tokens, which go in after the start token, causally (Eq. 6).

    What all classes share, the K tokens and the template's words before the class name, is computed once a run.
    """
    check_layer(text.first_layer, first_layer)
    model, k, runs, classes = clip.model, tokens.shape[1], len(tokens), len(text.end)
    start, rest = text.states[:1, :1].expand(runs, -1, -1), text.states[:1, 1 : text.shared].expand(runs, -1, -1)
    shared = torch.cat([start, tokens, rest], dim=1)
    own = text.states[:, text.shared :].repeat(runs, 1, 1)
    end = (text.end - text.shared).repeat(runs)
    blocks = model.transformer.resblocks  # type: ignore[union-attr]
    last = len(blocks)  # type: ignore[arg-type]
    for layer in range(first_layer, last + 1):
        if layer > first_layer:
            shared = torch.cat([shared[:, :1], beta * tokens + (1 - beta) * shared[:, 1 : 1 + k], shared[:, 1 + k :]], dim=1)
        shared, own = shared_layer(blocks[layer - 1], shared, own, end if layer == last else None)  # type: ignore[index]
    return (model.ln_final(own[:, 0]) @ model.text_projection).unflatten(0, (runs, classes))  # type: ignore[operator]
