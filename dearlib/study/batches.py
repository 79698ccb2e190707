"""The runs of a group in batches: trained, tested and kept, each batch named by everything that its numbers depend on.

DeAR's runs of one shape are one batch; every other method's run is a batch of its own, all its seeds in it.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path

import torch
from lightning_fabric import Fabric
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from dearlib.clip import cache as kept
from dearlib.clip import prefix
from dearlib.clip.cut import TextStates, text_prefix
from dearlib.clip.prefix import Prefix, Streamed
from dearlib.datasets import few_shot, half
from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.methods.dear import DeAR
from dearlib.methods.evaluation import accuracy, constant_attribute_logits, evaluate_together
from dearlib.methods.gates import gates
from dearlib.methods.loop import Curve
from dearlib.params.methods import MethodRun
from dearlib.params.reading import params_hash
from dearlib.params.schemas import Variant
from dearlib.params.study import CLASS_FEATURE, row, tokens_file
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import others, trials
from dearlib.study.costs import Meter
from dearlib.study.ground import Ground, Part, metric
from dearlib.study.others import Other
from dearlib.study.records import Metric, RunCost, RunGates, processor
from dearlib.study.trials import Trial
from dearlib.texts import read_text

VERSION = 1  # of the code that trains and tests: raise it when what a batch's numbers are made by changes
Key = tuple[str, int]  # a run's name and its seed


class Done(BaseModel):
    """What is kept of a finished run: of a batch of them each.

    `wall_seconds`: its share of the time that training and testing the batch took; `processor`: that made it. None in a file of an
    earlier version.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    run: str
    seed: int
    metrics: tuple[Metric, ...]
    curve: Curve
    cost: RunCost
    gates: RunGates | None = None
    wall_seconds: float | None = None
    processor: str | None = None


_DONE = TypeAdapter(list[Done])


def done(ground: Ground, settings: Mapping[str, Variant | MethodRun], place: Path, fabric: Fabric) -> Iterator[Done]:
    """Every run × seed, DeAR's in batches of one shape, each other method's a batch of its own, in the order of `settings`."""
    dears = {run: v for run, v in settings.items() if isinstance(v, Variant)}
    made = {run: [] for run in settings}  # type: dict[str, list[Done]]
    for batch in _batches(ground, dears):
        for one in _one_batch(ground, batch, dears, place, fabric):
            made[one.run].append(one)
    for run, p in settings.items():
        if isinstance(p, MethodRun):
            for start in range(0, len(p.seeds), ground.p.together):
                made[run] += _other_batch(ground, run, p, p.seeds[start : start + ground.p.together], place, fabric)
    yield from (one for group in made.values() for one in group)


def _batches(ground: Ground, settings: Mapping[str, Variant]) -> list[dict[Key, Trial]]:
    """DeAR's runs × seeds in batches of one shape."""
    made: dict[Key, Trial] = {}
    for run, v in settings.items():
        given = HeadRoles.load(v.roles).for_weights(ground.clip.weights_sha256)
        for seed in v.seeds:
            items = half(few_shot(ground.split, v.shots, seed), ground.trained).train
            made[run, seed] = Trial(v, trials.role_map(given, v, seed), items, seed)
    return [{key: made[key] for key in keys} for keys in trials.of_one_shape(made, ground.p.together)]


def _named(ground: Ground, depends: Sequence[str]) -> str:
    """What the files of a batch are named by: all that its numbers depend on."""
    return kept.digest([str(VERSION), *ground.sha256s, *depends])


def _read(path: Path, keys: Sequence[Key]) -> list[Done]:
    """The finished runs of a batch. Raises `InputError` if they are not those of `keys`."""
    try:
        found = _DONE.validate_json(read_text(path))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise InputError(f"{path}: expected the finished runs of a batch, got something else; delete it to make them anew") from error
    if [(one.run, one.seed) for one in found] != list(keys):
        raise InputError(f"{path}: expected the finished runs of a batch, all {len(keys)}, got others; delete it to make them anew")
    return found


def _write(path: Path, found: Sequence[Done], seconds: float) -> None:
    told = {"wall_seconds": round(seconds / len(found), 2), "processor": processor()}
    shared = [one.model_copy(update=told) for one in found]
    write_text(path, json.dumps(_DONE.dump_python(shared, mode="json")))


def _depends(batch: Mapping[Key, Trial]) -> list[str]:
    """What the numbers of a batch of DeAR's runs depend on, beside what the group shares."""
    each = ((run, params_hash(t.p), t.roles.sha256, kept.contents(t.items), str(t.seed)) for (run, _), t in batch.items())
    return [part for one in each for part in one]


def _one_batch(ground: Ground, batch: Mapping[Key, Trial], settings: Mapping[str, Variant], place: Path, fabric: Fabric) -> list[Done]:
    """Trains and tests one batch of DeAR's runs, or reads what an earlier call made of the very same.

    Runs that differ only after training are trained once and tested each.
    """
    path = place / f"batch-{_named(ground, _depends(batch))}.json"
    if not path.exists():
        began = time.monotonic()
        first = trials.by_model(batch)
        alone = {key: batch[key] for key in dict.fromkeys(first.values())}
        checkpoint = place / f"checkpoint-{_named(ground, _depends(alone))}.safetensors"
        prompted = ground.prompts[ground.p.dataset, ground.trained]
        with Meter(fabric.device) as meter:
            trained, curves = trials.train(ground.clip, list(alone.values()), prompted, fabric, checkpoint, meter.epochs)
        if fabric.is_global_zero:
            models, curve_of = dict(zip(alone, trained, strict=True)), dict(zip(alone, curves, strict=True))
            metrics = _tested(ground, models, first, batch, settings)
            looked = {(run, seed): _gates(ground, model, settings[run]) for (run, seed), model in models.items()}
            found = []
            for key, own in first.items():
                run, seed = key
                models[own].save(place / tokens_file(run, seed))
                cost = _dear_cost(row(run), models[own], batch[key], meter, len(models))
                found.append(Done(run=run, seed=seed, metrics=tuple(metrics[key]), curve=curve_of[own], cost=cost, gates=looked[own]))
            _write(path, found, time.monotonic() - began)
            checkpoint.unlink(missing_ok=True)
        fabric.barrier()
    return _read(path, list(batch))


def _other_batch(ground: Ground, run: str, p: MethodRun, seeds: Sequence[int], place: Path, fabric: Fabric) -> list[Done]:
    """Trains and tests the seeds of another method's run, or reads what an earlier call made of the very same."""
    home: Part = (p.dataset, ground.trained)
    samples = {seed: half(few_shot(ground.split, p.shots, seed), ground.trained).train for seed in seeds}
    batch = [Other(p, items, seed, ground.split.train) for seed, items in samples.items()]
    name = _named(ground, [run, *others.depends(batch, ground.roles)])
    path, checkpoint = place / f"batch-{name}.json", place / f"checkpoint-{name}.safetensors"
    if not path.exists():
        place.mkdir(parents=True, exist_ok=True)
        found, began = [], time.monotonic()
        for other, trained in zip(batch, others.train(ground, batch, home, fabric, checkpoint), strict=True):
            metrics = []
            for part in ground.tests:
                value = others.accuracy_on(ground, trained, p, part, home)
                metrics.append(metric(ground, part, row(run), other.seed, value, p.shots))
            cost = RunCost(
                method=row(run),
                parameters=trained.parameters,
                steps=trained.steps,
                pictures=trained.pictures,
                seconds_per_step=trained.seconds_per_step,
                memory_gb=trained.memory_gb,
                transductive=trained.method.needs.unlabelled,
            )
            found.append(Done(run=run, seed=other.seed, metrics=tuple(metrics), curve=trained.curve, cost=cost))
        _write(path, found, time.monotonic() - began)
        others.finished(checkpoint)
    return _read(path, [(run, seed) for seed in samples])


def _dear_cost(method: str, model: DeAR, trial: Trial, meter: Meter, runs: int) -> RunCost:
    """What one of several runs of a batch took."""
    p, pictures = trial.p, len(trial.items)
    steps = max(1, pictures // p.batch)
    epoch = meter.seconds_per_epoch()
    return RunCost(
        method=method,
        parameters=sum(x.numel() for x in model.parameters() if x.requires_grad),
        steps=p.epochs * steps,
        pictures=p.epochs * (steps * p.batch if pictures >= p.batch else pictures),
        seconds_per_step=None if epoch is None else epoch / steps / runs,
        memory_gb=meter.peak_gb,
    )


LOOKED_AT = 256  # test pictures, evenly among those of the classes that were trained on


def _gates(ground: Ground, model: DeAR, v: Variant) -> RunGates:
    """The gates of a trained model."""
    source = ground.pictures[ground.p.dataset, ground.trained]
    some = torch.linspace(0, len(source.features) - 1, min(LOOKED_AT, len(source.features))).long()
    few = prefix.deepened(Prefix(*source.rows(some), source.first_layer), ground.clip, v.first_layer)
    found = gates(model, few)
    between = found.between_tokens
    shielded = {f"L{layer}": heads for layer, heads in found.shielded.items()}
    alpha = dict(zip(("class", *model.roles.attributes), model.alpha.tolist(), strict=True))
    return RunGates(tokens=None if isnan(between) else between, class_feature=found.class_cosine, shielded=shielded, alpha=alpha)


def _tested(
    ground: Ground, models: Mapping[Key, DeAR], first: Mapping[Key, Key], batch: Mapping[Key, Trial], settings: Mapping[str, Variant]
) -> dict[Key, list[Metric]]:
    """Fused and class-feature accuracy of every run on every part. `first`: the run under whose key its model stands."""
    found: dict[Key, list[Metric]] = {key: [] for key in first}
    layers = {settings[run].first_layer for run, _ in models}
    for part, pictures in ground.pictures.items():
        texts = {j: text_prefix(ground.clip, ground.prompts[part], j) for j in layers}
        results = dict(zip(models, evaluate_together(list(models.values()), pictures, texts, ground.labels[part]), strict=True))
        for key, own in first.items():
            run, seed = key
            v, method, result, fused = settings[run], row(run), results[own], results[own].fused
            if v.attribute_scores == "mean":
                fused = _with_mean_scores(ground, models[own], batch[key], pictures, texts[v.first_layer], ground.labels[part])
            found[key] += [
                metric(ground, part, method, seed, fused, v.shots),
                metric(ground, part, f"{method}{CLASS_FEATURE}", seed, result.class_feature, v.shots),
            ]
    return found


def _with_mean_scores(ground: Ground, model: DeAR, trial: Trial, pictures: Prefix | Streamed, text: TextStates, labels: Tensor) -> float:
    """Accuracy with every s_a at its mean over the plain training pictures."""
    seen = trials.plain(ground.clip, ground.roles, trial.p, trial.items)
    tested = prefix.deepened(pictures, ground.clip, trial.p.first_layer)
    size = prefix.together(ground.clip)
    logits = constant_attribute_logits(model, tested.chunks(size), text, seen.chunks(size))
    return accuracy(logits.cpu(), labels)
