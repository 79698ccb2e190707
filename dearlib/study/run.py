"""A group of runs on one data set, whole: what is frozen once, then the runs in batches, then one record.

Everything below the role file's first layer is computed once per data set and shared by all runs. Runs of one shape are
trained as one batch, and a finished batch is kept, named by everything its numbers depend on: a group that was stopped goes
on after its last finished batch, and its last unfinished one after its last epoch.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from lightning_fabric import Fabric
from pydantic import TypeAdapter
from torch import Tensor

from dearlib.clip import cache as kept
from dearlib.clip.cut import check_cut, text_prefix
from dearlib.clip.loading import FrozenClip, load
from dearlib.clip.prefix import Prefix, Streamed
from dearlib.datasets import Split, classnames, few_shot, half, prompts, read_split, split_sha256
from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.methods.dear import DeAR
from dearlib.methods.evaluation import accuracy, evaluate_together, zero_shot
from dearlib.methods.linear_probe import linear_probe
from dearlib.methods.loop import Curve
from dearlib.params.reading import params_hash
from dearlib.params.schemas import Variant, plain
from dearlib.params.study import Group, run_settings
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import trials
from dearlib.study.records import Metric, RunRecord, provenance
from dearlib.study.trials import Trial

SHARED = (
    "clip",
    "clip_weights",
    "data_root",
    "device",
    "processes",
    "precision",
    "cache_root",
    "cache_dtype",
    "cache_gb",
    "seeds",
    "together",
)
Half = Literal["base", "novel", "all"]
Part = tuple[str, Half]  # a data set and the classes of it
Key = tuple[str, int]  # a run's name and its seed


@dataclass(frozen=True)
class Ground:
    """What all runs of a group on one data set stand on.

    `tests`: the parts that are tested on, by (data set, half); all of them are read from layer J of the role file on.
    """

    clip: FrozenClip
    roles: HeadRoles
    p: Variant
    split: Split
    trained: Half
    tests: Mapping[Part, Split]

    @cached_property
    def prompts(self) -> dict[Part, list[str]]:
        """The prompts of every part."""
        return {key: prompts(key[0], classnames(part)) for key, part in self.tests.items()}

    @cached_property
    def labels(self) -> dict[Part, Tensor]:
        """The test pictures' labels of every part."""
        return {key: trials.labels(part.test) for key, part in self.tests.items()}

    @cached_property
    def pictures(self) -> dict[Part, Prefix | Streamed]:
        """The test pictures of every part, on the verge of the role file's first layer."""
        store = trials.cache(self.p)
        return {key: kept.of_items(store, self.clip, self.roles.first_layer, part.test) for key, part in self.tests.items()}


def run_group(folder: Path, name: str, group: Group, dataset: str, fabric: Fabric, given: Mapping[str, object] | None = None) -> RunRecord:
    """Makes what is missing of a group on one data set; its record, whole.

    Args:
        folder: of the profile's parameter files. `given`: values that take the place of the profile's (a data root).
        fabric: the device; of several processes each calls this, and process 0 writes.

    Raises:
        InputError: the runs differ in what they must share, or anything they stand on is missing.
    """
    began = time.monotonic()
    settings = {run: run_settings(folder, group, run, dataset, f"study: {name}", given) for run in group.runs}
    ground = stand(group, dataset, _shared(settings), fabric)
    place = ground.p.runs_root / f"{name}-{dataset}"
    found: list[Metric] = _without_training(ground, group, settings)
    curves: dict[Key, Curve] = {}
    for batch in _batches(ground, settings):
        done = _one_batch(ground, batch, settings, place, fabric)
        found += [m for _, metrics, _ in done for m in metrics]
        curves |= {key: curve for key, _, curve in done}
    record = RunRecord(
        profile=ground.p.profile,
        group=name,
        dataset=dataset,
        runs={run: plain(v) for run, v in settings.items()},
        parameters_sha256=kept.digest([params_hash(v) for v in settings.values()]),
        weights_sha256=ground.clip.weights_sha256,
        identity=ground.clip.identity,
        roles_sha256=ground.roles.sha256,
        split_sha256={d: split_sha256(ground.p.data_root, d) for d in (dataset, *group.targets)},
        wall_seconds=round(time.monotonic() - began, 1),
        metrics=tuple(found),
        last={f"{run}, seed {seed}": curve[-1] for (run, seed), curve in curves.items()},
        **provenance(ground.p.data_root),
    )
    if fabric.is_global_zero:
        record.save(place / "record.json")
    fabric.barrier()
    return record


def stand(group: Group, dataset: str, p: Variant, fabric: Fabric) -> Ground:
    """Loads and checks what a group stands on."""
    clip = load(p.clip, p.clip_weights)
    check_cut(clip, p.first_layer)
    clip.model.to(fabric.device)
    roles = HeadRoles.load(p.roles).for_weights(clip.weights_sha256).for_identity(clip.identity)
    split = read_split(p.data_root, dataset)
    names: tuple[Half, ...] = ("base", "novel") if group.classes == "halves" else ("all",)
    tests: dict[Part, Split] = {(dataset, which): half(split, which) for which in names}
    tests |= {(target, "all"): half(read_split(p.data_root, target), "all") for target in group.targets}
    ground = Ground(clip, roles, p, split, names[0], tests)
    with fabric.rank_zero_first():  # of several processes the others find them in the cache
        _ = ground.pictures
    return ground


def _shared(settings: Mapping[str, Variant]) -> Variant:
    """One of the settings, if all agree in what a group shares."""
    first, *others = settings.values()
    for key in SHARED:
        seen = {str(getattr(v, key)) for v in (first, *others)}
        if len(seen) > 1:
            raise InputError(f"study: expected one {key} for all runs of a group, got {', '.join(sorted(seen))}; put them in two groups")
    return first


def _without_training(ground: Ground, group: Group, settings: Mapping[str, Variant]) -> list[Metric]:
    """Zero-shot CLIP on every part and, where the group asks for it, the linear probe at home."""
    found = []
    for key, prompted in ground.prompts.items():
        value = zero_shot(ground.pictures[key].features, ground.clip.encode_text(prompted).cpu(), ground.labels[key])
        found.append(_metric(ground, key, "CLIP", None, value))
    if group.linear_probe:
        home: Part = (ground.p.dataset, ground.trained)
        store = trials.cache(ground.p)
        for shots in sorted({v.shots for v in settings.values()}):
            for seed in ground.p.seeds:
                few = half(few_shot(ground.split, shots, seed), ground.trained)
                train, val = (
                    (kept.of_items(store, ground.clip, ground.roles.first_layer, part).features, trials.labels(part))
                    for part in (few.train, few.val)
                )
                logits = linear_probe(train, val, ground.pictures[home].features)
                found.append(_metric(ground, home, "linear probe", seed, accuracy(logits, ground.labels[home]), shots))
    return found


def _metric(ground: Ground, key: Part, method: str, seed: int | None, value: float, shots: int | None = None) -> Metric:
    dataset, which = key
    source = ground.p.dataset if dataset != ground.p.dataset and seed is not None else None  # zero-shot is trained nowhere
    return Metric(dataset=dataset, split=which, part="test", method=method, seed=seed, accuracy=value, shots=shots, trained_on=source)


def _batches(ground: Ground, settings: Mapping[str, Variant]) -> list[dict[Key, Trial]]:
    """The runs × seeds in batches of one shape."""
    made: dict[Key, Trial] = {}
    for run, v in settings.items():
        given = HeadRoles.load(v.roles).for_weights(ground.clip.weights_sha256)
        for seed in v.seeds:
            items = half(few_shot(ground.split, v.shots, seed), ground.trained).train
            made[run, seed] = Trial(v, trials.role_map(given, v, seed), items, seed)
    return [{key: made[key] for key in keys} for keys in trials.of_one_shape(made, ground.p.together)]


Done = list[tuple[Key, list[Metric], Curve]]
_DONE = TypeAdapter(Done)


def _one_batch(ground: Ground, batch: Mapping[Key, Trial], settings: Mapping[str, Variant], place: Path, fabric: Fabric) -> Done:
    """Trains and tests one batch of runs, or reads what an earlier call made of the very same."""
    depends = [ground.clip.weights_sha256, ground.clip.identity, *(split_sha256(ground.p.data_root, d) for d, _ in ground.tests)]
    for (run, _), t in batch.items():
        depends += [run, params_hash(t.p), t.roles.sha256, kept.contents(t.items), str(t.seed)]
    name = kept.digest(depends)
    path, checkpoint = place / f"batch-{name}.json", place / f"checkpoint-{name}.safetensors"
    if not path.exists():
        models, curves = trials.train(
            ground.clip, list(batch.values()), ground.prompts[ground.p.dataset, ground.trained], fabric, checkpoint
        )
        if fabric.is_global_zero:
            metrics = _tested(ground, dict(zip(batch, models, strict=True)), settings)
            for (run, seed), model in zip(batch, models, strict=True):
                model.save(place / f"tokens-{run.replace(' ', '_').replace('/', '_')}-seed{seed}.safetensors")
            done = [(key, metrics[key], curve) for key, curve in zip(batch, curves, strict=True)]
            write_text(path, json.dumps(_DONE.dump_python(done, mode="json")))
            checkpoint.unlink(missing_ok=True)
        fabric.barrier()
    return _DONE.validate_json(path.read_text(encoding="utf-8"))


def _tested(ground: Ground, models: Mapping[Key, DeAR], settings: Mapping[str, Variant]) -> dict[Key, list[Metric]]:
    """Fused and class-feature accuracy of every model on every part; a run's method is its name up to the first comma."""
    found: dict[Key, list[Metric]] = {key: [] for key in models}
    layers = {settings[run].first_layer for run, _ in models}
    for part, pictures in ground.pictures.items():
        texts = {j: text_prefix(ground.clip, ground.prompts[part], j) for j in layers}
        results = evaluate_together(list(models.values()), pictures, texts, ground.labels[part])
        for (run, seed), result in zip(models, results, strict=True):
            method, shots = run.partition(", ")[0], settings[run].shots
            found[run, seed] += [
                _metric(ground, part, method, seed, result.fused, shots),
                _metric(ground, part, f"{method} (class feature)", seed, result.class_feature, shots),
            ]
    return found
