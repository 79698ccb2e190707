"""As many trials for every method, and none that sees a test picture or a novel class."""

import json
from pathlib import Path

import pandas as pd
import pytest
import small_study
from lightning_fabric import Fabric

from dearlib.clip import cache
from dearlib.clip.loading import load
from dearlib.datasets import half, read_split
from dearlib.methods import catalogue
from dearlib.params.methods import MethodRun
from dearlib.params.study import read_study, run_settings
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import companion, fair

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


def test_trials_are_counted_by_row(tmp_path: Path) -> None:
    path = tmp_path / "tuning_methods.csv"
    assert companion.trials_of(path, {}).empty
    rows = [{"method": m, "change": c, "factor": f, "dataset": d} for m in ("coop", "dear") for c, f in fair.changes(m) for d in ("a", "b")]
    pd.DataFrame(rows).to_csv(path, index=False)
    assert companion.trials_of(path, {"coop": "CoOp"}).to_dict() == {"CoOp": 8, "dear": 8}
