"""`make check`: a sample of a profile's committed records, made anew and held against what is committed.

Which ones says the commit, so each commit checks others and a rerun the same. Of a record with other methods' runs DeAR's own are made
anew and those of one other. On one small data set another rounding of the processor can turn a run, so of what is trained the sample's
mean is held; what is not trained is held number by number.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from dearlib.datasets.world import sets
from dearlib.datasets.world.writing import write_all
from dearlib.errors import InputError
from dearlib.files import alone
from dearlib.params.reading import repository
from dearlib.params.study import row
from dearlib.study.companion import others_of
from dearlib.study.records import RunRecord
from dearlib.study.repeats import side_by_side
from dearlib.study.tables import commit
from dearlib.workflow.compare import Tolerance, read_tolerance
from dearlib.workflow.inputs import ROLES, Profile, load_profile
from dearlib.workflow.processes import COMMANDS
from dearlib.workflow.progress import minutes as minutes_of
from dearlib.workflow.room import room


def check(profile: str, minutes: float, seed: str | None, cores: int) -> int:
    """Makes a sample of the records anew, below runs/<profile>/check; exit status 0 if they are within tolerance, 1 if not.

    Args:
        minutes: of work by the records' own times, on one core. `seed`: the commit if None.
    """
    os.chdir(repository(Path.cwd()))
    loaded = load_profile(profile)
    tolerance = read_tolerance(Path("params/mini/tolerance.yaml"))
    committed = [r for group in loaded.plan.study.groups for r in loaded.plan.records(group)]
    sampled = draw(committed, minutes * 60, seed or commit())
    at_once = cores or room(profile)
    folder = loaded.roles.runs_root / "check"
    with alone(folder, "`make check` of this profile"):
        for old in folder.iterdir():
            shutil.rmtree(old, ignore_errors=True)
        _prepare(loaded, sampled, at_once, folder / "figures")
        work = minutes_of(sum(r.wall_seconds for r in sampled))
        print(
            f"{len(sampled)} of {len(committed)} records, one other method of each, by their own times {work} of work, {at_once} at once",
            flush=True,
        )
        with ThreadPoolExecutor(at_once) as pool:
            fresh = list(pool.map(lambda r: remade(r, folder), sampled))
    held = pd.concat([held_against(old, new, tolerance) for old, new in zip(sampled, fresh, strict=True)], ignore_index=True)
    return report(held, tolerance)


def draw(records: Sequence[RunRecord], seconds: float, seed: str) -> list[RunRecord]:
    """Records, each with one other method at most, in an order that the seed deals: as many as their own times have room for.

    Where there is room for none, the shortest.
    """
    dealt = sorted(records, key=lambda r: (r.group, r.dataset))
    chance = random.Random(seed)
    chance.shuffle(dealt)
    dealt = [chance.choice(pieces(record)) for record in dealt]
    taken: list[RunRecord] = []
    for piece in dealt:
        if sum(p.wall_seconds for p in taken) + piece.wall_seconds <= seconds:
            taken.append(piece)
    return taken or [min(dealt, key=lambda p: p.wall_seconds)]


def pieces(record: RunRecord) -> list[RunRecord]:
    """The record with one of its other methods each, beside DeAR's own runs; itself where it has no others.

    A piece's time is the record's, shared out as the steps of its runs were, or evenly where these were not measured.
    """
    others = others_of([record])
    took = {run: cost.seconds for run, cost in record.costs.items()}
    if not took.keys() >= record.runs.keys() or not all(took.values()):
        took = dict.fromkeys(record.runs, 1.0)
    found = []
    for kept in others:
        gone = {name for name in others if name != kept}
        runs = {name: own for name, own in record.runs.items() if row(name) not in gone}
        share = sum(took[run] for run in runs) / sum(took.values())
        metrics = tuple(m for m in record.metrics if m.method not in gone)
        found.append(record.model_copy(update={"runs": runs, "metrics": metrics, "wall_seconds": record.wall_seconds * share}))
    return found or [record]


def _prepare(loaded: Profile, sampled: Sequence[RunRecord], processes: int, figures: Path) -> None:
    """The pictures that the sample needs, and the role file where there is none yet; what is drawn beside it goes to `figures`."""
    names = dict.fromkeys([loaded.roles.dataset, *(name for r in sampled for name in r.split_sha256)])
    write_all(loaded.roles.data_root, [name for name in names if name in sets.NAMES], processes)
    runs = loaded.roles.runs_root / ROLES
    if not (runs / "roles.json").is_file():
        source, values = f"notebooks/{ROLES}.py", f"params/{loaded.roles.profile}/{ROLES}.yaml"
        _call(["notebook", source, values, "--out", str(runs), "-p", f"figures_root={figures}"])


def remade(record: RunRecord, folder: Path) -> RunRecord:
    """The record made again, in a process of one thread, below `folder`."""
    named = [word for name in others_of([record]) for word in ("--methods", name)]
    _call(
        ["run", record.profile, record.group, record.dataset, *named, "-p", f"runs_root={folder}", "-p", f"cache_root={folder / 'cache'}"]
    )
    return RunRecord.load(folder / f"{record.group}-{record.dataset}" / "record.json")


def _call(arguments: list[str]) -> None:
    """A command of this program in a process of its own. Raises `InputError` with its last line if it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", COMMANDS, *arguments], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        raise InputError(f"check: expected `dearlib {' '.join(arguments[:4])}` to succeed, got status {done.returncode}: {last}")


def held_against(old: RunRecord, new: RunRecord, tolerance: Tolerance) -> pd.DataFrame:
    """Both records' numbers side by side. Raises `InputError` where they are not of the same runs on the same input."""
    both = side_by_side(old, new)
    both["tolerance"] = both["trained"].map({True: tolerance.trained_average, False: tolerance.zero_shot})
    return both


def report(held: pd.DataFrame, tolerance: Tolerance) -> int:
    """Says how far the numbers lie apart; 0 within tolerance, 1 not, or where one is missing."""
    held = held.assign(difference=held["fresh"] - held["committed"])
    for record, rows in held.groupby("record"):
        print(f"{record}: {len(rows)} numbers, largest difference {rows['difference'].abs().max():.2f}")
    plain, trained = held[~held["trained"]], held[held["trained"]]
    beyond = plain[~(plain["difference"].abs() <= tolerance.zero_shot)]
    for one in beyond.itertuples():
        print(f"beyond tolerance: {one.record}, {one.method} on {one.dataset}: {one.committed:.2f} committed, {one.fresh:.2f} fresh")
    means = trained.groupby("method")["difference"].mean()
    for method, mean in means.items():
        print(f"{method}: {mean:+.2f} on average over {int((trained['method'] == method).sum())} numbers")
    overall = trained["difference"].mean() if len(trained) else 0.0
    within = abs(overall) <= tolerance.trained_average  # false for NaN, too
    print(f"all that is trained: {overall:+.2f}, {'within' if within else 'beyond'} {tolerance.trained_average}")
    return 0 if within and beyond.empty else 1
