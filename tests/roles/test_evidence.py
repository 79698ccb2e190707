"""What speaks for roles: agreement beyond the marginals, the clearest heads, the reported ones, the planted ones."""

import pandas as pd
import pytest

from dearlib.errors import InputError
from dearlib.roles import evidence
from dearlib.roles.rolefile import HeadRole, HeadRoles


def test_agreement_by_hand() -> None:
    """4 of 6 agree; marginals (4, 2) and (4, 2) give (16 + 4) / 36; kappa = (2/3 − 5/9) / (1 − 5/9)."""
    found = evidence.agreement(list("aaaabb"), list("aaabba"))
    assert found == pytest.approx({"agree": 4 / 6, "expected": 20 / 36, "kappa": 0.25})
    assert evidence.agreement(["a", "a"], ["a", "a"])["kappa"] != evidence.agreement(["a", "b"], ["a", "b"])["kappa"] == 1.0
    with pytest.raises(InputError, match="got 1 and 2 labels"):
        evidence.agreement(["a"], ["a", "b"])


def _with(roles: HeadRoles, **heads: HeadRole) -> HeadRoles:
    return roles.replaced({(e.layer, e.head): e for e in heads.values()})


def _head(layer: int, head: int, concept: str, entropy: float, *phrases: str, role: str = "attribute") -> HeadRole:
    return HeadRole(layer=layer, head=head, role=role, concept=concept, entropy=entropy, interval=(entropy, entropy),
                    distribution={concept: 1.0}, phrases=phrases)  # fmt: skip


def test_the_clearest_head_has_the_lowest_entropy_then_more_phrases(roles: HeadRoles) -> None:
    made = _with(roles, a=_head(11, 4, "color", 0.2, "red", "blue"), b=_head(12, 1, "color", 0.2, "red", "blue", "green"),
                 c=_head(12, 2, "color", 0.1, "red", role="mixed"))  # fmt: skip
    best = evidence.clearest(made)
    assert (best["color"].layer, best["color"].head) == (12, 1)
    table = evidence.table1(made, phrases=2)
    assert table[table["attribute"] == "color"].to_dict("list") == {
        "attribute": ["color"] * 2, "head": ["L12 H1"] * 2, "entropy": [0.2] * 2, "rank": [1, 2], "phrase": ["red", "blue"],
    }  # fmt: skip


def test_an_attribute_without_a_head_is_shown_as_such(roles: HeadRoles) -> None:
    none = roles.replaced({(e.layer, e.head): e.model_copy(update={"role": "mixed"}) for e in roles.entries if e.concept == "shape"})
    table = evidence.table1(none)
    assert table[table["attribute"] == "shape"]["head"].tolist() == ["no head"]
    shown = evidence.shown_side_by_side(table)
    assert "shape (no head)" in shown.columns
    assert set(shown["shape (no head)"]) == {""}


def test_evidence_has_every_head_once_lowest_entropy_first(roles: HeadRoles) -> None:
    known = roles.model_copy(update={"settings": {"null_quantiles": {"1": [1.2, 1.5]}}})
    confirmed = pd.DataFrame({"layer": [9], "head": [3], "confirmed": [True]})
    table = evidence.evidence(known, 0.1, 0.2, confirmed)
    assert len(table) == len(roles.entries)
    assert table["entropy"].is_monotonic_increasing
    assert table["below_null"].all()
    assert set(table["role_thresholds"]) == {"generalization"}
    assert set(table["role_null"]) == {"attribute", "other"}
    assert table["confirmed"].eq(True).sum() == 1
    assert table["confirmed"].isna().sum() == len(table) - 1


def test_reported_heads_are_recognised_by_their_phrases(roles: HeadRoles) -> None:
    made = _with(roles, a=_head(12, 7, "object", 0.2, "A stick", "A cup", "A road"), b=_head(10, 0, "object", 0.2, "A bonnet"))
    reported = pd.DataFrame({"attribute": "object", "layer": 12, "head": 7, "phrase": ["A stick", "A cup", "A bonnet"]})
    row = evidence.reported_matches(made, reported, ["A stick", "A cup", "A road"]).iloc[0].to_dict()
    assert row == {"attribute": "object", "head": "L12 H7", "reported": 3, "in_pool": 2, "here": 2, "most": 2, "at": "L12 H7"}
    other = evidence.reported_matches(made, reported.assign(layer=24), ["A stick"]).iloc[0].to_dict()
    assert (other["here"], other["most"], other["at"]) == (0, 2, "L12 H7")


def test_found_against_planted(roles: HeadRoles) -> None:
    flat = roles.replaced({(e.layer, e.head): e.model_copy(update={"role": "mixed"}) for e in roles.entries})
    made = _with(flat, a=_head(9, 0, "color", 0.1, "red"), b=_head(9, 1, "shape", 0.1, "ring"))
    table = evidence.against_planted(made, {"color": [(9, 0), (9, 1)], "texture": [(12, 11)]})
    assert table.loc["color", "color"] == table.loc["color", "shape"] == table.loc["texture", "-"] == 1
    assert table.to_numpy().sum() == len(roles.entries)
    assert table.loc["-", "-"] == len(roles.entries) - 3
    with pytest.raises(InputError, match="expected heads of the role file, got L1 H0"):
        evidence.against_planted(made, {"color": [(1, 0)]})
