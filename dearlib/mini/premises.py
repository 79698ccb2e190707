"""What the paper takes for granted of a CLIP, measured: how large its streams are, which layers write the picture, and which
heads were given a factor when DeAR-Mini was pre-trained.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.clip.cut import image_prefix, text_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.files import write_text
from dearlib.roles.heads import Parts


@torch.no_grad()
def stream_deviations(
    clip: FrozenClip, images: Float[Tensor, "picture 3 side side"], texts: Sequence[str], first_layer: int
) -> tuple[float, float]:
    """Standard deviation of the image and of the text encoder's residual stream where they enter `first_layer`.

    Over all pictures, tokens and dimensions; of a text up to its end, behind which nothing is read.
    """
    pictures = torch.cat([image_prefix(clip.visual, some, first_layer) for some in images.split(128)])
    text = text_prefix(clip, texts, first_layer)
    read = torch.arange(text.states.shape[1])[None, :] <= text.end.cpu()[:, None]
    return float(pictures.std()), float(text.states.cpu()[read].std())


def margins(parts: Parts, text: Float[Tensor, "value d_embed"], label: Int[Tensor, "picture"]) -> dict[str, Float[Tensor, "..."]]:
    """What every part of the image feature adds to the zero-shot margin, averaged over the pictures that have a label (not −1).

    The margin is the cosine with the right value's text feature minus the mean of the others'; parts add up to it. Keys: `heads`
    [layer, head], `mlps` [layer], `embedding` [].
    """
    has = label >= 0
    unit = F.normalize(text, dim=-1)
    others = (unit.sum(dim=0) - unit[label[has]]) / (len(unit) - 1)
    direction = (unit[label[has]] - others) / parts.total[has].norm(dim=-1, keepdim=True)
    return {
        "heads": torch.einsum("blhd,bd->lh", parts.heads[has], direction) / has.sum(),
        "mlps": torch.einsum("bld,bd->l", parts.mlps[has], direction) / has.sum(),
        "embedding": torch.einsum("bd,bd->", parts.embedding[has], direction) / has.sum(),
    }


def late_share(heads: Float[Tensor, "layer head"], first_layer: int) -> float:
    """Of what all heads together add to the margin, the share that the layers from `first_layer` (1-based) on add."""
    return float(heads[first_layer - 1 :].sum() / heads.sum())


def write_planted(path: Path, weights_sha256: str, first_layer: int, heads: int, planted: Mapping[str, Sequence[int]]) -> None:
    """Writes which heads were given which factor, as [layer, head] (layers from 1, heads from 0), beside the weights they belong to
    (`dearlib.roles.truth.planted_heads` reads it).
    """
    told = {name: [[first_layer + h // heads, h % heads] for h in mine] for name, mine in planted.items()}
    write_text(path, json.dumps({"weights_sha256": weights_sha256, "planted": told}, indent=1) + "\n")
