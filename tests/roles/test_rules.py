"""Roles against chance and by thresholds: by hand, and that chance itself is hardly ever called specialised."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dearlib.errors import InputError
from dearlib.roles.entropy import concept_distribution, concept_entropy
from dearlib.roles.rules import RESIDUAL, AgainstChance, Thresholds, assign_role, specialised
from dearlib.roles.uncertainty import against_chance, null_entropy

CORE = ("color", "shape")
CHANCE = AgainstChance({6: (1.25, 2.0), 4: (0.5, 1.5)})


@pytest.mark.parametrize(
    ("entropy", "concept", "share", "phrases", "role"),
    [
        (1.24, "color", 0.6, 6, "attribute"),
        (1.24, "text", 0.6, 6, "other"),
        (1.24, RESIDUAL, 0.6, 6, "mixed"),  # what is far from every concept is no subject
        (1.24, "color", 0.5, 6, "mixed"),  # half is not most
        (1.25, "color", 0.6, 6, "mixed"),  # at the quantile is not below it
        (1.24, "color", 0.6, 4, "mixed"),  # a shorter list has a null of its own
        (1.99, "color", 0.9, 6, "mixed"),
        (2.0, "color", 0.9, 6, "mixed"),  # as diverse as chance, and yet one concept leads
        (1.25, "color", 1 / 3, 6, "generalization"),
        (1.25, "color", 0.34, 6, "mixed"),  # more than a third
        (1.24, "color", 0.3, 6, "mixed"),  # less diverse than chance, and no concept leads
        (1.5, "text", 0.2, 4, "generalization"),
    ],
)
def test_against_chance_by_hand(entropy: float, concept: str, share: float, phrases: int, role: str) -> None:
    assert CHANCE.role(entropy, concept, share, phrases, CORE) == role


def test_a_length_without_a_null_is_an_error() -> None:
    with pytest.raises(InputError, match="expected a null for 5 phrases, got nulls for 4, 6"):
        CHANCE.role(1.0, "color", 1.0, 5, CORE)


def test_rules_say_what_the_file_keeps() -> None:
    assert CHANCE.settings() == {"rule": "null", "null_quantiles": {"4": [0.5, 1.5], "6": [1.25, 2.0]}}
    assert Thresholds(0.5, 0.8, 4).settings() == {"rule": "thresholds"}
    assert Thresholds(0.5, 0.8, 4).role(1.0, "color", 0.0, 0, CORE) == assign_role(1.0, "color", 4, 0.5, 0.8, CORE) == "attribute"


@given(st.floats(0, 4), st.floats(0, 1), st.sampled_from(["color", "text", RESIDUAL]), st.sampled_from([4, 6]))
def test_one_rule_one_role_and_attribute_heads_have_an_attribute(entropy: float, share: float, concept: str, phrases: int) -> None:
    for rule in (CHANCE, Thresholds(0.3, 0.7, 5)):
        role = rule.role(entropy, concept, share, phrases, CORE)
        assert role in ("mixed", "generalization", specialised(concept, CORE))


def test_each_length_has_its_own_null_of_the_pools_own_sizes() -> None:
    pool = torch.tensor([0] * 40 + [1] * 20 + [2] * 10 + [3] * 5)  # unequal concepts
    found = against_chance(pool, [12, 7, 12], draws=400, seed=3).quantiles
    assert sorted(found) == [7, 12]
    for n, (below, middle) in found.items():
        null = null_entropy(pool, n, 400, 3)
        assert (null < below).double().mean() <= 0.05
        assert (null <= below).double().mean() >= 0.05
        assert (null < middle).double().mean() <= 0.5 <= (null <= middle).double().mean()
    equal = against_chance(torch.arange(75) % 4, [12], 400, 3).quantiles[12]
    assert equal[0] > found[12][0]  # where one concept is large, low entropies are nothing special
    assert found[7][1] < found[12][1]


def test_of_blind_heads_at_most_one_in_twenty_is_specialised() -> None:
    pool = torch.tensor([0] * 60 + [1] * 50 + [2] * 40 + [3] * 30 + [4] * 20 + [5] * 10)
    names = ("color", "shape", "a", "b", "c", "d")
    rule = against_chance(pool, [12], draws=4000, seed=0)
    generator = torch.Generator().manual_seed(99)
    blind = torch.stack([pool[torch.randperm(len(pool), generator=generator)[:12]] for _ in range(2000)])
    p = concept_distribution(blind, 6)
    roles = [rule.role(h, names[int(q.argmax())], float(q.max()), 12, CORE) for h, q in zip(concept_entropy(p).tolist(), p, strict=True)]
    assert sum(r in ("attribute", "other") for r in roles) / len(roles) <= 0.06
    assert 0.45 <= roles.count("generalization") / len(roles) <= 0.75  # entropies are few, so many lie at the median itself


@pytest.mark.parametrize(
    ("entropy", "concept", "role"),
    [
        (0.0, "color", "attribute"),
        (1.0, "color", "attribute"),
        (1.0, "text", "other"),
        (1.0, RESIDUAL, "mixed"),
        (1.01, "color", "mixed"),
        (1.6, "color", "generalization"),
        (2.0, "text", "generalization"),
    ],
)
def test_thresholds_are_fractions_of_log2_k(entropy: float, concept: str, role: str) -> None:
    assert assign_role(entropy, concept, 4, 0.5, 0.8, ("color",)) == role


def test_a_threshold_is_met_whatever_the_logarithm_rounds_to() -> None:
    for k in range(2, 40):
        even = concept_entropy(torch.full((k,), 1 / k, dtype=torch.float64)).item()
        assert assign_role(even, "color", k, 0.1, 1.0, ("color",)) == "generalization"


@pytest.mark.parametrize(("low", "high"), [(0.8, 0.5), (0.5, 0.5), (-0.1, 0.5), (0.5, 1.1), (math.nan, 0.5)])
def test_impossible_thresholds(low: float, high: float) -> None:
    with pytest.raises(InputError, match="0 <= low < high <= 1"):
        assign_role(1.0, "color", 4, low, high, ("color",))
