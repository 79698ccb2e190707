"""Concept Entropy, thresholds, the role file; intervals and the null model."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from dearlib.errors import InputError
from dearlib.roles.concepts import Concepts
from dearlib.roles.entropy import concept_distribution, concept_entropy, find_roles
from dearlib.roles.rolefile import HeadRoles, named, pool_sha256
from dearlib.roles.rules import AgainstChance, Thresholds
from dearlib.roles.uncertainty import bootstrap_entropy, entropy_intervals, null_entropy

PHRASES = ("red", "blue", "green", "star", "ring", "three", "four", "five")
NAMES = ("color", "number", "shape")
CONCEPT = torch.tensor([0, 0, 0, 2, 2, 1, 1, 1])
# Layer 2: color only; number only. Layer 3: two and one; one each (list ended early at three of four).
INDICES = torch.tensor([[0, 1, 2, -1], [5, 6, 7, -1], [3, 0, 4, -1], [4, 1, 5, -1]])


def _roles(**changes: object) -> HeadRoles:
    concepts = Concepts(NAMES, torch.eye(3), torch.arange(3), CONCEPT, CONCEPT, CONCEPT)
    options = {
        "model": "toy",
        "weights_sha256": "a" * 64,
        "identity": "b" * 64,
        "first_layer": 2,
        "heads": 2,
        "attributes": ("color", "shape"),
        "rule": Thresholds(0.3, 0.9, 3),
        "settings": {"steps": 4},
    }
    return find_roles(INDICES, PHRASES, concepts, **options | changes)


def test_distribution_and_entropy_by_hand() -> None:
    p = concept_distribution(torch.tensor([[0, 0, 1, 2], [1, 1, 1, -1]]), 3)
    assert p.tolist() == [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]
    assert concept_entropy(p).tolist() == [1.5, 0.0]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.permutations(range(5)))
def test_entropy_is_between_0_and_log2_k_and_blind_to_names(assigned: list[int], renamed: list[int]) -> None:
    entropy = concept_entropy(concept_distribution(torch.tensor(assigned), 5)).item()
    assert 0 <= entropy <= math.log2(5) + 1e-12
    other = concept_entropy(concept_distribution(torch.tensor([renamed[a] for a in assigned]), 5)).item()
    assert other == pytest.approx(entropy, abs=1e-12)
    assert (entropy < 1e-12) == (len(set(assigned)) == 1)


def test_a_head_without_phrases_is_an_error() -> None:
    with pytest.raises(InputError, match="expected phrases for every head"):
        concept_distribution(torch.tensor([[0, 1], [-1, -1]]), 2)


def test_find_roles() -> None:
    roles = _roles()
    assert [(e.layer, e.head, e.role, e.concept) for e in roles.entries] == [
        (2, 0, "attribute", "color"),
        (2, 1, "other", "number"),
        (3, 0, "mixed", "shape"),
        (3, 1, "generalization", "shape"),  # three concepts tie: the best phrase decides
    ]
    assert (roles.first_layer, roles.layers, roles.concepts) == (2, 3, NAMES)
    assert roles.at(3, 0).phrases == ("star", "red", "ring")
    assert roles.at(3, 0).distribution == pytest.approx({"color": 1 / 3, "number": 0, "shape": 2 / 3})
    assert roles.at(3, 0).interval == (roles.at(3, 0).entropy,) * 2
    assert roles.settings == {"steps": 4, "rule": "thresholds"}
    assert roles.pool_sha256 == pool_sha256(PHRASES) != pool_sha256(PHRASES[::-1])
    ends = torch.arange(8, dtype=torch.float64).view(4, 2)
    assert _roles(intervals=ends).at(3, 1).interval == (6.0, 7.0)
    with pytest.raises(InputError, match="whole layers of 3 heads"):
        _roles(heads=3)


def test_find_roles_against_chance() -> None:
    """Three phrases each: of one concept 0 bits, of two 0.92, of three 1.58; the null is given."""
    roles = _roles(rule=AgainstChance({3: (0.5, 1.0)}))
    assert [e.role for e in roles.entries] == ["attribute", "other", "mixed", "generalization"]
    assert roles.settings == {"steps": 4, "rule": "null", "null_quantiles": {"3": [0.5, 1.0]}}


def test_clusters_of_one_name_count_apart_and_make_one_kind_of_head() -> None:
    names = ("color", "color 2", "number")
    concept = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2])
    found = Concepts(names, torch.eye(3), torch.arange(3), concept, concept, concept)
    options = {
        "model": "toy",
        "weights_sha256": "a" * 64,
        "identity": "b" * 64,
        "first_layer": 2,
        "heads": 2,
        "attributes": ("color",),
        "settings": {},
    }
    first = find_roles(INDICES, PHRASES, found, **options, rule=AgainstChance({3: (1.0, 1.5)})).entries[0]
    assert (first.role, first.concept) == ("attribute", "color")
    assert first.distribution == pytest.approx({"color": 1 / 3, "color 2": 2 / 3, "number": 0})
    assert first.entropy == pytest.approx(0.9183, abs=1e-4)
    assert [named(n) for n in names] == ["color", "color", "number"]


def test_file_round_trip(tmp_path) -> None:
    roles = _roles()
    roles.save(tmp_path / "made" / "roles.json")
    assert HeadRoles.load(tmp_path / "made" / "roles.json") == roles
    assert [p.name for p in (tmp_path / "made").iterdir()] == ["roles.json"]


def _spoil(**changes: object) -> str:
    return json.dumps(_roles().model_dump(mode="json") | changes)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        _spoil(entries=[]),
        _spoil(layers=9),
        _spoil(extra=1),
        _spoil(heads="two"),
        _spoil(attributes=["number"]),
        _spoil()[:300],
        "\0\1",
    ],
)
def test_a_bad_file_is_one_line(tmp_path, content: str | None) -> None:
    path = tmp_path / "roles.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"roles\.json: expected a role file, got") as caught:
        HeadRoles.load(path)
    assert "\n" not in str(caught.value)


def test_for_weights() -> None:
    roles = _roles()
    assert roles.for_weights("a" * 64) is roles
    with pytest.raises(InputError, match="expected a file for weights bbbbbbbbbbbb…, got one for aaaaaaaaaaaa…"):
        roles.for_weights("b" * 64)


@pytest.mark.parametrize(("layer", "head"), [(1, 0), (4, 0), (2, 2), (2, -1)])
def test_no_such_head(layer: int, head: int) -> None:
    with pytest.raises(InputError, match="layer 2 to 3 and head 0 to 1"):
        _roles().at(layer, head)


def test_with_role_changes_one_head() -> None:
    roles = _roles()
    changed = roles.with_role(3, 1, "attribute", "color")
    assert (changed.at(3, 1).role, changed.at(3, 1).concept) == ("attribute", "color")
    assert changed.entries[:3] == roles.entries[:3]
    with pytest.raises(InputError, match="does not go with"):
        roles.with_role(3, 1, "attribute", "number")


def test_null_model() -> None:
    pool = torch.arange(60) % 6
    draws = null_entropy(pool, 12, 50, seed=1)
    assert torch.equal(draws, null_entropy(pool, 12, 50, seed=1))
    assert not torch.equal(draws, null_entropy(pool, 12, 50, seed=2))
    assert draws.max() <= math.log2(6) + 1e-12
    torch.testing.assert_close(null_entropy(pool, 60, 3, seed=0), torch.full((3,), math.log2(6), dtype=torch.float64))
    assert (null_entropy(torch.tensor([0, 0, 1]), 1, 20, seed=0) == 0).all()
    with pytest.raises(InputError, match="1 to 60"):
        null_entropy(pool, 61, 1, seed=0)
    with pytest.raises(InputError, match="null_draws: expected at least 1, got 0"):
        null_entropy(pool, 12, 0, seed=0)


def test_bootstrap() -> None:
    """A head whose images all vary along colour texts has entropy 0 in every resample; a head of noise has not."""
    g = torch.Generator().manual_seed(0)
    text = F.normalize(torch.eye(8) + 0.05 * torch.randn(8, 8, generator=g), dim=1)
    noise = torch.randn(2, 90, 8, generator=g)
    noise[0] = noise[0] * torch.tensor([9.0, 8.0, 7.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    samples = bootstrap_entropy(noise, text, CONCEPT, rank=8, steps=3, resamples=25, seed=3)
    assert samples.shape == (25, 2)
    assert (samples[:, 0] == 0).all()
    assert samples[:, 1].max() > 0.5
    assert torch.equal(samples, bootstrap_entropy(noise, text, CONCEPT, 8, 3, 25, 3))
    ends = entropy_intervals(samples)
    assert ends.shape == (2, 2)
    evenly = torch.arange(101.0)[:, None]
    assert entropy_intervals(evenly).tolist() == [pytest.approx([2.5, 97.5])]
    assert entropy_intervals(evenly, coverage=0.8).tolist() == [pytest.approx([10.0, 90.0])]
    assert ends[0].tolist() == [0.0, 0.0]
    assert (ends[:, 0] <= samples.quantile(0.5, dim=0)).all()
    assert (samples.quantile(0.5, dim=0) <= ends[:, 1]).all()
