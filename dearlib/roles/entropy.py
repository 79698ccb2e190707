"""Concept Entropy and the roles it gives (DeAR, Section 3.2).

    P_lh(c_j) = 1/N Σ_i 1[cat(d_i) = c_j]       (Eq. 3)
    H(P_lh)   = − Σ_j P_lh(c_j) log2 P_lh(c_j)   (Eq. 4), bits, 0 · log 0 = 0

What an entropy makes of a head is said by a rule: `dearlib.roles.rules`.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.errors import InputError
from dearlib.roles.concepts import Concepts
from dearlib.roles.rolefile import HeadRole, HeadRoles, named, pool_sha256
from dearlib.roles.rules import RoleRule


def concept_distribution(assigned: Int[Tensor, "*head step"], k: int) -> Float[Tensor, "*head k"]:
    """Eq. 3: the share of each of `k` concepts among a head's phrases; -1 marks places without a phrase.

    Raises `InputError` for a head without any phrase: its contribution does not vary over the images.
    """
    counts = torch.stack([(assigned == j).sum(dim=-1) for j in range(k)], dim=-1).double()
    total = counts.sum(dim=-1, keepdim=True)
    if (total == 0).any():
        raise InputError("roles: expected phrases for every head, got a head with none; use more or more varied images")
    return counts / total


def concept_entropy(p: Float[Tensor, "*head k"]) -> Float[Tensor, "*head"]:
    """Eq. 4 in bits: 0 for one concept alone, log2 k for all of them equally often."""
    return torch.special.entr(p).sum(dim=-1).clamp(min=0) / math.log(2)


def find_roles(
    indices: Int[Tensor, "head step"],
    phrases: Sequence[str],
    concepts: Concepts,
    *,
    model: str,
    weights_sha256: str,
    identity: str,
    first_layer: int,
    heads: int,
    attributes: Sequence[str],
    rule: RoleRule,
    settings: dict[str, Any],
    intervals: Float[Tensor, "head 2"] | None = None,
) -> HeadRoles:
    """TextSpan's `indices` into `phrases` (layer by layer, `heads` a layer) and the concepts make the role file.

    Of equally frequent concepts a head gets that of its better phrase. `settings` (JSON-able) is kept for the record, with
    what `rule` adds. A distribution counts every concept of C by its label; a head's concept is the name, without a number.
    """
    if len(indices) % heads:
        raise InputError(f"indices: expected whole layers of {heads} heads, got {len(indices)} heads")
    if len(phrases) != len(concepts.assignment):
        raise InputError(f"phrases: expected the {len(concepts.assignment)} that the concepts were found in, got {len(phrases)}")
    assigned = concepts_of(indices, concepts.assignment)
    k = len(concepts.names)
    p = concept_distribution(assigned, k)
    entropy = concept_entropy(p)
    entries = []
    for row, bits in enumerate(entropy.tolist()):
        mine = [i for i in indices[row].tolist() if i >= 0]
        best = max(assigned[row, : len(mine)].tolist(), key=lambda j, row=row: float(p[row, j]))  # type: ignore[misc]
        name = named(concepts.names[best])
        entries.append(
            HeadRole(
                layer=first_layer + row // heads,
                head=row % heads,
                role=rule.role(bits, name, float(p[row, best]), len(mine), attributes),
                concept=name,
                entropy=bits,
                interval=(bits, bits) if intervals is None else tuple(intervals[row].tolist()),
                distribution=dict(zip(concepts.names, p[row].tolist(), strict=True)),
                phrases=tuple(phrases[i] for i in mine),
            )
        )
    return HeadRoles(
        model=model,
        weights_sha256=weights_sha256,
        identity=identity,
        pool_sha256=pool_sha256(phrases),
        first_layer=first_layer,
        layers=first_layer + len(indices) // heads - 1,
        heads=heads,
        attributes=tuple(attributes),
        concepts=concepts.names,
        settings={**settings, **rule.settings()},
        entries=tuple(entries),
    )


def concepts_of(indices: Int[Tensor, "head step"], concept_of_phrase: Int[Tensor, "phrase"]) -> Int[Tensor, "head step"]:
    """The concepts of TextSpan's phrases; -1 stays -1."""
    return concept_of_phrase[indices.clamp(min=0)].masked_fill(indices < 0, -1)
