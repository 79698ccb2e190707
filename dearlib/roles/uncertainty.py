"""How sure a Concept Entropy is: drawn again from other images, and what chance gives."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.errors import InputError
from dearlib.roles.entropy import concept_distribution, concept_entropy, concepts_of
from dearlib.roles.rules import LOW, MIDDLE, AgainstChance
from dearlib.roles.textspan import rank_phrases, span_coordinates


def bootstrap_entropy(
    contributions: Float[Tensor, "head image d_embed"],
    text: Float[Tensor, "phrase d_embed"],
    concept_of_phrase: Int[Tensor, "phrase"],
    rank: int,
    steps: int,
    resamples: int,
    seed: int,
    least: float = 0.0,
) -> Float[Tensor, "resample head"]:
    """Every head's Concept Entropy when the images are drawn again with replacement and TextSpan runs on them anew."""
    generator = torch.Generator().manual_seed(seed)
    z, t = span_coordinates(contributions, text)
    k, n = int(concept_of_phrase.max()) + 1, z.shape[1]
    rows = []
    for _ in range(resamples):
        drawn = torch.randint(n, (n,), generator=generator).to(z.device)
        indices = rank_phrases(z[:, drawn], t, rank, steps, least).indices.cpu()
        rows.append(concept_entropy(concept_distribution(concepts_of(indices, concept_of_phrase), k)))
    return torch.stack(rows) if rows else torch.empty(0, len(z), dtype=torch.float64)


def entropy_intervals(samples: Float[Tensor, "resample head"], coverage: float = 0.95) -> Float[Tensor, "head 2"]:
    """Percentile intervals of the bootstrap samples."""
    ends = torch.tensor([(1 - coverage) / 2, (1 + coverage) / 2], dtype=samples.dtype)
    return samples.quantile(ends, dim=0).T


def against_chance(concept_of_phrase: Int[Tensor, "phrase"], lengths: Iterable[int], draws: int, seed: int) -> AgainstChance:
    """The rule `null` for heads with `lengths` phrases: a null of its own for every length that occurs.

    A head whose variation is used up early has fewer phrases, and fewer phrases have less entropy by chance as well. The 5 %
    quantile is the draw itself at that rank (entropies are few and tie), so at most 5 % of the draws lie below it.
    """
    quantiles = {}
    for n in sorted(set(lengths)):
        null = null_entropy(concept_of_phrase, n, draws, seed)
        quantiles[n] = (float(null.quantile(LOW, interpolation="lower")), float(null.quantile(MIDDLE, interpolation="lower")))
    return AgainstChance(quantiles)


def null_entropy(concept_of_phrase: Int[Tensor, "phrase"], steps: int, draws: int, seed: int) -> Float[Tensor, "draw"]:
    """What chance gives: Concept Entropy of `steps` phrases drawn blindly from the pool, without replacement.

    Concepts with many phrases in the pool are drawn more often, as they would be by a head that means nothing. The same as
    shuffling which concept a phrase belongs to and keeping TextSpan's lists.
    """
    if draws < 1:
        raise InputError(f"null_draws: expected at least 1, got {draws}; 1000 make a steady 5 % quantile")
    if not 1 <= steps <= len(concept_of_phrase):
        raise InputError(f"steps: expected 1 to {len(concept_of_phrase)} (the phrases of the pool), got {steps}")
    generator = torch.Generator().manual_seed(seed)
    k = int(concept_of_phrase.max()) + 1
    chosen = torch.stack([torch.randperm(len(concept_of_phrase), generator=generator)[:steps] for _ in range(draws)])
    return concept_entropy(concept_distribution(concept_of_phrase[chosen], k))
