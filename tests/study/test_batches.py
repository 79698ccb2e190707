"""What a batch is named by: the pictures that its runs are given, not every picture that its data set has."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import small_study
from lightning_fabric import Fabric
from PIL import Image

from dearlib.clip import cache
from dearlib.datasets import few_shot, half, picture_bytes, read_split
from dearlib.params.study import read_study
from dearlib.study.run import run_group

FABRIC = Fabric(accelerator="cpu", devices=1)
RUNS: dict[str, dict[str, object]] = {"DeAR": {}, "CoOp": {"method": "coop"}, "PromptKD": {"method": "promptkd"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The small study, with cheap methods."""
    made = small_study.make(tmp_path)
    (made / "methods").mkdir()
    own = {
        "coop": {"settings": {}},
        "promptsrc": {"settings": {"depth": 2}},
        "promptkd": {"settings": {"depth": 2}, "teacher": {"method": "promptsrc"}},
    }
    for name, values in own.items():
        lines = {"recipe": {"epochs": 1, "batch": 2, "warmup_epochs": 0}, **values}
        (made / "methods" / f"{name}.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in lines.items()))
    return made


def names(folder: Path, runs: Iterable[str]) -> set[str]:
    """Makes a group of these runs; the names of its batches."""
    asked = json.dumps({name: RUNS[name] for name in runs})
    (folder / "study.yaml").write_text(f"groups:\n  halved:\n    datasets: [dtd]\n    classes: halves\n    runs: {asked}\n")
    record = run_group(folder, "halved", read_study(folder).groups["halved"], "dtd", FABRIC)
    place = Path(next(iter(record.runs.values()))["runs_root"]) / "halved-dtd"
    return {path.name for path in place.glob("batch-*")}


def test_a_kept_batch_is_named_by_the_bytes_of_its_few_shots_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a training part, which may have a million pictures, no call reads more, whatever a method trains on."""
    split = read_split(folder.parents[1] / "data", "dtd")
    few = {item.path for seed in (1, 2) for item in half(few_shot(split, 2, seed), "base").train}
    read: list[Path] = []
    monkeypatch.setattr(cache, "picture_bytes", lambda path: (read.append(path), picture_bytes(path))[1])
    for run in RUNS:
        made = names(folder, [run])
        read.clear()
        assert names(folder, [run]) == made
        assert {path for path in read if path in {item.path for item in split.train}} == few, run


def test_an_unlabelled_picture_that_was_redrawn_makes_another_batch_of_promptkd_alone(folder: Path) -> None:
    split = read_split(folder.parents[1] / "data", "dtd")
    before = names(folder, RUNS)
    last = split.train[-1]  # of the novel half: nobody else is shown it
    Image.new("RGB", (64, 64)).save(last.path)
    assert len(names(folder, RUNS) - before) == 1
