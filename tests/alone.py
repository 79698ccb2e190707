"""Every notebook by itself, first, in a fresh clone, as Jupyter runs it: python tests/alone.py [NOTEBOOK ...], or `make alone`.

Each gets a clone of what is committed and this environment's libraries, and is run from the clone's notebooks/ by nbconvert. It must pass,
and must leave every committed file as it is, but for what it times: that lies in figures/<hardware>/. What it took goes to
figures/<hardware>/alone.csv: seconds with the start of its kernel, and the peak memory of the largest of its processes. Exit status 1 if
one of them fails, with its last lines.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from dearlib.bench.command import hardware
from dearlib.files import write_text

ROOT = Path(__file__).parents[1]
PATHS = ("PYTHONPATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # set by who tests, not by who opens a notebook


def git(*words: str, at: Path = ROOT) -> str:
    return subprocess.run(["git", *words], cwd=at, capture_output=True, text=True, check=True).stdout


def alone(name: str, clone: Path) -> dict[str, object]:
    """One notebook in a clone of its own; raises RuntimeError with its last lines if it fails or changes a committed file."""
    git("clone", "--quiet", str(ROOT), str(clone))
    environment = {key: value for key, value in os.environ.items() if key not in PATHS} | {"PYTHONPATH": str(clone)}
    jupyter = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--ExecutePreprocessor.timeout=1200"]
    log = clone.with_suffix(".log")
    began = time.monotonic()
    with log.open("w") as told:
        run = subprocess.Popen(
            [*jupyter, f"{name}.ipynb", "--output-dir", str(clone.with_suffix(".out"))],
            cwd=clone / "notebooks",
            env=environment,
            stdout=told,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(run.pid, 0)
    seconds = time.monotonic() - began
    run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise RuntimeError(f"{name}: expected a run to the end, got status {run.returncode}\n{log.read_text()[-2000:]}")
    timed = f"figures/{hardware('cpu')}/"
    if changed := [path for path in git("diff", "--name-only", at=clone).splitlines() if not path.startswith(timed)]:
        raise RuntimeError(f"{name}: expected every committed file as it was, got changes of {', '.join(changed)}")
    return {"notebook": name, "seconds": round(seconds, 1), "peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2)}


def main(names: list[str]) -> int:
    rows, failed = [], False
    head = git("rev-parse", "--short", "HEAD").strip()
    machine = hardware("cpu")
    for name in names or sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows.append(alone(name, Path(folder) / "clone") | {"hardware": machine, "commit": head})
                print(f"{name}: {rows[-1]['seconds']} s, {rows[-1]['peak_gb']} GB", flush=True)
            except RuntimeError as error:
                failed = True
                print(error, file=sys.stderr, flush=True)
    if not names and not failed:
        write_text(ROOT / "figures" / machine / "alone.csv", pd.DataFrame(rows).to_csv(index=False))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
