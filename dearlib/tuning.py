"""Choosing hyper-parameters without test pictures and without novel classes.

Novel classes may not be looked at, and accuracy on base classes alone cannot see forgetting. So the *base* classes of
a data set are halved once more [ours]: DeAR is trained on the first quarter's shots and judged by the harmonic mean of
its accuracies on the validation pictures of both quarters. One setting is changed at a time; every row goes to a CSV.

    python -m dearlib.tuning params/mini/05_training.yaml params/mini/tuning.yaml --out params/mini/tuning.csv
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from lightning_fabric import Fabric
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tqdm.auto import tqdm

from dearlib import experiment, yaml12
from dearlib.checkpoint import write_text
from dearlib.clip import FrozenClip, load, text_prefix
from dearlib.datasets import classnames, few_shot, half, prompts, read_split
from dearlib.errors import InputError
from dearlib.evaluation import evaluate, harmonic_mean, zero_shot
from dearlib.params import Training, load_params
from dearlib.roles import HeadRoles


class Plan(BaseModel):
    """What to try: the data sets, the seeds, and alternatives per key of the training's parameter file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    datasets: Annotated[list[str], Field(min_length=1)]
    seeds: Annotated[list[int], Field(min_length=1)]
    alternatives: dict[str, list[Any]]


def read_plan(path: Path) -> Plan:
    """The plan, or one line that says what is wrong with it."""
    try:
        plan = Plan.model_validate(yaml12.read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}; correct the file") from error
    unknown = set(plan.alternatives) - set(Training.model_fields)
    if unknown:
        raise InputError(f"{path}: alternatives: expected keys of the training's parameters, got {sorted(unknown)}; correct the file")
    return plan


def settings_of(start: Training, plan: Plan) -> Iterator[Training]:
    """The starting point and every single change of it."""
    yield start
    for key, values in plan.alternatives.items():
        for value in values:
            if value != getattr(start, key):
                yield Training.model_validate({**start.model_dump(), key: value})


def trial(clip: FrozenClip, roles: HeadRoles, p: Training, seed: int, fabric: Fabric) -> dict[str, float]:
    """Percent correct on the validation pictures of the first (base) and second (novel) quarter of the classes."""
    split = read_split(p.data_root, p.dataset)
    train = half(half(few_shot(split, p.shots, seed), "base"), "base").train
    quarters = {name: half(half(split, "base"), name) for name in ("base", "novel")}
    texts = {name: prompts(p.dataset, classnames(q)) for name, q in quarters.items()}
    model, _ = experiment.train(clip, roles, p, train, texts["base"], seed, fabric)
    row: dict[str, float] = {}
    for name, quarter in quarters.items():
        val, labels = experiment.plain(clip, roles, p, quarter.val), experiment.labels(quarter.val)
        result = evaluate(model, val.states, text_prefix(clip, texts[name], p.first_layer), labels)
        row |= {name: result.fused, f"{name}_class_feature": result.class_feature}
        row[f"{name}_clip"] = zero_shot(val.features, clip.encode_text(texts[name]).cpu(), labels)
    return row


def summary(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """A row per setting: mean base, novel and their harmonic mean over data sets and seeds, best first."""
    mean = rows.groupby(list(keys))[["base", "novel"]].mean()
    mean["hm"] = [harmonic_mean(b, n) for b, n in zip(mean["base"], mean["novel"], strict=True)]
    return mean.sort_values("hm", ascending=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the plan; rows that the CSV already has are kept, so that an interrupted search goes on."""
    parser = argparse.ArgumentParser(prog="python -m dearlib.tuning", description="Choose hyper-parameters on validation pictures.")
    parser.add_argument("params", type=Path, help="parameter file of 05_training: the starting point")
    parser.add_argument("plan", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    try:
        plan = read_plan(args.plan)
        start = load_params("05_training", args.params, {})
        assert isinstance(start, Training)
        clip = load(start.clip, start.clip_weights)
        roles = HeadRoles.load(start.roles).for_weights(clip.weights_sha256)
        fabric = Fabric(accelerator="cpu" if start.device == "cpu" else "auto", devices=1, precision=start.precision)
        rows = pd.read_csv(args.out).to_dict("records") if args.out.exists() else []
        belongs = {"weights": clip.weights_sha256[:12], "roles": roles.sha256[:12]}
        keys = list(plan.alternatives)
        columns = [*belongs, *keys, "dataset", "seed"]
        done = {tuple(str(r[c]) for c in columns) for r in rows if set(columns) <= set(r)}
        for p in tqdm(list(settings_of(start, plan)), desc="settings"):
            for dataset, seed in itertools.product(plan.datasets, plan.seeds):
                case = {**belongs, **{k: getattr(p, k) for k in keys}, "dataset": dataset, "seed": seed}
                if tuple(str(case[c]) for c in columns) not in done:
                    rows.append({**case, **trial(clip, roles, p.model_copy(update={"dataset": dataset}), seed, fabric)})
                    write_text(args.out, pd.DataFrame(rows).to_csv(index=False))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    frame = pd.DataFrame(rows)
    frame = frame[(frame["weights"] == belongs["weights"]) & (frame["roles"] == belongs["roles"])]
    print(summary(frame, keys).round(2).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
