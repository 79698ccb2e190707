"""ATPrompt on CoOp: learned words between fixed attribute words (Li et al., 2024).

The prompt is [start][M_a soft] attribute_1 [M_a soft] attribute_2 … [M soft] name . [end]: attribute words stay as they are, the
soft vectors are learned and shared by all classes. Loss: cross-entropy.

Authors' recipe (zhengli97/ATPrompt, trainer `coop_atp`): SGD 2e-3, batch 32, 100 epochs (ImageNet 10), M = M_a = 2 (DTD 4), class
vectors drawn with std 0.02, the others with 0.01; attribute words per data set, found with a language model. Their code gives each
attribute word one position: of a word of several tokens the first stays fixed, and what follows is shifted ("playfulness" on
OxfordPets). So does this file. They keep vectors for three attributes whatever the number; here only those in use exist [ours].
Scripts loop over seeds 1–5.
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
from dearlib.methods.words import blanks, placed
from dearlib.params.types import Count, NonNegative

RECIPE = Recipe(epochs=100, batch=32, lr=2e-3, optimiser="sgd")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`attributes`: the fixed words, a data set's own. `tokens`: M. `attribute_tokens`: M_a."""

    attributes: tuple[str, ...] = ("color", "shape")
    tokens: Count = 2
    attribute_tokens: Count = 2
    init_std: NonNegative = 0.02
    attribute_std: NonNegative = 0.01


class ATPrompt(nn.Module):
    """Class vectors and, before every attribute word, vectors of its own."""

    title: ClassVar = "ATPrompt"
    wants: ClassVar = ()
    weights: Mapping[str, float] = {"cross_entropy": 1.0}

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        self.clip, self.settings = clip, settings
        draw, n = torch.Generator().manual_seed(seed), len(settings.attributes)
        self.ctx = nn.Parameter(settings.init_std * torch.randn(settings.tokens, clip.d_text, generator=draw))
        around = torch.randn(n, settings.attribute_tokens, clip.d_text, generator=draw)
        self.attribute_ctx = nn.Parameter(settings.attribute_std * around)
        self.needs = Needs(image_from=clip.layers + 1, text_from=1)
        count = settings.tokens + n * settings.attribute_tokens
        self.enters = (Entry(modality="text", layers=(0, 0), rule="words", source="parameter", count=count),)

    def prepare(self, classes: Classes) -> TextStates:
        """The prompts' embeddings, the blanks among them to be replaced."""
        s = self.settings
        attributes = " ".join(f"{blanks(s.attribute_tokens)} {word}" for word in s.attributes)
        return text_prefix(self.clip, [f"{attributes} {blanks(s.tokens)} {name}." for name in classes.names], 1)

    def losses(self, batch: Batch, text: TextStates) -> dict[str, Tensor]:
        """Cross-entropy."""
        return {"cross_entropy": F.cross_entropy(self.logits(batch, self.encode(text), "base"), batch.labels)}

    def encode(self, text: TextStates) -> Float[Tensor, "class_ d_embed"]:
        """The classes' features with the learned words: an attribute word takes one position after its vectors."""
        each = 1 + self.settings.attribute_tokens
        words = [(1 + each * i, own[None]) for i, own in enumerate(self.attribute_ctx)]
        shared = placed(self.clip, text, [*words, (1 + each * len(words), self.ctx[None])])
        _, own, end = pieces(text)
        return class_features(self.clip, shared, own, end, [None] * text_layers(self.clip))[0]

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos, the same for every split."""
        return cosine_logits(pictures.features, encoded, self.clip.scale)


METHOD = ATPrompt
