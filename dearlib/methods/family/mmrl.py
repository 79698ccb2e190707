"""MMRL: tokens of a space shared by both encoders in the upper layers, and a second image feature (Guo & Gu, CVPR 2025).

One matrix R of five tokens; in each of the layers 6 … 12 a linear map for the image encoder and one for the text encoder make that
layer's tokens of it. They go in after [CLS] and after the start token at layer 6 and are replaced at every later layer. v is the
class feature by CLIP's own projection, v_rep the mean of the tokens' outputs by a trained one. Loss: 0.7 · CE(v) + 0.3 · CE(v_rep) +
λ (1 − cos(v, v₀)) + λ (1 − cos(t, t₀)). Base classes are answered by 0.7 · v + 0.3 · v_rep, new classes and other data sets by v alone.

Authors' recipe (yunncheng/MMRL): AdamW 1e-3, batch 4, 10 epochs (ImageNet 32, 5), one at 1e-5, crops of (0.5, 1); λ by data set, 0.01
to 7; EuroSAT R of width 2048; across data sets λ 0.2, batch 32, one epoch without warm-up. Their scale is the constant 100, which is
OpenAI's τ; `scale: null` takes the frozen model's own [ours]. The second projection starts at random.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dearlib.clip.cut import TextStates, check_cut, frozen_text_features, text_layers, text_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.methods.fusion import cosine_logits
from dearlib.methods.interface import Batch, Classes, Entry, Needs, Pictures, Split
from dearlib.methods.recipe import Recipe
from dearlib.methods.tokens import class_features, image_states, pieces
from dearlib.methods.words import drawn
from dearlib.params.types import Count, Fraction, NonNegative

RECIPE = Recipe(epochs=10, batch=4, lr=1e-3, optimiser="adamw")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`first_layer`: the first with tokens. `width`: of R. `alpha`: the share of v. `weight`: λ. `scale`: None: the model's τ."""

    tokens: Count = 5
    width: Count = 512
    first_layer: Count = 6
    alpha: Fraction = 0.7
    weight: NonNegative = 0.5
    init_std: NonNegative = 0.02
    scale: float | None = 100.0


@dataclass(frozen=True)
class Text:
    """The prompts on the verge of the first layer with tokens, and as frozen CLIP knows them."""

    states: TextStates
    frozen: Float[Tensor, "class_ d_embed"]


class MMRL(nn.Module):
    """R, its maps, and the second projection."""

    title: ClassVar = "MMRL"
    wants: ClassVar = ()

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        check_cut(clip, settings.first_layer)
        self.clip, self.settings = clip, settings
        first, last = settings.first_layer, clip.layers
        with drawn(seed):
            self.space = nn.Parameter(settings.init_std * torch.randn(settings.tokens, settings.width))
            image, text = nn.Linear(settings.width, clip.d_model), nn.Linear(settings.width, clip.d_text)
            self.projection = nn.Parameter(clip.d_model**-0.5 * torch.randn(clip.d_model, clip.d_embed))
        self.to_image = nn.ModuleList(_copied(image) for _ in range(first, last + 1))
        self.to_text = nn.ModuleList(_copied(text) for _ in range(first, text_layers(clip) + 1))
        self.weights = weights(settings)
        self.needs = Needs(image_from=first, text_from=first)
        self.enters = entries(settings, last, "replace")

    def prepare(self, classes: Classes) -> Text:
        """See `Text`."""
        return prompted(self.clip, classes, self.settings.first_layer)

    def losses(self, batch: Batch, text: Text) -> dict[str, Tensor]:
        """Cross-entropies of both features, and the distances of class feature and classes from the frozen ones."""
        v, v_rep = self.image_features(batch)
        return terms(self.clip, self.settings, v, v_rep, self.encode(text), batch, text)

    def encode(self, text: Text) -> Float[Tensor, "class_ d_embed"]:
        """The classes' features with the tokens."""
        return class_features(self.clip, *pieces(text.states), [project(self.space)[None] for project in self.to_text])[0]

    def image_features(self, pictures: Pictures) -> tuple[Float[Tensor, "picture d_embed"], Float[Tensor, "picture d_embed"]]:
        """v and v_rep."""
        tokens = [project(self.space)[None] for project in self.to_image]
        x = image_states(self.clip, pictures.states, tokens, [None] * len(tokens))
        return read_both(self.clip, x, self.projection)

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """Both features for the classes it knows, v alone for all others."""
        return both(self.clip, self.settings, *self.image_features(pictures), encoded, split)


def _copied(start: nn.Linear) -> nn.Linear:
    """All maps of one encoder start the same."""
    new = nn.Linear(start.in_features, start.out_features)
    new.load_state_dict(start.state_dict())
    return new


def weights(settings: Settings) -> Mapping[str, float]:
    """Of the terms of the loss."""
    a, w = settings.alpha, settings.weight
    return {"cross_entropy": a, "cross_entropy_rep": 1 - a, "image": w, "text": w}


def entries(settings: Settings, layers: int, rule: str) -> tuple[Entry, ...]:
    """Tokens in both encoders, and the second projection."""
    first, count = settings.first_layer, settings.tokens
    made = []
    for modality in ("image", "text"):
        made.append(Entry(modality=modality, layers=(first, first), rule="insert", source="projected", count=count))
        made.append(Entry(modality=modality, layers=(first + 1, layers), rule=rule, source="projected", count=count))  # type: ignore[arg-type]
    return (*made, Entry(modality="image", layers=(layers + 1, layers + 1), rule="project", source="parameter"))


def prompted(clip: FrozenClip, classes: Classes, first_layer: int) -> Text:
    """The data set's prompts up to the first layer with tokens, and to the end."""
    states = text_prefix(clip, classes.prompts, first_layer)
    return Text(states, frozen_text_features(clip, states, first_layer))


def read_both(
    clip: FrozenClip, x: Float[Tensor, "picture read d_model"], projection: Float[Tensor, "d_model d_embed"]
) -> tuple[Float[Tensor, "picture d_embed"], Float[Tensor, "picture d_embed"]]:
    """The class feature by the frozen projection, the tokens' mean by the trained one."""
    x = clip.visual.ln_post(x)
    return x[:, 0] @ clip.visual.proj, x[:, 1:].mean(dim=1) @ projection


def terms(clip: FrozenClip, s: Settings, v: Tensor, v_rep: Tensor, t: Tensor, batch: Batch, text: Text) -> dict[str, Tensor]:
    """The four terms of the loss."""
    scale = clip.scale if s.scale is None else s.scale
    return {
        "cross_entropy": F.cross_entropy(cosine_logits(v, t, scale), batch.labels),
        "cross_entropy_rep": F.cross_entropy(cosine_logits(v_rep, t, scale), batch.labels),
        "image": 1 - F.cosine_similarity(v, batch.features, dim=-1).mean(),
        "text": 1 - F.cosine_similarity(t, text.frozen, dim=-1).mean(),
    }


def both(clip: FrozenClip, s: Settings, v: Tensor, v_rep: Tensor, t: Tensor, split: Split) -> Float[Tensor, "picture class_"]:
    """The answer to `split`."""
    scale = clip.scale if s.scale is None else s.scale
    known = cosine_logits(v, t, scale)
    return s.alpha * known + (1 - s.alpha) * cosine_logits(v_rep, t, scale) if split == "base" else known


METHOD = MMRL
