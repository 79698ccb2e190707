"""One training run in one call: the steps of notebook 05, for notebooks and searches that need many runs.

Everything below the role file's first layer is computed once per data set and shared by all runs; a run with a later J
starts from the same kept states and puts them through the frozen layers between.
"""

import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import torch
from lightning_fabric import Fabric

from dearlib.clip import cache as kept
from dearlib.clip import prefix
from dearlib.clip.cache import Cache
from dearlib.clip.cut import frozen_text_features, text_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.clip.prefix import Prefix, Streamed
from dearlib.datasets import Item
from dearlib.methods.dear import DeAR, Settings
from dearlib.methods.loop import Curve
from dearlib.methods.training import Schedule, TrainingRun, TrainingSet, fit
from dearlib.params.methods import MethodRun
from dearlib.params.reading import params_hash
from dearlib.params.schemas import Training, Variant
from dearlib.roles.controls import one_attribute, rethresholded, shuffled_roles, uniform_roles
from dearlib.roles.rolefile import HeadRoles

K = TypeVar("K", bound=Hashable)


DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def cache(p: Training | MethodRun) -> Cache:
    """Where the parameters keep what is frozen."""
    return Cache(p.cache_root, DTYPES[p.cache_dtype], p.cache_gb)


def plain(clip: FrozenClip, roles: HeadRoles, p: Training, items: Sequence[Item]) -> Prefix | Streamed:
    """Plain pictures on the verge of layer J = `p.first_layer`."""
    return prefix.deepened(kept.of_items(cache(p), clip, roles.first_layer, items), clip, p.first_layer)


def training_set(clip: FrozenClip, roles: HeadRoles, p: Training, items: Sequence[Item], seed: int) -> TrainingSet:
    """`p.views` augmented views of every picture on the verge of layer J, with their labels."""
    views = kept.of_views(cache(p), clip, roles.first_layer, items, seed, p.views, p.crop_scale, p.flip)
    source = prefix.deepened(views, clip, p.first_layer)
    return TrainingSet(source, labels(items), prefix.MOST if isinstance(source, Streamed) else 1)


def labels(items: Sequence[Item]) -> torch.Tensor:
    """The pictures' labels as one tensor."""
    return torch.tensor([item.label for item in items])


def settings(p: Training) -> Settings:
    """What the model is built with."""
    return Settings(**{f.name: getattr(p, f.name) for f in fields(Settings) if f.name in type(p).model_fields})


def schedule(p: Training) -> Schedule:
    """How it is trained."""
    return Schedule(**{f.name: getattr(p, f.name) for f in fields(Schedule) if f.name in Training.model_fields})


@dataclass(frozen=True)
class Trial:
    """One run to be made: its settings, its role map, its training pictures and its seed."""

    p: Training
    roles: HeadRoles
    items: Sequence[Item]
    seed: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Trials of one shape can be trained as one batch (`training.fit`)."""
        p = self.p
        return p.first_layer, p.text_tokens, p.tokens_per_attribute, len(self.roles.attributes), p.epochs, p.batch, len(self.items)

    @property
    def learned(self) -> Hashable:
        """Trials that are equal in this train the same model; they may be tested otherwise."""
        p = self.p.as_trained if isinstance(self.p, Variant) else self.p
        return params_hash(p), self.roles.sha256, tuple(self.items), self.seed


def train(
    clip: FrozenClip,
    trials: Sequence[Trial],
    texts: Sequence[str],
    fabric: Fabric,
    checkpoint: Path | None = None,
    each_epoch: Callable[[list[DeAR]], list[dict[str, float]]] | None = None,
) -> tuple[list[DeAR], list[Curve]]:
    """DeAR trained once for each trial, all of one shape and on classes prompted by `texts`; the models and their curves."""
    p = trials[0].p
    with fabric.rank_zero_first():  # the others find the prefix in the cache
        sets = [training_set(clip, t.roles, t.p, t.items, t.seed) for t in trials]
    models = [DeAR(clip, t.roles, settings(t.p), t.seed).to(fabric.device) for t in trials]
    runs = [TrainingRun(m, data, schedule(t.p), t.seed) for m, data, t in zip(models, sets, trials, strict=True)]
    states = text_prefix(clip, texts, p.first_layer)
    frozen = frozen_text_features(clip, states, p.first_layer)
    return models, fit(runs, states, frozen, fabric, checkpoint, each_epoch)


def of_one_shape(trials: Mapping[K, Trial], most: int) -> list[list[K]]:
    """The trials' keys in groups that can be trained as one batch, in the order of their first members, at most `most` models in each.

    Trials that train the same model are in one group.
    """
    groups: dict[tuple[int, ...], list[K]] = {}
    for key, trial in trials.items():
        groups.setdefault(trial.shape, []).append(key)
    first, made = by_model(trials), []
    for keys in groups.values():
        models = list(dict.fromkeys(first[key] for key in keys))
        for start in range(0, len(models), most):
            made.append([key for key in keys if first[key] in models[start : start + most]])
    return made


def by_model(trials: Mapping[K, Trial]) -> dict[K, K]:
    """Of each trial the first that trains the same model: itself, where there is none before it."""
    first: dict[Hashable, K] = {}
    return {key: first.setdefault(trial.learned, key) for key, trial in trials.items()}


def role_map(found: HeadRoles, v: Variant, seed: int) -> HeadRoles:
    """The role map that a variant asks for; a shuffled one is dealt anew for each data set and seed."""
    if v.thresholds is not None:
        found = rethresholded(found, *v.thresholds)
    if v.role_map == "all_generalization":
        return uniform_roles("generalization", found)
    if v.role_map == "all_mixed":
        return uniform_roles("mixed", found)
    if v.role_map == "one_attribute":
        return one_attribute(found)
    return shuffled_roles(found, zlib.crc32(f"{v.dataset} {seed}".encode())) if v.role_map == "shuffled" else found
