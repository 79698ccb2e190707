"""What this machine has for us, or as much of it as a scheduler's job may use: cores, memory, GPUs."""

import os


def cores() -> int:
    """The cores that this process may use: its affinity, and where SLURM binds nobody to cores what it was promised."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    promised = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(free, max(1, int(promised))) if promised.isdigit() else free


def memory_gb() -> float:
    """All memory, in GB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def gpus() -> list[str]:
    """The GPUs that CUDA may see, by the names that CUDA_VISIBLE_DEVICES has for them."""
    import torch  # here, because it takes seconds to import

    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] if named else [str(number) for number in range(count)]
