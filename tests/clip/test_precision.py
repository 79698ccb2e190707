"""The training notebooks in the half precisions that the paper profile asks for, which the mini profile never uses."""

import json
from pathlib import Path

import pytest
from public_layout import build
from role_maps import make_roles

from dearlib.clip.loading import load
from dearlib.params.reading import load_params
from dearlib.params.schemas import plain
from dearlib.workflow import runner

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("step", "also"),
    [("05_training", {}), ("05_variants-few_shot", {"variants": "{one: {shots: 1}, two: {shots: 2}}", "linear_probe": "true"})],
)
def test_notebooks_run_in_the_papers_precision(tmp_path: Path, step: str, also: dict[str, str]) -> None:
    """DeAR-Mini on a public data set's layout; the values come from the paper profile's own file."""
    build(tmp_path / "data", "dtd")
    make_roles(load("DeAR-Mini")).save(tmp_path / "roles.json")
    notebook = step.partition("-")[0]
    paper = plain(load_params(notebook, ROOT / "params" / "paper" / f"{step}.yaml"))
    half = {key: paper[key] for key in ("cache_dtype", "precision")}
    assert half == {"cache_dtype": "float16", "precision": "bf16-mixed"}
    where = {f"{name}_root": tmp_path / name for name in ("data", "cache", "runs")} | {"roles": tmp_path / "roles.json"}
    given = {"dataset": "dtd", "shots": 2, "seeds": "[1]", "epochs": 2, "views": 1, "warmup_epochs": 0} | also | half | where
    words = [word for key, value in given.items() for word in ("-p", f"{key}={value}")]
    source = [str(ROOT / "notebooks" / f"{notebook}.py"), str(ROOT / "params" / "mini" / f"{step}.yaml")]
    assert runner.main([*source, "--out", str(tmp_path / "runs" / "out"), *words]) == 0
    (record,) = (tmp_path / "runs").rglob("record.json")
    told = json.loads(record.read_text())
    assert {key: told["parameters"][key] for key in half} == half
    assert {m["method"] for m in told["metrics"]} >= ({"DeAR"} if notebook == "05_training" else {"one", "two"})
