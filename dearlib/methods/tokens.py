"""Learned tokens in the frozen layers, as functions of (states, tokens, masks) alone: one model's, or many models' at once.

Where a method's tokens come from is its own business; how they go into the layers is here, for all methods. The frozen
weights are the same for every model, so a row of a batch may belong to any of them: it brings its own tokens, and its own
mask where the models' differ. What is never read is not computed: in the last layer only [CLS], the tokens that are read and
the end of text have queries and an MLP; text that all classes share is computed once. Each of these cuts is exact.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dearlib.clip.attention import additive, biased_layer, shared_layer
from dearlib.clip.cut import TextStates, check_layer, text_layers
from dearlib.clip.loading import FrozenClip


def image_states(
    clip: FrozenClip,
    states: Float[Tensor, "row token d_model"],
    tokens: Sequence[Float[Tensor, "#row extra d_model"] | None],
    biases: Sequence[Float[Tensor, "#row #head query query"] | None],
    beta: float | Float[Tensor, "row 1 1"] = 1.0,
    read: int | None = None,
) -> Float[Tensor, "row read d_model"]:
    """[CLS] and the extra tokens after the last layer, before `ln_post` (Eq. 5, 7–9).

    The extra tokens stand last; without positions and but for the mask, their place means nothing to the image encoder.

    Args:
        states: [CLS] and patches on the verge of layer J; constants of the pictures, no gradient reaches them.
        tokens: of each of the layers J … L, the raw tokens. Into layer J they go as they are; into later layers goes
            β · raw + (1 − β) · (their output of the layer before), or that output alone where there is None.
        biases: the masks of layers J … L, made additive; None: all may look at all.
        beta: β, one for all rows or one a row; 1: raw tokens replace what came out of the layer before.
        read: how many of the extra tokens are wanted; None: all.
    """
    n_original, last = states.shape[1], len(tokens) - 1
    blocks = clip.visual.transformer.resblocks[clip.layers - len(tokens) :]
    x = states
    for number, (block, raw, bias) in enumerate(zip(blocks, tokens, biases, strict=True)):
        if raw is not None:
            x = torch.cat([x[:, :n_original], _blended(raw, x[:, n_original:], beta, number == 0)], dim=1)
        constant = 0 if number else n_original
        if number < last:
            x = biased_layer(block, x, bias, constant=constant)
        else:
            wanted = x.shape[1] if read is None else n_original + read
            at = torch.tensor([0, *range(n_original, wanted)], device=x.device)
            x = biased_layer(block, x, None if bias is None else bias[:, :, at], x[:, at], constant)
    return x


def picture_features(
    clip: FrozenClip,
    states: Float[Tensor, "row token d_model"],
    tokens: Sequence[Float[Tensor, "#row extra d_model"] | None],
    beta: float = 1.0,
    may_attend: Bool[Tensor, "query query"] | None = None,
) -> Float[Tensor, "row d_embed"]:
    """The class feature, before normalisation, with `tokens` in the layers J … L; one mask for all heads and layers."""
    bias = None if may_attend is None else additive(may_attend, states.dtype)[None, None]
    x = image_states(clip, states, tokens, [bias] * len(tokens), beta, read=0)
    return clip.visual.ln_post(x[:, 0]) @ clip.visual.proj


def _blended(raw: Tensor, before: Tensor, beta: float | Tensor, first: bool) -> Tensor:
    """What goes into a layer in place of the tokens that came out of the layer before."""
    raw = raw.expand(len(before), -1, -1)
    if first or (isinstance(beta, float) and beta == 1.0):
        return raw
    return beta * raw + (1 - beta) * before


def class_features(
    clip: FrozenClip,
    shared: Float[Tensor, "run first d_text"],
    own: Float[Tensor, "row rest d_text"],
    end: Int[Tensor, "row"],
    tokens: Sequence[Float[Tensor, "#run extra d_text"] | None],
    beta: float | Float[Tensor, "run 1 1"] = 1.0,
) -> Float[Tensor, "run class_ d_embed"]:
    """Text features of every run's prompts, causally; what the classes of a run share is computed once a run.

    Args:
        shared: what all prompts of a run begin with, on the verge of layer J: the start token, then what is learned.
        own: the rest of every prompt, run by run.
        end: the end of text, as a position in `own`.
        tokens: of each of the layers J … L, what goes in after the start token: at J as it is, between start and the rest of
            `shared`; later in place of the tokens that stand there, blended by β as in `image_states`; None: nothing.
    """
    blocks = clip.model.transformer.resblocks[-len(tokens) :]
    for number, (block, raw) in enumerate(zip(blocks, tokens, strict=True)):
        if raw is not None:
            k = 0 if number == 0 else raw.shape[1]
            raw = raw.expand(len(shared), -1, -1)
            mixed = raw if number == 0 else _blended(raw, shared[:, 1 : 1 + k], beta, False)
            shared = torch.cat([shared[:, :1], mixed, shared[:, 1 + k :]], dim=1)
        shared, own = shared_layer(block, shared, own, end if number == len(tokens) - 1 else None)
    return (clip.model.ln_final(own[:, 0]) @ clip.model.text_projection).unflatten(0, (len(shared), -1))


def text_features(
    clip: FrozenClip, text: TextStates, tokens: Float[Tensor, "run extra d_text"], first_layer: int, beta: float | Float[Tensor, "run 1 1"]
) -> Float[Tensor, "run class_ d_embed"]:
    """f_t of every class for every run's K tokens, which go in after the start token at layer J (Eq. 6)."""
    check_layer(text.first_layer, first_layer)
    shared, own, end = pieces(text, len(tokens))
    return class_features(clip, shared, own, end, [tokens] * (text_layers(clip) - first_layer + 1), beta)


def pieces(
    text: TextStates, runs: int = 1
) -> tuple[Float[Tensor, "run first d_text"], Float[Tensor, "row rest d_text"], Int[Tensor, "row"]]:
    """`shared`, `own` and `end` of `class_features`, the same prompts for every run."""
    shared = text.states[:1, : text.shared].expand(runs, -1, -1)
    return shared, text.states[:, text.shared :].repeat(runs, 1, 1), (text.end - text.shared).repeat(runs)
