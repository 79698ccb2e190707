"""Several DeAR models on one frozen CLIP, computed as one batch.

Seeds and ablations differ in tokens, masks and weights of the loss, never in the frozen layers, which are nearly all of the
work. So their batches stand one behind the other in one large batch, and the small steps of few-shot training become
fewer, larger ones. Each model keeps its own parameters and gradients: what one learns no other sees.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.clip.attention import additive
from dearlib.clip.cut import TextStates
from dearlib.errors import InputError
from dearlib.methods.dear import DeAR
from dearlib.methods.fusion import ImageFeatures, read_out
from dearlib.methods.losses import Losses, terms
from dearlib.methods.tokens import image_states, text_features


class Stack:
    """Models of one CLIP with the same J, K, tokens per attribute and attributes; β, roles and parameters are each one's own.

    Raises:
        InputError: the models differ in more than that.
    """

    def __init__(self, models: Sequence[DeAR]) -> None:
        self.models = list(models)
        if len({shape(m) for m in self.models}) != 1:
            got = sorted({str(shape(m)) for m in self.models})
            raise InputError(f"stack: expected models of one shape (J, K, tokens, attributes), got {', '.join(got)}; train them apart")
        if any(m.clip is not self.models[0].clip for m in self.models):
            raise InputError("stack: expected models on one frozen CLIP, got several; load it once")

    @cached_property
    def _biases(self) -> list[Float[Tensor, "run head query query"]]:
        """The masks of layers J … L made additive; one for all runs where all have the same."""
        first = self.models[0]
        per_layer = [torch.stack(masks) for masks in zip(*(m.masks for m in self.models), strict=True)]
        return [additive(m[:1] if (m == m[:1]).all() else m, first.projection.dtype) for m in per_layer]

    def _beta(self, rows: int) -> float | Float[Tensor, "row 1 1"]:
        """β, a row for each of a run's `rows`; a plain number where all runs have the same."""
        betas = [m.settings.beta for m in self.models]
        if len(set(betas)) == 1:
            return betas[0]
        return torch.tensor(betas, dtype=torch.float64).to(self.models[0].projection).repeat_interleave(rows)[:, None, None]

    @property
    def alpha(self) -> Float[Tensor, "run feature"]:
        """The fusion weights of each run."""
        return torch.stack([m.alpha for m in self.models])

    def image_features(self, states: Float[Tensor, "run batch token d_model"]) -> ImageFeatures:
        """f_cls and f_a of each run's own batch."""
        runs, batch = states.shape[:2]
        first = self.models[0]
        tokens = torch.stack([m.attribute_tokens for m in self.models]).repeat_interleave(batch, dim=0)
        biases = [b if len(b) == 1 else b.repeat_interleave(batch, dim=0) for b in self._biases]
        read = image_states(first.clip, states.flatten(0, 1), [tokens] * len(biases), biases, self._beta(batch))
        projections = torch.stack([m.projection for m in self.models])
        return read_out(first.clip, read.unflatten(0, (runs, batch)), projections, len(first.roles.attributes))

    def text_features(self, text: TextStates) -> Float[Tensor, "run class_ d_embed"]:
        """f_t of the same prompts for each run."""
        first = self.models[0]
        tokens = torch.stack([m.text_tokens for m in self.models])
        return text_features(first.clip, text, tokens, first.settings.first_layer, self._beta(1))

    def losses(
        self,
        states: Float[Tensor, "run batch token d_model"],
        text: TextStates,
        frozen_image: Float[Tensor, "run batch d_embed"],
        frozen_text: Float[Tensor, "class_ d_embed"],
        labels: Int[Tensor, "run batch"],
    ) -> Losses:
        """The terms of Eq. 12, one of each a run."""
        scale = self.models[0].clip.scale
        return terms(self.alpha, scale, self.image_features(states), self.text_features(text), frozen_image, frozen_text, labels)


def shape(model: DeAR) -> tuple[int, int, int, tuple[str, ...]]:
    """What models of one stack have in common: J, K, tokens per attribute, attributes."""
    s = model.settings
    return s.first_layer, s.text_tokens, s.tokens_per_attribute, model.roles.attributes
