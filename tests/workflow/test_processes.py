"""Two processes that share each batch: the single process's curve and tokens, one record, one exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import shared_training
import torch

from dearlib.commands import main
from dearlib.params import reading
from dearlib.params.types import plain
from dearlib.workflow import runner
from dearlib.workflow.processes import fabric

ROOT = Path(__file__).parents[2]

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture
def environment() -> dict[str, str]:
    """Of a fresh process: nothing of a torchrun, one thread, the package and the tests to be imported."""
    kept = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID")}
    return kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}


def told(folder: Path) -> list[dict]:
    assert [p.name for p in folder.glob("*.safetensors")] == ["checkpoint.safetensors"]
    return [json.loads(p.read_text()) for p in sorted(folder.glob("rank*.json"))]


def test_two_processes_train_like_one(tmp_path: Path, environment: dict[str, str]) -> None:
    """Three pictures a batch: shares of two thirds and one third. Two runs in the stack, with other weights of the losses."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    shared_training.main(tmp_path / "one", block=6)
    (alone,) = told(tmp_path / "one")
    command = [sys.executable, *TORCHRUN, shared_training.__file__, str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = told(tmp_path / "two")
    assert first["curves"] == second["curves"]
    assert first["tokens"] == second["tokens"]
    assert (first["asked"], second["asked"]) == ([0, 0, 0], [])
    for ours, theirs in zip(alone["curves"], first["curves"], strict=True):
        for row, other in zip(ours, theirs, strict=True):
            assert (row.pop("asked"), other.pop("asked")) == (1.0, 2.0)
            assert row == pytest.approx(other, rel=1e-6)  # means are kept in single precision
    for mine, its in zip(alone["tokens"], first["tokens"], strict=True):
        for a, b in zip(mine, its, strict=True):
            torch.testing.assert_close(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64), rtol=1e-7, atol=1e-10)
    assert alone["curves"][0][-1]["cross_entropy"] != pytest.approx(alone["curves"][0][0]["cross_entropy"], rel=0.01)


def test_on_a_cpu_sums_are_added_in_one_order_whoever_starts_it() -> None:
    torch.set_num_threads(2)
    try:
        fabric("cpu", "32-true")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)


def test_one_process_joins_nobody() -> None:
    assert fabric("cpu", "32-true").world_size == 1  # as in Jupyter


@pytest.mark.parametrize("name", ["train", "bash", "interactive"])
def test_an_allocation_of_several_tasks_does_not_stop_one_process(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The variables of a batch job, of a login shell inside `salloc -n 4`, and of `srun --pty`."""
    told = {"NTASKS": 4, "NNODES": 2, "JOB_ID": 17, "JOB_NAME": name, "PROCID": 3, "LOCALID": 3, "NODEID": 1, "NODELIST": "n[1-2]"}
    for key, value in told.items():
        monkeypatch.setenv(f"SLURM_{key}", str(value))
    made = fabric("cpu", "32-true")
    assert (made.world_size, made.global_rank, made.is_global_zero) == (1, 0, True)


LEFT = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "1", "NODE_RANK": "1"}
LEFT |= {"MASTER_ADDR": "nowhere", "MASTER_PORT": "1", "OMPI_COMM_WORLD_RANK": "1", "PMI_RANK": "1", "PMI_SIZE": "4"}
ALONE = """
from dearlib.workflow.processes import RANK, fabric
made = fabric("cpu", "32-true")
print(RANK, made.world_size, made.global_rank, made.is_global_zero)
"""


def test_what_another_launcher_left_in_the_environment_makes_no_second_process(environment: dict[str, str]) -> None:
    """MPI's or a pod's variables: taken for torchrun's, process 1 would wait for the others, or run and write nothing."""
    command = [sys.executable, "-c", ALONE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment | LEFT, check=False, timeout=300)
    assert (done.returncode, done.stdout.split()) == (0, ["None", "1", "0", "True"]), done.stderr


def test_the_runner_starts_a_notebook_per_process_and_keeps_one(tmp_path: Path, environment: dict[str, str]) -> None:
    """A notebook that only counts who takes part."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "params").mkdir()
    values = plain(reading.load_params("05_training", ROOT / "params/quick/05_training.yaml"))
    text = '# %% tags=["parameters"]\n' + "".join(f"{key} = {value!r}\n" for key, value in values.items())
    notebook = tmp_path / "notebooks" / "05_training.py"
    arguments = [str(notebook), str(ROOT / "params/quick/05_training.yaml"), "--out", str(tmp_path / "run"), "-p", "processes=2"]
    command = [sys.executable, "-m", "dearlib.commands", "notebook", *arguments]

    count = "import torch\nprint('sum', int(made.all_reduce(torch.ones(1), reduce_op='sum')), 'rank', made.global_rank)"
    notebook.write_text(f"{text}\n# %%\nfrom dearlib.workflow.processes import fabric\nmade = fabric(device, precision)\n{count}\n")
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["notebook.ipynb"]
    assert "sum 2 rank 0" in (tmp_path / "run" / "notebook.ipynb").read_text()


def test_a_failure_in_one_of_several_processes_keeps_its_exit_status() -> None:
    assert runner.start(2, "json.tool", ["--help"]) == 0
    assert runner.start(2, "json.tool", ["--no-such-option"]) == 2


def test_only_the_first_process_updates_the_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    updated: list[Path] = []
    monkeypatch.setattr(runner, "run", lambda *a: None)
    monkeypatch.setattr(runner, "update_pair", lambda notebook, executed: updated.append(notebook))
    arguments = ["notebooks/05_training.py", str(ROOT / "params/quick/05_training.yaml"), "--out", "x", "--update-pair"]
    for rank in ("0", "1"):
        monkeypatch.setattr(runner, "RANK", rank)
        assert main(["notebook", *arguments]) == 0
    assert len(updated) == 1
