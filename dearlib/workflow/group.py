"""One group of the study on one data set, from the command line or as a step of the workflow."""

import os
from collections.abc import Sequence
from pathlib import Path

from dearlib import machine
from dearlib.params.reading import load_params, repository, split_overrides
from dearlib.params.schemas import AttributeRetrieval
from dearlib.params.study import read_study, run_settings
from dearlib.params.yaml12 import parse
from dearlib.study.neighbours import find_neighbours
from dearlib.study.plan import RETRIEVAL, Plan, rows_wanted
from dearlib.study.run import run_group
from dearlib.workflow.processes import RANK, fabric, start
from dearlib.workflow.room import take_gpus


def make_record(profile: str, group: str, dataset: str, overrides: Sequence[str], methods: Sequence[str] = ()) -> int:
    """Makes what is missing of the group's record and says where it lies; exit status 0.

    `methods`: of the methods beside DeAR these alone (`study.plan.rows_wanted`).

    With more than one of `processes` it starts these, as torchrun would, and waits for them.
    """
    os.chdir(repository(Path.cwd()))
    machine.keep_freed_memory()
    folder = Path("params") / profile
    plan = Plan(read_study(folder), Path())
    asked = plan.group(group)
    if methods:
        asked = asked.only(rows_wanted(plan.study, methods))
    given = {key: parse(text, f"-p {key}={text}") for key, text in split_overrides(overrides).items()}
    first = run_settings(folder, asked, next(iter(asked.runs)), dataset, given=given)
    if RANK is None:
        take_gpus(first.device, first.processes)
    if first.processes > 1 and RANK is None:
        more = [part for pair in overrides for part in ("-p", pair)] + [part for name in methods for part in ("--methods", name)]
        return start(first.processes, "dearlib.commands", ["run", profile, group, dataset, *more])
    device = fabric(first.device, first.precision)
    if group == RETRIEVAL:
        p = load_params("11_attribute_retrieval", folder / "11_attribute_retrieval.yaml")
        assert isinstance(p, AttributeRetrieval)
        record = find_neighbours(folder, asked, p, device, given)
        record.save(p.runs_root / f"{RETRIEVAL}-{dataset}" / "record.json")
    else:
        record = run_group(folder, group, asked, dataset, device, given)
    if RANK in (None, "0"):
        print(f"{first.runs_root}/{group}-{dataset}/record.json: {len(record.metrics)} numbers in {record.wall_seconds:.0f} s")
    return 0
