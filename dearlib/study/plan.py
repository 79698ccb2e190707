"""The one place that knows what every table and figure is made of, and where records lie.

`params/<profile>/study.yaml` says which groups of runs there are; `MADE_OF` says which groups a table or figure needs. The
workflow, the notebooks and the data doctor all ask here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dearlib.datasets.catalogue import entry
from dearlib.errors import InputError
from dearlib.methods import catalogue, controls
from dearlib.params.study import Group, Study, read_study, row, rows_named
from dearlib.study.family import Design
from dearlib.study.records import RunRecord, together

TABLE2, ABLATIONS, SWEEPS, FEW_SHOT, SOURCE = "base_to_novel", "ablations", "sweeps", "few_shot", "source"
RETRIEVAL = "retrieval"  # made from the models of SOURCE


@dataclass(frozen=True)
class Made:
    """A table or figure: the notebook that draws it and the groups whose records it is drawn from."""

    notebook: str
    groups: tuple[str, ...] = ()


# A source → which of its shifts stand for ImageNet-A and ImageNet-R.
HARDEST = {"imagenet": ("imagenet_a", "imagenet_r"), "source": ("source_adversarial", "source_renditions")}

_ALL = (TABLE2, ABLATIONS, SWEEPS, FEW_SHOT, SOURCE, RETRIEVAL)
MADE_OF: dict[str, Made] = {
    "table1": Made("02_head_roles"),
    "table2": Made("06_base_to_novel", (TABLE2,)),
    "cost_methods": Made("06_base_to_novel", (TABLE2,)),
    "table3": Made("07_cross_dataset", (SOURCE,)),
    "table4": Made("08_domain_generalization", (SOURCE,)),
    "table5": Made("10_ablations", _ALL),
    "table5_controls": Made("10_ablations", _ALL),
    "table6": Made("10_ablations", _ALL),
    "claims": Made("10_ablations", _ALL),
    "figure1": Made("03_role_masks"),
    "figure2": Made("04_dear_model"),
    "figure3": Made("11_attribute_retrieval", (RETRIEVAL,)),
    "figure4": Made("09_few_shot", (FEW_SHOT,)),
    "audit": Made("12_paper_audit"),
    "gain": Made("15_what_carries_the_gain", (ABLATIONS,)),
}


@dataclass(frozen=True)
class Plan:
    """A profile's study: its groups, and where under `figures_root` their records lie."""

    study: Study
    records_root: Path

    def group(self, name: str) -> Group:
        """One group. Raises `InputError` for a name that the study does not have."""
        if name == RETRIEVAL:
            name = SOURCE
        if name not in self.study.groups:
            raise InputError(f"study: expected a group among {', '.join(self.study.groups)}, got {name}; correct the name or study.yaml")
        return self.study.groups[name]

    def record(self, group: str, dataset: str) -> Path:
        """Where the record of a group on a data set lies."""
        return self.records_root / f"{group}-{dataset}.json"

    def records(self, *groups: str) -> list[RunRecord]:
        """All records of some groups, if they may stand in one table."""
        return together([RunRecord.load(self.record(name, d)) for name in groups for d in self.group(name).datasets])

    @property
    def source(self) -> str:
        """The data set that the models of Tables 3 and 4 are trained on."""
        return self.group(SOURCE).datasets[0]

    @property
    def shifted(self) -> tuple[str, ...]:
        """Of the source's targets those that show its own classes otherwise (Table 4)."""
        return tuple(t for t in self.group(SOURCE).targets if entry(t).classes_of == self.source)

    @property
    def targets(self) -> tuple[str, ...]:
        """The source's other targets (Table 3)."""
        return tuple(t for t in self.group(SOURCE).targets if t not in self.shifted)

    def design(self, also: Sequence[str] = ()) -> Design:
        """The data sets behind each claim. `also`: methods of Table 2 here that the paper's does not have.

        Raises `InputError` if a run of few shots does not say how many.
        """
        hardest = HARDEST.get(self.source, ())
        runs = self.group(FEW_SHOT).runs
        if silent := [name for name, own in runs.items() if "shots" not in own]:
            raise InputError(f"study: {FEW_SHOT}: expected shots of every run, got none of {silent[0]}; correct study.yaml")
        return Design(
            halves=self.group(TABLE2).datasets,
            ablations=self.group(ABLATIONS).datasets,
            source=self.source,
            targets=self.targets,
            shifted=self.shifted,
            few_shot=self.group(FEW_SHOT).datasets,
            shots=tuple(sorted({int(run["shots"]) for run in runs.values()})),
            hardest=hardest if set(hardest) <= set(self.shifted) else (),
            also=tuple(also),
        )

    def datasets(self, *groups: str) -> list[str]:
        """Every data set that some groups train or test on, each once."""
        found: dict[str, None] = {}
        for name in groups:
            found |= dict.fromkeys((*self.group(name).datasets, *self.group(name).targets))
        return list(found)


def read_plan(profile: str, figures_root: Path) -> Plan:
    """The plan of a profile of `params/`."""
    return Plan(read_study(Path("params") / profile), figures_root / "records")


def rows_wanted(study: Study, names: Sequence[str]) -> list[str]:
    """The rows of the methods that a user names, and those of the controls: they stand beside DeAR's own runs, whoever else is wanted.

    Raises `InputError` for a name that no group has.
    """
    own = catalogue.names(controls)
    always = [row(name) for group in study.groups.values() for name, run in group.runs.items() if run.get("method") in own]
    return list(dict.fromkeys([*rows_named(study, names), *always]))
