"""The premise of the paper, planted: some late heads are given a factor of the world to speak of.

DeAR takes for granted that a CLIP's late heads write the image feature and that some of them are about one attribute. In
OpenAI's models both were found (Gandelsman et al., ICLR 2024); a CLIP as small as this one grows neither by itself. So
pre-training asks for them: a drawn set of heads of the last layers must each, alone, tell the values of one factor apart
and leave the other factors alone. Which heads these are is known, so what a method finds can be held against it.

Shares of *energy* carry the demands: the energy of a part along a factor is the variance, over the pictures of a batch, of
its projections on the factor's centred text features. A demand is a hinge: once it is met it asks for nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

GENERAL = "general"  # heads that must each say something of every factor
SHARPNESS = 16.0  # of a head's own answers: the factor by which the cosine of two centred features is multiplied


@dataclass(frozen=True)
class Demands:
    """How much of each kind of energy pre-training asks for, as shares in [0, 1].

    `late`: of the whole image feature's variance, what the late heads write. `purity`: of a planted head's energy along
    all factors, what lies along its own. `owned`: of all energy along a factor, what its planted heads write. `silence`: of a
    planted head's variance over pictures that show its factor and over pictures that do not, the former.
    """

    late: float
    purity: float
    owned: float
    silence: float


def plant(counts: Mapping[str, int], layers: int, heads: int, seed: int) -> dict[str, list[int]]:
    """Which late heads are given which factor: heads number layer · heads + head, layers counted from the first late one.

    `counts` says how many heads each factor gets; which ones is drawn, layer by layer in turn, so that every factor has
    heads in several layers.
    """
    draw = torch.Generator().manual_seed(seed)
    columns = [torch.randperm(heads, generator=draw).tolist() for _ in range(layers)]
    free = [layer * heads + columns[layer][i] for i in range(heads) for layer in range(layers)]
    found, at = {}, 0
    for name, count in counts.items():
        found[name] = sorted(free[at : at + count])
        at += count
    return found


def directions(text: Float[Tensor, "value d_embed"]) -> Float[Tensor, "value d_embed"]:
    """A factor's values as directions: unit text features, their mean taken out."""
    unit = F.normalize(text, dim=-1)
    return unit - unit.mean(dim=0)


def energy(parts: Float[Tensor, "picture part d_embed"], along: Float[Tensor, "value d_embed"]) -> Float[Tensor, "part"]:
    """Variance of every part along a factor's directions, averaged over its values."""
    return ((parts - parts.mean(dim=0)) @ along.T).square().mean(dim=(0, 2))


def own_answer(
    part: Float[Tensor, "picture head d_embed"], along: Float[Tensor, "value d_embed"], label: Int[Tensor, "picture"]
) -> Float[Tensor, "head"]:
    """Cross-entropy of each head alone telling a factor's values apart; pictures labelled −1 do not show the factor."""
    has = label >= 0
    seen = part[has]
    cosine = F.normalize(seen - seen.mean(dim=0), dim=-1) @ F.normalize(along, dim=-1).T
    log = (SHARPNESS * cosine).log_softmax(dim=-1)
    return -log.gather(2, label[has][:, None, None].expand(-1, part.shape[1], 1)).mean(dim=(0, 2))


def loudness(part: Float[Tensor, "picture head d_embed"], label: Int[Tensor, "picture"]) -> Float[Tensor, "head"]:
    """Of a head's variance over pictures with and over pictures without its factor (label −1), the latter's share.

    Raises `ValueError` if all pictures show the factor: there is nothing to be silent about.
    """
    has = label >= 0
    if has.all():
        raise ValueError("loudness: expected pictures without the factor, got none")
    seen, unseen = (x.var(dim=0, correction=0).sum(dim=-1) for x in (part[has], part[~has]))
    return unseen / (seen + unseen)


def planting_loss(
    rest: Float[Tensor, "picture d_embed"],
    heads: Float[Tensor, "picture head d_embed"],
    asked: Float[Tensor, "picture head d_embed"] | None,
    planted: Mapping[str, Sequence[int]],
    text: Mapping[str, Float[Tensor, "value d_embed"]],
    labels: Mapping[str, Int[Tensor, "picture"]],
    demands: Demands,
) -> dict[str, Float[Tensor, ""]]:
    """What the planted heads still lack, term by term.

    Args:
        rest: the image feature without the late heads' part; `heads`: that part, head by head. `asked`: what the same heads add to a
            token that asks them (`encoders.encode_parts`); their answers are to be as good.
        planted: factor (or `GENERAL`) → numbers of its heads.
        text, labels: of every factor its values' text features and each picture's value, −1 for none.
    """
    along = {name: directions(t) for name, t in text.items()}
    told = [_answers(part, planted, along, labels) for part in (heads, asked) if part is not None]
    late = heads.sum(dim=1)
    spread = torch.stack([x.var(dim=0).sum() for x in (late, rest)])
    head_energy = {name: energy(heads, a) for name, a in along.items()}
    everything = torch.stack(list(head_energy.values())).sum(dim=0)
    purity, owned, loud = [], [], []
    for name, mine in planted.items():
        if name == GENERAL or not mine:
            continue
        purity.append(head_energy[name][list(mine)] / everything[list(mine)])
        group = heads[:, list(mine)].sum(dim=1)
        two = energy(torch.stack([group, late + rest - group], dim=1), along[name])
        owned.append(two[0] / two.sum())
        if (labels[name] < 0).any():
            loud += [loudness(part[:, list(mine)], labels[name]) for part in (heads, asked) if part is not None]
    return {
        "answers": torch.stack(told).mean(),
        "late": F.relu(demands.late - spread[0] / spread.sum()),
        "purity": F.relu(demands.purity - torch.cat(purity)).mean(),
        "owned": F.relu(demands.owned - torch.stack(owned)).mean(),
        "silence": F.relu(torch.cat(loud) - (1 - demands.silence)).mean() if loud else rest.new_zeros(()),
    }


def _answers(
    heads: Float[Tensor, "picture head d_embed"],
    planted: Mapping[str, Sequence[int]],
    along: Mapping[str, Float[Tensor, "value d_embed"]],
    labels: Mapping[str, Int[Tensor, "picture"]],
) -> Float[Tensor, ""]:
    """How badly planted heads answer, averaged over them; a general one is asked for every factor."""
    each = [own_answer(heads[:, list(planted[name])], along[name], labels[name]) for name in along if planted.get(name)]
    if planted.get(GENERAL):
        every = [own_answer(heads[:, list(planted[GENERAL])], along[name], label) for name, label in labels.items()]
        each.append(torch.stack(every).mean(dim=0))
    return torch.cat(each).mean()
