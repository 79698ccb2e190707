"""TextSpan: a ranked list of phrases whose text features span what a head writes (Gandelsman et al., ICLR 2024, Alg. 1).

One head: project the texts on the span of its contributions' top singular vectors; centre the contributions; then,
again and again, take the text along which the images differ most, record it, and remove its direction from
contributions and texts.

Two identities make it cheap and let all heads go as one batch. A removed direction u never comes back into the texts, so
removing it from the contributions changes no later projection: only texts are deflated, and the contributions enter
through one covariance matrix, Var[x · t] = t^T C t. And contributions lie in few dimensions (a head of width d_head
writes d_head directions, plus what the shared bias and mean add), so everything happens in coordinates of that span.

Source: https://github.com/yossigandelsman/clip_text_span (compute_complete_text_set.py).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.clip.finite import check_finite
from dearlib.errors import InputError

# Directions in which contributions are smaller than this share of their largest singular value are rounding [ours]:
# the published code keeps them when `rank` exceeds the true rank, and its result then depends on the linear algebra library.
ROUNDING = 1e-5


@dataclass(frozen=True)
class TextSpanResult:
    """The phrases of every head, best first.

    `indices` number the text pool's rows; -1 marks places after a head's variation was used up. `variance` is the share
    of the head's variance over images along each phrase's direction (what earlier phrases explain taken out); a head's
    shares add up to at most 1.
    """

    indices: Int[Tensor, "head step"]
    variance: Float[Tensor, "head step"]


def textspan(
    contributions: Float[Tensor, "head image d_embed"] | Float[Tensor, "image d_embed"],
    text: Float[Tensor, "phrase d_embed"],
    rank: int,
    steps: int,
    least: float = 0.0,
) -> TextSpanResult:
    """Ranks up to `steps` phrases for every head; a single head's [image, d_embed] is a batch of one.

    `text` holds the pool's normalised text features, `rank` how many singular directions of the (uncentred)
    contributions are kept (paper: 80 of 512), `least` how well a phrase must tell the pictures apart, as a share of the variance
    along the first: with the first phrase that falls short the list ends [ours]; 0 is the published algorithm. Computed in double
    precision.
    Raises `InputError` for a rank, a number of steps or a number of images that cannot be, for contributions and texts of
    unequal dimension, and for what is no number.
    """
    if contributions.ndim == 2:
        contributions = contributions[None]
    if contributions.shape[-1] != text.shape[-1]:
        got = f"{contributions.shape[-1]} and {text.shape[-1]}"
        raise InputError(f"textspan: expected contributions and texts of one dimension, got {got}; take both from one model")
    return rank_phrases(*span_coordinates(contributions, text), rank, steps, least)


def span_coordinates(
    contributions: Float[Tensor, "head image d_embed"], text: Float[Tensor, "phrase d_embed"]
) -> tuple[Float[Tensor, "head image span"], Float[Tensor, "head phrase span"]]:
    """Contributions and texts in an orthonormal basis of each head's span: all that `rank_phrases` needs, exactly.

    `span` is the largest number of directions any head has; heads with fewer have zeros in the rest. A subset of images
    (a bootstrap sample) stays in the span, so it can be cut out of the result.
    """
    check_finite("contributions [head, picture, dimension]", contributions)
    check_finite("texts [phrase, dimension]", text)
    x = contributions.double()
    power, basis = torch.linalg.eigh(x.mT @ x)
    kept = power > ROUNDING**2 * power[:, -1:]
    widest = max(1, int(kept.sum(dim=1).max()))
    basis = (basis * kept[:, None])[:, :, -widest:]
    return x @ basis, text.double() @ basis


def rank_phrases(
    contributions: Float[Tensor, "head image span"], text: Float[Tensor, "head phrase span"], rank: int, steps: int, least: float = 0.0
) -> TextSpanResult:
    """The greedy selection of TextSpan on texts given per head (see `span_coordinates`); `least` as in `textspan`."""
    n_head, n_image = contributions.shape[:2]
    n_phrase = text.shape[1]
    _check(n_image, n_phrase, rank, steps)
    gram = contributions.mT @ contributions
    mean = contributions.mean(dim=1)
    covariance = (gram - n_image * mean[:, :, None] * mean[:, None]) / (n_image - 1)
    power, basis = torch.linalg.eigh(gram)
    top = (basis * (power > ROUNDING**2 * power[:, -1:])[:, None])[:, :, -rank:]
    text = text @ top @ top.mT
    spread = text @ covariance
    floor = (ROUNDING**2 * power.sum(dim=1) / n_image)[:, None]
    total = covariance.diagonal(dim1=1, dim2=2).sum(dim=1)
    head = torch.arange(n_head, device=text.device)
    first = torch.zeros(n_head, dtype=text.dtype, device=text.device)
    indices, shares, ended = [], [], torch.zeros(n_head, dtype=torch.bool, device=text.device)
    for step in range(steps):
        variance = (spread * text).sum(dim=-1)
        best, at = variance.max(dim=1)
        first = best if step == 0 else first
        chosen = text[head, at]
        unit = chosen / chosen.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(chosen.dtype).tiny)
        share = torch.einsum("hs,hst,ht->h", unit, covariance, unit) / total.clamp(min=torch.finfo(total.dtype).tiny)
        ended = ended | (best <= floor[:, 0]) | (best < least * first)
        unit = unit.masked_fill(ended[:, None], 0)
        along = text @ unit[:, :, None]
        into = torch.einsum("hst,ht->hs", covariance, unit)
        indices.append(at.masked_fill(ended, -1))
        shares.append(share.masked_fill(ended, 0))
        text = text - along * unit[:, None]
        spread = spread - along * into[:, None]
    return TextSpanResult(torch.stack(indices, dim=1), torch.stack(shares, dim=1))


def _check(images: int, phrases: int, rank: int, steps: int) -> None:
    if images < 2:
        raise InputError(f"images: expected at least 2 to have a variance, got {images}")
    if rank < 1:
        raise InputError(f"rank: expected at least 1, got {rank}")
    if not 1 <= steps <= phrases:
        raise InputError(f"steps: expected 1 to {phrases} (the phrases of the pool), got {steps}")
