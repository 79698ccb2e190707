"""As many trials for every method, and none that sees a test picture or a novel class."""

import json
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import small_study
from lightning_fabric import Fabric
from role_maps import make_roles

from dearlib.clip import cache
from dearlib.clip.loading import load
from dearlib.datasets import half, read_split
from dearlib.methods import catalogue
from dearlib.params.methods import MethodRun
from dearlib.params.schemas import Variant
from dearlib.params.study import read_study, run_settings
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import companion, fair, tuning

PLAN = tuning.read_plan(Path(__file__).parents[2] / "params" / "mini" / "tuning.yaml")
CHEAP = {"epochs": 2, "batch": 2, "warmup_epochs": 0}


def run_of(tmp_path: Path, method: str, **more: object) -> MethodRun:
    folder = small_study.make(tmp_path)
    (folder / "methods").mkdir()
    (folder / "methods" / f"{method}.yaml").write_text(f"recipe: {json.dumps(CHEAP)}\n")
    runs = {"A": {"method": method, **more}}
    (folder / "study.yaml").write_text(f"groups:\n  halved: {{datasets: [dtd], classes: halves, runs: {json.dumps(runs)}}}\n")
    p = run_settings(folder, read_study(folder).groups["halved"], "A", "dtd")
    assert isinstance(p, MethodRun)
    return p


def test_every_method_has_as_many_trials() -> None:
    tried = {key: fair.changes(key) for key in catalogue.names() if key != "clip"}
    assert {len(set(own)) for own in tried.values()} == {8}
    for key, names in fair.WEIGHTS.items():
        assert set(names) <= set(catalogue.module(key).Settings.__dataclass_fields__), key


def test_the_committed_plan_tries_every_change_of_every_method() -> None:
    """What a trial is called is what it is given: one thing times its factor, on every data set, with every seed."""
    cases = list(fair._cases(Path(__file__).parents[2] / "params" / "mini", PLAN))
    methods = {name["method"] for name, _, _ in cases}
    assert {"DeAR", "coop", "mmrl", "class_bias", "linear_map"} <= methods
    assert "clip" not in methods
    assert len(cases) == len({tuple(name.values()) for name, _, _ in cases}) == len(methods) * 8 * len(PLAN.datasets) * len(PLAN.seeds)
    starts = {(name["method"], name["dataset"]): p for name, p, _ in cases if name["change"] == "nothing"}
    for name, p, seed in cases:
        assert (p.dataset, seed) == (name["dataset"], name["seed"])
        if name["change"] == "lr":
            first = starts[name["method"], name["dataset"]]
            before, after = (q.lr if isinstance(q, Variant) else catalogue.recipe(q.method, q.recipe).lr for q in (first, p))
            assert after == pytest.approx(name["factor"] * before)


@pytest.mark.parametrize("search", [tuning, fair])
def test_as_many_trials_at_once_as_there_are_cores(monkeypatch: pytest.MonkeyPatch, search: ModuleType) -> None:
    """Or as were asked for; the best are printed."""
    monkeypatch.chdir(Path(__file__).parents[2])
    keys = tuning.read_plan(Path("params/mini/tuning.yaml")).alternatives
    rows = pd.DataFrame([{**dict.fromkeys((*keys, "method", "change", "factor"), 1), "base": 50.0, "novel": 40.0}])
    asked: list[int] = []
    monkeypatch.setattr(HeadRoles, "load", lambda path: make_roles(load("DeAR-Mini")))
    monkeypatch.setattr(search, "_run", lambda *given: (asked.append(given[-1]), rows)[1])
    monkeypatch.setattr(fair, "_cases", lambda folder, plan: [])
    monkeypatch.setattr(search.os, "cpu_count", lambda: 7)
    assert search.tune("mini", 0) == search.tune("mini", 2) == 0
    assert asked == [7, 2]


def test_one_thing_is_multiplied(tmp_path: Path) -> None:
    p = run_of(tmp_path, "promptsrc", settings={"text_weight": 10.0})
    assert fair.changed(p, ("nothing", 1.0)) == p
    assert catalogue.recipe("promptsrc", fair.changed(p, ("lr", 3.0)).recipe).lr == pytest.approx(7.5e-3)
    longer = catalogue.recipe("promptsrc", fair.changed(p, ("epochs", 2.0)).recipe)
    assert (longer.epochs, longer.average_at) == (4, (30.0, 2.0))
    assert fair.changed(p, ("weight", 0.3)).settings == pytest.approx({"text_weight": 3.0, "image_weight": 3.0})
    assert fair.changed(p, ("weight", 0.3)).recipe == p.recipe


@pytest.mark.parametrize("method", ["coop", "promptkd"])
def test_no_test_picture_and_no_novel_class_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Trained on the first quarter's training pictures, judged on validation ones; a transductive method trains on both quarters'."""
    teacher = {"method": "promptsrc", "recipe": CHEAP, "settings": {"depth": 2}}
    p = run_of(tmp_path, method, **({"teacher": teacher, "settings": {"depth": 2}} if method == "promptkd" else {}))
    opened: list[Path] = []
    real = cache.open_image
    monkeypatch.setattr(cache, "open_image", lambda path: (opened.append(path), real(path))[1])
    row = fair.trial(load("DeAR-Mini"), HeadRoles.load(p.roles), p, 1, Fabric(accelerator="cpu", devices=1))
    assert set(row) == {"base", "novel"}
    known = half(read_split(p.data_root, "dtd"), "base")
    first = half(known, "base")
    train = known.train if method == "promptkd" else first.train
    assert set(opened) <= {item.path for item in (*train, *known.val)}
    assert {item.path for item in known.val} <= set(opened)
    assert set(opened) & {item.path for item in first.train}


def test_a_worker_trains_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DeAR by its own trial, without what a trial says beside the two accuracies; another method by the family's."""
    other = run_of(tmp_path, "coop")
    own = next(p for _, p, _ in fair._cases(Path(__file__).parents[2] / "params" / "mini", PLAN) if isinstance(p, Variant))
    shared = ("clip", "roles", "fabric")
    monkeypatch.setattr(tuning, "_shared", shared, raising=False)
    monkeypatch.setattr(
        tuning,
        "trial",
        lambda *given: {"base": 1.0, "novel": 2.0, "base_clip": 3.0} if given == ("clip", "roles", own, 4, "fabric") else {},
    )
    monkeypatch.setattr(fair, "trial", lambda *given: {"base": 5.0, "novel": 6.0} if given == ("clip", "roles", other, 4, "fabric") else {})
    assert fair._one(own, 4) == {"base": 1.0, "novel": 2.0}
    assert fair._one(other, 4) == {"base": 5.0, "novel": 6.0}


def test_trials_are_counted_by_row(tmp_path: Path) -> None:
    path = tmp_path / "tuning_methods.csv"
    assert companion.trials_of(path, {}).empty
    rows = [{"method": m, "change": c, "factor": f, "dataset": d} for m in ("coop", "dear") for c, f in fair.changes(m) for d in ("a", "b")]
    pd.DataFrame(rows).to_csv(path, index=False)
    assert companion.trials_of(path, {"coop": "CoOp"}).to_dict() == {"CoOp": 8, "dear": 8}
