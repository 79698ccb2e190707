"""What this machine has for us, or as much of it as a scheduler's job may use: cores, memory, GPUs."""

import ctypes
import os

from dearlib.errors import InputError


def cores() -> int:
    """The cores that this process may use: its affinity, and where SLURM binds nobody to cores what it was promised."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    promised = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(free, max(1, int(promised))) if promised.isdigit() else free


def memory_gb() -> float:
    """All memory, in GB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def keep_freed_memory() -> None:
    """Has the GNU C library keep what this process frees for what it asks for next; another library is left alone.

    By itself it gives the widest states of an encoder back to the system and takes them again, layer by layer, page by page, which takes
    time. No result depends on it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, megabytes in ((-3, 32), (-1, 512)):  # M_MMAP_THRESHOLD, at its largest; M_TRIM_THRESHOLD
            mallopt(parameter, megabytes << 20)


def gpus() -> list[str]:
    """The GPUs that CUDA may see, by the names that CUDA_VISIBLE_DEVICES has for them."""
    import torch  # here, because it takes seconds to import

    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] if named else [str(number) for number in range(count)]


def device(told: str, precision: str = "32-true") -> str:
    """What "auto", "cpu", "cuda" or "mps" is here: "cuda", "mps" or "cpu". Auto is CUDA where there is one, else the CPU.

    Raises:
        InputError: this machine does not have it; or it does not have the precision: Fabric would take another, and no record would say so.
    """
    import torch  # here, because it takes seconds to import

    there = [kind for kind, has in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()), ("cpu", True)) if has]
    found = ("cuda" if "cuda" in there else "cpu") if told == "auto" else told  # Apple's GPUs only by name: never tried here
    if found not in there:
        raise InputError(f"device: expected what this machine has ({', '.join(there)}), got {told}; say `device: {there[0]}`, or auto")
    if precision == "16-mixed" and found == "cpu":
        raise InputError("precision: expected 32-true or bf16-mixed on a CPU, got 16-mixed, which it does not have; take one of those")
    return found
