"""CoCoOp: CoOp's words, moved by what the picture shows (Zhou et al., CVPR 2022, Eq. 3).

v_m(x) = v_m + h(x): h is two layers, d → d/16 → ReLU → D_t, on the normalised frozen image feature. So every picture has its own
text features: a step costs batch × classes passes through the text encoder, and so does an answer. Loss: cross-entropy.

Authors' recipe (KaiyangZhou/CoOp): M = 4 from "a photo of a", SGD 2e-3, batch 1, 10 epochs, one of them at 1e-5, crops of (0.08, 1),
half precision. In no table of the paper; its text leans on it.
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
from dearlib.methods.family import coop
from dearlib.methods.fusion import cosine_logits
from dearlib.methods.interface import Batch, Classes, Entry, Needs, Pictures, Split
from dearlib.methods.recipe import Recipe
from dearlib.methods.tokens import class_features, pieces
from dearlib.methods.words import blanks, drawn, placed
from dearlib.params.types import Count

RECIPE = Recipe(epochs=10, batch=1, lr=2e-3, optimiser="sgd")


@dataclass(frozen=True, kw_only=True)
class Settings(coop.Settings):
    """CoOp's. `narrow`: the meta-net's hidden layer is the joint dimension divided by it."""

    narrow: Count = 16


class CoCoOp(nn.Module):
    """CoOp's vectors and the meta-net."""

    title: ClassVar = "CoCoOp"
    wants: ClassVar = ()
    weights: Mapping[str, float] = {"cross_entropy": 1.0}

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        self.clip, self.settings = clip, settings
        self.ctx = nn.Parameter(coop.start(clip, settings, seed))
        hidden = clip.d_embed // settings.narrow
        with drawn(seed):
            self.meta = nn.Sequential(nn.Linear(clip.d_embed, hidden), nn.ReLU(), nn.Linear(hidden, clip.d_text))
        self.needs = Needs(image_from=clip.layers + 1, text_from=1)
        self.enters = (Entry(modality="text", layers=(0, 0), rule="words", source="per picture", count=settings.tokens),)

    def prepare(self, classes: Classes) -> TextStates:
        """The prompts' embeddings, the first M words to be replaced."""
        return text_prefix(self.clip, [f"{blanks(self.settings.tokens)} {name}." for name in classes.names], 1)

    def losses(self, batch: Batch, text: TextStates) -> dict[str, Tensor]:
        """Cross-entropy."""
        return {"cross_entropy": F.cross_entropy(self.logits(batch, self.encode(text), "base"), batch.labels)}

    def encode(self, text: TextStates) -> TextStates:
        """Nothing can be encoded before a picture is seen."""
        return text

    def logits(self, pictures: Pictures, encoded: TextStates, split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos with each picture's own text features, a few pictures at a time."""
        texts = (self.features(some, encoded) for some in F.normalize(pictures.features, dim=-1).split(TOGETHER))
        each = zip(pictures.features.split(TOGETHER), texts, strict=True)
        return torch.cat([cosine_logits(v, t, self.clip.scale) for v, t in each])

    def features(self, image: Float[Tensor, "picture d_embed"], text: TextStates) -> Float[Tensor, "picture class_ d_embed"]:
        """The classes as every picture has them."""
        words = self.ctx + self.meta(image)[:, None]
        _, own, end = pieces(text, len(image))
        return class_features(self.clip, placed(self.clip, text, [(1, words)]), own, end, [None] * text_layers(self.clip))


TOGETHER = 8  # pictures whose texts are encoded at once

METHOD = CoCoOp
