"""Where a submission runs: how its process is started, watched and ended.

Kept `apart`, by Linux namespaces (as root, or by user namespaces), it has a root folder of its own with the system's programs,
this Python and `dearlib`, read-only, and an empty folder to work in; no network; no other process in sight; another user
(as root) or no privilege at all. When its first process ends, all end. Not apart, it has limits alone and is the
lecturer's own process: only on the lecturer's word.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil

NOBODY = 64321  # a user and group number that no system hands out
MOST_PROCESSES = 64  # threads count as well
_SCRATCH = "256m"  # what a submission may write to its folder altogether

# $1: the new root. $2: the command that drops privileges. The rest: folders of Python and of dearlib.
_NEW_ROOT = f"""
set -e
root=$1 drop=$2
shift 2
mount -t tmpfs -o size={_SCRATCH},mode=755 tmpfs "$root"
for path in /usr /bin /sbin /lib /lib32 /lib64 /etc/ld.so.cache /etc/passwd /etc/fonts /dev/null /dev/zero /dev/random /dev/urandom "$@"; do
  [ -e "$path" ] || continue
  mkdir -p "$root$(dirname "$path")"
  if [ -L "$path" ]; then cp -P "$path" "$root$path"; continue
  elif [ -d "$path" ]; then mkdir -p "$root$path"
  else touch "$root$path"; fi
  mount --rbind "$path" "$root$path"
  case $path in /dev/*) ;; *) mount -o remount,bind,ro "$root$path" 2>/dev/null || mount -o remount,bind,ro,nosuid,nodev "$root$path";; esac
done
mkdir -p "$root/proc" "$root/tmp" "$root/dev/shm"
chmod 1777 "$root/tmp" "$root/dev/shm"
mount -t proc proc "$root/proc"
cd "$root"
exec chroot . $drop sh -c 'cd /tmp && exec "$0" -m dearlib.teach.worker "$DEAR_MEMORY" "$DEAR_PROCESSES"' "$DEAR_PYTHON"
"""


def start(apart: bool, memory: int) -> subprocess.Popen[bytes]:
    """A fresh `dearlib.teach.worker` with pipes to it; `memory` in bytes. Raises `OSError` where the machine cannot keep it apart."""
    processes = MOST_PROCESSES if apart else 0  # the limit counts all processes of a user, and so those of the lecturer
    folder = Path(tempfile.mkdtemp(prefix="dear-grade-"))
    package = Path(str(files("dearlib"))).resolve()
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp" if apart else str(folder),
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
        "HF_HUB_OFFLINE": "1",
        "LC_ALL": "C.UTF-8",
        "USER": "student",
        "DEAR_PYTHON": sys.executable,
        "DEAR_MEMORY": str(memory),
        "DEAR_PROCESSES": str(processes),
    }
    command = [sys.executable, "-m", "dearlib.teach.worker", str(memory), str(processes)]
    if apart:
        command = [*_unshare(), "sh", "-c", _NEW_ROOT, "sh", str(folder), _drop(), *_folders(package)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, **pipes)
    except OSError:
        folder.rmdir()
        raise
    os.set_blocking(process.stdin.fileno(), False)  # type: ignore[union-attr]  # who does not read must not hold the grader up
    process.folder = folder  # type: ignore[attr-defined]
    return process


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ends the process and all that it started; removes its folder. Returns its exit status."""
    for one in _descendants(process.pid):
        _kill(one.pid)
    _kill(process.pid, group=True)
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # what was never read
            pipe.close()  # type: ignore[union-attr]
    status = process.wait()
    shutil.rmtree(process.folder, ignore_errors=True)  # type: ignore[attr-defined]
    return status


def memory_of(process: subprocess.Popen[bytes]) -> int:
    """Bytes that the process and its descendants hold; what several of them share is counted once."""
    total = 0
    for one in _descendants(process.pid):
        with suppress(psutil.NoSuchProcess):
            taken = one.memory_full_info()
            total += getattr(taken, "pss", taken.uss)
    return total


def _unshare() -> list[str]:
    own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *own_user, "--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child"]


def _drop() -> str:
    """The command that gives privileges up for good: as root another user, in a user namespace every capability."""
    other = f"--reuid={NOBODY} --regid={NOBODY} --clear-groups " if os.geteuid() == 0 else ""
    return f"setpriv {other}--no-new-privs --inh-caps=-all --bounding-set=-all"


def _folders(package: Path) -> list[str]:
    """Where this Python and its packages live, and `dearlib` alone of the folder it lies in."""
    python = Path(sys.executable).resolve().parents[1]
    candidates = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), python, Path(sys.prefix), Path(sys.base_prefix)}
    return [*sorted(str(path) for path in candidates if not path.is_relative_to("/usr")), str(package)]


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _kill(pid: int, group: bool = False) -> None:
    with suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)
