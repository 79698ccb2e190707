"""`make reproduce`: Snakemake over the whole of one profile, then the table and where everything lies.

Takes up where a killed run stopped. A second run at the same time in the same folder is refused.
"""

import argparse
import fcntl
import os
import subprocess
import sys
from pathlib import Path

from dearlib.errors import InputError
from dearlib.inputs import check_data, check_models, datasets, load_profile
from dearlib.params import repository


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dearlib.reproduce", description="Run a profile's notebooks and draw its table.")
    parser.add_argument("--profile", default="mini", help="folder of params/")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root, in place of the one that the parameter files name")
    parser.add_argument("--only", metavar="NAME", help="one table or figure, such as table5, and what it needs")
    parser.add_argument("--cores", type=int, default=2, help="notebooks at once; each computes with one thread")
    args = parser.parse_args(argv)
    try:
        data = _from(repository(Path.cwd()), args.data) if args.data else None
        os.chdir(repository(Path.cwd()))
        params = load_profile(args.profile)
        check_data(params, args.only, data)
        if datasets(params, args.only):  # the audit needs neither
            check_models(params)
        status = snakemake(args.profile, args.cores, args.only, data)
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


def snakemake(profile: str, cores: int, only: str | None = None, data: Path | None = None) -> int:
    """Snakemake's exit status; `only` is the name of a rule, `data` the data root in place of the parameter files'.

    Clears the lock that a killed run left; our own lock says whether one is still running.
    """
    Path(".snakemake").mkdir(exist_ok=True)
    with open(".snakemake/reproduce.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("expected no other `make reproduce` in this folder, got one still running; wait for it or end it") from None
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "HF_HUB_OFFLINE": "1",
        }
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            str(cores),
            "--config",
            f"profile={profile}",
            *([f"data={data}"] if data else []),
        ]

        def call(*options: str) -> int:
            # Snakemake inherits our lock, so it is held as long as either lives.
            return subprocess.run([*command, *options], env=environment, pass_fds=[lock.fileno()], check=False).returncode

        if any(Path(".snakemake/locks").glob("*.lock")):
            call("--unlock", "--quiet", "all")
        return call(*([only] if only else []), "--rerun-incomplete", "--keep-going", "--quiet", "host", "reason")


def summary(profile: str, complete: bool, only: str | None = None) -> str:
    """What a user reads last: failed notebooks if there are any, else the table; and where things are."""
    runs = Path("runs") / profile
    figures = Path("figures") / profile
    places = f"executed notebooks, roles and records: {runs}/\ntables and figures: {figures}/"
    if not complete:
        from dearlib.runner import failure  # here, because Jupyter takes seconds to import

        failed = "".join(f"FAILED {failure(path)}\n  read {path}\n" for path in sorted(runs.glob("*/failed.ipynb")))
        return f"\n{failed}Not complete. `make reproduce` goes on from here.\n{places}"
    shown = figures / f"{only or 'table2'}.md"
    table = f"{shown.read_text(encoding='utf-8')}\n" if shown.exists() else ""
    return f"\n{table}{places}"


if __name__ == "__main__":
    sys.exit(main())
