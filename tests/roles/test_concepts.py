"""Concepts: clusters, their names, the nearest concept; and what the recommended settings find in the Attribute World."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dearlib.datasets.world.vocabulary import CORE_ATTRIBUTES
from dearlib.errors import InputError
from dearlib.params.reading import load_params
from dearlib.roles.concepts import (
    Concepts,
    ConceptSettings,
    _without_ties,
    concepts_of_pool,
    embed_phrases,
    find_concepts,
    only,
    similarity,
    strip_carriers,
)
from dearlib.roles.grading import grade, halves, told_apart
from dearlib.roles.phrases import read_pool
from dearlib.roles.rolefile import RESIDUAL

WORDS = ("ape", "bee", "cat")
D = 5
SETTINGS = ConceptSettings(pca=None, min_cluster_size=5, nearest=1, floor=-1.0)


def _blobs(per: int = 11) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Four tight groups of unit vectors, two of them around 'bee'; and the words' own vectors, the first three axes."""
    axes = torch.eye(D)
    middles = torch.stack([axes[0], axes[1] + 0.6 * axes[3], axes[1] - 0.6 * axes[3], axes[2]])
    noise = 0.02 * torch.randn(4, per, D, generator=torch.Generator().manual_seed(0))
    return F.normalize((middles[:, None] + noise).flatten(0, 1), dim=1), {word: axes[i : i + 1] for i, word in enumerate(WORDS)}


def _find(**changes: object) -> Concepts:
    return find_concepts(*_blobs(), replace(SETTINGS, **changes))


@pytest.mark.parametrize("pca", [None, 3, D])
@pytest.mark.parametrize("selection", ["eom", "leaf"])
def test_merged_clusters_of_one_name_are_one_concept(pca: int | None, selection: str) -> None:
    found = _find(pca=pca, selection=selection)
    assert found.names == WORDS
    assert int(found.clusters.max()) == 3
    assert found.assignment.tolist() == [0] * 11 + [1] * 22 + [2] * 11
    torch.testing.assert_close(found.vectors.norm(dim=1), torch.ones(7))  # four centroids and a word each
    assert sorted(found.owner.tolist()) == [0, 0, 1, 1, 1, 2, 2]


def test_clusters_of_one_name_stay_apart_unless_they_are_merged() -> None:
    found = _find(merge=False)
    assert found.names == ("ape", "bee", "bee 2", "cat")
    assert [set(found.assignment[i : i + 11].tolist()) for i in (0, 11, 22, 33)] in ([{0}, {1}, {2}, {3}], [{0}, {2}, {1}, {3}])
    assert sorted(found.owner.tolist()).count(1) + sorted(found.owner.tolist()).count(2) == 3  # the word goes to one of the two


def test_what_is_far_from_every_concept_has_none() -> None:
    phrases, words = _blobs()
    assert _find(floor=0.5).names == WORDS
    axis = torch.eye(D)[4]
    strange = F.normalize(axis + 0.02 * torch.randn(11, D, generator=torch.Generator().manual_seed(1)), dim=1)
    lonely = F.normalize(torch.tensor([[-1.0, -1.0, -0.5, 0.0, 0.0]]), dim=1)
    found = find_concepts(torch.cat([phrases, strange, lonely]), words, replace(SETTINGS, floor=0.5))
    assert found.names == (*WORDS, RESIDUAL)
    assert set(found.assignment[44:].tolist()) == {3}  # a whole cluster without a name, and a stray phrase
    assert set(found.assignment[:44].tolist()) == {0, 1, 2}
    forced = find_concepts(torch.cat([phrases, strange, lonely]), words, SETTINGS)
    assert RESIDUAL not in forced.names
    with pytest.raises(InputError, match="expected a cluster near one of ape, got none"):
        find_concepts(phrases[11:], {"ape": words["ape"]}, replace(SETTINGS, floor=0.5))


def test_noise_is_assigned_but_does_not_move_a_centroid() -> None:
    phrases, words = _blobs()
    stray = F.normalize(torch.tensor([[-1.0, -1.0, -0.5, 0.0, 0.0]]), dim=1)
    found = find_concepts(torch.cat([phrases, stray]), words, SETTINGS)
    assert found.labels[-1] == -1
    assert found.names[found.assignment[-1]] == "cat"
    middle = F.normalize(phrases[-11:].mean(dim=0), dim=0)
    assert any(torch.allclose(v, middle, atol=1e-6) for v in found.vectors[found.owner == 2])


def test_only_the_core() -> None:
    phrases, _ = _blobs()
    core = only(_find(), phrases, ("cat", "ape"), SETTINGS)
    assert core.names == ("ape", "cat")
    assert core.labels.tolist() == [0] * 11 + [-1] * 22 + [1] * 11
    assert set(core.assignment.tolist()) == {0, 1}
    with pytest.raises(InputError, match="expected dog among ape, bee, cat"):
        only(_find(), phrases, ("dog",), SETTINGS)


def test_similarity_by_hand() -> None:
    """Of concept 0 one vector; of concept 1 three, of which the two nearest count."""
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.0, -1.0]])
    found = similarity(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), vectors, torch.tensor([0, 1, 1, 1]), 2)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.3], [0.0, 0.9]]))
    one = similarity(torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.eye(2), torch.arange(2), 1)
    assert one.argmax(dim=1).tolist() == [0, 1]  # Eq. 2 as printed


def test_strip_carriers() -> None:
    pairs = {
        "A photo of a red cup": "red cup",
        "Image with a yellow color": "yellow color",
        "Photo taken in Barcelona": "in Barcelona",
        "a view of the sea": "sea",
        "the color red": "color red",
        "a dark photo": "dark photo",
        "Picture frame": "Picture frame",
        "A": "A",
    }
    assert strip_carriers(list(pairs)) == list(pairs.values())


@pytest.mark.parametrize(
    "changes", [{"pca": 0}, {"pca": D + 1}, {"min_cluster_size": 1}, {"min_cluster_size": 40}, {"selection": "best"}, {"nearest": 0}]
)
def test_bad_settings_are_one_line(changes: dict) -> None:
    with pytest.raises(InputError, match=r"expected .* got") as caught:
        _find(**changes)
    assert "\n" not in str(caught.value)


def test_an_embedding_that_is_not_finite_is_refused() -> None:
    phrases, words = _blobs()
    phrases[3, 1] = torch.nan
    with pytest.raises(InputError, match=r"embeddings .*: expected finite numbers"):
        find_concepts(phrases, words, SETTINGS)


def test_an_encoder_that_is_not_there(tmp_path) -> None:
    with pytest.raises(InputError, match="encoder: expected") as caught:
        embed_phrases(["a cup"], tmp_path)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def mini_embeddings() -> tuple[torch.Tensor, dict[str, torch.Tensor], ConceptSettings]:
    p = load_params("02_head_roles", Path(__file__).parents[2] / "params" / "mini" / "02_head_roles.yaml")
    settings = ConceptSettings(p.pca, p.min_cluster_size, p.min_samples, p.selection, p.nearest, p.floor, p.merge)
    words = {name: embed_phrases(strip_carriers(own), p.encoder) for name, own in p.words.items()}
    return embed_phrases(strip_carriers(read_pool(None)), p.encoder), words, settings


@pytest.fixture(scope="module")
def mini() -> Concepts:
    p = load_params("02_head_roles", Path(__file__).parents[2] / "params" / "mini" / "02_head_roles.yaml")
    settings = ConceptSettings(p.pca, p.min_cluster_size, p.min_samples, p.selection, p.nearest, p.floor, p.merge)
    return concepts_of_pool(read_pool(None), p.words, settings, p.encoder, p.strip_carriers)[1]


@pytest.mark.parametrize("half", ["choose", "final"])
def test_the_attribute_worlds_pool(mini: Concepts, half: str) -> None:
    """Real embeddings, against the truth. Measured: 97.0 % of the half that settings were chosen on, 95.9 % of the other."""
    assert set(CORE_ATTRIBUTES) <= set(mini.names)
    own = halves(read_pool(None), None)[half]
    assert len(own) == 169
    marks = grade([mini.names[i] for i in mini.assignment[own["index"].to_list()].tolist()], own["label"].to_list(), told_apart(None, ()))
    assert marks["right"].sum() / len(own) >= 0.93
    core = marks[marks["label"].isin(CORE_ATTRIBUTES)]
    assert (core["right"] / core["phrases"] >= 0.8).all()


def test_rounding_moves_no_phrase_into_or_out_of_a_cluster(mini_embeddings: tuple) -> None:
    """HDBSCAN's distances tie, so by itself it takes another phrase or two into a cluster on another kind of processor."""
    vectors, words, settings = mini_embeddings
    reference = find_concepts(vectors, words, settings)
    for seed in range(6):
        noise = 1e-7 * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(seed))
        found = find_concepts(F.normalize(vectors + noise, dim=1), words, settings)
        assert found.names == reference.names
        assert torch.equal(found.labels, reference.labels)
        assert torch.equal(found.assignment, reference.assignment)


def test_a_phrase_that_leaves_a_cluster_at_its_birth_is_noise() -> None:
    """A tree by hand: the root (6) splits at level 2 into clusters 7 and 8; phrase 3 leaves 8 at once, the others at level 5."""
    rows = [(6, 7, 2.0, 3), (6, 8, 2.0, 3), *((7, i, 5.0, 1) for i in range(3)), (8, 3, 2.0, 1), (8, 4, 5.0, 1), (8, 5, 5.0, 1)]
    tree = np.array(rows, dtype=[("parent", int), ("child", int), ("lambda_val", float), ("child_size", int)])
    found = np.array([1, 1, 1, 0, 0, 0])
    assert _without_ties(found, tree, 2).tolist() == [1, 1, 1, -1, 0, 0]
    assert _without_ties(found, tree, 3).tolist() == [0, 0, 0, -1, -1, -1], "too small without it; numbers close up"
    assert _without_ties(np.zeros(6, dtype=int), tree, 2).tolist() == [0] * 6, "the root is never born"


def test_no_description_is_a_phrase_of_the_pool() -> None:
    p = load_params("02_head_roles", Path(__file__).parents[2] / "params" / "mini" / "02_head_roles.yaml")
    assert not {w for own in p.words.values() for w in own} & set(read_pool(None))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_embedding_that_is_no_number_is_one_line(value: float) -> None:
    embeddings = torch.nn.functional.normalize(torch.randn(40, 12, generator=torch.Generator().manual_seed(0)), dim=1)
    embeddings[17, 3] = value
    words = {"color": torch.eye(2, 12)[:1], "shape": torch.eye(2, 12)[1:]}
    with pytest.raises(InputError, match=rf"embeddings .*expected finite numbers, got {value} at \[17, 3\]"):
        find_concepts(embeddings, words, ConceptSettings(15, 4, 3, "leaf", 2, 0.35, True))
