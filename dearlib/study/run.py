"""A group of runs on one data set, whole: what is frozen once, then the runs in batches, then one record.

Everything below the role file's first layer is computed once per data set and shared by all runs. Runs of one shape are
trained as one batch, and a finished batch is kept, named by everything its numbers depend on: a group that was stopped goes
on after its last finished batch, and its last unfinished one after its last epoch.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from lightning_fabric import Fabric

from dearlib.clip import cache as kept
from dearlib.datasets import few_shot, half, split_sha256
from dearlib.errors import InputError
from dearlib.methods.evaluation import accuracy, zero_shot
from dearlib.methods.linear_probe import linear_probe
from dearlib.methods.loop import Curve
from dearlib.params.methods import MethodRun
from dearlib.params.reading import params_hash
from dearlib.params.schemas import Variant
from dearlib.params.study import CLIP, PROBE, Group, run_settings, trainings
from dearlib.params.types import plain
from dearlib.study import batches, others, trials
from dearlib.study.batches import Key
from dearlib.study.ground import Ground, Part, metric, stand
from dearlib.study.records import Metric, RunCost, RunGates, RunRecord, provenance

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
    for run, v in settings.items():
        if isinstance(v, MethodRun):
            others.check(v, group.classes == "halves", group.targets, f"study: {name}: runs.{run}")
    ground = stand(group, dataset, _shared(settings), fabric)
    if fabric.is_global_zero and (line := ground.seen({(v.shots, seed) for v in settings.values() for seed in v.seeds})):
        print(f"{name}, {dataset}: {line}", file=sys.stderr)
    place = ground.p.runs_root / f"{name}-{dataset}"
    found: list[Metric] = _without_training(ground, group, settings)
    curves: dict[Key, Curve] = {}
    costs: dict[str, RunCost] = {}
    looked: dict[Key, RunGates] = {}
    alone, spent, processors = trainings(settings), 0.0, set[str]()
    for one in batches.done(ground, settings, place, fabric):
        found += one.metrics
        costs.setdefault(one.run, one.cost)
        curves[one.run, one.seed] = one.curve
        spent += one.wall_seconds or (one.cost.seconds if one.run in alone else 0.0)
        if one.processor:
            processors.add(one.processor)
        if one.gates:
            looked[one.run, one.seed] = one.gates
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
        wall_seconds=round(max(time.monotonic() - began, spent), 1),
        metrics=tuple(found),
        last={f"{run}, seed {seed}": curve[-1] for (run, seed), curve in curves.items() if curve},
        costs=costs,
        gates={f"{run}, seed {seed}": gates for (run, seed), gates in looked.items()},
        **provenance(ground.p.data_root, processors),
    )
    if fabric.is_global_zero:
        record.save(place / "record.json")
    fabric.barrier()
    return record


def _shared(settings: Mapping[str, Variant | MethodRun]) -> Variant | MethodRun:
    """One of the settings, if all agree in what a group shares."""
    first, *rest = settings.values()
    for key in SHARED:
        seen = {str(getattr(v, key)) for v in (first, *rest)}
        if len(seen) > 1:
            raise InputError(f"study: expected one {key} for all runs of a group, got {', '.join(sorted(seen))}; put them in two groups")
    return first


def _without_training(ground: Ground, group: Group, settings: Mapping[str, Variant | MethodRun]) -> list[Metric]:
    """Zero-shot CLIP on every part and, where the group asks for it, the linear probe at home."""
    found = []
    for key, prompted in ground.prompts.items():
        value = zero_shot(ground.pictures[key].features, ground.clip.encode_text(prompted).cpu(), ground.labels[key])
        found.append(metric(ground, key, CLIP, None, value))
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
                found.append(metric(ground, home, PROBE, seed, accuracy(logits, ground.labels[home]), shots))
    return found
