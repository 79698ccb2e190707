"""Features and logits: what is read out of the last layer, and how similarities are fused (Eq. 10, 11, 17–19)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dearlib.clip.loading import FrozenClip


@dataclass(frozen=True)
class ImageFeatures:
    """f_cls and the f_a of a batch, before normalisation; of several runs' batches with an axis `run` in front."""

    cls: Float[Tensor, "*run batch d_embed"]
    attribute: Float[Tensor, "*run batch attribute d_embed"]


def read_out(
    clip: FrozenClip,
    read: Float[Tensor, "*run batch read d_model"],
    projection: Float[Tensor, "*run d_model d_embed"],
    attributes: int,
) -> ImageFeatures:
    """f_cls by CLIP's own projection, f_a by the trained one, averaged over an attribute's tokens (Eq. 10, 11)."""
    x = clip.visual.ln_post(read)
    own = (x[..., 1:, :] @ projection.unsqueeze(-3)).unflatten(-2, (attributes, -1)).mean(dim=-2)
    return ImageFeatures(x[..., 0, :] @ clip.visual.proj, own)


def similarities(
    image: ImageFeatures, text: Float[Tensor, "*run class_ d_embed"], scale: float
) -> Float[Tensor, "*run batch feature class_"]:
    """s_cls and the s_a: `scale` (τ) times the cosine of every feature with every class (Eq. 17, 18).

    Never in half precision: times τ = 100, eight bits of a cosine would be whole units of a logit.
    """
    with torch.autocast(text.device.type, enabled=False):
        features = torch.cat([image.cls.unsqueeze(-2), image.attribute], dim=-2)
        return scale * F.normalize(full_precision(features), dim=-1) @ F.normalize(full_precision(text), dim=-1).mT.unsqueeze(-3)


def cosine_logits(
    image: Float[Tensor, "picture d_embed"], text: Float[Tensor, "class_ d_embed"] | Float[Tensor, "picture class_ d_embed"], scale: float
) -> Float[Tensor, "picture class_"]:
    """`scale` times the cosine of every picture with every class, or with the classes as each picture has them; never in half."""
    with torch.autocast(text.device.type, enabled=False):
        v, t = (F.normalize(full_precision(x), dim=-1) for x in (image, text))
        return scale * (v @ t.T if t.ndim == 2 else torch.einsum("pd,pcd->pc", v, t))


def full_precision(x: Tensor) -> Tensor:
    """Half precision made single; other precisions as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
