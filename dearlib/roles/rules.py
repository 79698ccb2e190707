"""From a head's distribution over concepts to its role: against chance, or by thresholds.

The paper calls an entropy *low*, *high* or *intermediate* and names no numbers. Two readings [ours]:

- **null**: against phrases drawn blindly from the pool, as many as the head has. Specialised: the entropy lies below the
  null's 5 % quantile AND one concept holds more than half of the head's phrases. Generalization: it does not, AND no concept
  holds more than a third, so that the head is as diverse as chance may be. Mixed: the rest.
- **thresholds**: specialised at or below `low` · log2 k, Generalization at or above `high` · log2 k, Mixed in between.

A specialised head is *attribute* where its leading concept is a core attribute and *other* where it is not. What is left over
when every concept has its phrases (`RESIDUAL`) is no concept: a head that it leads is Mixed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dearlib.errors import InputError
from dearlib.roles.rolefile import RESIDUAL, Role

LOW, MIDDLE = 0.05, 0.5  # the null's two quantiles that are recorded; the first decides
MOST, FEW = 1 / 2, 1 / 3  # a leading concept's share of the phrases: above the one it leads, up to the other it does not


@dataclass(frozen=True)
class AgainstChance:
    """The rule `null`. `quantiles`: number of phrases → (5 % quantile, median) of the null's entropy, in bits."""

    quantiles: Mapping[int, tuple[float, float]]

    def role(self, entropy: float, concept: str, share: float, phrases: int, attributes: Sequence[str]) -> Role:
        """The role of a head whose leading `concept` holds this `share` of its `phrases`.

        Raises `InputError` for a number of phrases that no null was drawn for.
        """
        if phrases not in self.quantiles:
            known = ", ".join(map(str, sorted(self.quantiles))) or "none"
            raise InputError(f"roles: expected a null for {phrases} phrases, got nulls for {known}; run notebook 02_head_roles anew")
        below, _ = self.quantiles[phrases]
        slack = 1e-9  # rounding of the logarithm must not decide
        if entropy < below - slack and share > MOST + slack:
            return specialised(concept, attributes)
        return "generalization" if entropy >= below - slack and share <= FEW + slack else "mixed"

    def settings(self) -> dict[str, Any]:
        """What the role file keeps (JSON-able)."""
        return {"rule": "null", "null_quantiles": {str(n): list(ends) for n, ends in sorted(self.quantiles.items())}}


@dataclass(frozen=True)
class Thresholds:
    """The rule `thresholds` for `k` concepts: `low` < `high` are fractions of log2 k; both ends belong to the outer roles."""

    low: float
    high: float
    k: int

    def role(self, entropy: float, concept: str, share: float, phrases: int, attributes: Sequence[str]) -> Role:
        return assign_role(entropy, concept, self.k, self.low, self.high, attributes)

    def settings(self) -> dict[str, Any]:
        return {"rule": "thresholds"}


RoleRule = AgainstChance | Thresholds  # both say a head's role from its entropy, leading concept, the share that holds, its phrases


def assign_role(entropy: float, concept: str, k: int, low: float, high: float, attributes: Sequence[str]) -> Role:
    """The role by thresholds, fractions of log2 k.

    Raises `InputError` unless 0 ≤ low < high ≤ 1.
    """
    if not 0 <= low < high <= 1:
        raise InputError(f"thresholds: expected 0 <= low < high <= 1 (fractions of log2 k), got low = {low}, high = {high}")
    slack = 1e-9  # rounding of the logarithm must not decide
    if entropy <= low * math.log2(k) + slack:
        return specialised(concept, attributes)
    return "generalization" if entropy >= high * math.log2(k) - slack else "mixed"


def specialised(concept: str, attributes: Sequence[str]) -> Role:
    """The role of a head that keeps to one concept."""
    if concept in attributes:
        return "attribute"
    return "mixed" if concept == RESIDUAL else "other"
