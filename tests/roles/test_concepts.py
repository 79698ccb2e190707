"""Concepts: clusters, their names, the nearest centroid; and what the recommended settings find in the Attribute World."""

import pytest
import torch
import torch.nn.functional as F

from dearlib.datasets.world.vocabulary import CORE_ATTRIBUTES, phrase_pool
from dearlib.errors import InputError
from dearlib.roles.concepts import CONCEPT_WORDS, Concepts, ConceptSettings, embed_phrases, find_concepts, nearest, only, strip_carriers

WORDS = ("ape", "bee", "cat")
D = 5


def _blobs(per: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    """Four tight groups of unit vectors, two of them around 'bee'; and the words' own vectors, the first three axes."""
    axes = torch.eye(D)
    middles = torch.stack([axes[0], axes[1] + 0.6 * axes[3], axes[1] - 0.6 * axes[3], axes[2]])
    noise = 0.02 * torch.randn(4, per, D, generator=torch.Generator().manual_seed(0))
    return F.normalize((middles[:, None] + noise).flatten(0, 1), dim=1), axes[:3]


def _find(**changes: object) -> Concepts:
    phrases, words = _blobs()
    return find_concepts(phrases, words, ConceptSettings(**{"pca": None, "min_cluster_size": 5, "vocabulary": WORDS} | changes))


@pytest.mark.parametrize("pca", [None, 3, D])
@pytest.mark.parametrize("selection", ["eom", "leaf"])
def test_clusters_of_one_name_are_one_concept(pca: int | None, selection: str) -> None:
    found = _find(pca=pca, selection=selection)
    assert found.names == WORDS
    assert int(found.clusters.max()) == 3
    assert found.assignment.tolist() == [0] * 11 + [1] * 22 + [2] * 11
    torch.testing.assert_close(found.centroids.norm(dim=1), torch.ones(3))


def test_a_name_may_be_replaced_and_then_merges_too() -> None:
    found = _find(names={"cat": "ape"})
    assert found.names == ("ape", "bee")
    assert found.assignment.tolist() == [0] * 11 + [1] * 22 + [0] * 11


def test_noise_is_assigned_but_does_not_move_a_centroid() -> None:
    phrases, words = _blobs()
    stray = F.normalize(torch.tensor([[-1.0, -1.0, -0.5, 0.0, 0.0]]), dim=1)  # farther from all groups than they from each other
    settings = ConceptSettings(pca=None, min_cluster_size=5, vocabulary=WORDS)
    found = find_concepts(torch.cat([phrases, stray]), words, settings)
    assert found.labels[-1] == -1
    assert found.names[found.assignment[-1]] == "cat"
    torch.testing.assert_close(found.centroids[2], F.normalize(phrases[-11:].mean(dim=0), dim=0))


def test_only_the_core() -> None:
    phrases, _ = _blobs()
    core = only(_find(), phrases, ("cat", "ape"))
    assert core.names == ("cat", "ape")
    assert core.labels.tolist() == [1] * 11 + [-1] * 22 + [0] * 11
    assert set(core.assignment.tolist()) == {0, 1}
    with pytest.raises(InputError, match="expected dog among ape, bee, cat"):
        only(_find(), phrases, ("dog",))


def test_nearest_by_hand() -> None:
    a = 0.6
    assert nearest(torch.tensor([[1.0, 0.0], [a, 0.8], [-1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist() == [0, 1, 1]


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


@pytest.mark.parametrize("changes", [{"pca": 0}, {"pca": D + 1}, {"min_cluster_size": 1}, {"min_cluster_size": 40}, {"selection": "best"}])
def test_bad_settings_are_one_line(changes: dict) -> None:
    with pytest.raises(InputError, match=r"expected .* got") as caught:
        _find(**changes)
    assert "\n" not in str(caught.value)


def test_words_must_fit_the_vocabulary() -> None:
    phrases, words = _blobs()
    with pytest.raises(InputError, match="each of 3 concept words, got 2"):
        find_concepts(phrases, words[:2], ConceptSettings(vocabulary=WORDS))


def test_an_encoder_that_is_not_there(tmp_path) -> None:
    with pytest.raises(InputError, match="encoder: expected") as caught:
        embed_phrases(["a cup"], tmp_path)
    assert "\n" not in str(caught.value)


def test_the_attribute_worlds_pool() -> None:
    """Real embeddings, against the truth. Measured: 12 clusters, 8 concepts, 95.0 % of 338 phrases right; 'light' is missed."""
    pool = phrase_pool()
    vectors = embed_phrases([*strip_carriers([phrase for phrase, _ in pool]), *CONCEPT_WORDS])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    found = find_concepts(vectors[: len(pool)], vectors[len(pool) :], ConceptSettings(names={"light": "object"}))
    assert set(CORE_ATTRIBUTES) <= set(found.names)
    right = {name: [] for _, name in pool}
    for (_, truth), i in zip(pool, found.assignment.tolist(), strict=True):
        right[truth].append(found.names[i] == truth)
    assert sum(map(sum, right.values())) / len(pool) >= 0.9
    assert all(sum(right[name]) / len(right[name]) >= 0.8 for name in CORE_ATTRIBUTES)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_embedding_that_is_no_number_is_one_line(value: float) -> None:
    embeddings = torch.nn.functional.normalize(torch.randn(40, 12, generator=torch.Generator().manual_seed(0)), dim=1)
    embeddings[17, 3] = value
    with pytest.raises(InputError, match=rf"embeddings .*expected finite numbers, got {value} at \[17, 3\]"):
        find_concepts(embeddings, torch.eye(2, 12), ConceptSettings(vocabulary=("color", "shape")))
