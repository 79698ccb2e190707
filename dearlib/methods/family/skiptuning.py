"""SkipT (Skip Tuning): no tokens; the upper layers of both encoders themselves are trained (Wu et al., CVPR 2025).

Layers 7 … 12, the last norms and both projections are free, all below is frozen and computed once. Classes are skipped too: of a
batch's classes, ranked by the largest similarity of its pictures to the frozen class features, its own labels first, the first
min(⌈C/2⌉, 50) stay; the rest stays with a probability that falls exponentially (λ = 0.3) with the rank. Loss: cross-entropy over the
classes that stay.

Authors' recipe (Koorye/SkipTuning): SGD, batch 4 of one class where there are four shots or more, 20 epochs (ImageNet, SUN, Food 5),
one at 1e-6, text 2e-5, image 5e-6, crops of (0.08, 1); templates of their own, given by `classes.template`. Which ranks stay is drawn
once a run, as their code does. They train half-precision weights, where an update smaller than their spacing is lost; here
weights are single [ours], so the same rates move more of them.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dearlib.clip.attention import biased_layer, shared_layer
from dearlib.clip.cut import TextStates, check_cut, frozen_text_features, text_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.clip.modules import Blocks
from dearlib.methods.fusion import cosine_logits
from dearlib.methods.interface import Batch, Classes, Entry, Needs, Pictures, Split
from dearlib.methods.recipe import Recipe
from dearlib.methods.tokens import pieces
from dearlib.params.types import Count, Fraction, Positive

RECIPE = Recipe(epochs=20, batch=4, lr=2e-5, warmup_lr=1e-6, optimiser="sgd", rates={"image": 5e-6})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`first_layer`: the first that is trained. `share`, `most`: of the classes that always stay. `decay`: λ. `one_class`: batches."""

    first_layer: Count = 7
    share: Fraction = 0.5
    most: Count = 50
    decay: Positive = 0.3
    one_class: bool = True


@dataclass(frozen=True)
class Text:
    """The prompts on the verge of the first free layer, and the frozen classes."""

    states: TextStates
    frozen: Float[Tensor, "class_ d_embed"]


class Tower(nn.Module):
    """The upper end of an encoder, free to change."""

    def __init__(self, blocks: Blocks, norm: nn.Module, projection: Tensor, first_layer: int) -> None:
        super().__init__()
        self.blocks = Blocks(copy.deepcopy(b) for b in list(blocks)[first_layer - 1 :])
        self.norm = copy.deepcopy(norm)
        self.projection = nn.Parameter(projection.detach().clone())
        self.requires_grad_(True)


class SkipTuning(nn.Module):
    """Both upper ends; `stays`: of the ranks of the training classes."""

    title: ClassVar = "SkipT"
    wants: ClassVar = ()
    weights: Mapping[str, float] = {"cross_entropy": 1.0}
    stays: Bool[Tensor, "class_"]

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        check_cut(clip, settings.first_layer)
        self.clip, self.settings, visual, model = clip, settings, clip.visual, clip.model
        first = settings.first_layer
        self.image = Tower(visual.transformer.resblocks, visual.ln_post, visual.proj, first)
        self.text = Tower(model.transformer.resblocks, model.ln_final, model.text_projection, first)
        self.register_buffer("stays", ranks_that_stay(len(classes.names), settings, seed))
        self.needs = Needs(image_from=first, text_from=first, one_class=settings.one_class, stacks=False)
        told = {"layers": (first, clip.layers + 1), "rule": "unfreeze", "source": "parameter"}
        self.enters = (Entry(modality="image", **told), Entry(modality="text", **told))  # type: ignore[arg-type]

    def prepare(self, classes: Classes) -> Text:
        """See `Text`."""
        first = self.settings.first_layer
        states = text_prefix(self.clip, classes.prompts, first)
        return Text(states, frozen_text_features(self.clip, states, first))

    def losses(self, batch: Batch, text: Text) -> dict[str, Tensor]:
        """Cross-entropy over the classes that stay."""
        v = self.image_features(batch)
        chosen = self.chosen(v.detach(), text.frozen, batch.labels)
        labels = torch.searchsorted(chosen, batch.labels)
        return {"cross_entropy": F.cross_entropy(cosine_logits(v, self.text_features(text.states, chosen), self.clip.scale), labels)}

    @torch.no_grad()
    def chosen(
        self, v: Float[Tensor, "picture d_embed"], frozen: Float[Tensor, "class_ d_embed"], labels: Int[Tensor, "picture"]
    ) -> Int[Tensor, "kept"]:
        """The classes that stay in this step, in their own order."""
        near = cosine_logits(v, frozen, 1.0).scatter(1, labels[:, None], 1e4).amax(dim=0)
        return near.sort(descending=True, stable=True).indices[self.stays].sort().values

    def encode(self, text: Text) -> Float[Tensor, "class_ d_embed"]:
        """All classes' features."""
        return self.text_features(text.states, torch.arange(len(text.frozen), device=text.frozen.device))

    def text_features(self, text: TextStates, chosen: Int[Tensor, "kept"]) -> Float[Tensor, "kept d_embed"]:
        """Features of some classes by the trained layers; what they share is computed once."""
        shared, own, end = pieces(replace(text, states=text.states[chosen], end=text.end[chosen]))
        for block in self.text.blocks:
            shared, own = shared_layer(block, shared, own, end if block is self.text.blocks[-1] else None)
        return self.text.norm(own[:, 0]) @ self.text.projection

    def image_features(self, pictures: Pictures) -> Float[Tensor, "picture d_embed"]:
        """The class feature by the trained layers."""
        x = pictures.states
        for block in self.image.blocks:
            x = biased_layer(block, x, None, x[:, :1] if block is self.image.blocks[-1] else None)
        return self.image.norm(x[:, 0]) @ self.image.projection

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos over all classes, the same for every split."""
        return cosine_logits(self.image_features(pictures), encoded, self.clip.scale)


def ranks_that_stay(classes: int, s: Settings, seed: int) -> Bool[Tensor, "class_"]:
    """The first ranks always, later ones by chance, from 1 down to 0 along an exponential."""
    always = min(math.ceil(s.share * classes), s.most)
    fall = torch.exp(-torch.linspace(0, 5, classes - always) / s.decay)
    low, high = (fall.min(), fall.max()) if len(fall) else (torch.zeros(()), torch.ones(()))
    probability = torch.cat([torch.ones(always), torch.nan_to_num((fall - low) / (high - low))])  # a lone rank is skipped
    return torch.rand(classes, generator=torch.Generator().manual_seed(seed)) < probability


METHOD = SkipTuning
