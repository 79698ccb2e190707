"""How long the steps of a run will take, before any of them has run.

Of a record that was made before, the record tells what its runs' steps took. Of others the plan tells how many pictures are trained
on, and the records that there are what a picture takes, method by method; where there is none, one constant.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from dearlib.datasets import classnames, entry, read_split
from dearlib.datasets.world import sets
from dearlib.datasets.world.families import CLASSES
from dearlib.errors import InputError
from dearlib.params.methods import MethodRun
from dearlib.params.schemas import Variant
from dearlib.params.study import Group, row, run_settings, trainings
from dearlib.study.plan import Plan
from dearlib.study.records import RunRecord
from dearlib.study.repeats import AGAIN
from dearlib.workflow.progress import record_of

START = 20.0  # seconds that any step takes: a program that starts, weights, pictures to test on [ours, measured on two cores]
PICTURE = 0.015  # seconds that a run of DeAR trains on a picture of the Attribute World [ours, likewise]
A_FEW = 10  # classes of a data set that is not there and of which nobody tells [ours]


@dataclass(frozen=True)
class Expected:
    """Seconds of steps by their messages. `guessed`: how many make a record while no record tells what a picture takes."""

    seconds: dict[str, float]
    guessed: int


def expected(messages: Iterable[str], folder: Path, plan: Plan, data: Path, rows: Sequence[str] = ()) -> Expected:
    """What steps will take.

    Args:
        messages: the steps', as the Snakefile words them. `folder`: of the profile's parameter files. `data`: where data sets lie.
        rows: of the methods beside DeAR these alone; none: all.
    """
    found, guessed = {}, 0
    known = _known(plan)
    for message in messages:
        found[message] = START
        if (named := record_of(message)) and named[0] in plan.study.groups:
            group = plan.study.groups[named[0]]
            settings = _settings(folder, group.only(rows) if rows else group, named[1])
            own = known.get(named)
            told = _told(own, settings) if own else None
            if told is None:
                rates = _rates(known.values(), settings)
                told = _planned(settings, _classes(named[1], data, group), rates)
                guessed += not rates
            found[message] += told
    return Expected(found, guessed)


def _known(plan: Plan) -> dict[tuple[str, str], RunRecord]:
    """Records beside the tables by group and data set: this profile's, else those of mini; of one made twice the slower making."""
    found: dict[tuple[str, str], RunRecord] = {}
    for folder in (Path("figures/mini/records"), plan.records_root):
        own: dict[tuple[str, str], RunRecord] = {}
        for path in sorted([*folder.glob("*-*.json"), *(folder / AGAIN).glob("*-*.json")]):
            with suppress(InputError):  # one that cannot be read is made anew by this very run
                record = RunRecord.load(path)
                before = own.setdefault((record.group, record.dataset), record)
                if record.wall_seconds > before.wall_seconds:
                    own[record.group, record.dataset] = record
        found |= own
    return found


def _settings(folder: Path, group: Group, dataset: str) -> dict[str, Variant | MethodRun]:
    return {run: run_settings(folder, group, run, dataset) for run in group.runs}


def _told(record: RunRecord, settings: Mapping[str, Variant | MethodRun]) -> float | None:
    """What making a record of this profile took, as far as these runs go; None if it does not have them on this CLIP."""
    if any(run not in record.runs or (record.profile, record.runs[run].get("clip")) != (p.profile, p.clip) for run, p in settings.items()):
        return None
    asked, every = (sum(record.costs[run].seconds for run in runs if run in record.costs) for runs in (settings, record.runs))
    return record.wall_seconds * (asked / every if every else 1.0)


def _rates(records: Iterable[RunRecord], settings: Mapping[str, Variant | MethodRun]) -> dict[str, float]:
    """Seconds of a training picture by row, of records on the same CLIP."""
    clip = next(iter(settings.values())).clip
    seconds: dict[str, float] = {}
    pictures: dict[str, int] = {}
    for record in records:
        for run, cost in record.costs.items():
            if cost.seconds_per_step is not None and record.runs[run].get("clip") == clip:
                seconds[cost.method] = seconds.get(cost.method, 0.0) + cost.seconds
                pictures[cost.method] = pictures.get(cost.method, 0) + cost.pictures
    return {method: total / pictures[method] for method, total in seconds.items() if pictures[method]}


def _planned(settings: Mapping[str, Variant | MethodRun], classes: int, rates: Mapping[str, float]) -> float:
    """Seconds by the plan: runs × seeds × classes × shots × epochs, a method's own pace where it is known."""
    usual = median(rates.values()) if rates else PICTURE
    each = {run: len(p.seeds) * classes * p.shots * _epochs(p) for run, p in settings.items()}
    return sum(each[run] * rates.get(row(run), usual) for run in trainings(settings))


def _epochs(p: Variant | MethodRun) -> int:
    if isinstance(p, Variant):
        return p.epochs
    from dearlib.methods import catalogue  # here, because the methods take seconds to import

    return catalogue.recipe(p.method, p.recipe).epochs


def _classes(dataset: str, data: Path, group: Group) -> int:
    """Classes that a group trains on: the published number, the world's, or that of the split file."""
    if sizes := entry(dataset).sizes:
        count = sizes[3]
    elif dataset in sets.SETS:
        count = len(CLASSES[sets.SETS[dataset].classes])
    else:
        try:
            count = len(classnames(read_split(data, dataset)))
        except InputError:
            count = A_FEW
    return (count + 1) // 2 if group.classes == "halves" else count
