"""ProGrad: CoOp whose step may not go against what zero-shot CLIP knows (Zhu et al., ICCV 2023, Eq. 4, 5).

g_d is the gradient of the cross-entropy, g_g that of the cross-entropy to the zero-shot answers, −Σ p₀ log p (T = 1). Where their
cosine is negative the step is g_d − λ (g_d · ĝ_g) ĝ_g, else g_d.

Authors' recipe (BeierZhu/Prompt-align): SGD 2e-3, batch 32, λ = 1, RN50, 4 shots, 16 vectors that start from a template's words,
right-aligned, with zeros before them; 100 epochs. For ViT-B/16 and 16 shots there is no setting of theirs; SkipTuning's and
ProVP's repositories run it with SGD 2e-3, batch 32, 100 epochs (SkipTuning: 4 vectors from "a photo of a"), which are the defaults
here. Their code counts the words of `init`, not its tokens: after a comma its last word is not learned, and stays before the name. So
it is here. The teacher reads `classes.template`: give the authors' ("a type of pet, a photo of a {}." …). The projection is made for each
parameter tensor; there is one.
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
from dearlib.methods.words import placed, word_vectors
from dearlib.params.types import Count, NonNegative

RECIPE = Recipe(epochs=100, batch=32, lr=2e-3, optimiser="sgd")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`tokens`: M. `init`: the words at the end of the M vectors. `lambda_`: λ of the projection; 0 is CoOp."""

    tokens: Count = 4
    init: str = "a photo of a"
    lambda_: NonNegative = 1.0


@dataclass(frozen=True)
class Text:
    """The prompts with blanks, and the zero-shot classes."""

    states: TextStates
    frozen: Float[Tensor, "class_ d_embed"]


class ProGrad(nn.Module):
    """M vectors of the text's width."""

    title: ClassVar = "ProGrad"
    wants: ClassVar = ()
    weights: Mapping[str, float] = {"cross_entropy": 1.0, "teacher": 0.0}

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        self.clip, self.settings = clip, settings
        words = settings.init.split()[: settings.tokens]
        known = word_vectors(clip, settings.init, len(words))
        self.ctx = nn.Parameter(torch.cat([known.new_zeros(settings.tokens - len(known), clip.d_text), known]))
        self.front = " ".join([*["X"] * (settings.tokens - len(words)), *words])
        self.needs = Needs(image_from=clip.layers + 1, text_from=1, stacks=False)
        self.enters = (Entry(modality="text", layers=(0, 0), rule="words", source="parameter", count=settings.tokens),)

    def prepare(self, classes: Classes) -> Text:
        """The prompts' embeddings, the first M tokens to be replaced, and the teacher's classes."""
        prompts = [f"{self.front} {name}." for name in classes.names]
        return Text(text_prefix(self.clip, prompts, 1), self.clip.encode_text(classes.prompts))

    def losses(self, batch: Batch, text: Text) -> dict[str, Tensor]:
        """Both cross-entropies. The first has the projected gradient in place of its own, the second none."""
        logits = self.logits(batch, self.encode(text), "base")
        answers = F.softmax(cosine_logits(batch.features, text.frozen, self.clip.scale), dim=-1)
        domain = F.cross_entropy(logits, batch.labels)
        general = F.cross_entropy(logits, answers)
        (g,) = torch.autograd.grad(domain, [self.ctx], retain_graph=True)
        (h,) = torch.autograd.grad(general, [self.ctx])
        step = projected(g, h, self.settings.lambda_)
        return {"cross_entropy": domain.detach() + ((self.ctx - self.ctx.detach()) * step).sum(), "teacher": general.detach()}

    def encode(self, text: Text) -> Float[Tensor, "class_ d_embed"]:
        """The classes' features with the learned words."""
        _, own, end = pieces(text.states)
        shared = placed(self.clip, text.states, [(1, self.ctx[None])])
        return class_features(self.clip, shared, own, end, [None] * text_layers(self.clip))[0]

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos, the same for every split."""
        return cosine_logits(pictures.features, encoded, self.clip.scale)


def projected(g: Float[Tensor, "*shape"], against: Float[Tensor, "*shape"], strength: float) -> Float[Tensor, "*shape"]:
    """`g` without `strength` times its part along `against`, where the two disagree."""
    unit = against / against.norm()
    along = (g * unit).sum()
    return g - strength * along * unit if along < 0 else g


METHOD = ProGrad
