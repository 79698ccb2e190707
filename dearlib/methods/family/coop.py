"""CoOp: learned words in place of the template, shared by all classes (Zhou et al., IJCV 2022, Eq. 2, 3).

The prompt is [start][v_1]…[v_M] name . [end]; the v's are vectors at the words' positions, all else is frozen. Loss:
cross-entropy. Novel classes get the same words.

Authors' recipe (base to novel: CoCoOp's setting `vit_b16_ctxv1`, KaiyangZhou/CoOp): M = 4 started from "a photo of a"; SGD 2e-3,
batch 32, 200 epochs (ImageNet 50), one epoch at 1e-5, crops of (0.08, 1); few-shot: M = 16 drawn with std 0.02. They train in
half precision without loss scaling, here parameters are single [ours].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dearlib.clip.cut import TextStates, text_layers, text_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.methods.fusion import cosine_logits
from dearlib.methods.interface import Batch, Classes, Entry, Needs, Pictures, Split
from dearlib.methods.recipe import Recipe
from dearlib.methods.tokens import class_features, pieces
from dearlib.methods.words import blanks, placed, word_vectors
from dearlib.params.types import Count, NonNegative

RECIPE = Recipe(epochs=200, batch=32, lr=2e-3, optimiser="sgd")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`tokens`: M. `init`: the words that the vectors start from; None: drawn with standard deviation `init_std`."""

    tokens: Count = 4
    init: str | None = "a photo of a"
    init_std: NonNegative = 0.02


class CoOp(nn.Module):
    """M vectors of the text's width."""

    title: ClassVar = "CoOp"
    wants: ClassVar = ()
    weights: Mapping[str, float] = {"cross_entropy": 1.0}

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        self.clip, self.settings = clip, settings
        self.ctx = nn.Parameter(start(clip, settings, seed))
        self.needs = Needs(image_from=clip.layers + 1, text_from=1)
        self.enters = (Entry(modality="text", layers=(0, 0), rule="words", source="parameter", count=settings.tokens),)

    def prepare(self, classes: Classes) -> TextStates:
        """The prompts' embeddings, the first M words to be replaced."""
        return text_prefix(self.clip, [f"{blanks(self.settings.tokens)} {name}." for name in classes.names], 1)

    def losses(self, batch: Batch, text: TextStates) -> dict[str, Tensor]:
        """Cross-entropy."""
        return {"cross_entropy": F.cross_entropy(self.logits(batch, self.encode(text), "base"), batch.labels)}

    def encode(self, text: TextStates) -> Float[Tensor, "class_ d_embed"]:
        """The classes' features with the learned words."""
        _, own, end = pieces(text)
        shared = placed(self.clip, text, [(1, self.ctx[None])])
        return class_features(self.clip, shared, own, end, [None] * text_layers(self.clip))[0]

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos, the same for every split."""
        return cosine_logits(pictures.features, encoded, self.clip.scale)


def start(clip: FrozenClip, settings: Settings, seed: int) -> Float[Tensor, "count d_text"]:
    """The vectors before training."""
    if settings.init is not None:
        return word_vectors(clip, settings.init, settings.tokens)
    return settings.init_std * torch.randn(settings.tokens, clip.d_text, generator=torch.Generator().manual_seed(seed))


METHOD = CoOp
