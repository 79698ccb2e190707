"""Roles against the truth: what a reading of known factors loses when heads are mean-ablated [ours].

Only a rendered world has this: every picture's colour, shape, texture, object and place are known. A factor is read zero-shot, its
values named through all its templates. Two numbers per picture and factor: *accuracy* (right or wrong, in percent) and *margin*,
the true value's logit less the best other value's, which moves where a single head is too little to turn an answer.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from dearlib.clip.loading import ASSETS, FrozenClip
from dearlib.datasets.world import vocabulary
from dearlib.datasets.world.scene import scene
from dearlib.errors import InputError
from dearlib.roles.heads import decompose, mean_ablate
from dearlib.roles.rolefile import HeadRoles
from dearlib.texts import read_text


@dataclass(frozen=True)
class Scenes:
    """Features of rendered scenes, the late heads' parts of them, and which value of every factor each scene has (-1: none)."""

    total: Float[Tensor, "image d_embed"]
    heads: Float[Tensor, "image layer head d_embed"]
    values: Int[Tensor, "factor image"]


@dataclass(frozen=True)
class Reading:
    """Every picture's zero-shot reading; NaN where the picture has nothing of the factor."""

    accuracy: Float[Tensor, "factor image"]
    margin: Float[Tensor, "factor image"]

    def __sub__(self, intact: "Reading") -> "Reading":
        """The change from `intact`, picture by picture."""
        return Reading(self.accuracy - intact.accuracy, self.margin - intact.margin)


@torch.no_grad()
def held_out_scenes(model: FrozenClip, factors: Sequence[str], first_layer: int, images: int, seed: int, device: torch.device) -> Scenes:
    """Scenes that belong to no data set, every second one with an object and with a shape, through the image encoder."""
    drawn = [scene("head_roles/held_out", seed, i, kind=("object", "shape")[i % 2]) for i in range(images)]
    pixels = torch.stack([model.preprocess(Image.fromarray(picture)) for picture, _ in drawn])
    parts = [decompose(model.visual, batch.to(device)) for batch in pixels.split(100)]
    seen = [[f.value(name) for _, f in drawn] for name in factors]
    values = [
        [-1 if value is None else vocabulary.FACTORS[name].index(value) for value in row] for name, row in zip(factors, seen, strict=True)
    ]
    return Scenes(
        torch.cat([p.total for p in parts]).cpu(), torch.cat([p.heads[:, first_layer - 1 :] for p in parts]).cpu(), torch.tensor(values)
    )


@torch.no_grad()
def value_features(model: FrozenClip, factor: str) -> Float[Tensor, "value d_embed"]:
    """One normalised text feature per value of a factor: the mean over the factor's templates."""
    lines = [[template(value) for template in vocabulary.PHRASE_TEMPLATES[factor]] for value in vocabulary.FACTORS[factor]]
    return normalize(torch.stack([normalize(model.encode_text(value), dim=-1).mean(0) for value in lines]), dim=-1)


def read_factors(
    features: Float[Tensor, "image d_embed"],
    answers: Sequence[Float[Tensor, "_ d_embed"]],
    values: Int[Tensor, "factor image"],
    scale: float,
) -> Reading:
    """Accuracy (percent) and margin (logits: `scale` times a cosine) of every factor; `answers` holds each factor's value features."""
    unit = normalize(features, dim=-1)
    right, margin = [], []
    for answer, true in zip(answers, values, strict=True):
        logits = scale * unit @ answer.T
        own = logits.gather(1, true.clamp(min=0)[:, None])[:, 0]
        others = logits.scatter(1, true.clamp(min=0)[:, None], -torch.inf).max(dim=1).values
        right.append((100.0 * (own > others)).masked_fill(true < 0, torch.nan))
        margin.append((own - others).masked_fill(true < 0, torch.nan))
    return Reading(torch.stack(right), torch.stack(margin))


def ablated(scenes: Scenes, answers: Sequence[Tensor], scale: float, chosen: Bool[Tensor, "layer head"]) -> Reading:
    """What changes in the reading when the `chosen` heads write their mean over the scenes instead."""
    intact = read_factors(scenes.total, answers, scenes.values, scale)
    return read_factors(mean_ablate(scenes.total, scenes.heads, chosen), answers, scenes.values, scale) - intact


def heads_of(roles: HeadRoles, attribute: str) -> Bool[Tensor, "layer head"]:
    """Which heads have the role attribute(`attribute`)."""
    return torch.tensor([e.role == "attribute" and e.concept == attribute for e in roles.entries]).view(-1, roles.heads)


def one_by_one(scenes: Scenes, answers: Sequence[Tensor], scale: float) -> list[Reading]:
    """The change for every head ablated alone, layer by layer."""
    layers, heads = scenes.heads.shape[1:3]
    return [ablated(scenes, answers, scale, head) for head in torch.eye(layers * heads, dtype=torch.bool).view(-1, layers, heads)]


def resampled_means(
    change: Float[Tensor, "*any factor image"], resamples: int, seed: int
) -> tuple[Float[Tensor, "*any factor"], Float[Tensor, "resample *any factor"]]:
    """Means over the pictures that have the factor, and the same with pictures drawn again, the same ones for every row."""
    images = change.shape[-1]
    drawn = torch.randint(images, (resamples, images), generator=torch.Generator().manual_seed(seed))
    times = torch.stack([torch.bincount(row, minlength=images) for row in drawn]).to(change.dtype)
    present = (~change.isnan()).to(change.dtype)
    sums, counts = (torch.einsum("...i,ri->r...", part, times) for part in (change.nan_to_num(), present))
    return change.nanmean(dim=-1), sums / counts


def own_less_other(
    means: Float[Tensor, "factor"], samples: Float[Tensor, "resample factor"], own: int
) -> tuple[int, float, tuple[float, float]]:
    """Which other factor falls most, the own factor's change less that fall, and the difference's 95 % interval.

    A factor that rises has fallen by nothing: the own one has to fall, not to rise less. The largest other is taken anew in every
    resample, so it is not the one that happened to fall most here.
    """
    rest = [f for f in range(len(means)) if f != own]
    most = rest[int(means[rest].argmin())]
    differences = samples[:, own] - samples[:, rest].min(dim=1).values.clamp(max=0)
    low, high = np.quantile(differences.numpy(), [0.025, 0.975])
    return most, float(means[own] - means[most].clamp(max=0)), (float(low), float(high))


def confirmation(changes: Sequence[Reading], roles: HeadRoles, factors: Sequence[str], resamples: int, seed: int) -> pd.DataFrame:
    """Is a head's own factor what its ablation costs most? A row per attribute head.

    `own`, `largest_other`: changes of mean margin (negative: it falls), `other` the factor that falls most beside the own one;
    `difference` = own - largest other (at most 0) with its 95 % interval over pictures. `confirmed`: the whole interval lies below
    zero, so the own factor falls, and more than any other.
    """
    rows = []
    means, samples = resampled_means(torch.stack([c.margin for c in changes]), resamples, seed)
    accuracy = torch.stack([c.accuracy for c in changes]).nanmean(dim=-1)
    for i, e in enumerate(roles.entries):
        if e.role != "attribute" or e.concept not in factors:
            continue
        own = list(factors).index(e.concept)
        most, difference, (low, high) = own_less_other(means[i], samples[:, i], own)
        rows.append({"layer": e.layer, "head": e.head, "attribute": e.concept, "own": float(means[i, own]), "other": factors[most],
                     "largest_other": float(means[i, most]), "difference": difference, "low": low,
                     "high": high, "accuracy": float(accuracy[i, own]), "confirmed": high < 0})  # fmt: skip
    columns = ["layer", "head", "attribute", "own", "other", "largest_other", "difference", "low", "high", "accuracy", "confirmed"]
    return pd.DataFrame(rows, columns=columns)


def head_changes(changes: Sequence[Reading], roles: HeadRoles, factors: Sequence[str], resamples: int, seed: int) -> pd.DataFrame:
    """What every head's ablation changes in every factor: layer, head, factor, kind ('accuracy', 'margin'), change, low, high (95 %)."""
    rows = []
    for kind in ("accuracy", "margin"):
        means, samples = resampled_means(torch.stack([getattr(c, kind) for c in changes]), resamples, seed)
        low, high = np.quantile(samples.numpy(), [0.025, 0.975], axis=0)
        rows += [
            {
                "layer": e.layer,
                "head": e.head,
                "factor": f,
                "kind": kind,
                "change": float(means[i, j]),
                "low": low[i, j],
                "high": high[i, j],
            }
            for i, e in enumerate(roles.entries)
            for j, f in enumerate(factors)
        ]
    return pd.DataFrame(rows)


def planted_file(name: str, weights: Path | None) -> Path:
    """Where `planted_heads` lie: beside the weights file, or beside the package's own weights of the model `name`."""
    return (weights or ASSETS / f"{name}.safetensors").with_suffix(".planted.json")


def planted_heads(path: Path, weights_sha256: str) -> dict[str, list[tuple[int, int]]] | None:
    """Which heads pre-training gave one factor to speak of: factor → [(layer, head)], from a JSON file; None if there is none.

    Layers count from 1, heads from 0. `general` are heads that were to speak of every factor.

    Raises `InputError` for a file of another layout or of other weights, and for a head that is named twice.
    """
    if not path.is_file():
        return None
    try:
        told = json.loads(read_text(path))
        belongs = str(told["weights_sha256"])
        heads = {str(a): [(int(layer), int(head)) for layer, head in pairs] for a, pairs in told["planted"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: expected weights_sha256 and planted heads, got another layout ({reason}); restore the file") from error
    if belongs != weights_sha256:
        raise InputError(f"{path}: expected the heads of weights {weights_sha256[:12]}…, got those of {belongs[:12]}…; restore the file")
    every = [head for pairs in heads.values() for head in pairs]
    if len(set(every)) < len(every):
        raise InputError(f"{path}: expected every head once, got one under two attributes; restore the file")
    return heads


def factor_losses(
    features: Float[Tensor, "image d_embed"], answers: Sequence[Tensor], values: Int[Tensor, "factor image"], scale: float
) -> Float[Tensor, "factor"]:
    """Mean cross-entropy of every factor's zero-shot reading, in nats, over the pictures that have the factor."""
    logits = [scale * normalize(features, dim=-1) @ answer.T for answer in answers]
    return torch.stack([cross_entropy(x[true >= 0], true[true >= 0]) for x, true in zip(logits, values, strict=True)])


def random_groups(
    scenes: Scenes, answers: Sequence[Tensor], scale: float, size: int, draws: int, seed: int
) -> Float[Tensor, "draw factor"]:
    """Changes of mean margin when as many heads, drawn at random from the same layers, are ablated: the fair comparison."""
    layers, heads = scenes.heads.shape[1:3]
    generator = torch.Generator().manual_seed(seed)
    sets = [(torch.randperm(layers * heads, generator=generator) < size).view(layers, heads) for _ in range(draws)]
    return torch.stack([ablated(scenes, answers, scale, chosen).margin.nanmean(dim=-1) for chosen in sets])
