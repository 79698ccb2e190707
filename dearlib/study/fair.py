"""As many trials of hyper-parameters for every method, DeAR among them, on validation pictures of halved base classes [ours].

Around its recipe a method's learning rate, its epochs and the weight of its regularisation are multiplied, one at a time; a method
without such a weight has as many more rates instead. As in `tuning` it is trained on the first half of the base classes and judged by
the validation pictures of both, so no test picture and no novel class.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from lightning_fabric import Fabric
from tqdm.auto import tqdm

from dearlib.clip.loading import FrozenClip, load
from dearlib.datasets import Split, few_shot, half, read_split
from dearlib.files import write_text
from dearlib.methods import catalogue
from dearlib.params.methods import MethodRun, deep, method_files
from dearlib.params.schemas import Variant
from dearlib.params.study import Group, read_study, run_settings
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import others, tuning
from dearlib.study.ground import Ground, Half, Part
from dearlib.study.others import Other
from dearlib.study.plan import TABLE2

FILE = "tuning_methods.csv"
# A method → the settings that weigh its regularisation.
WEIGHTS = {
    "prograd": ("lambda_",),
    "promptsrc": ("text_weight", "image_weight"),
    "provp": ("weight",),
    "tcp": ("weight",),
    "promptkd": ("weight",),
    "mmrl": ("weight",),
    "mmrl_plus": ("weight",),
    "tac": ("text_weight", "image_weight"),
    "linear_map": ("weight",),
    "dear": ("lambda_reg",),
}
RATES, EPOCHS, WEIGHT, INSTEAD = (0.1, 0.3, 3.0), (0.5, 2.0), (0.3, 3.0), (0.03, 10.0)
Change = tuple[str, float]  # what is multiplied, by what


def changes(method: str) -> list[Change]:
    """The trials of a method, the recipe itself first: the same number for all."""
    last = [("weight", f) for f in WEIGHT] if method in WEIGHTS else [("lr", f) for f in INSTEAD]
    return [("nothing", 1.0), *(("lr", f) for f in RATES), *(("epochs", f) for f in EPOCHS), *last]


def changed(p: MethodRun, change: Change) -> MethodRun:
    """A method's run with one thing multiplied."""
    what, factor = change
    recipe = catalogue.recipe(p.method, p.recipe)
    told: dict[str, Any] = {}
    if what == "lr":
        told = {"recipe": {"lr": factor * recipe.lr, "rates": {k: factor * v for k, v in recipe.rates.items()}}}
    if what == "epochs":
        epochs = max(1, round(factor * recipe.epochs))
        at = tuple(epochs / recipe.epochs * x for x in recipe.average_at)
        told = {"recipe": {"epochs": epochs, "average_at": at, "warmup_epochs": min(recipe.warmup_epochs, epochs - 1)}}
    if what == "weight":
        now = catalogue.checked(p.method, catalogue.module(p.method).Settings, p.settings)
        told = {"settings": {name: factor * getattr(now, name) for name in WEIGHTS[p.method]}}
    return p.model_copy(update=deep({"recipe": p.recipe, "settings": p.settings}, told))


def changed_dear(p: Variant, change: Change) -> Variant:
    """The same of DeAR's own parameters."""
    what, factor = change
    epochs = max(1, round(factor * p.epochs))
    told: dict[str, dict[str, Any]] = {
        "lr": {"lr": factor * p.lr},
        "epochs": {"epochs": epochs, "warmup_epochs": min(p.warmup_epochs, epochs - 1)},
    }
    told |= {"weight": {"lambda_reg": factor * p.lambda_reg}}
    return p.model_copy(update=told.get(what, {}))


def trial(clip: FrozenClip, roles: HeadRoles, p: MethodRun, seed: int, fabric: Fabric) -> dict[str, float]:
    """Percent correct on the validation pictures of the first (base) and second (novel) quarter of the classes."""
    split = read_split(p.data_root, p.dataset)
    known = half(split, "base")
    names: tuple[Half, ...] = ("base", "novel")
    quarters = {name: half(known, name) for name in names}
    tests: Mapping[Part, Split] = {(p.dataset, name): replace(q, test=q.val) for name, q in quarters.items()}
    ground = Ground(clip, roles, p, known, "base", tests)
    few = half(half(few_shot(split, p.shots, seed), "base"), "base").train
    home: Part = (p.dataset, "base")
    with tempfile.TemporaryDirectory() as folder:
        (done,) = others.train(ground, [Other(p, few, seed, known.train)], home, fabric, Path(folder) / "checkpoint.safetensors")
    return {part[1]: others.accuracy_on(ground, done, p, part, home) for part in tests}


def tune(profile: str, cores: int) -> int:
    """Runs every method's trials into `params/<profile>/tuning_methods.csv`; rows that it has of these weights are kept. Exit status 0."""
    folder = Path("params") / profile
    plan = tuning.read_plan(folder / "tuning.yaml")
    start = tuning.starting_point(folder, plan)
    clip = load(start.clip, start.clip_weights)
    belongs = {"weights": clip.weights_sha256[:12], "roles": HeadRoles.load(start.roles).for_weights(clip.weights_sha256).sha256[:12]}
    frame = _run(list(_cases(folder, plan)), belongs, start, folder / FILE, cores or os.cpu_count() or 1)
    print(best(frame).round(2).to_string())
    return 0


Case = tuple[dict[str, Any], Variant | MethodRun, int]


def _cases(folder: Path, plan: tuning.Plan) -> Iterator[Case]:
    """Every trial: what names it, its parameters and its seed. Each of DeAR's runs in Table 2 counts as a method."""
    group = read_study(folder).groups[TABLE2]
    starts = {run: tuning.starting_point(folder, plan, run) for run in group.dear}
    for method in [*starts, *(m for m in method_files(folder) if m != "clip")]:
        for change in changes("dear" if method in starts else method):
            for dataset in plan.datasets:
                for seed in plan.seeds:
                    name = {"method": method, "change": change[0], "factor": change[1], "dataset": dataset, "seed": seed}
                    if method in starts:
                        yield name, changed_dear(starts[method].model_copy(update={"dataset": dataset}), change), seed
                    else:
                        alone = Group(datasets=(dataset,), classes="halves", runs={method: {"method": method}})
                        p = run_settings(folder, alone, method, dataset, chosen=False)
                        assert isinstance(p, MethodRun)
                        yield name, changed(p, change), seed


def _one(p: Variant | MethodRun, seed: int) -> dict[str, float]:
    clip, roles, fabric = tuning._shared
    if isinstance(p, MethodRun):
        return trial(clip, roles, p, seed, fabric)
    return {name: value for name, value in tuning.trial(clip, roles, p, seed, fabric).items() if name in ("base", "novel")}


def _run(cases: list[Case], belongs: dict[str, str], start: Variant, out: Path, cores: int) -> pd.DataFrame:
    """All rows; those that `out` has are not run again."""
    columns = [*belongs, "method", "change", "factor", "dataset", "seed"]
    named = {tuning._name(belongs | name, columns): (belongs | name, p, seed) for name, p, seed in cases}
    done = {tuning._name(r, columns): r for r in tuning.kept_rows(out) if set(columns) <= set(r)}
    with ProcessPoolExecutor(cores, get_context("spawn"), tuning._start_worker, (start,)) as pool:
        waiting = {pool.submit(_one, p, seed): key for key, (_, p, seed) in named.items() if key not in done}
        for finished in tqdm(as_completed(waiting), total=len(waiting), desc="trials"):
            key = waiting[finished]
            done[key] = named[key][0] | finished.result()
            write_text(out, pd.DataFrame([done[k] for k in named if k in done]).to_csv(index=False, float_format="%.6g"))
    return pd.DataFrame([done[k] for k in named])


def best(rows: pd.DataFrame) -> pd.DataFrame:
    """The trials of every method by the harmonic mean of the mean accuracies of both quarters, the best first."""
    tables = {method: tuning.summary(own, ["change", "factor"]) for method, own in rows.groupby("method", sort=False)}
    return pd.concat(tables, names=["method"])
