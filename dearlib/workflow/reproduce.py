"""`make reproduce`: Snakemake over the whole of one profile, then the table and where everything lies.

Takes up where a killed run stopped. A second run at the same time in the same folder is refused, and so is one beside
SLURM jobs that a killed run left behind.
"""

import argparse
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from dearlib.errors import InputError
from dearlib.params.reading import repository
from dearlib.workflow.inputs import check_data, check_models, datasets, load_profile
from dearlib.workflow.resources import load_resources


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dearlib.workflow.reproduce", description="Run a profile's notebooks and draw its table."
    )
    parser.add_argument("--profile", default="mini", help="folder of params/")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root, in place of the one that the parameter files name")
    parser.add_argument("--only", metavar="NAME", help="one table or figure, such as table5, and what it needs")
    parser.add_argument("--cores", type=int, default=2, help="notebooks at once on this machine; each computes with one thread")
    parser.add_argument("--executor", default="local", help="local, or a folder of profiles/: slurm makes each notebook a job")
    parser.add_argument("--dry-run", action="store_true", help="say what would run and why; run nothing")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write a report on what has run; run nothing")
    args = parser.parse_args(argv)
    try:
        data = _from(repository(Path.cwd()), args.data) if args.data else None
        os.chdir(repository(Path.cwd()))
        params = load_profile(args.profile)
        load_resources(Path("params") / args.profile / "resources.yaml")
        given = [f"profile={args.profile}", *([f"data={data}"] if data else [])]
        command = [*where(args.executor, args.cores), *([args.only] if args.only else []), "--config", *given]
        if args.dry_run:
            return snakemake(command, "--dry-run", "--quiet", "host")
        if args.report:
            return snakemake(command, "--report", str(args.report), "--quiet", "host")
        check_data(params, args.only, data)
        if datasets(params, args.only):  # the audit needs neither
            check_models(params)
        status = run(command)
    except InputError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 2
    print(summary(args.profile, status == 0, args.only))
    return status


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


def run(command: list[str]) -> int:
    """Runs what is missing or out of date; Snakemake's exit status.

    Clears the lock that a killed run left; our own lock says whether one is still running.
    """
    Path(".snakemake").mkdir(exist_ok=True)
    with open(".snakemake/reproduce.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("expected no other `make reproduce` in this folder, got one still running; wait for it or end it") from None
        if left := " ".join(left_jobs(Path.cwd())):
            raise InputError(f"expected no jobs of an earlier run, got SLURM jobs {left}; wait for them or `scancel {left}`")
        # Snakemake inherits our lock, so it is held as long as either lives.
        if any(Path(".snakemake/locks").glob("*.lock")):
            snakemake(command, "--unlock", "--quiet", "all", keep_open=lock.fileno())
        return snakemake(command, "--rerun-incomplete", "--keep-going", "--quiet", "host", "reason", keep_open=lock.fileno())


def snakemake(command: list[str], *options: str, keep_open: int | None = None) -> int:
    """Snakemake's exit status; its jobs find this environment's python first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = os.environ | {"PATH": path, "HF_HUB_OFFLINE": "1"}
    files = () if keep_open is None else (keep_open,)
    return subprocess.run([sys.executable, "-m", "snakemake", *command, *options], env=environment, pass_fds=files, check=False).returncode


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


if __name__ == "__main__":
    sys.exit(main())
