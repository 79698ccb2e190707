"""MMRL++: MMRL with one map for all layers, low-rank differences, and tokens that carry on (Guo & Gu, 2025).

Layer l's map is W + A_l B_l with a bias of its own, W shared by all layers of an encoder, rank 4, B = 0 at the start; the second
projection is CLIP's own plus A B of rank 64, B = 0. At layers 7 … 12 goes in β · R_l + (1 − β) · (the tokens' output of the layer
before), in both encoders. The rest is MMRL's: loss, answers, and where tokens go in.

Authors' recipe (yunncheng/MMRL): AdamW 1e-3, batch 4, 10 epochs, as MMRL (few-shot 2e-3, 100 epochs); (β, λ) by data set, β 0.1 to
0.9; across data sets λ 0.1 and β set for each *target*, which here is a setting of the run like any other [ours].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dearlib.clip.cut import check_cut, text_layers
from dearlib.clip.loading import FrozenClip
from dearlib.methods.family import mmrl
from dearlib.methods.interface import Batch, Classes, Needs, Pictures, Split
from dearlib.methods.recipe import Recipe
from dearlib.methods.tokens import class_features, image_states, pieces
from dearlib.methods.words import drawn
from dearlib.params.types import Fraction

RECIPE = Recipe(epochs=10, batch=4, lr=1e-3, optimiser="adamw")


@dataclass(frozen=True, kw_only=True)
class Settings(mmrl.Settings):
    """MMRL's. `beta`: β. `rank`: of a layer's difference from the shared map; `projection_rank`: of the projection's from CLIP's."""

    beta: Fraction = 0.9
    rank: int = 4
    projection_rank: int = 64


class Aligner(nn.Module):
    """x ↦ x (W + A_l B_l)ᵀ + b_l for the layers l = 0, 1, …"""

    def __init__(self, width: int, out: int, layers: int, rank: int) -> None:
        super().__init__()
        start = nn.Linear(width, out)
        self.weight = nn.Parameter(start.weight.detach().clone())
        self.left = nn.ParameterList(low_rank(out, rank) for _ in range(layers))
        self.right = nn.ParameterList(torch.zeros(rank, width) for _ in range(layers))
        self.bias = nn.ParameterList(start.bias.detach().clone() for _ in range(layers))

    def forward(self, x: Float[Tensor, "token width"]) -> list[Float[Tensor, "1 token out"]]:
        """Every layer's tokens."""
        each = zip(self.left, self.right, self.bias, strict=True)
        return [F.linear(x, self.weight + left @ right, bias)[None] for left, right, bias in each]


class MMRLPlus(nn.Module):
    """R, the two aligners, and the second projection's difference from CLIP's."""

    title: ClassVar = "MMRL++"
    wants: ClassVar = ()

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        check_cut(clip, settings.first_layer)
        self.clip, self.settings = clip, settings
        s, first = settings, settings.first_layer
        with drawn(seed):
            self.space = nn.Parameter(s.init_std * torch.randn(s.tokens, s.width))
            self.to_image = Aligner(s.width, clip.d_model, clip.layers - first + 1, s.rank)
            self.to_text = Aligner(s.width, clip.d_text, text_layers(clip) - first + 1, s.rank)
            self.left = nn.Parameter(low_rank(clip.d_model, s.projection_rank))
        self.right = nn.Parameter(torch.zeros(s.projection_rank, clip.d_embed))
        self.weights: Mapping[str, float] = mmrl.weights(s)
        self.needs = Needs(image_from=first, text_from=first)
        self.enters = mmrl.entries(s, clip.layers, "blend")

    def prepare(self, classes: Classes) -> mmrl.Text:
        """As MMRL."""
        return mmrl.prompted(self.clip, classes, self.settings.first_layer)

    def losses(self, batch: Batch, text: mmrl.Text) -> dict[str, Tensor]:
        """As MMRL."""
        v, v_rep = self.image_features(batch)
        return mmrl.terms(self.clip, self.settings, v, v_rep, self.encode(text), batch, text)

    def encode(self, text: mmrl.Text) -> Float[Tensor, "class_ d_embed"]:
        """The classes' features with the tokens."""
        return class_features(self.clip, *pieces(text.states), self.to_text(self.space), self.settings.beta)[0]

    def image_features(self, pictures: Pictures) -> tuple[Float[Tensor, "picture d_embed"], Float[Tensor, "picture d_embed"]]:
        """v and v_rep."""
        tokens = self.to_image(self.space)
        x = image_states(self.clip, pictures.states, tokens, [None] * len(tokens), self.settings.beta)
        return mmrl.read_both(self.clip, x, self.clip.visual.proj + self.left @ self.right)

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """As MMRL."""
        return mmrl.both(self.clip, self.settings, *self.image_features(pictures), encoded, split)


def low_rank(rows: int, rank: int) -> Float[Tensor, "rows rank"]:
    """The left factor's start, as a linear layer's; the right one's is 0. Rank 0 has no entries."""
    left = torch.empty(rows, rank)
    return nn.init.kaiming_uniform_(left, a=5**0.5) if rank else left


METHOD = MMRLPlus
