"""How many steps of a profile run at once on this machine, and which GPU each of them has for itself."""

import fcntl
import os
import tempfile
from pathlib import Path

from dearlib import machine
from dearlib.errors import InputError
from dearlib.params.reading import MEMORY, PROFILE, merged


def room(profile: str) -> int:
    """How many steps of a profile this machine has cores and memory for, and GPUs where it computes on them; at least one."""
    path = Path("params") / profile / PROFILE
    told = merged(path, (MEMORY, "device", "processes"))
    each = told.get(MEMORY)
    if isinstance(each, bool) or not isinstance(each, int | float) or each <= 0:
        raise InputError(f"{path}: {MEMORY}: expected a number of GB above 0, got {each}; write what a step takes")
    found = min(machine.cores(), int(machine.memory_gb() // each))
    if told.get("device") == "cuda":
        found = min(found, len(machine.gpus()) // told.get("processes", 1))
    return max(1, found)


def take_gpus(device: str, processes: int) -> list[int]:
    """Of several GPUs shows CUDA only as many as this step has processes, which no other step of this user's on the machine has.

    By itself each would compute on the first. Where too few are free all stay in sight; a SLURM job has been given its own.
    Returns what stays open, and holds them, until this process ends.
    """
    names = machine.gpus() if device == "cuda" and "SLURM_JOB_ID" not in os.environ else []
    if len(names) <= processes:
        return []
    free: dict[str, int] = {}
    for name in names:
        lock = os.open(Path(tempfile.gettempdir()) / f"dearlib-{os.getuid()}-gpu-{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        free[name] = lock
        if len(free) == processes:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(free)
            return list(free.values())
    for lock in free.values():
        os.close(lock)
    return []
