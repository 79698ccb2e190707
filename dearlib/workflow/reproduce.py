"""`make reproduce`: Snakemake over the whole of one profile, then the table and where everything lies.

Takes up where a killed run stopped. A second run at the same time in the same folder is refused, and so is one beside
SLURM jobs that a killed run left behind.
"""

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from dearlib import machine
from dearlib.errors import InputError
from dearlib.params.reading import PROFILE, merged, repository
from dearlib.params.yaml12 import read_yaml
from dearlib.study.plan import rows_wanted
from dearlib.workflow.expected import Expected, expected
from dearlib.workflow.inputs import check_data, check_methods, check_models, load_profile
from dearlib.workflow.progress import Progress, minutes, steps
from dearlib.workflow.room import room


def reproduce(
    profile: str,
    only: str | None,
    data: Path | None,
    cores: int,
    executor: str,
    plan: bool,
    report: Path | None,
    methods: Sequence[str] = (),
) -> int:
    """Runs what is missing or out of date of a profile, or of one table or figure; Snakemake's exit status.

    Args:
        cores: steps at once on this machine, 0 for as many as it has room for. `executor`: 'local', or a folder of profiles/.
        plan: only say what would run. `report`: only write an HTML report on what has run.
        methods: of the methods beside DeAR these rows alone, and the controls'.
    """
    root = _from(repository(Path.cwd()), data) if data else None
    os.chdir(repository(Path.cwd()))
    loaded = load_profile(profile)
    wanted = loaded.datasets(only)
    check_methods(loaded)
    rows = rows_wanted(loaded.plan.study, methods) if methods else []
    given = [f"profile={profile}", *([f"data={root}"] if root else []), *([f"methods={','.join(methods)}"] if methods else [])]
    most, shared = room(profile), merged(Path("params") / profile / PROFILE, ("roles", "device", "precision"))
    roles = Path(shared["roles"])
    place = where(executor, cores or most)
    command = [*place, *([only] if only else []), "--config", *given]
    if not (plan or report):
        check_data(loaded, only, root)
        if wanted:  # the audit needs neither
            check_models(loaded)
        if wanted and executor == "local":  # the machines of a cluster are others than this one
            machine.device(shared["device"], shared.get("precision", "32-true"))
    _writable()
    if plan:
        return snakemake(command, "--dry-run", "--quiet", "host")
    if report:
        return snakemake(command, "--report", str(report), "--quiet", "host")
    status = run(
        command,
        jobs(executor, cores or most),
        partial(expected, folder=Path("params") / profile, plan=loaded.plan, data=root or loaded.roles.data_root, rows=rows),
        [str(roles), *place, "--config", *given] if wanted and roles.is_file() else None,
    )
    print(summary(profile, status == 0, only))
    return status


LOCK = ".snakemake/reproduce.lock"


def _writable() -> None:
    """Raises `InputError` in a checkout that nothing can be written to: Snakemake keeps its notes there, even to say a plan."""
    try:
        Path(".snakemake").mkdir(exist_ok=True)
        Path(LOCK).touch()
    except OSError as error:
        raise InputError(f"expected a folder that can be written, got '{error.strerror}' for {Path.cwd()}; work in a copy of it") from None


def _from(repository: Path, data: Path) -> Path:
    """The data root as seen from the repository: relative if it lies there, so that records of it travel."""
    path = Path(os.path.abspath(data))
    if set("{}") & set(str(path)):  # Snakemake reads them as wildcards
        raise InputError(f"DATA: expected a path without braces, got '{path}'; use a link to it")
    return path.relative_to(repository) if path.is_relative_to(repository) else path


def where(executor: str, cores: int) -> list[str]:
    """Snakemake's options for running on this machine or by a profile folder; the profile itself says how many jobs at once."""
    if executor == "local":
        return ["--cores", str(cores)]
    folder = Path("profiles") / executor
    if not (folder / "config.yaml").is_file():
        raise InputError(f"--executor: expected local or a folder of profiles/, got {executor}")
    if importlib.util.find_spec(f"snakemake_executor_plugin_{executor}") is None:
        raise InputError(f"--executor {executor}: expected snakemake-executor-plugin-{executor}, got none; pip install 'dearlib[cluster]'")
    return ["--profile", str(folder)]


def jobs(executor: str, cores: int) -> int:
    """How many steps run at once: here `cores`, elsewhere what the profile folder says."""
    if executor == "local":
        return cores
    return int(read_yaml(Path("profiles") / executor / "config.yaml").get("jobs", 1))


def run(command: list[str], at_once: int, ahead: Callable[[list[str]], Expected], first: list[str] | None = None) -> int:
    """Runs what is missing or out of date; Snakemake's exit status. `ahead`: what steps of these messages will take.

    `first`: what is made before all else, by itself. Snakemake runs what reads an output again if both are made in one go; after it
    only if the output has changed. So a changed colour, for which the role map is drawn anew, has no run made anew.
    Clears the lock that a killed run left; our own lock says whether one is still running.
    """
    with open(LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("expected no other `make reproduce` in this folder, got one still running; wait for it or end it") from None
        if left := " ".join(left_jobs(Path.cwd())):
            raise InputError(f"expected no jobs of an earlier run, got SLURM jobs {left}; wait for them or `scancel {left}`")
        # Snakemake inherits our lock, so it is held as long as either lives.
        if any(Path(".snakemake/locks").glob("*.lock")):
            snakemake(command, "--unlock", "--quiet", "all", keep_open=lock.fileno())
        status = 0
        if first and steps(_planned([*first, *QUIET]).stdout):
            status = followed([*first, *ON, *QUIET], at_once, ahead, lock.fileno())
        status = status or followed([*command, *ON, *QUIET], at_once, ahead, lock.fileno())
    if status and shutil.disk_usage(Path.cwd()).free < LEAST_MB * 1e6:  # Snakemake's own notes are the first that do not fit
        raise InputError(f"expected free disk space, got a full disk under {Path.cwd()}; free some and run again")
    return status


LEAST_MB = 1.0
ON = ("--rerun-incomplete", "--keep-going")
QUIET = ("--quiet", "host", "reason")
# What Snakemake says of every step beside its message.
NOISE = re.compile(r"$|\[\w{3} \w{3} .*\]$|(Select|Execute|Finished|localrule|rule) |\d+ of \d+ steps|    (input|jobid|reason|resources): ")


def _planned(command: list[str]) -> subprocess.CompletedProcess[str]:
    """What Snakemake would run."""
    program = [*_program(command), "--dry-run"]
    return subprocess.run(program, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def followed(command: list[str], at_once: int, ahead: Callable[[list[str]], Expected], lock: int) -> int:
    """Runs Snakemake and says before, and after every step, how far it is."""
    planned = _planned(command)
    if planned.returncode:
        print(planned.stdout, file=sys.stderr)
        return planned.returncode
    told = ahead(steps(planned.stdout))
    progress = Progress(told.seconds, at_once)
    if told.seconds:
        unsure = f"; of {told.guessed} no record tells, so they are guessed from the plan until some are done" if told.guessed else ""
        print(f"{len(told.seconds)} steps, {at_once} at once: about {minutes(progress.left())}{unsure}", file=sys.stderr, flush=True)
    # By a file: at the end of a pipe Snakemake would stay for ever, and with it the lock, once this process is killed.
    said = Path(".snakemake/reproduce.log")
    with said.open("w") as to, subprocess.Popen(_program(command), env=_environment(), pass_fds=(lock,), stderr=to) as running:
        for line in _written(said, running):
            if not NOISE.match(line):
                print(line, end="", file=sys.stderr, flush=True)
            if now := progress.heard(line):
                print(f"== {now}", file=sys.stderr, flush=True)
    return running.returncode


def _written(path: Path, running: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines of a file as they are written, until the process that writes them has ended."""
    with path.open(encoding="utf-8", errors="replace") as file:
        line = ""
        while True:
            ended = running.poll() is not None  # asked first: what was written before the end is read after it
            while part := file.readline():
                line += part
                if line.endswith("\n"):
                    yield line
                    line = ""
            if ended:
                return
            time.sleep(0.2)


def snakemake(command: list[str], *options: str, keep_open: int | None = None) -> int:
    """Snakemake's exit status; its jobs find this environment's python first."""
    files = () if keep_open is None else (keep_open,)
    return subprocess.run(_program([*command, *options]), env=_environment(), pass_fds=files, check=False).returncode


def _program(options: list[str]) -> list[str]:
    """Snakemake, choosing jobs by a rule of its own: the solver that it would ask stumbles over a blank in TMPDIR."""
    return [sys.executable, "-m", "snakemake", "--scheduler", "greedy", *options]


def _environment() -> dict[str, str]:
    """This environment's programs first; no bars of progress, of which several at once are nothing to read.

    Snakemake keeps files where caches are kept, by default in a home folder, which need not be there or writable: in this folder
    instead. The weights that the user has in the cache of his home stay where they are. A Snakemake profile of the user's own would say
    how our steps run.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    own = {"PATH": path, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "XDG_CACHE_HOME": str(Path(".snakemake/cache").resolve())}
    theirs = {name: value for name, value in os.environ.items() if name != "SNAKEMAKE_PROFILE"}
    return {"HF_HOME": f"{home}/huggingface"} | theirs | own


def left_jobs(folder: Path) -> list[str]:
    """SLURM jobs of an earlier run in `folder` that wait or run: they outlive a killed Snakemake. None where there is no SLURM."""
    if shutil.which("squeue") is None:
        return []
    command = ["squeue", "--me", "--noheader", "--format=%i|%j|%Z"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    jobs = [line.split("|", 2) for line in told.splitlines()]
    return [number for number, name, directory in jobs if name.startswith("dearlib") and Path(directory).resolve() == folder.resolve()]


def summary(profile: str, complete: bool, only: str | None = None) -> str:
    """What a user reads last: failed notebooks if there are any, else the table; and where things are."""
    runs = Path("runs") / profile
    figures = Path("figures") / profile
    places = f"executed notebooks, roles and records: {runs}/\ntables and figures: {figures}/"
    if not complete:
        from dearlib.workflow.runner import failure  # here, because Jupyter takes seconds to import

        failed = "".join(f"FAILED {failure(path)}\n  read {path}\n" for path in sorted(runs.glob("**/failed.ipynb")))
        return f"\n{failed}Not complete. `make reproduce` goes on from here.\n{places}"
    shown = figures / f"{only or 'table2'}.md"
    table = f"{shown.read_text(encoding='utf-8')}\n" if shown.exists() else ""
    return f"\n{table}{places}"
