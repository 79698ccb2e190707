"""PromptSRC: words and image tokens in the first layers, held to what frozen CLIP says (Khattak et al., ICCV 2023, Eq. 3–9).

Four words started from "a photo of a" and four image tokens, each with new ones before layers 2 … 9, in both encoders independently;
image tokens stand after the last patch, enter before `ln_pre`, without positions. Loss: CE + 25 · mean|t − t̄| + 10 · mean|v − v₀| +
KL(p₀ ‖ p) / (pictures · classes), all of normalised features: v₀ is the frozen feature of the same view, t̄ the frozen features
averaged over many templates and then normalised, p₀ their answers. In the end parameters are averaged over the epochs with Gaussian
weights.

Authors' recipe (muzairkhattak/PromptSRC): SGD 2.5e-3, batch 4, 20 epochs, one at 1e-5, weights N(15, 1²), 60 templates, crops of
(0.08, 1); across data sets depth 3, N(6, 10²). They average the whole model in half precision, frozen weights too; here what is
trained alone [ours]. The templates are an argument: the default knows one, the mini profile's are the world's own [ours].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from dearlib.clip.cut import TextStates, check_cut, text_layers, text_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.methods.fusion import cosine_logits
from dearlib.methods.interface import Batch, Classes, Entry, Needs, Pictures, Split
from dearlib.methods.recipe import Recipe
from dearlib.methods.tokens import class_features, picture_features, pieces
from dearlib.methods.words import placed, word_vectors
from dearlib.params.types import Count, NonNegative, Template

RECIPE = Recipe(epochs=20, batch=4, lr=2.5e-3, optimiser="sgd", average="gaussian", average_at=(15.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`tokens`: in each encoder. `depth`: the last layer with tokens. `templates`: whose frozen features t̄ is the mean of."""

    tokens: Count = 4
    depth: Count = 9
    init: str = "a photo of a"
    init_std: NonNegative = 0.02
    templates: Annotated[tuple[Template, ...], Field(min_length=1)] = ("a photo of a {}.",)
    text_weight: NonNegative = 25.0
    image_weight: NonNegative = 10.0


@dataclass(frozen=True)
class Text:
    """The prompts, and t̄, normalised."""

    states: TextStates
    frozen: Float[Tensor, "class_ d_embed"]


class PromptSRC(nn.Module):
    """Words and image tokens of layers 1 … depth."""

    title: ClassVar = "PromptSRC"
    wants: ClassVar = ()

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        check_cut(clip, settings.depth, "depth")
        self.clip, self.settings = clip, settings
        n, deeper, std, draw = settings.tokens, settings.depth - 1, settings.init_std, torch.Generator().manual_seed(seed)
        self.ctx = nn.Parameter(word_vectors(clip, settings.init, n))
        self.deep = nn.Parameter(std * torch.randn(deeper, n, clip.d_text, generator=draw))
        self.image_tokens = nn.Parameter(std * torch.randn(1 + deeper, n, clip.d_model, generator=draw))
        self.weights: Mapping[str, float] = {
            "cross_entropy": 1.0,
            "text": settings.text_weight,
            "image": settings.image_weight,
            "answers": 1.0,
        }
        self.needs = Needs(image_from=1, text_from=1)
        self.enters = (
            Entry(modality="text", layers=(0, 0), rule="words", source="parameter", count=n),
            Entry(modality="text", layers=(2, settings.depth), rule="replace", source="parameter", count=n),
            Entry(modality="image", layers=(1, 1), rule="insert", source="parameter", count=n),
            Entry(modality="image", layers=(2, settings.depth), rule="replace", source="parameter", count=n),
        )

    def prepare(self, classes: Classes) -> Text:
        """The prompts' embeddings, and the mean over the templates of what frozen CLIP says."""
        prompts = text_prefix(self.clip, [f"{self.settings.init} {name}." for name in classes.names], 1)
        return Text(prompts, F.normalize(mean_over_templates(self.clip, classes.names, self.settings.templates), dim=-1))

    def losses(self, batch: Batch, text: Text) -> dict[str, Tensor]:
        """Cross-entropy, and the distances of classes, pictures and answers from the frozen model's."""
        t, v, v0 = self.encode(text), self.image_features(batch), F.normalize(batch.features, dim=-1)
        logits, frozen = cosine_logits(v, t, self.clip.scale), cosine_logits(v0, text.frozen, self.clip.scale)
        known, learned = frozen.log_softmax(dim=1), logits.log_softmax(dim=1)
        return {
            "cross_entropy": F.cross_entropy(logits, batch.labels),
            "text": F.l1_loss(F.normalize(t, dim=-1), text.frozen),
            "image": F.l1_loss(F.normalize(v, dim=-1), v0),
            "answers": (known.exp() * (known - learned)).mean(),
        }

    def encode(self, text: Text) -> Float[Tensor, "class_ d_embed"]:
        """The classes' features with the learned words."""
        _, own, end = pieces(text.states)
        shared = placed(self.clip, text.states, [(1, self.ctx[None])])
        rest = [None] * (text_layers(self.clip) - self.settings.depth)
        return class_features(self.clip, shared, own, end, [None, *self.deep.unsqueeze(1), *rest])[0]

    def image_features(self, pictures: Pictures) -> Float[Tensor, "picture d_embed"]:
        """The class feature with the learned tokens."""
        return picture_features(self.clip, pictures.states, image_prompts(self.clip, self.image_tokens))

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos, the same for every split."""
        return cosine_logits(self.image_features(pictures), encoded, self.clip.scale)


def image_prompts(clip: FrozenClip, tokens: Float[Tensor, "layer count d_model"]) -> list[Float[Tensor, "1 count d_model"] | None]:
    """Tokens of layers 1, 2, … for `picture_features`: the first go through `ln_pre`; behind the last layer's nothing is replaced."""
    first = clip.visual.ln_pre(tokens[:1])
    return [first, *tokens[1:].unsqueeze(1), *[None] * (clip.layers - len(tokens))]


def mean_over_templates(clip: FrozenClip, names: tuple[str, ...], templates: tuple[str, ...]) -> Float[Tensor, "class_ d_embed"]:
    """The mean of a class's frozen features, taken before normalisation."""
    return torch.stack([clip.encode_text([t.format(name) for name in names]) for t in templates]).mean(dim=0)


METHOD = PromptSRC
