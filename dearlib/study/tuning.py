"""Choosing hyper-parameters without test pictures and without novel classes.

Novel classes may not be looked at, and accuracy on base classes alone cannot see forgetting. So the *base* classes of
a data set are halved once more [ours]: DeAR is trained on the first quarter's shots and judged by the harmonic mean of
its accuracies on the validation pictures of both quarters. One setting is changed at a time; every row goes to a CSV.
"""

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tqdm.auto import tqdm

from dearlib import machine
from dearlib.clip.cut import text_prefix
from dearlib.clip.loading import FrozenClip, load
from dearlib.datasets import classnames, few_shot, half, prompts, read_split
from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.methods.evaluation import evaluate_together, harmonic_mean, zero_shot
from dearlib.params import yaml12
from dearlib.params.mistakes import line_of
from dearlib.params.schemas import Variant
from dearlib.params.study import dear_settings, read_study
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import trials
from dearlib.study.plan import TABLE2

_shared: tuple[FrozenClip, HeadRoles, Fabric]


class Plan(BaseModel):
    """What to try: the data sets, the seeds, and alternatives per key of the training's parameter file.

    `start`: what a run of DeAR had in place of its present values before the trials, so that they can be made again (what other methods
    had is their file without `chosen`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    datasets: Annotated[list[str], Field(min_length=1)]
    seeds: Annotated[list[int], Field(min_length=1)]
    alternatives: dict[str, list[Any]]
    start: dict[str, dict[str, Any]] = {}


def read_plan(path: Path) -> Plan:
    """The plan, or one line that says what is wrong with it."""
    try:
        plan = Plan.model_validate(yaml12.read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}; correct the file") from error
    unknown = set(plan.alternatives) - set(Variant.model_fields)
    if unknown:
        raise InputError(f"{path}: alternatives: expected keys of the training's parameters, got {sorted(unknown)}; correct the file")
    return plan


def starting_point(folder: Path, plan: Plan, run: str | None = None) -> Variant:
    """DeAR as Table 2 had it before the trials, or another of its runs there: what trials change."""
    group = read_study(folder).groups[TABLE2]
    run = run or group.dear[0]
    start = dear_settings(folder, group, run, group.datasets[0], given=plan.start.get(run))
    machine.device(start.device, start.precision)  # refused before anything is loaded, and not by every worker
    return start


def settings_of(start: Variant, plan: Plan) -> Iterator[Variant]:
    """The starting point and every single change of it, checked as the parameter file's own values are."""
    yield start
    for key, values in plan.alternatives.items():
        for value in values:
            try:
                changed = type(start).model_validate_json(json.dumps(start.model_dump(mode="json") | {key: value}))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                raise InputError(f"tuning: alternatives.{line_of(first, type(start))}; correct the plan") from None
            if changed != start:
                yield changed


def trial(clip: FrozenClip, roles: HeadRoles, p: Variant, seed: int, fabric: Fabric) -> dict[str, float]:
    """Percent correct on the validation pictures of the first (base) and second (novel) quarter of the classes."""
    roles = trials.role_map(roles, p, seed)
    split = read_split(p.data_root, p.dataset)
    train = half(half(few_shot(split, p.shots, seed), "base"), "base").train
    quarters = {name: half(half(split, "base"), name) for name in ("base", "novel")}
    texts = {name: prompts(p.dataset, classnames(q)) for name, q in quarters.items()}
    (model,), _ = trials.train(clip, [trials.Trial(p, roles, train, seed)], texts["base"], fabric)
    row: dict[str, float] = {}
    for name, quarter in quarters.items():
        val, labels = trials.plain(clip, roles, p, quarter.val), trials.labels(quarter.val)
        prompted = {p.first_layer: text_prefix(clip, texts[name], p.first_layer)}
        (result,) = evaluate_together([model], val, prompted, labels)
        row |= {name: result.fused, f"{name}_class_feature": result.class_feature}
        row[f"{name}_clip"] = zero_shot(val.features, clip.encode_text(texts[name]).cpu(), labels)
    return row


def summary(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """A row per setting: mean base, novel and their harmonic mean over data sets and seeds, best first."""
    mean = rows.groupby(list(keys))[["base", "novel"]].mean()
    mean["hm"] = [harmonic_mean(b, n) for b, n in zip(mean["base"], mean["novel"], strict=True)]
    return mean.sort_values("hm", ascending=False)


def _start_worker(start: Variant) -> None:
    """What every trial of one worker shares; one thread each, so that results do not depend on their number."""
    global _shared
    torch.set_num_threads(1)
    machine.keep_freed_memory()
    clip = load(start.clip, start.clip_weights)
    roles = HeadRoles.load(start.roles).for_weights(clip.weights_sha256)
    accelerator = machine.device(start.device, start.precision)
    fabric = Fabric(accelerator=accelerator, devices=1, precision=start.precision, plugins=[LightningEnvironment()])  # not SLURM's tasks
    clip.model.to(fabric.device)
    _shared = (clip, roles, fabric)


def _one(p: Variant, seed: int) -> dict[str, float]:
    clip, roles, fabric = _shared
    return trial(clip, roles, p, seed, fabric)


def tune(profile: str, cores: int) -> int:
    """Runs `params/<profile>/tuning.yaml` into `tuning.csv` beside it; rows that it already has are kept, so that a search that was
    interrupted goes on. `cores`: trials at once, each with one thread. Exit status 0."""
    folder = Path("params") / profile
    plan = read_plan(folder / "tuning.yaml")
    start = starting_point(folder, plan)
    clip = load(start.clip, start.clip_weights)
    roles = HeadRoles.load(start.roles).for_weights(clip.weights_sha256)
    belongs = {"weights": clip.weights_sha256[:12], "roles": roles.sha256[:12]}
    frame = _run(plan, start, belongs, folder / "tuning.csv", cores or os.cpu_count() or 1)
    print(summary(frame, list(plan.alternatives)).round(2).to_string())
    return 0


def _run(plan: Plan, start: Variant, belongs: dict[str, str], out: Path, cores: int) -> pd.DataFrame:
    """All rows of the plan for these weights and roles, in the plan's order; those that `out` has are not run again."""
    keys = list(plan.alternatives)
    columns = [*belongs, *keys, "dataset", "seed"]
    cases = {}
    for p in settings_of(start, plan):
        for dataset, seed in itertools.product(plan.datasets, plan.seeds):
            case = {**belongs, **{k: _told(getattr(p, k)) for k in keys}, "dataset": dataset, "seed": seed}
            cases[_name(case, columns)] = (case, p.model_copy(update={"dataset": dataset}), seed)
    done = {_name(r, columns): r for r in kept_rows(out) if set(columns) <= set(r)}
    with ProcessPoolExecutor(cores, get_context("spawn"), _start_worker, (start,)) as pool:
        waiting = {pool.submit(_one, p, seed): name for name, (_, p, seed) in cases.items() if name not in done}
        for finished in tqdm(as_completed(waiting), total=len(waiting), desc="trials"):
            name = waiting[finished]
            done[name] = cases[name][0] | finished.result()
            write_text(out, pd.DataFrame([done[n] for n in cases if n in done]).to_csv(index=False, float_format="%.6g"))
    return pd.DataFrame([done[n] for n in cases])


def kept_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of trials that were made before. Raises `InputError` if the file is damaged: half of a search is not thrown away."""
    try:
        return pd.read_csv(path).to_dict("records") if path.exists() else []
    except ValueError as error:  # pandas's own errors and bytes that are no text among them
        raise InputError(f"{path}: expected rows of trials, got '{str(error).splitlines()[0]}'; restore or delete the file") from error


def _told(value: object) -> object:
    """A setting as a CSV gives it back: numbers as they are, the rest in words."""
    return value if isinstance(value, float | int) else "none" if value is None else str(value)


def _name(row: dict[str, Any], columns: Sequence[str]) -> tuple[str, ...]:
    """A row's identity; numbers as a CSV gives them back."""
    return tuple(f"{v:g}" if isinstance(v := row[c], float | int) else str(v) for c in columns)
