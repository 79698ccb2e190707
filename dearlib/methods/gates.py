"""Gates: what must be so before a table about tokens and masks means anything. Printed with every table [ours].

If all tokens read the same, five attributes are one; if the class feature does not move, only fusion can matter; where no head is
shielded, a mask has nothing to shield.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dearlib.clip.prefix import Source, together
from dearlib.methods.dear import DeAR
from dearlib.roles.rolefile import HeadRoles


@dataclass(frozen=True)
class Gates:
    """Means over pictures.

    Attributes:
        token_cosines: cosine between the features of every two attributes; 1 on the diagonal.
        class_cosine: of the class feature with the frozen model's; 1: it has not moved.
        shielded: heads per layer that keep originals and attribute tokens apart, of how many.
    """

    token_cosines: Float[Tensor, "attribute attribute"]
    class_cosine: float
    shielded: dict[int, int]

    @property
    def between_tokens(self) -> float:
        """The mean over pairs of different attributes; NaN where there is one."""
        n = len(self.token_cosines)
        return float((self.token_cosines.sum() - self.token_cosines.trace()) / (n * (n - 1))) if n > 1 else float("nan")


@torch.no_grad()
def gates(model: DeAR, source: Source) -> Gates:
    """The gates of a model on pictures on the verge of its layer J, which stream past once."""
    place, seen = model.projection, 0
    cosines = torch.zeros(len(model.roles.attributes), len(model.roles.attributes), dtype=torch.float64)
    close = 0.0
    for chunk in source.chunks(together(model.clip)):
        frozen = source.features[seen : seen + len(chunk)].to(place)
        seen += len(chunk)
        found = model.image_features(chunk.to(place))
        cosines += token_cosines(found.attribute).cpu() * len(chunk)
        close += F.cosine_similarity(found.cls, frozen, dim=-1).double().sum().item()
    return Gates(cosines / seen, close / seen, shielded_per_layer(model.roles, model.settings.first_layer))


def token_cosines(attribute: Float[Tensor, "picture attribute d_embed"]) -> Float[Tensor, "attribute attribute"]:
    """Mean over pictures of the cosines between attribute features."""
    unit = F.normalize(attribute.double(), dim=-1)
    return (unit @ unit.mT).mean(dim=0)


def shielded_per_layer(roles: HeadRoles, first_layer: int) -> dict[int, int]:
    """Of every masked layer, how many heads keep tokens and picture apart (Eq. 8)."""
    layers = range(first_layer, roles.layers + 1)
    return {n: sum(roles.at(n, h).role in ("generalization", "other") for h in range(roles.heads)) for n in layers}
