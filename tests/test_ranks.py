"""Two processes that share each batch: the single process's curve and tokens, one record, one exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dearlib import params, runner
from dearlib.ranks import fabric
from dearlib.resources import gpus, workers

ROOT = Path(__file__).parents[1]

TRAINING = """
import json, sys, torch
from pathlib import Path
from conftest import make_roles
from dearlib.clip import image_prefix, image_suffix, random_clip, text_prefix
from dearlib.model import DeAR, Settings
from dearlib.prefix import Prefix
from dearlib.ranks import fabric
from dearlib.training import Schedule, TrainingRun, TrainingSet, fit

made = fabric("2 x cpu", "32-true")
clip = random_clip()
pictures = torch.randn(2 * 7, 3, 64, 64, generator=torch.Generator().manual_seed(7))
states = image_prefix(clip.visual, pictures, 9)
data = TrainingSet(Prefix(states, image_suffix(clip.visual, states, 9)), torch.tensor([0, 0, 1, 1, 2, 2, 0]), block=int(sys.argv[2]))
roles = make_roles(clip)
schedules = [Schedule(epochs=3, batch=3, lr=1e-2), Schedule(epochs=3, batch=3, lr=1e-2, lambda_reg=0.3, lambda_fusion=2.0)]
runs = [TrainingRun(DeAR(clip, roles, Settings(text_tokens=2), seed=s), data, schedule, s) for s, schedule in enumerate(schedules)]
prompts = ["a photo of a cup.", "a photo of a key.", "a photo of a ring."]
asked = []
def each_epoch(models):
    asked.append(made.global_rank)
    return [{"asked": float(made.world_size)} for _ in models]
folder = Path(sys.argv[1])
curves = fit(runs, text_prefix(clip, prompts, 9), clip.encode_text(prompts), made, folder / "checkpoint.safetensors", each_epoch)
told = {"curves": curves, "asked": asked, "tokens": [[p.tolist() for p in r.model.parameters()] for r in runs]}
(folder / f"rank{made.global_rank}.json").write_text(json.dumps(told))
"""
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture
def environment() -> dict[str, str]:
    """Of a fresh process: nothing of a torchrun, one thread, the package and the tests to be imported."""
    kept = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_WORLD_SIZE")}
    return kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}


def trained(tmp_path: Path, environment: dict[str, str], *launch: str, block: int = 1) -> list[dict]:
    program = tmp_path / "program.py"
    program.write_text(TRAINING)
    folder = tmp_path / "-".join(["out", *(a for a in launch if a.startswith("--"))])
    folder.mkdir()
    command = [sys.executable, *launch, str(program), str(folder), str(block)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [p.name for p in folder.glob("*.safetensors")] == ["checkpoint.safetensors"]
    return [json.loads(p.read_text()) for p in sorted(folder.glob("rank*.json"))]


def test_two_processes_train_like_one(tmp_path: Path, environment: dict[str, str]) -> None:
    """Three pictures a batch: shares of two thirds and one third. Two runs in the stack, with other weights of the losses."""
    (alone,) = trained(tmp_path, environment, block=6)
    first, second = trained(tmp_path, environment, *TORCHRUN)
    assert first["curves"] == second["curves"]
    assert first["tokens"] == second["tokens"]
    assert (first["asked"], second["asked"]) == ([0, 0, 0], [])
    for ours, theirs in zip(alone["curves"], first["curves"], strict=True):
        for row, other in zip(ours, theirs, strict=True):
            assert (row.pop("asked"), other.pop("asked")) == (1.0, 2.0)
            assert row == pytest.approx(other, rel=1e-5, abs=1e-6)
    assert alone["curves"][0][-1]["cross_entropy"] != pytest.approx(alone["curves"][0][0]["cross_entropy"], rel=0.01)


def test_one_process_joins_nobody() -> None:
    assert fabric("2 x cpu", "32-true").world_size == 1  # as in Jupyter


@pytest.mark.parametrize(
    ("device", "processes", "cards"), [("auto", 1, 0), ("cpu", 1, 0), ("cuda", 1, 1), ("2 x cpu", 2, 0), ("4 x cuda", 4, 4)]
)
def test_devices(tmp_path: Path, device: str, processes: int, cards: int) -> None:
    path = tmp_path / "p.yaml"
    path.write_text((ROOT / "params/quick/05_training.yaml").read_text().replace("device: cpu", f"device: {device}"))
    loaded = params.load_params("05_training", path)
    assert params.processes(loaded.device) == workers(path) == processes  # type: ignore[attr-defined]
    assert gpus(path) == cards


def test_the_runner_starts_a_notebook_per_process_and_keeps_one(tmp_path: Path, environment: dict[str, str]) -> None:
    """A notebook that only counts who takes part; then one that refuses its input in both."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "params").mkdir()
    values = params.plain(params.load_params("05_training", ROOT / "params/quick/05_training.yaml"))
    text = '# %% tags=["parameters"]\n' + "".join(f"{key} = {value!r}\n" for key, value in values.items())
    notebook = tmp_path / "notebooks" / "05_training.py"
    arguments = [str(notebook), str(ROOT / "params/quick/05_training.yaml"), "--out", str(tmp_path / "run"), "-p", "device=2 x cpu"]
    command = [sys.executable, "-m", "dearlib.runner", *arguments]

    def run(cell: str) -> tuple[int, str]:
        notebook.write_text(f"{text}\n# %%\nfrom dearlib.ranks import fabric\nmade = fabric(device, precision)\n{cell}\n")
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        return done.returncode, done.stderr

    count = "import torch\nprint('sum', int(made.all_reduce(torch.ones(1), reduce_op='sum')), 'rank', made.global_rank)"
    status, told = run(count)
    assert status == 0, told
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["notebook.ipynb"]
    assert "sum 2 rank 0" in (tmp_path / "run" / "notebook.ipynb").read_text()

    status, told = run("from dearlib.errors import InputError\nraise InputError('expected 9, got 13; lower it')")
    assert status == 2, told
    assert "05_training: expected 9, got 13; lower it" in told


def test_only_the_first_process_updates_the_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    updated: list[Path] = []
    monkeypatch.setattr(runner, "run", lambda *a: None)
    monkeypatch.setattr(runner, "update_pair", lambda notebook, executed: updated.append(notebook))
    arguments = ["notebooks/05_training.py", str(ROOT / "params/quick/05_training.yaml"), "--out", "x", "--update-pair"]
    for rank in ("0", "1"):
        monkeypatch.setattr(runner, "RANK", rank)
        assert runner.main(arguments) == 0
    assert len(updated) == 1
