"""DeAR in the family's terms: attribute tokens, text tokens and role masks from layer J on (the paper, Section 3.3).

The definition is `dearlib.methods.dear`; this is how the harness sees it, next to the other methods. Runs of one shape train faster
as one batch by `dearlib.methods.training.fit`, with the same result. Base and novel classes are answered by the fused logits, other
data sets by the class feature alone.

The paper's recipe: AdamW 1e-3, J = 9, five tokens, 16 shots. What it leaves open is MMRL's: batch 4, 10 epochs, one at 1e-5, crops of
(0.5, 1) [ours].
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dearlib.clip.cut import TextStates, frozen_text_features, text_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.methods import dear
from dearlib.methods.interface import Batch, Classes, Entry, Needs, Pictures, Split
from dearlib.methods.losses import losses
from dearlib.methods.recipe import Recipe
from dearlib.params.types import NonNegative
from dearlib.roles.rolefile import HeadRoles

RECIPE = Recipe(epochs=10, batch=4, lr=1e-3, optimiser="adamw")


@dataclass(frozen=True, kw_only=True)
class Settings(dear.Settings):
    """The model's, and the weights of Eq. 12."""

    lambda_reg: NonNegative = 1.0
    lambda_fusion: NonNegative = 0.1


@dataclass(frozen=True)
class Text:
    """The prompts on the verge of layer J, and as frozen CLIP knows them."""

    states: TextStates
    frozen: Float[Tensor, "class_ d_embed"]


class Dear(nn.Module):
    """A `dearlib.methods.dear.DeAR`."""

    title: ClassVar = "DeAR"
    wants: ClassVar = ("roles",)

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int, roles: HeadRoles) -> None:
        super().__init__()
        self.clip, self.settings = clip, settings
        own = {f.name: getattr(settings, f.name) for f in dataclasses.fields(dear.Settings)}
        self.model = dear.DeAR(clip, roles, dear.Settings(**own), seed)
        self.weights: Mapping[str, float] = {
            "cross_entropy": 1.0,
            "regularisation": settings.lambda_reg,
            "fusion": settings.lambda_fusion,
        }
        first, last = settings.first_layer, clip.layers
        self.needs = Needs(image_from=first, text_from=first)
        counts = {"image": len(self.model.attribute_tokens), "text": settings.text_tokens}
        tokens = [
            Entry(modality=modality, layers=layers, rule=rule, source="parameter", count=count)  # type: ignore[arg-type]
            for modality, count in counts.items()
            for layers, rule in (((first, first), "insert"), ((first + 1, last), "blend"))
        ]
        self.enters = (*tokens, Entry(modality="image", layers=(last + 1, last + 1), rule="project", source="parameter"))

    def prepare(self, classes: Classes) -> Text:
        """See `Text`."""
        first = self.settings.first_layer
        states = text_prefix(self.clip, classes.prompts, first)
        return Text(states, frozen_text_features(self.clip, states, first))

    def losses(self, batch: Batch, text: Text) -> dict[str, Tensor]:
        """The terms of Eq. 12."""
        image = self.model.image_features(batch.states)
        found = losses(self.model, image, self.encode(text), batch.features, text.frozen, batch.labels)
        return {"cross_entropy": found.cross_entropy, "regularisation": found.regularisation, "fusion": found.fusion}

    def encode(self, text: Text) -> Float[Tensor, "class_ d_embed"]:
        """f_t."""
        return self.model.text_features(text.states)

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """ŷ of Eq. 19, or s_cls for another data set."""
        found = self.model.similarities(self.model.image_features(pictures.states), encoded)
        return found[:, 0] if split == "transferred" else self.model.fuse(found)


METHOD = Dear
