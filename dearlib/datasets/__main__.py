"""Commands about data sets.

`python -m dearlib.datasets sample SPLIT.json --shots K --seed S` prints a few-shot sample, as published.
`python -m dearlib.datasets doctor --data DIR` says which public data sets lie under DIR whole.
"""

import argparse
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from dearlib.datasets import doctor
from dearlib.datasets.catalogue import PUBLIC, TABLES
from dearlib.datasets.fetch import DOWNLOADS, fetch
from dearlib.datasets.generated import note
from dearlib.datasets.own import own_data_sets
from dearlib.datasets.samples import few_shot, half
from dearlib.datasets.splits import parse_split
from dearlib.errors import InputError

_CORRUPT_SHOWN = 20


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 1 if a data set that was asked for is not whole; 2, and one line, for a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m dearlib.datasets", description="Public data sets: samples, and what is there.")
    commands = parser.add_subparsers(dest="command", required=True)
    sample = commands.add_parser("sample", help="print a few-shot sample: training paths as in the split file, one a line, in order")
    sample.add_argument("split", type=Path, metavar="SPLIT.json")
    sample.add_argument("--shots", type=int, required=True, metavar="K", help="images a class")
    sample.add_argument("--seed", type=int, required=True, metavar="S", help="1, 2 and 3 are the community's")
    sample.add_argument("--classes", choices=("base", "novel", "all"), default="all", help="drawn from all, then kept")
    check = commands.add_parser("doctor", help="say what of the public data sets is found, incomplete or missing, and where to get it")
    check.add_argument("--data", required=True, metavar="DIR", help="the data root: one folder for each data set")
    check.add_argument(
        "--needs", nargs="+", choices=list(TABLES), metavar="TABLE", help=f"of {', '.join(TABLES)}; all data sets if left out"
    )
    check.add_argument(
        "--open", action="store_true", help="open every image to find corrupt ones, and those that train and test share; hours for ImageNet"
    )
    check.add_argument("--fetch", nargs="+", metavar="NAME", default=[], help=f"download first; of {', '.join(DOWNLOADS)}")
    given = parser.parse_args(arguments)
    try:
        return print_sample(given) if given.command == "sample" else print_reports(given)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def print_sample(given: argparse.Namespace) -> int:
    sampled = few_shot(parse_split(given.split, Path(), given.split.name), given.shots, given.seed)
    for item in half(sampled, given.classes).train:
        print(item.path.as_posix())
    return 0


def print_reports(given: argparse.Namespace) -> int:
    root = Path(given.data)
    if not given.data or not root.is_dir():
        raise InputError(f"--data: expected a folder that holds data sets, got '{given.data}'; make it, or correct the path")
    fetch(root, given.fetch)
    wanted = [name for name in PUBLIC if not given.needs or any(name in TABLES[table] for table in given.needs)]
    wanted += [] if given.needs else own_data_sets()
    found = 0
    for name in wanted:
        report = doctor.examine(root, name)
        if given.open:
            report = _opened(report)
        print(doctor.summary(report), flush=True)
        if given.open and report.state == "found":
            print("".join(f"    remark: {line}\n" for line in doctor.repeated(root, name)), end="", flush=True)
        found += report.state == "found"
    if said := note(root):
        print(f"{root}: generated input, compared with sizes of its own: {said}")
    print(f"{root}: {found} of {len(wanted)} data sets are whole" + (f", for {', '.join(given.needs)}" if given.needs else ""))
    return 0 if found == len(wanted) else 1


def _opened(report: doctor.Report) -> doctor.Report:
    """The report with a line for each image that does not open."""
    with tqdm(total=len(report.images), desc=report.dataset, unit="image", mininterval=1, disable=not report.images) as bar:
        faults = doctor.corrupt(report.images, bar.update)
    if not faults:
        return report
    more = [f"… and {len(faults) - _CORRUPT_SHOWN} more corrupt images"] if len(faults) > _CORRUPT_SHOWN else []
    return replace(report, state="incomplete", faults=(*report.faults, *faults[:_CORRUPT_SHOWN], *more))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends us quietly
    sys.exit(main())
