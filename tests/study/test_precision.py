"""A group of runs in the half precisions that the paper profile asks for, which the mini profile never uses."""

from pathlib import Path

import pytest
import small_study
from lightning_fabric import Fabric

from dearlib.params.study import read_study, run_settings
from dearlib.params.types import plain
from dearlib.study.run import run_group

PAPER = Path(__file__).parents[2] / "params" / "paper"


@pytest.mark.parametrize("group", ["halved", "away"])
def test_a_group_runs_in_the_papers_precision(tmp_path: Path, group: str) -> None:
    asked = plain(run_settings(PAPER, read_study(PAPER).groups["base_to_novel"], "DeAR", "dtd"))
    half = {key: asked[key] for key in ("cache_dtype", "precision")}
    assert half == {"cache_dtype": "float16", "precision": "bf16-mixed"}
    folder = small_study.make(tmp_path)
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    record = run_group(folder, group, read_study(folder).groups[group], "dtd", fabric, half)
    assert all({key: run[key] for key in half} == half for run in record.runs.values())
    assert {"CLIP", "DeAR"} <= {m.method for m in record.metrics}
