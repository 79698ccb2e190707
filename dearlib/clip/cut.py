"""The cut at layer J: what lies below it is a constant of a picture or a prompt, what lies above is where DeAR adds tokens.

Layers are numbered from 1. The *prefix* is everything below layer J: it has no learnable part, so its output per picture
(or per prompt) is computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.clip.attention import biased_layer
from dearlib.clip.finite import check_finite
from dearlib.clip.loading import FrozenClip
from dearlib.clip.modules import Transformer, Vision
from dearlib.errors import InputError

TEXTS = 128  # prompts that go through frozen layers together: a thousand at once would take gigabytes


@dataclass(frozen=True)
class TextStates:
    """Prompts on the verge of layer J = `first_layer`: states [class, length, D_t] and each one's end-of-text position.

    Columns after the longest end of text are cut: causal attention never looks at them, so the cut is exact. The first
    `shared` columns (start of text and the template's words before the class name) are the same for every class, and stay
    so in every later layer, because causal attention lets them see nothing else.
    """

    states: Float[Tensor, "class_ token d_text"]
    end: Int[Tensor, "class_"]
    shared: int
    first_layer: int


def text_layers(clip: FrozenClip) -> int:
    """Number of layers of the text encoder."""
    return len(clip.model.transformer.resblocks)


def check_cut(clip: FrozenClip, first_layer: int, name: str = "first_layer") -> None:
    """Refuses a J, or another layer by its parameter's `name`, that the encoders do not have."""
    depth = min(clip.layers, text_layers(clip))
    if not 1 <= first_layer <= depth:
        raise InputError(f"{name}: expected 1 to {depth} for {clip.name}, got {first_layer}; choose a layer the model has")


def check_layer(found: int, first_layer: int) -> None:
    """Refuses states of one layer in a model that adds its tokens at another: same shapes, wrong numbers."""
    if found != first_layer:
        expected = f"those that enter layer {first_layer}, the model's J"
        raise InputError(f"states: expected {expected}, got those of layer {found}; make them anew")


def image_prefix(visual: Vision, images: Float[Tensor, "batch 3 side side"], first_layer: int) -> Float[Tensor, "batch token d_model"]:
    """[CLS] and patch states on the verge of layer J: embedding, `ln_pre` and layers 1 … J−1."""
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    cls = visual.class_embedding.expand(len(x), 1, -1)
    x = visual.ln_pre(torch.cat([cls, x], dim=1) + visual.positional_embedding)
    return run_layers(visual.transformer, x, 1, first_layer - 1)


def image_suffix(visual: Vision, states: Float[Tensor, "batch token d_model"], first_layer: int) -> Float[Tensor, "batch d_embed"]:
    """The frozen rest of the image encoder: layers J … L, `ln_post` of [CLS], projection."""
    x = run_layers(visual.transformer, states, first_layer, len(visual.transformer.resblocks))
    return visual.ln_post(x[:, 0]) @ visual.proj


def run_layers(transformer: Transformer, x: Tensor, first: int, last: int, mask: Tensor | None = None) -> Tensor:
    """Frozen layers `first` … `last` (1-based, both included)."""
    for block in transformer.resblocks[first - 1 : last]:
        x = block(x, attn_mask=mask)
    return x


def text_prefix(clip: FrozenClip, texts: Sequence[str], first_layer: int, gap: int = 0) -> TextStates:
    """Prompts on the verge of layer J, cut after the longest end of text (exact).

    `gap`: so many positions after the start token are left free for tokens that will be put in there, before layer 1.
    Raises `InputError` for prompts that `check_prompts` refuses.
    """
    tokens = check_prompts(clip, texts, gap)
    end = tokens.argmax(dim=1)
    length = int(end.max()) + 1
    model = clip.model
    device = model.positional_embedding.device
    at = [0, *range(1 + gap, length + gap)]
    x = model.token_embedding(tokens[:, :length].to(device)) + model.positional_embedding[at]
    mask = model.attn_mask[:length, :length]
    x = torch.cat([run_layers(model.transformer, some, 1, first_layer - 1, mask) for some in x.split(TEXTS)])
    check_finite(f"{clip.name}: states of prompts [class, token, dimension]", x)
    same = (tokens[:, :length] == tokens[:1, :length]).all(dim=0)
    shared = min(int(same.cumprod(dim=0).sum()), int(end.min()))  # an end of text is always a class's own
    return TextStates(x, end.to(device), shared, first_layer)


def check_prompts(clip: FrozenClip, texts: Sequence[str], gap: int = 0) -> Int[Tensor, "class_ context"]:
    """The prompts' tokens, `gap` positions kept free.

    Raises `InputError` if two prompts become the same tokens, as their classes could not be told apart, or if one has more than the
    encoder reads: a tokenizer drops case, blanks and, without a word, what lies beyond its context.
    """
    tokens = clip.tokenize(texts)
    most = tokens.shape[1]
    seen: dict[tuple[int, ...], int] = {}
    for number, (row, end) in enumerate(zip(tokens.tolist(), tokens.argmax(dim=1).tolist(), strict=True)):
        if (other := seen.setdefault(tuple(row[: end + 1]), number)) != number:
            two = " and ".join(f"{n} ('{_shortened(texts[n])}')" for n in (other, number))
            expected = f"different ones within {most} tokens"
            raise InputError(f"prompts: expected {expected}, got the same for classes {two}; shorten or change the names")
    ends = clip.tokenizer(list(texts), context_length=most + 1).argmax(dim=1).tolist()
    if long := [text for text, end in zip(texts, ends, strict=True) if end >= most - gap]:
        expected = f"at most {most - gap} tokens, the start's and the end's among them"
        raise InputError(f"prompts: expected {expected}, got more in '{_shortened(long[0])}'; shorten the template or the name")
    return tokens


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:40]} … {text[-36:]}"


def frozen_features(visual: Vision, states: Float[Tensor, "batch token d_model"], first_layer: int) -> Float[Tensor, "batch d_embed"]:
    """CLIP's own image feature, before normalisation, from the verge of layer J; of the last layer only [CLS] is computed."""
    last = visual.transformer.resblocks[-1]
    x = run_layers(visual.transformer, states, first_layer, len(visual.transformer.resblocks) - 1)
    x = biased_layer(last, x, None, x[:, :1])
    return visual.ln_post(x[:, 0]) @ visual.proj


@torch.no_grad()
def frozen_text_features(clip: FrozenClip, text: TextStates, first_layer: int) -> Float[Tensor, "class_ d_embed"]:
    """CLIP's own text features, before normalisation, from the verge of layer J; what stands behind the end of text is cut."""
    check_layer(text.first_layer, first_layer)
    model, length = clip.model, text.states.shape[1]
    mask, last = model.attn_mask[:length, :length], len(model.transformer.resblocks)
    some = text.states.split(TEXTS)
    x = torch.cat([run_layers(model.transformer, states, first_layer, last, mask) for states in some])
    found: Tensor = model.ln_final(x[torch.arange(len(x), device=x.device), text.end]) @ model.text_projection
    check_finite(f"{clip.name}: features of prompts [class, dimension]", found)
    return found
