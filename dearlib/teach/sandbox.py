"""Where a submission runs: how its process is started, watched and ended.

Three degrees, the best that the machine allows:

- `namespaces`: Linux namespaces, as root or by user namespaces. A root folder of its own holds the system's programs, this
  Python and `dearlib`, read-only, and an empty folder to work in; no network; no other process in sight; another user
  (as root) or no privilege at all. When the first process ends, all end.
- `user`: root where namespaces are forbidden (most containers): another user and limits. Files that everybody may read,
  it may read.
- `none`: limits alone; only on the lecturer's word.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import psutil

Degree = Literal["namespaces", "user", "none"]

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


def start(degree: Degree, memory: int) -> subprocess.Popen[bytes]:
    """A fresh `dearlib.teach.worker` with pipes to it; `memory` in bytes."""
    processes = 0 if degree == "none" else MOST_PROCESSES  # the limit counts all processes of a user: not of the lecturer
    folder = Path(tempfile.mkdtemp(prefix="dear-grade-"))
    if degree == "user":
        os.chown(folder, NOBODY, NOBODY)
    package = Path(str(files("dearlib"))).resolve()
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp" if degree == "namespaces" else str(folder),
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
    if degree == "namespaces":
        command = [*_unshare(), "sh", "-c", _NEW_ROOT, "sh", str(folder), _drop(), *_folders(package)]
    else:
        drop = _drop().split() if degree == "user" else []
        command = [*drop, sys.executable, "-m", "dearlib.teach.worker", str(memory), str(processes)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    process.folder = folder  # type: ignore[attr-defined]
    return process


def stop(process: subprocess.Popen[bytes], degree: Degree) -> int:
    """Ends the process and all that it started; removes its folder. Returns its exit status."""
    for one in [*_descendants(process.pid), *(_of_user(NOBODY) if degree == "user" else [])]:
        _kill(one.pid)
    _kill(process.pid, group=True)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    status = process.wait()
    shutil.rmtree(process.folder, ignore_errors=True)  # type: ignore[attr-defined]
    return status


def memory_of(process: subprocess.Popen[bytes]) -> int:
    """Bytes that the process and its descendants hold for themselves, shared libraries not counted."""
    total = 0
    for one in _descendants(process.pid):
        try:
            taken = one.memory_info()
        except psutil.NoSuchProcess:
            continue
        total += taken.rss - taken.shared
    return total


@cache
def best() -> Degree:
    """The best degree this machine allows."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            trial = [
                *_unshare(),
                "sh",
                "-c",
                f'mount -t tmpfs tmpfs "{folder}" && mount -t proc proc "{folder}" && chroot / {_drop()} true',
            ]
            if subprocess.run(trial, capture_output=True, timeout=30).returncode == 0:
                return "namespaces"
    except (OSError, subprocess.TimeoutExpired):
        pass
    return "user" if os.name == "posix" and os.geteuid() == 0 and shutil.which("setpriv") else "none"


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


def _of_user(number: int) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["uids"]) if p.info["uids"] and p.info["uids"].real == number]


def _kill(pid: int, group: bool = False) -> None:
    try:
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
