"""Role maps of the ablations: what each keeps of the map it is made from, and what it changes."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dearlib.errors import InputError
from dearlib.roles.controls import (
    against_recorded_chance,
    rethresholded,
    role_counts,
    roles_by_loss,
    shielded,
    shuffled_roles,
    uniform_roles,
)
from dearlib.roles.rolefile import HeadRoles


@pytest.mark.parametrize(("role", "count"), [("generalization", 48), ("mixed", 0)])
def test_uniform_roles_shield_all_heads_or_none(roles: HeadRoles, role, count: int) -> None:
    made = uniform_roles(role, roles)
    assert {e.role for e in made.entries} == {role}
    assert shielded(made) == count


@given(seed=st.integers(0, 2**31))
def test_shuffled_roles_keep_the_counts_and_the_heads(roles: HeadRoles, seed: int) -> None:
    made = shuffled_roles(roles, seed)
    assert role_counts(made) == role_counts(roles)
    assert [(e.layer, e.head, e.phrases) for e in made.entries] == [(e.layer, e.head, e.phrases) for e in roles.entries]


def test_shuffling_moves_roles_and_is_repeatable(roles: HeadRoles) -> None:
    assert shuffled_roles(roles, 1) == shuffled_roles(roles, 1)
    assert len({shuffled_roles(roles, seed).sha256 for seed in range(5)} | {roles.sha256}) == 6


def test_thresholds_cut_the_same_entropies(roles: HeadRoles) -> None:
    assert Counter(e.role for e in rethresholded(roles, 0.0, 0.01).entries) == {"generalization": 48}  # each has 1 bit of log2 6
    narrow = rethresholded(roles, 0.5, 0.6)
    assert {e.role for e in narrow.entries if e.concept == "number"} == {"other"}
    assert {e.role for e in narrow.entries if e.concept != "number"} == {"attribute"}
    assert [e.entropy for e in narrow.entries] == [e.entropy for e in roles.entries]


def test_the_null_is_applied_from_the_file_alone(roles: HeadRoles) -> None:
    """Each head has one phrase of one concept, 1 bit as the fixture says, and all of its phrases lead."""
    with pytest.raises(InputError, match="expected null_quantiles among the file's settings, got none"):
        against_recorded_chance(roles)
    strict = against_recorded_chance(roles.model_copy(update={"settings": {"null_quantiles": {"1": [1.2, 1.5]}}}))
    assert {e.role for e in strict.entries if e.concept == "number"} == {"other"}
    assert {e.role for e in strict.entries if e.concept != "number"} == {"attribute"}
    none = against_recorded_chance(roles.model_copy(update={"settings": {"null_quantiles": {"1": [0.9, 1.0]}}}))
    assert {e.role for e in none.entries} == {"mixed"}, "chance alone makes no generalist of a head that one concept leads"
    assert none.settings["rule"] == "null"
    assert against_recorded_chance(rethresholded(none, 0.5, 0.6)) == none  # either rule can be had back from the other's file


def test_roles_by_loss_by_hand(roles: HeadRoles) -> None:
    loss = torch.zeros(48, 5)
    loss[0] = torch.tensor([0.0, 0.0, 3.0, 0.0, 0.0])  # needed for texture alone
    loss[1] = torch.full((5,), 0.2)  # needed for all alike
    loss[2] = torch.tensor([1.0, -9.0, 1.0, -9.0, -9.0])  # 1 bit of 2.32; what gets better does not count
    loss[3] = torch.full((5,), -1.0)  # needed for nothing
    made = roles_by_loss(roles, loss, low=0.3, high=0.9)
    assert [(e.role, e.concept) for e in made.entries[:2]] == [("attribute", "texture"), ("generalization", "color")]
    assert (made.entries[2].role, made.entries[2].entropy) == ("mixed", pytest.approx(1.0))
    assert made.entries[3].role == "mixed"
    assert made.concepts == roles.attributes
    with pytest.raises(InputError, match=r"expected \[48, 5\]"):
        roles_by_loss(roles, loss[:5], 0.3, 0.9)
