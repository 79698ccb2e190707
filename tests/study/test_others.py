"""Methods beside DeAR in a study: the same pictures and splits, kept batch by batch, one line for what cannot be."""

import json
from pathlib import Path

import pytest
import small_study
from lightning_fabric import Fabric

from dearlib.methods import catalogue
from dearlib.params.study import read_study
from dearlib.study.records import RunRecord, tidy
from dearlib.study.run import run_group

FABRIC = Fabric(accelerator="cpu", devices=1)
QUICK = {"epochs": 2, "batch": 2, "warmup_epochs": 0}
SETTINGS = {
    "maple": {"depth": 2},
    "promptsrc": {"depth": 2},
    "provp": {"tokens": 2},
    "tac": {"depth": 2, "views": 1},
    "mmrl": {"first_layer": 11, "width": 16},
    "mmrl_plus": {"first_layer": 11, "width": 16},
    "skiptuning": {"first_layer": 12},
    "promptkd": {"depth": 2},
}


def method(folder: Path, name: str, **more: object) -> None:
    """Its parameter file, cheap."""
    values = {"recipe": QUICK, "settings": SETTINGS.get(name, {}), **more}
    (folder / "methods").mkdir(exist_ok=True)
    (folder / "methods" / f"{name}.yaml").write_text("\n".join(f"{k}: {json.dumps(v)}" for k, v in values.items()) + "\n")


def study(folder: Path, runs: str, more: str = "classes: halves") -> None:
    (folder / "study.yaml").write_text(f"groups:\n  halved:\n    datasets: [dtd, eurosat]\n    {more}\n    runs: {runs}\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_study.make(tmp_path)


def made(folder: Path, group: str = "halved", dataset: str = "dtd") -> RunRecord:
    return run_group(folder, group, read_study(folder).groups[group], dataset, FABRIC)


KEYS = ("coop", "tac", "promptkd", "mmrl", "skiptuning", "class_bias")  # each its own way of being shown pictures


def test_every_method_stands_in_one_record_with_dear(folder: Path) -> None:
    """And each says what it took."""
    for key in KEYS:
        teacher = {"teacher": {"method": "promptsrc"}} if key == "promptkd" else {}
        method(folder, key, **teacher)
    runs = {"DeAR": {}, **{catalogue.module(key).METHOD.title: {"method": key} for key in KEYS}}
    study(folder, json.dumps(runs))
    record = made(folder)
    metrics = tidy([record])
    for name in runs:
        own = metrics[metrics.method == name]
        assert set(zip(own.split, own.seed, strict=True)) == {(h, s) for h in ("base", "novel") for s in (1, 2)}, name
        cost = record.costs[name]
        assert cost.parameters > 0
        assert cost.seconds_per_step is not None
        assert cost.pictures == (24 if name == "PromptKD" else 8), name
        assert cost.transductive == (name == "PromptKD")
    assert list(record.runs) == list(runs)
