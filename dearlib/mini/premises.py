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
from dearlib.clip.loading import ASSETS, FrozenClip
from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.roles.heads import Parts

PLANTED = ASSETS / "planted.json"


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
    """Writes which heads were given which factor, as [layer, head] (layers from 1, heads from 0), beside the weights they belong to."""
    told = {name: [[first_layer + h // heads, h % heads] for h in mine] for name, mine in planted.items()}
    write_text(path, json.dumps({"weights_sha256": weights_sha256, "planted": told}, indent=1) + "\n")


def read_planted(weights_sha256: str, path: Path = PLANTED) -> dict[str, list[tuple[int, int]]]:
    """Factor → the (layer, head) that pre-training gave it; empty for weights of which nothing is known.

    Raises `InputError` if the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        planted = {str(name): [(int(layer), int(head)) for layer, head in mine] for name, mine in told["planted"].items()}
        belongs = told["weights_sha256"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected the planted heads of DeAR-Mini, got something else; take the file of the package") from error
    return planted if belongs == weights_sha256 else {}
