"""A lesson opened alone, on a fresh clone: pictures that are missing are rendered, committed results stand in for runs.

Nothing here replaces what is there: a data set, a role file or a record that was made is the one that is read.
"""

from collections.abc import Sequence
from pathlib import Path

from dearlib.clip.loading import FrozenClip
from dearlib.datasets import entry
from dearlib.datasets.world import sets
from dearlib.datasets.world.writing import write_all
from dearlib.roles.rolefile import HeadRoles
from dearlib.study.plan import SOURCE, Plan
from dearlib.study.records import RunRecord, together

COMMITTED = Path("figures/mini/records")  # what the tables of the repository are drawn from


def pictures(root: Path, *names: str) -> None:
    """Renders those data sets of the Attribute World that do not lie under `root`, with a bar of progress; seconds each.

    Other data sets are left alone: whoever reads one that is missing is told so.
    """
    write_all(root, [n for n in names if n in sets.NAMES and not (root / entry(n).folder / entry(n).split_file).is_file()])


def role_file(path: Path, figures_root: Path, clip: FrozenClip | RunRecord) -> HeadRoles:
    """The role file at `path`; where none was made there, the committed one of the same name, if it belongs to this very model.

    Args:
        clip: the model, or a record of runs with it.

    Raises `InputError`: neither is there, or the file at `path` was made for another model.
    """
    if not path.is_file():
        for folder in (figures_root / "records", COMMITTED):
            if (folder / path.name).is_file():
                found = HeadRoles.load(folder / path.name)
                if (found.weights_sha256, found.identity) == (clip.weights_sha256, clip.identity):
                    return found
    return HeadRoles.load(path).for_weights(clip.weights_sha256).for_identity(clip.identity)


def there(plan: Plan, groups: Sequence[str]) -> tuple[list[RunRecord], list[str]]:
    """The records of some groups that are there, and what of them is missing, by group and data set.

    Raises `InputError` where those that are there may not stand together.
    """
    asked = [(g, d) for g in groups if g in plan.study.groups or SOURCE in plan.study.groups for d in plan.group(g).datasets]
    found = [RunRecord.load(plan.record(g, d)) for g, d in asked if plan.record(g, d).is_file()]
    return together(found), [f"{g} on {d}" for g, d in asked if not plan.record(g, d).is_file()]
