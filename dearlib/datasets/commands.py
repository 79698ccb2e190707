"""What the commands about data sets print: a few-shot sample, and what of the public data sets is there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from dearlib.datasets import doctor
from dearlib.datasets.catalogue import PUBLIC, TABLES
from dearlib.datasets.fetch import fetch
from dearlib.datasets.generated import note
from dearlib.datasets.own import own_data_sets
from dearlib.datasets.samples import few_shot, half
from dearlib.datasets.splits import parse_split
from dearlib.errors import InputError

_CORRUPT_SHOWN = 20


def print_sample(split: Path, shots: int, seed: int, classes: Literal["base", "novel", "all"]) -> int:
    """Prints a few-shot sample: training paths as in the split file, one a line, in order; exit status 0."""
    sampled = few_shot(parse_split(split, Path(), split.name), shots, seed)
    for item in half(sampled, classes).train:
        print(item.path.as_posix())
    return 0


def print_reports(root: Path, needs: Sequence[str], open_all: bool, downloads: Sequence[str]) -> int:
    """Says which public data sets lie under `root` whole; exit status 0, or 1 if one that was asked for is not.

    Args:
        needs: only those of some tables. `open_all`: open every picture. `downloads`: fetched first.
    """
    if root == Path() or not root.is_dir():
        raise InputError(f"--data: expected a folder that holds data sets, got '{root}'; make it, or correct the path")
    unknown = [name for name in needs if name not in TABLES]
    if unknown:
        raise InputError(f"--needs: expected some of {', '.join(TABLES)}, got {unknown[0]}; correct the name")
    fetch(root, downloads)
    wanted = [name for name in PUBLIC if not needs or any(name in TABLES[table] for table in needs)]
    wanted += [] if needs else own_data_sets()
    found = 0
    for name in wanted:
        report = doctor.examine(root, name)
        if open_all:
            report = _opened(report)
        print(doctor.summary(report), flush=True)
        if open_all and report.state == "found":
            print("".join(f"    remark: {line}\n" for line in doctor.repeated(root, name)), end="", flush=True)
        found += report.state == "found"
    if said := note(root):
        print(f"{root}: generated input, compared with sizes of its own: {said}")
    print(f"{root}: {found} of {len(wanted)} data sets are whole" + (f", for {', '.join(needs)}" if needs else ""))
    return 0 if found == len(wanted) else 1


def _opened(report: doctor.Report) -> doctor.Report:
    """The report with a line for each image that does not open."""
    with tqdm(total=len(report.images), desc=report.dataset, unit="image", mininterval=1, disable=not report.images) as bar:
        faults = doctor.corrupt(report.images, bar.update)
    if not faults:
        return report
    more = [f"… and {len(faults) - _CORRUPT_SHOWN} more corrupt images"] if len(faults) > _CORRUPT_SHOWN else []
    return replace(report, state="incomplete", faults=(*report.faults, *faults[:_CORRUPT_SHOWN], *more))
