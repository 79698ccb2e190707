"""How many steps have room at once, on which GPU each computes, how many threads decode pictures, what becomes of freed memory."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dearlib import machine
from dearlib.commands import main
from dearlib.errors import InputError
from dearlib.workflow import reproduce, room

ROOT = Path(__file__).parents[2]


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight cores, 100 GB, four GPUs, no scheduler; a folder with a profile of 3 GB a step, and temporary files of its own."""
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(machine, "memory_gb", lambda: 100.0)
    monkeypatch.setattr(machine, "gpus", lambda: ["0", "1", "2", "3"])
    monkeypatch.setattr(room.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    (tmp_path / "params" / "own").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    write(memory_gb=3.0, device="cpu", processes=1)
    return tmp_path


def write(**values: object) -> None:
    Path("params/own/profile.yaml").write_text(yaml.safe_dump(values))


@pytest.mark.parametrize(("each", "steps"), [(3.0, 8), (24.0, 4), (60, 1), (1000.0, 1)])
def test_as_many_steps_at_once_as_cores_and_memory_have_room_for(computer: Path, each: float, steps: int) -> None:
    write(memory_gb=each, device="cpu", processes=1)
    assert room.room("own") == steps


@pytest.mark.parametrize(("processes", "steps"), [(1, 4), (2, 2), (3, 1), (8, 1)])
def test_on_gpus_as_many_steps_as_there_are_gpus_for(computer: Path, processes: int, steps: int) -> None:
    """No step is started beside others on a GPU whose memory it may need for itself."""
    write(memory_gb=3.0, device="cuda", processes=processes)
    assert room.room("own") == steps


def test_what_a_step_takes_is_told_by_the_profile_or_by_the_one_that_it_extends(
    computer: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, steps in (("mini", 8), ("quick", 8), ("paper", 4)):
        with monkeypatch.context() as here:
            here.chdir(ROOT)
            assert room.room(name) == steps
    for wrong in ("much", 0, True, None):
        write(memory_gb=wrong, device="cpu")
        with pytest.raises(InputError, match=r"own/profile.yaml: memory_gb: expected a number of GB above 0, got .+; write"):
            room.room("own")


def test_a_run_on_this_machine_has_as_many_steps_at_once_as_its_profile_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And as many as the user says, if he says a number."""
    asked: list[str] = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(reproduce, "room", lambda profile: {"mini": 5}[profile])
    monkeypatch.setattr(reproduce, "_writable", lambda: None)
    monkeypatch.setattr(reproduce, "snakemake", lambda command, *_, **__: (asked.append(command[command.index("--cores") + 1]), 0)[1])
    assert main(["reproduce", "--plan", "--only", "audit"]) == 0
    assert main(["reproduce", "--plan", "--only", "audit", "--cores", "7"]) == 0
    assert asked == ["5", "7"]


def test_every_step_has_a_gpu_of_its_own_while_some_are_free(computer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lock is another open file, as of another process; the last step finds one free and needs two, so all stay in sight."""
    seen, held = [], []
    for processes in (1, 2, 2):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        held.append(room.take_gpus("cuda", processes))
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert seen == ["0", "1,2", ""]
    os.close(*held.pop(0))
    held.append(room.take_gpus("cuda", 1))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0", "a step that has ended leaves its own to the next"
    for lock in (*held[0], *held[-1]):
        os.close(lock)


@pytest.mark.parametrize(("device", "gpus", "job"), [("cpu", 4, None), ("cuda", 1, None), ("cuda", 0, None), ("cuda", 4, "17")])
def test_where_there_is_nothing_to_choose_nothing_is_taken(
    computer: Path, monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, job: str | None
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: [str(number) for number in range(gpus)])
    if job:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    assert room.take_gpus(device, 1) == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_gpus_that_are_hidden_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 7")
    assert machine.gpus() == ["5", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert machine.gpus() == ["0", "1"]


@pytest.mark.parametrize(("promised", "found"), [(None, 6), ("4", 4), ("16", 6), ("", 6)])
def test_cores_are_those_of_the_job(monkeypatch: pytest.MonkeyPatch, promised: str | None, found: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    if promised is not None:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", promised)
    assert machine.cores() == found


FREED = """
import resource, torch
from dearlib.clip.cut import frozen_features
from dearlib.clip.loading import random_clip
from dearlib.machine import keep_freed_memory
torch.set_num_threads(1)
keep_freed_memory()
clip, found = random_clip(), []
states = torch.randn(64, clip.patches + 1, clip.d_model)
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with torch.no_grad():
        frozen_features(clip.visual, states, 1)
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(found[3:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library is left alone")
def test_what_is_freed_serves_what_comes_next() -> None:
    """Pages that the system has to find for the fourth to sixth batch of pictures: a few, not those of the widest states of every layer."""
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10_000
