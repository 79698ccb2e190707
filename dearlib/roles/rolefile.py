"""Concept Entropy and the roles of attention heads (DeAR, Section 3.2), and the file that carries them.

    P_lh(c_j) = 1/N Σ_i 1[cat(d_i) = c_j]       (Eq. 3)
    H(P_lh)   = − Σ_j P_lh(c_j) log2 P_lh(c_j)   (Eq. 4), bits, 0 · log 0 = 0

The paper names no thresholds [ours]: with k concepts, H ≤ low · log2 k makes a head specialised (*attribute* if its most
frequent concept is a core attribute, *other* if not), H ≥ high · log2 k makes it *generalization*, the rest are *mixed*.

Masks are built from the saved file, never from a re-run: a re-run on another machine may round differently.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.roles.concepts import Concepts
from dearlib.roles.textspan import rank_phrases, span_coordinates

Role = Literal["attribute", "other", "generalization", "mixed"]


class HeadRole(BaseModel):
    """One head: its role and what the role was read from. Layers count from 1, heads from 0.

    `concept` is the most frequent concept of its `phrases` (best first), `entropy` its Concept Entropy in bits with
    `interval` a 95 % bootstrap interval over images (both ends equal where none was computed).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: int = Field(ge=1)
    head: int = Field(ge=0)
    role: Role
    concept: str
    entropy: float = Field(ge=0)
    interval: tuple[float, float]
    distribution: dict[str, float]
    phrases: tuple[str, ...]


class HeadRoles(BaseModel):
    """The roles of all heads of the layers `first_layer` (J) … `layers`, for one model's weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    weights_sha256: str
    pool_sha256: str
    first_layer: int = Field(ge=1)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    attributes: tuple[str, ...]
    concepts: tuple[str, ...]
    settings: dict[str, Any]
    entries: tuple[HeadRole, ...]

    @model_validator(mode="after")
    def _complete(self) -> "HeadRoles":
        """Every head once, in order; an attribute head's concept is an attribute, an other head's is not."""
        expected = [(layer, head) for layer in range(self.first_layer, self.layers + 1) for head in range(self.heads)]
        if [(e.layer, e.head) for e in self.entries] != expected:
            every = f"heads 0 to {self.heads - 1} of layers {self.first_layer} to {self.layers}"
            raise ValueError(f"entries: expected {every}, once and in order")
        for e in self.entries:
            if e.role in ("attribute", "other") and (e.concept in self.attributes) != (e.role == "attribute"):
                raise ValueError(f"L{e.layer} H{e.head}: role '{e.role}' does not go with concept '{e.concept}'")
        return self

    def save(self, path: Path) -> None:
        """Writes the JSON file whole or not at all."""
        write_text(path, json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "HeadRoles":
        """Reads a role file. Raises `InputError` in one line if it is missing, damaged or inconsistent."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise InputError(f"{path}: expected a role file, got none ({reason}); run notebook 02_head_roles to make it") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(key) for key in first["loc"]) or "content"
            raise InputError(f"{path}: expected a role file, got {where}: {first['msg']}; run notebook 02_head_roles anew") from error

    def at(self, layer: int, head: int) -> HeadRole:
        """The entry of one head. Raises `InputError` outside J … L."""
        if not (self.first_layer <= layer <= self.layers and 0 <= head < self.heads):
            expected = f"layer {self.first_layer} to {self.layers} and head 0 to {self.heads - 1}"
            raise InputError(f"roles: expected {expected}, got L{layer} H{head}")
        return self.entries[(layer - self.first_layer) * self.heads + head]

    @property
    def sha256(self) -> str:
        """Identifies the content: the SHA-256 of the roles as JSON."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def for_weights(self, sha256: str) -> "HeadRoles":
        """Itself, if it was made for these weights; otherwise raises `InputError`."""
        if sha256 != self.weights_sha256:
            made, got = self.weights_sha256[:12], sha256[:12]
            raise InputError(
                f"roles: expected a file for weights {got}…, got one for {made}… ({self.model}); run notebook 02_head_roles on these"
            )
        return self

    def with_role(self, layer: int, head: int, role: Role, concept: str | None = None) -> "HeadRoles":
        """A copy with one head's role (and its concept, where given) set by hand."""
        old = self.at(layer, head)
        new = HeadRole(**old.model_dump() | {"role": role, "concept": old.concept if concept is None else concept})
        return self.replaced({(layer, head): new})

    def replaced(self, new: Mapping[tuple[int, int], HeadRole]) -> "HeadRoles":
        """A copy with other entries for some (layer, head). Raises `InputError` where role and concept do not go together."""
        entries = [new.get((e.layer, e.head), e) for e in self.entries]
        try:
            return HeadRoles.model_validate(self.model_dump() | {"entries": [e.model_dump() for e in entries]})
        except ValidationError as error:
            raise InputError(f"roles: {error.errors()[0]['msg']}; choose another role or concept") from error


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


def assign_role(entropy: float, top_concept: str, k: int, low: float, high: float, attributes: Sequence[str]) -> Role:
    """The role by thresholds `low` < `high`, fractions of log2 k; both ends belong to the outer roles.

    Raises `InputError` unless 0 ≤ low < high ≤ 1.
    """
    if not 0 <= low < high <= 1:
        raise InputError(f"thresholds: expected 0 <= low < high <= 1 (fractions of log2 k), got low = {low}, high = {high}")
    slack = 1e-9  # rounding of the logarithm must not decide
    if entropy <= low * math.log2(k) + slack:
        return "attribute" if top_concept in attributes else "other"
    return "generalization" if entropy >= high * math.log2(k) - slack else "mixed"


def find_roles(
    indices: Int[Tensor, "head step"],
    phrases: Sequence[str],
    concepts: Concepts,
    *,
    model: str,
    weights_sha256: str,
    first_layer: int,
    heads: int,
    attributes: Sequence[str],
    low: float,
    high: float,
    settings: dict[str, Any],
    intervals: Float[Tensor, "head 2"] | None = None,
) -> HeadRoles:
    """TextSpan's `indices` into `phrases` (layer by layer, `heads` a layer) and the concepts make the role file.

    Of equally frequent concepts a head gets that of its better phrase. `settings` (JSON-able) is kept for the record.
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
        entries.append(
            HeadRole(
                layer=first_layer + row // heads,
                head=row % heads,
                role=assign_role(bits, concepts.names[best], k, low, high, attributes),
                concept=concepts.names[best],
                entropy=bits,
                interval=(bits, bits) if intervals is None else tuple(intervals[row].tolist()),
                distribution=dict(zip(concepts.names, p[row].tolist(), strict=True)),
                phrases=tuple(phrases[i] for i in mine),
            )
        )
    return HeadRoles(
        model=model,
        weights_sha256=weights_sha256,
        pool_sha256=pool_sha256(phrases),
        first_layer=first_layer,
        layers=first_layer + len(indices) // heads - 1,
        heads=heads,
        attributes=tuple(attributes),
        concepts=concepts.names,
        settings={**settings, "low": low, "high": high},
        entries=tuple(entries),
    )


def concepts_of(indices: Int[Tensor, "head step"], concept_of_phrase: Int[Tensor, "phrase"]) -> Int[Tensor, "head step"]:
    """The concepts of TextSpan's phrases; -1 stays -1."""
    return concept_of_phrase[indices.clamp(min=0)].masked_fill(indices < 0, -1)


def pool_sha256(phrases: Sequence[str]) -> str:
    """Identifies a phrase pool: the SHA-256 of its lines."""
    return hashlib.sha256("\n".join(phrases).encode()).hexdigest()


def bootstrap_entropy(
    contributions: Float[Tensor, "head image d_embed"],
    text: Float[Tensor, "phrase d_embed"],
    concept_of_phrase: Int[Tensor, "phrase"],
    rank: int,
    steps: int,
    resamples: int,
    seed: int,
) -> Float[Tensor, "resample head"]:
    """Every head's Concept Entropy when the images are drawn again with replacement and TextSpan runs on them anew."""
    generator = torch.Generator().manual_seed(seed)
    z, t = span_coordinates(contributions, text)
    k, n = int(concept_of_phrase.max()) + 1, z.shape[1]
    rows = []
    for _ in range(resamples):
        drawn = torch.randint(n, (n,), generator=generator).to(z.device)
        indices = rank_phrases(z[:, drawn], t, rank, steps).indices.cpu()
        rows.append(concept_entropy(concept_distribution(concepts_of(indices, concept_of_phrase), k)))
    return torch.stack(rows) if rows else torch.empty(0, len(z), dtype=torch.float64)


def entropy_intervals(samples: Float[Tensor, "resample head"], coverage: float = 0.95) -> Float[Tensor, "head 2"]:
    """Percentile intervals of the bootstrap samples."""
    ends = torch.tensor([(1 - coverage) / 2, (1 + coverage) / 2], dtype=samples.dtype)
    return samples.quantile(ends, dim=0).T


def null_entropy(concept_of_phrase: Int[Tensor, "phrase"], steps: int, draws: int, seed: int) -> Float[Tensor, "draw"]:
    """What chance gives: Concept Entropy of `steps` phrases drawn from the pool without replacement.

    The same as shuffling which concept a phrase belongs to and keeping TextSpan's lists.
    """
    if not 1 <= steps <= len(concept_of_phrase):
        raise InputError(f"steps: expected 1 to {len(concept_of_phrase)} (the phrases of the pool), got {steps}")
    generator = torch.Generator().manual_seed(seed)
    k = int(concept_of_phrase.max()) + 1
    chosen = torch.stack([torch.randperm(len(concept_of_phrase), generator=generator)[:steps] for _ in range(draws)])
    return concept_entropy(concept_distribution(concept_of_phrase[chosen], k))
