"""The targets: every class family in three styles that pre-training never saw, by two rules.

*Which styles.* The styles lie in the order of `LOST`. Each family in turn takes the first three that leave in the
picture what its classes are about. What is taken goes to the end; what is passed over stays in front, for the next
family. So each of the twelve styles serves two of the eight families.

*How strongly.* A strength mixes the style with the pre-training style: 1 is the style alone. Each target has the
strongest of 0.1, 0.2 … 1 at which a frozen CLIP still names at least `LEAST` percent of the pictures right, among all
classes of the family. That CLIP is the first DeAR-Mini, with the weights `CALIBRATED_ON`: nothing is set on the weights
of a later one. `dearlib.mini.strengths` measured it once, on pictures that no data set holds, by halving the range that
is left; what it saw stands in strengths.csv. [ours]
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from dearlib.datasets.world.families import FAMILIES, about

# Style → the factors that it wipes out by construction: colour where it sees brightness alone, the place where it cuts
# the subject out, the pattern where it averages over a pattern's period.
LOST: dict[str, frozenset[str]] = {
    "lamp": frozenset(),
    "glass": frozenset({"texture"}),
    "fog": frozenset(),
    "chalk": frozenset({"location"}),
    "thermal": frozenset({"color"}),
    "scanlines": frozenset(),
    "night": frozenset(),
    "misprint": frozenset(),
    "halftone": frozenset(),
    "ripple": frozenset(),
    "static": frozenset(),
    "watercolor": frozenset(),
}
STYLES_EACH = 3
LEAST = 65.0
CALIBRATED_ON = "8aa6394da33cd7c283b0466e5ec23a2ae3a88e082995e6c17396b8450e31819b"  # SHA-256 of its weights


@dataclass(frozen=True)
class Target:
    """A class family in a style."""

    family: str
    style: str

    @property
    def name(self) -> str:
        return f"{self.family}_{self.style}"


def deal(wanted: Mapping[str, set[str]], lost: Mapping[str, frozenset[str]], each: int) -> list[Target]:
    """The first rule: `wanted` says what each family is about, `lost` what each style wipes out."""
    queue, dealt = list(lost), []
    for family, factors in wanted.items():
        taken = [style for style in queue if not lost[style] & factors][:each]
        queue = [style for style in queue if style not in taken] + taken
        dealt += [Target(family, style) for style in taken]
    return dealt


def strongest(zero_shot: Mapping[float, float], least: float) -> float:
    """The second rule: the greatest strength whose accuracy (percent) is at least `least`. Raises `ValueError` if there is none."""
    return max(strength for strength, accuracy in zero_shot.items() if accuracy >= least)


def measured() -> dict[str, dict[float, float]]:
    """Strength → zero-shot accuracy in percent, for each target as far as the search went."""
    text = (files("dearlib.datasets.world") / "strengths.csv").read_text(encoding="utf-8")
    found: dict[str, dict[float, float]] = {}
    for row in csv.DictReader(text.splitlines()):
        found.setdefault(row["target"], {})[float(row["strength"])] = float(row["zero_shot"])
    return found


TARGETS: dict[str, Target] = {t.name: t for t in deal({f: about(f) for f in FAMILIES}, LOST, STYLES_EACH)}
