"""TCP: CoOp's words, and from layer 9 on tokens made of what CLIP knows of each class (Yao et al., CVPR 2024, Eq. 4–7).

Four vectors stand in place of the first four words. A meta-net, d → d/4 → QuickGELU → 4 · D_t, makes of each class's normalised
frozen text feature four tokens, which replace positions 1–4 before layer 9. Loss: CE + 8 · (1 − mean cos(t, t₀)).

Authors' recipe (htyao89/Textual-based_Class-aware_prompt_tuning): Adam 2e-3 with ε = 1e-3, batch 32, 50 epochs, one of them at 1e-5;
vectors drawn with std 0.02; prompts "X X X X name, a type of pet." and the like, given here by `classes.template` with its first
four words replaced; the frozen classes by templates of their own (`teacher_template`). For SUN397 and ImageNet their script loads
epoch 25. The image encoder is not touched, so its features come from the cache.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from dearlib.clip.attention import shared_layer
from dearlib.clip.cut import TextStates, check_cut, text_layers, text_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.methods.fusion import cosine_logits
from dearlib.methods.interface import Batch, Classes, Entry, Needs, Pictures, Split
from dearlib.methods.recipe import Recipe
from dearlib.methods.tokens import class_features, pieces
from dearlib.methods.words import drawn, placed
from dearlib.params.types import Count, NonNegative, Template

RECIPE = Recipe(epochs=50, batch=32, lr=2e-3, optimiser="adam", eps=1e-3)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`template`: the learned prompt, its first `tokens` words replaced. `teacher_template`: None: the data set's."""

    tokens: Count = 4
    template: Template = "X X X X {}."
    teacher_template: Template | None = None
    class_layer: Count = 9
    narrow: Count = 4
    init_std: NonNegative = 0.02
    weight: NonNegative = 8.0


@dataclass(frozen=True)
class Text:
    """The prompts with blanks, and the frozen classes, normalised."""

    states: TextStates
    frozen: Float[Tensor, "class_ d_embed"]


class TCP(nn.Module):
    """Four shared vectors and the meta-net."""

    title: ClassVar = "TCP"
    wants: ClassVar = ()

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        check_cut(clip, settings.class_layer, "class_layer")
        self.clip, self.settings = clip, settings
        draw = torch.Generator().manual_seed(seed)
        self.ctx = nn.Parameter(settings.init_std * torch.randn(settings.tokens, clip.d_text, generator=draw))
        hidden = clip.d_embed // settings.narrow
        with drawn(seed):
            wide = nn.Linear(clip.d_embed, hidden)
            self.meta = nn.Sequential(wide, QuickGELU(), nn.Linear(hidden, settings.tokens * clip.d_text))
        self.weights: Mapping[str, float] = {"cross_entropy": 1.0, "text": settings.weight}
        self.needs = Needs(image_from=clip.layers + 1, text_from=1)
        at = settings.class_layer
        self.enters = (
            Entry(modality="text", layers=(0, 0), rule="words", source="parameter", count=settings.tokens),
            Entry(modality="text", layers=(at, at), rule="replace", source="per class", count=settings.tokens),
        )

    def prepare(self, classes: Classes) -> Text:
        """The prompts' embeddings, and the classes as frozen CLIP knows them."""
        s = self.settings
        frozen = self.clip.encode_text([(s.teacher_template or classes.template).format(name) for name in classes.names])
        return Text(text_prefix(self.clip, [s.template.format(name) for name in classes.names], 1), F.normalize(frozen, dim=-1))

    def losses(self, batch: Batch, text: Text) -> dict[str, Tensor]:
        """Cross-entropy, and the distance of the classes from the frozen ones."""
        features = self.encode(text)
        away = 1 - F.cosine_similarity(features, text.frozen, dim=-1).mean()
        return {"cross_entropy": F.cross_entropy(self.logits(batch, features, "base"), batch.labels), "text": away}

    def encode(self, text: Text) -> Float[Tensor, "class_ d_embed"]:
        """Up to the class-aware layer the classes share their first words, from there on the start token alone."""
        count, below = self.settings.tokens, self.settings.class_layer - 1
        shared = placed(self.clip, text.states, [(1, self.ctx[None])])
        _, own, end = pieces(text.states)
        for block in self.clip.model.transformer.resblocks[:below]:
            shared, own = shared_layer(block, shared, own)
        each = self.meta(text.frozen).unflatten(-1, (count, -1))
        rest = shared[:, 1 + count :].expand(len(own), -1, -1)
        own = torch.cat([each, rest, own], dim=1)
        return class_features(self.clip, shared[:, :1], own, end + count + rest.shape[1], [None] * (text_layers(self.clip) - below))[0]

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos, the same for every split."""
        return cosine_logits(pictures.features, encoded, self.clip.scale)


METHOD = TCP
