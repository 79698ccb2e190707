"""The claims that runs can decide, as data: which difference is positive if one holds, on which data sets, how large it is reported.

Everything about the claims stands here and nowhere else. A claim is *stated* (the paper says it in words), *tabulated*
(only its tables show it) or *ours* (it asks something that the paper does not). Sizes are read from the reported tables
and prose; each stands in the direction in which the paper has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from dearlib.errors import InputError
from dearlib.study.contrasts import Contrast, Measure

Origin = Literal["stated", "tabulated", "ours"]
DEAR, CLASS_FEATURE = "DeAR", "DeAR (class feature)"
MASKS = "role masks"  # DeAR among the ablations, which may train shorter than Table 2's runs
CONTROLS = {  # method of the ablations → what DeAR is ahead of, if its design is what carries the gain
    "class bias": "a learned constant per class",
    "class linear map": "a learned linear map of the class feature",
    "P_attr alone": "its attribute projection with frozen tokens",
    "one token": "one token in place of five",
    "mean s_a": "each attribute score replaced by its mean over the pictures",
    "shuffled roles": "role maps shuffled among the heads, anew for every data set and seed",
    "roles by loss": "roles read from what the model loses without a head",
}
EXCLUSIVE = "exclusive routing"  # among the ablations, with DeAR's own settings
TUNED_EXCLUSIVE = "DeAR exclusive"  # in Table 2 and on the source, with as many trials of its own


@dataclass(frozen=True)
class Expected:
    """A difference that is positive if the claim holds; `effect` is its reported size in points (NaN: none), `source` where that stands."""

    contrast: Contrast
    effect: float = float("nan")
    source: str = ""

    @property
    def methods(self) -> frozenset[str]:
        return frozenset((self.contrast.method, self.contrast.against))


@dataclass(frozen=True)
class Best:
    """A method that is best on more data sets than chance would make it; `effect` and chance in percent of the data sets."""

    method: str
    others: tuple[str, ...]
    measure: Literal["base", "novel", "own hm"]
    datasets: tuple[str, ...]
    effect: float = float("nan")
    source: str = ""

    @property
    def methods(self) -> frozenset[str]:
        return frozenset((self.method, *self.others))

    @property
    def chance(self) -> float:
        """Where all methods are alike, each is best on as many."""
        return 100 / (len(self.others) + 1)

    def __str__(self) -> str:
        return f"data sets on which {self.method} is best of {len(self.others) + 1}, HM (% above chance)"


@dataclass(frozen=True)
class Claim:
    """A claim and the differences that must all be positive for it to hold."""

    place: str
    origin: Origin
    statement: str
    expected: tuple[Expected | Best, ...]


@dataclass(frozen=True)
class Design:
    """The data sets behind each table and figure of a profile.

    `halves` Table 2; `ablations` Tables 5 and 6 and the controls; `targets` Table 3 and `shifted` Table 4, for models trained
    on `source`; `hardest`: which of `shifted` stand for ImageNet-A and ImageNet-R, in this order; `few_shot` Figure 4 with
    `shots` pictures a class; `factors` Figure 3. `rivals` of Figure 4: the text of the paper does not say whom it draws, so
    those of Tables 3 and 4 are taken [ours]. `also`: methods that are in none of the paper's tables.
    """

    halves: tuple[str, ...]
    ablations: tuple[str, ...]
    source: str
    targets: tuple[str, ...]
    shifted: tuple[str, ...]
    few_shot: tuple[str, ...]
    shots: tuple[int, ...]
    hardest: tuple[str, ...] = ()
    factors: tuple[str, ...] = ("color", "shape", "texture", "object", "location")
    rivals: tuple[str, ...] = ("CoOp", "MaPLe", "PromptSRC", "MMRL", "TAC")
    also: tuple[str, ...] = ()


def family(design: Design, tables: pd.DataFrame, prose: pd.DataFrame) -> tuple[Claim, ...]:
    """All claims. `tables` and `prose`: the paper's reported numbers and claims (`dearlib.paper.reported`)."""
    return (*_halves(design, tables, prose), *_transfer(design, tables), *_few_shot(design), *_ablations(design, tables), *_ours(design))


def reported_difference(tables: pd.DataFrame, table: int, metric: str, method: str, minus: str, dataset: str = "average") -> float:
    """One reported number minus another, in points."""
    rows = tables[(tables["table"] == table) & (tables["metric"] == metric) & (tables["dataset"] == dataset)]
    values = rows.set_index("method")["value"]
    if missing := {method, minus} - set(values.index):
        raise InputError(
            f"claims: expected {', '.join(sorted(missing))} in table {table}, {dataset}, {metric}, got none; correct the claim"
        )
    return round(float(values[method] - values[minus]), 2)  # reported numbers have two decimals


def _from(tables: pd.DataFrame, table: int, contrast: Contrast, dataset: str = "average") -> Expected:
    """With the size in a reported table, where all forms of DeAR are called DeAR."""
    method, minus = (DEAR if m in (CLASS_FEATURE, MASKS) else m for m in (contrast.method, contrast.against))
    metric = "accuracy" if table in (3, 4) else contrast.measure
    where = f"Table {table}" + ("" if dataset == "average" else f", {dataset}")
    return Expected(contrast, reported_difference(tables, table, metric, method, minus, dataset), where)


def _others(tables: pd.DataFrame, table: int) -> list[str]:
    return [m for m in tables[tables["table"] == table]["method"].unique() if m != DEAR]


def _halves(d: Design, tables: pd.DataFrame, prose: pd.DataFrame) -> tuple[Claim, ...]:
    others = _others(tables, 2)

    def ahead(measure: Measure, of: Sequence[str]) -> tuple[Expected, ...]:
        return tuple(_from(tables, 2, Contrast(DEAR, m, measure, datasets=d.halves)) for m in of)

    printed = prose.set_index("id")["printed"]["b2n-gain"]
    gain = Expected(Contrast(DEAR, "MMRL", "novel", datasets=d.halves), float(printed), "Section 4.1 (its Table 2 gives more)")
    own = tables[(tables["table"] == 2) & (tables["metric"] == "hm") & (tables["role"] == "target")]
    hm = own.pivot(index="dataset", columns="method", values="value")
    above = 100 * float((hm[DEAR] >= hm.max(axis=1)).mean()) - 100 / len(hm.columns)
    best = Best(DEAR, tuple(others), "own hm", d.halves, above, "Table 2, data sets")
    also = tuple(Expected(Contrast(DEAR, m, "hm", datasets=d.halves)) for m in d.also)
    return (
        Claim("Table 2", "stated", "DeAR has the best harmonic mean of all methods (new state of the art)", ahead("hm", others)),
        Claim("Table 2", "stated", "DeAR gains on novel classes over MMRL, the best before it", (gain,)),
        Claim("Table 2", "tabulated", "DeAR has the best base accuracy of all methods", ahead("base", others)),
        Claim("Table 2", "tabulated", "DeAR has the best novel accuracy of all methods (MMRL is the claim before)",
              ahead("novel", [m for m in others if m != "MMRL"])),
        Claim("Table 2", "tabulated", "DeAR is best on more data sets than one method in so many would be by chance", (best,)),
        *([Claim("Table 2", "ours", "DeAR has the better harmonic mean than methods that the table leaves out", also)] if also else []),
    )  # fmt: skip


def _transfer(d: Design, tables: pd.DataFrame) -> tuple[Claim, ...]:
    def there(method: str, against: str, datasets: tuple[str, ...]) -> Contrast:
        return Contrast(method, against, "all", d.source, datasets=datasets)

    unseen = tuple(_from(tables, 3, there(CLASS_FEATURE, m, d.targets)) for m in _others(tables, 3))
    weaker = [m for m in _others(tables, 4) if m != "TAC"]
    robust = tuple(_from(tables, 4, there(CLASS_FEATURE, m, d.shifted)) for m in weaker)
    tac = (_from(tables, 4, there("TAC", CLASS_FEATURE, d.shifted)),)
    hardest = tuple(
        _from(tables, 4, there(CLASS_FEATURE, m, (name,)), stands_for)
        for name, stands_for in zip(d.hardest, ("ImageNet-A", "ImageNet-R"), strict=False)
        for m in _others(tables, 4)
    )
    return (
        Claim("Table 3", "stated", "trained on the source, DeAR (class feature) transfers best of all methods", unseen),
        Claim("Table 3", "ours", "DeAR (class feature) transfers better than zero-shot CLIP",
              (Expected(there(CLASS_FEATURE, "CLIP", d.targets)),)),
        Claim("Table 3", "ours", "fusion weights learned on the source do not transfer: the class feature alone does better",
              (Expected(there(CLASS_FEATURE, DEAR, d.targets)),)),
        *([Claim("Table 4", "stated", "DeAR is best on the counterparts of ImageNet-A and -R", hardest)] if hardest else []),
        Claim("Table 4", "tabulated", "DeAR is more robust to shifted pictures than the other methods but TAC", robust),
        Claim("Table 4", "tabulated", "TAC is more robust to shifted pictures than DeAR", tac),
        Claim("Table 4", "ours", "DeAR is more robust to shifted pictures than zero-shot CLIP",
              (Expected(there(CLASS_FEATURE, "CLIP", d.shifted)),)),
    )  # fmt: skip


def _few_shot(d: Design) -> tuple[Claim, ...]:
    def ahead(of: Sequence[str]) -> tuple[Expected, ...]:
        return tuple(Expected(Contrast(DEAR, m, "all", shots=k, datasets=d.few_shot)) for m in of for k in d.shots)

    return (
        Claim("Figure 4", "stated", "DeAR is better than the other methods at every number of shots", ahead(d.rivals)),
        Claim("Figure 4", "ours", "DeAR is better than zero-shot CLIP at every number of shots", ahead(["CLIP"])),
        Claim("Figure 4", "ours", "DeAR is better than a linear probe at every number of shots", ahead(["linear probe"])),
    )


def _ablations(d: Design, tables: pd.DataFrame) -> tuple[Claim, ...]:
    def gap(table: int, method: str, against: str, measure: Measure) -> Expected:
        return _from(tables, table, Contrast(method, against, measure, datasets=d.ablations))

    shielded, open_ = "All-Generalization", "All-Mixed"
    return (
        Claim("Table 5", "stated", "shielding every head costs base accuracy",
              (gap(5, MASKS, shielded, "base"), gap(5, open_, shielded, "base"))),
        Claim("Table 5", "stated", "shielding every head is best for novel classes",
              (gap(5, shielded, MASKS, "novel"), gap(5, shielded, open_, "novel"))),
        Claim("Table 5", "stated", "letting every head listen is best for base classes (its table has DeAR ahead)",
              (gap(5, open_, MASKS, "base"),)),
        Claim("Table 5", "stated", "letting every head listen costs novel accuracy", (gap(5, MASKS, open_, "novel"),)),
        Claim("Table 5", "stated", "role masks have the best harmonic mean of the three",
              (gap(5, MASKS, shielded, "hm"), gap(5, MASKS, open_, "hm"))),
        Claim("Table 6", "stated", "the regularisation helps novel classes", (gap(6, "CE + reg", "CE", "novel"),)),
        Claim("Table 6", "stated", "the fusion loss then helps the harmonic mean", (gap(6, MASKS, "CE + reg", "hm"),)),
        Claim("Table 6", "tabulated", "the two losses together beat cross-entropy alone in harmonic mean", (gap(6, MASKS, "CE", "hm"),)),
    )  # fmt: skip


def _ours(d: Design) -> tuple[Claim, ...]:
    def hm(method: str, against: str) -> tuple[Expected, ...]:
        return (Expected(Contrast(method, against, "hm", datasets=d.ablations)),)

    def token(run: str) -> tuple[Expected, ...]:
        return (Expected(Contrast(f"own token{run}", f"class feature{run}", "all", datasets=d.factors)),)

    tuned = (Expected(Contrast(TUNED_EXCLUSIVE, DEAR, "hm", datasets=d.halves)),)
    finds = "a token's feature finds pictures of its own attribute better than the class feature"
    beside = tuple(Claim("controls", "ours", f"DeAR does better than {what}", hm(MASKS, name)) for name, what in CONTROLS.items())
    return (
        Claim("Figure 3", "ours", finds, token("")),
        Claim("Figure 3", "ours", f"with exclusive routing {finds}", token(f", {TUNED_EXCLUSIVE}")),
        *beside,
        Claim("controls", "ours", "each attribute's queries kept to its own heads do better than Eq. 9 as printed", hm(EXCLUSIVE, MASKS)),
        Claim("Table 2", "ours", "exclusive routing, tuned by as many trials, does better than Eq. 9 as printed", tuned),
    )
