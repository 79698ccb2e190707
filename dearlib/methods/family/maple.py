"""MaPLe: learned words in the first layers of the text encoder, and image tokens made of them (Khattak et al., CVPR 2023).

Two words at the input, started from "a photo" (the words "of a" stay after them), and two new ones before each of the layers
2 … 9, in their place. Image tokens are a linear map of the words of the same layer, with a map for each: two after the last patch,
added before `ln_pre` and without positions, replaced before layers 2 … 9. Loss: cross-entropy.

Authors' recipe (muzairkhattak/multimodal-prompt-learning): SGD 3.5e-3, batch 4, 5 epochs, one of them at 1e-5, crops of (0.08, 1);
across data sets depth 3, 2.6e-3, 2 epochs. The deep maps start as copies of one. Half precision, here single [ours].
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dearlib.clip.cut import TextStates, check_cut, text_layers, text_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.methods.fusion import cosine_logits
from dearlib.methods.interface import Batch, Classes, Entry, Needs, Pictures, Split
from dearlib.methods.recipe import Recipe
from dearlib.methods.tokens import class_features, picture_features, pieces
from dearlib.methods.words import drawn, placed, word_vectors
from dearlib.params.types import Count, NonNegative

RECIPE = Recipe(epochs=5, batch=4, lr=3.5e-3, optimiser="sgd")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`depth`: the last layer with learned words. `init`: the words before the class name, the first `tokens` of them learned."""

    tokens: Count = 2
    depth: Count = 9
    init: str = "a photo of a"
    init_std: NonNegative = 0.02


class MaPLe(nn.Module):
    """Words of layers 1 … depth, and a map to image tokens for each."""

    title: ClassVar = "MaPLe"
    wants: ClassVar = ()
    weights: Mapping[str, float] = {"cross_entropy": 1.0}

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        check_cut(clip, settings.depth, "depth")
        self.clip, self.settings = clip, settings
        deeper, draw = settings.depth - 1, torch.Generator().manual_seed(seed)
        self.ctx = nn.Parameter(word_vectors(clip, settings.init, settings.tokens))
        self.deep = nn.Parameter(settings.init_std * torch.randn(deeper, settings.tokens, clip.d_text, generator=draw))
        with drawn(seed):
            self.project = nn.Linear(clip.d_text, clip.d_model)
            start = nn.Linear(clip.d_text, clip.d_model)
        self.project_deep = nn.ModuleList(copy.deepcopy(start) for _ in range(deeper))
        self.needs = Needs(image_from=1, text_from=1)
        told = {"layers": (2, settings.depth), "rule": "replace", "count": settings.tokens}
        self.enters = (
            Entry(modality="text", layers=(0, 0), rule="words", source="parameter", count=settings.tokens),
            Entry(modality="text", source="parameter", **told),  # type: ignore[arg-type]
            Entry(modality="image", layers=(1, 1), rule="insert", source="projected", count=settings.tokens),
            Entry(modality="image", source="projected", **told),  # type: ignore[arg-type]
        )

    def prepare(self, classes: Classes) -> TextStates:
        """The prompts' embeddings."""
        return text_prefix(self.clip, [f"{self.settings.init} {name}." for name in classes.names], 1)

    def losses(self, batch: Batch, text: TextStates) -> dict[str, Tensor]:
        """Cross-entropy."""
        return {"cross_entropy": F.cross_entropy(self.logits(batch, self.encode(text), "base"), batch.labels)}

    def encode(self, text: TextStates) -> Float[Tensor, "class_ d_embed"]:
        """The classes' features with the learned words."""
        _, own, end = pieces(text)
        shared = placed(self.clip, text, [(1, self.ctx[None])])
        rest = [None] * (text_layers(self.clip) - self.settings.depth)
        return class_features(self.clip, shared, own, end, [None, *self.deep.unsqueeze(1), *rest])[0]

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos, the same for every split."""
        first = self.clip.visual.ln_pre(self.project(self.ctx))[None]
        deep = [project(words)[None] for project, words in zip(self.project_deep, self.deep, strict=True)]
        rest = [None] * (self.clip.layers - self.settings.depth)
        image = picture_features(self.clip, pictures.states, [first, *deep, *rest])
        return cosine_logits(image, encoded, self.clip.scale)


METHOD = MaPLe
