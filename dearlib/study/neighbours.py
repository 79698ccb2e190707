"""Figure 3 in numbers: which pictures each token of the source's models finds nearest, and what they share with the query.

Features come from the trained models, so this is a step of the study with a record of its own; notebook 11 draws from it.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from sklearn.manifold import TSNE
from torch import Tensor

from dearlib.clip import cache as kept
from dearlib.clip.loading import load
from dearlib.datasets import Item, entry, read_split, split_sha256
from dearlib.datasets.world import vocabulary
from dearlib.errors import InputError
from dearlib.methods import retrieval
from dearlib.methods.dear import DeAR
from dearlib.params.reading import params_hash
from dearlib.params.schemas import AttributeRetrieval
from dearlib.params.study import Group, dear_settings, tokens_file
from dearlib.params.types import plain
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import trials
from dearlib.study.records import Metric, RunRecord, provenance
from dearlib.texts import read_text

CLASS, CHANCE, FROZEN, OWN = "class", "chance", "frozen CLIP", "own token"


@dataclass(frozen=True)
class Gallery:
    """The pictures that are searched, and of each factor the value of every picture (−1: none)."""

    items: Sequence[Item]
    labels: Mapping[str, Tensor]

    @property
    def known(self) -> bool:
        """Whether the pictures' factors are known; otherwise only their class is."""
        return CLASS not in self.labels


def gallery(data_root: Path, dataset: str, attributes: Sequence[str], size: int | None) -> Gallery:
    """Test pictures of a data set, `size` of them drawn blindly (None: all), with their factors where a rendered world knows them.

    A factor that none of them has is left out. Raises `InputError` if the file of factors is damaged or lacks a picture.
    """
    test = read_split(data_root, dataset).test
    count = min(size or len(test), len(test))
    items = [test[i] for i in sorted(np.random.default_rng(0).choice(len(test), size=count, replace=False))]
    folder = data_root / entry(dataset).folder
    if not (folder / "factors.json").is_file():
        return Gallery(items, {CLASS: trials.labels(items)})
    try:
        truth = json.loads(read_text(folder / "factors.json"))
        drawn = [vocabulary.Factors(**truth[item.path.relative_to(folder / entry(dataset).images).as_posix()]) for item in items]
        found = {a: torch.tensor(vocabulary.labels(drawn, a)) for a in attributes if a in vocabulary.FACTORS}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        got = f"something else ({reason})"
        raise InputError(f"{folder / 'factors.json'}: expected the factors of every picture, got {got}; make the data set anew") from error
    return Gallery(items, {a: values for a, values in found.items() if (values >= 0).any()})


def find_neighbours(
    folder: Path, group: Group, p: AttributeRetrieval, fabric: Fabric, given: Mapping[str, object] | None = None
) -> RunRecord:
    """The record of Figure 3, from the trained tokens of every run of the source's group.

    Rows: the precision of each token, of the class feature, of the frozen feature and of blind choice on each factor, and of every
    factor's own token. A run's rows carry its name behind a comma where it is not the first run's.

    Raises:
        InputError: the source's models are not there.
    """
    began = time.monotonic()
    source = group.datasets[0]
    settings = {run: dear_settings(folder, group, run, source, "study: source", given) for run in group.dear}
    first = next(iter(settings.values()))
    clip = load(first.clip, first.clip_weights)
    clip.model.to(fabric.device)
    roles = HeadRoles.load(first.roles).for_weights(clip.weights_sha256).for_identity(clip.identity)
    searched = gallery(first.data_root, source, roles.attributes, p.gallery)
    states = kept.of_items(trials.cache(first), clip, roles.first_layer, searched.items)
    metrics = _without_tokens(searched, F.normalize(states.features, dim=-1), p.k)
    neighbours: dict[str, tuple[int, ...]] = {}
    flat: dict[str, list[list[float]]] = {}
    queries = _queries(searched, p.asked)
    for run, v in settings.items():
        for seed in v.seeds:
            path = p.runs_root / f"source-{source}" / tokens_file(run, seed)
            if not path.is_file():
                raise InputError(f"{path}: expected the trained tokens of {run}, got none; run the group `source` first")
            features = retrieval.features_by_token(DeAR.load(path, clip, roles).to(fabric.device), states)
            metrics += _precisions(searched, features, p.k, seed, "" if run == next(iter(settings)) else f", {run}")
            if seed == v.seeds[0]:
                neighbours |= {f"{name}, {run}": _found(f, queries, p.shown) for name, f in features.items()}
                flat |= {f"{name}, {run}": _flat(f[mapped(len(f), p.projected)]) for name, f in features.items()}
    return RunRecord(
        profile=p.profile,
        group="retrieval",
        dataset=source,
        runs={run: plain(v) for run, v in settings.items()},
        parameters_sha256=kept.digest([params_hash(p), *(params_hash(v) for v in settings.values())]),
        weights_sha256=clip.weights_sha256,
        identity=clip.identity,
        roles_sha256=roles.sha256,
        split_sha256={source: split_sha256(first.data_root, source)},
        wall_seconds=round(time.monotonic() - began, 1),
        metrics=tuple(metrics),
        last={},
        neighbours={"query": queries, **neighbours},
        flat=flat,
        **provenance(first.data_root),
    )


def _queries(searched: Gallery, asked: int) -> tuple[int, ...]:
    """Pictures whose neighbours are shown: `_query`, then others evenly from the gallery, which lies by class."""
    first = _query(searched)
    rest = [i for i in range(len(searched.items)) if i != first]
    others = min(asked - 1, len(rest))
    return (first, *(rest[i * len(rest) // others] for i in range(others)))


def _found(features: Tensor, queries: Sequence[int], shown: int) -> tuple[int, ...]:
    """The nearest of every query, one query after the other."""
    return tuple(retrieval.nearest(features, shown)[list(queries)].flatten().tolist())


def _query(searched: Gallery) -> int:
    """A picture to begin with: the first striped, colourful object, or simply the first."""
    labels = searched.labels
    if not {"texture", "color", "object"} <= labels.keys():
        return 0
    striped = labels["texture"] == vocabulary.TEXTURES.index("striped")
    bright = torch.isin(labels["color"], torch.tensor([vocabulary.COLORS.index(c) for c in ("red", "green", "blue")]))
    wanted = (striped & bright & (labels["object"] >= 0)).nonzero().flatten()
    return int(wanted[0]) if len(wanted) else 0


def _metric(factor: str, method: str, seed: int | None, share: float) -> Metric:
    return Metric(dataset=factor, split="all", part="test", method=method, seed=seed, accuracy=100 * share)


def _without_tokens(searched: Gallery, frozen: Tensor, k: int) -> list[Metric]:
    near = retrieval.nearest(frozen, k)
    found = []
    for factor, labels in searched.labels.items():
        found.append(_metric(factor, FROZEN, None, retrieval.precision(near, labels).nanmean().item()))
        found.append(_metric(factor, CHANCE, None, retrieval.chance(labels)))
    return found


def _precisions(searched: Gallery, features: Mapping[str, Tensor], k: int, seed: int, suffix: str) -> list[Metric]:
    found = []
    for name, own in features.items():
        near = retrieval.nearest(own, k)
        method = name if name == retrieval.CLASS_FEATURE else f"{name} token"
        for factor, labels in searched.labels.items():
            share = retrieval.precision(near, labels).nanmean().item()
            found.append(_metric(factor, f"{method}{suffix}", seed, share))
            if name == factor:
                found.append(_metric(factor, f"{OWN}{suffix}", seed, share))
    return found


def mapped(pictures: int, most: int) -> Tensor:
    """Which of the gallery's pictures stand in a map: `most` of them, evenly, since they lie there by class."""
    return torch.linspace(0, pictures - 1, min(most, pictures)).round().long()


def _flat(features: Tensor) -> list[list[float]]:
    """Two dimensions of some features, for looking at."""
    near_by = min(30, (len(features) - 1) / 3)  # TSNE's perplexity, its default where there are pictures enough
    placed = TSNE(2, init="pca", perplexity=near_by, random_state=0).fit_transform(features.numpy())
    return pd.DataFrame(placed).round(1).to_numpy().tolist()
