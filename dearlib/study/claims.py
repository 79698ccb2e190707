"""The paper's claims as contrasts that runs can decide: what `figures/<profile>/claims.*` is made from.

Only claims about methods that are run here; those about other papers' methods are the audit's (notebook 12), which checks
them against the reported numbers.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from dearlib.errors import InputError
from dearlib.study.contrasts import Contrast, Difference, difference, paired, verdict

SHOTS = (1, 2, 4, 8, 16)
NOT_RUN = "not decided: needs pictures with known factors"
DEAR = "role masks"  # DeAR among the ablations, which train shorter than Table 2's runs


@dataclass(frozen=True)
class Claim:
    """A claim of the paper (or a question it leaves open), and the differences that are positive if it holds."""

    place: str
    statement: str
    contrasts: tuple[Contrast, ...]


def claims(source: str, targets: tuple[str, ...], shifted: tuple[str, ...], shots: Sequence[int] = SHOTS) -> tuple[Claim, ...]:
    """All claims; `source` is the data set that the transfer models are trained on, `targets` and `shifted` where they are tested.

    `shots`: the numbers of pictures a class that were trained with.
    """
    few = tuple(Contrast("DeAR", other, "all", shots=k) for other in ("CLIP", "linear probe") for k in shots)
    return (
        Claim("Table 2", "DeAR gains on base classes over zero-shot CLIP", (Contrast("DeAR", "CLIP", "base"),)),
        Claim("Table 2", "DeAR does not pay with novel classes: it gains there as well", (Contrast("DeAR", "CLIP", "novel"),)),
        Claim("Table 2", "DeAR has the better harmonic mean", (Contrast("DeAR", "CLIP", "hm"),)),
        Claim("Table 3", "trained on the source, DeAR transfers better than zero-shot CLIP (class feature)",
              (Contrast("DeAR (class feature)", "CLIP", "all", source, datasets=targets),)),
        Claim("Table 3", "fusion weights learned on the source may not transfer: the class feature alone does better",
              (Contrast("DeAR (class feature)", "DeAR", "all", source, datasets=targets),)),
        Claim("Table 4", "DeAR is more robust to shifted pictures than zero-shot CLIP (class feature)",
              (Contrast("DeAR (class feature)", "CLIP", "all", source, datasets=shifted),)),
        Claim("Figure 4", "DeAR is better at every number of shots, than zero-shot CLIP and than a linear probe", few),
        Claim("Table 5", "shielding every head costs base accuracy", (Contrast(DEAR, "All-Generalization", "base"),)),
        Claim("Table 5", "shielding every head is best for novel classes", (Contrast("All-Generalization", DEAR, "novel"),)),
        Claim("Table 5", "letting every head listen costs novel accuracy", (Contrast(DEAR, "All-Mixed", "novel"),)),
        Claim("Table 5", "role masks have the best harmonic mean of the three",
              (Contrast(DEAR, "All-Generalization", "hm"), Contrast(DEAR, "All-Mixed", "hm"))),
        Claim("not in the paper", "it is the roles: shuffled among the heads they do worse", (Contrast(DEAR, "shuffled roles", "hm"),)),
        Claim("not in the paper", "roles read from words do better than roles read from what the model loses",
              (Contrast(DEAR, "roles by loss", "hm"),)),
        Claim("Table 6", "the regularisation helps novel classes", (Contrast("CE + reg", "CE", "novel"),)),
        Claim("Table 6", "the fusion loss then helps the harmonic mean", (Contrast(DEAR, "CE + reg", "hm"),)),
        Claim("Figure 3", "an attribute token's feature finds pictures of its own attribute better than the class feature",
              (Contrast("own token", "class feature", "all"),)),
    )  # fmt: skip


def claims_table(
    metrics: pd.DataFrame,
    source: str,
    targets: tuple[str, ...],
    shifted: tuple[str, ...],
    shots: Sequence[int] = SHOTS,
    not_run: Collection[str] = (),
) -> pd.DataFrame:
    """A row per contrast: place, claim, contrast, difference with interval, counts, verdict on the whole claim.

    `not_run`: methods that need to know the pictures' factors and so were not asked for; claims about them stay open.
    Raises `InputError` naming the claim whose runs are missing.
    """
    rows = []
    for claim in claims(source, targets, shifted, shots):
        if any({c.method, c.against} & set(not_run) for c in claim.contrasts):
            found, said = [Difference(math.nan, math.nan, math.nan, 0, 0)] * len(claim.contrasts), NOT_RUN
        else:
            found, said = _decided(metrics, claim)
        for contrast, d in zip(claim.contrasts, found, strict=True):
            rows.append({"place": claim.place, "claim": claim.statement, "contrast": str(contrast), "difference": d.mean,
                         "low": d.low, "high": d.high, "datasets": d.datasets, "pairs": d.pairs, "verdict": said})  # fmt: skip
    return pd.DataFrame(rows)


def _decided(metrics: pd.DataFrame, claim: Claim) -> tuple[list[Difference], str]:
    try:
        found = [difference(paired(metrics, c)) for c in claim.contrasts]
    except InputError as error:
        raise InputError(f"claims: {claim.place}, '{claim.statement}': {error}") from None
    return found, verdict(found)


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """One row per claim, for reading: its contrasts joined."""

    def line(own: pd.DataFrame) -> str:
        if own["difference"].isna().all():
            return "–"
        return "; ".join(f"{r.contrast}: {r.difference:+.2f} [{r.low:+.2f}, {r.high:+.2f}]" for r in own.itertuples())

    groups: Sequence[tuple[tuple[str, str], pd.DataFrame]] = list(table.groupby(["place", "claim"], sort=False))
    return pd.DataFrame([{"Place": k[0], "Claim": k[1], "Points [95 %]": line(own), "Here": own["verdict"].iloc[0]} for k, own in groups])
