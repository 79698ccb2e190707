"""What speaks for the paper here and what against, in sentences that a stranger understands: `figures/<profile>/findings.md`.

A sentence asks one question of the claims table. Under which heading it stands, and which numbers it has, say the runs.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from dearlib.errors import InputError
from dearlib.study.inference import ESTIMANDS, EXCLUDED, FAILS, HOLDS, LEVEL, NOT_GIVEN, NOT_RUN, UNDECIDED, joint

FOR, AGAINST, OPEN = "For it", "Against it", "Not decided"
HERE = "Decided for these data sets alone, not for others like them"
MANY = 6  # comparisons: of more the two ends are told
HEADINGS = {HOLDS: FOR, FAILS: AGAINST, EXCLUDED: AGAINST, UNDECIDED: OPEN, NOT_GIVEN: OPEN}


@dataclass(frozen=True)
class Question:
    """What a stranger would ask, and the claim of `family` that answers it."""

    asked: str
    claim: str


QUESTIONS = (
    Question("DeAR is better on base and novel classes than each method of Table 2 that was run",
             "DeAR has the best harmonic mean of all methods (new state of the art)"),
    Question("Trained on one data set, DeAR's class feature serves others better than each other method does",
             "trained on the source, DeAR (class feature) transfers best of all methods"),
    Question("Trained on one data set, DeAR's class feature serves others better than zero-shot CLIP does",
             "DeAR (class feature) transfers better than zero-shot CLIP"),
    Question("DeAR's class feature is more robust to shifted pictures than the other methods but TAC",
             "DeAR is more robust to shifted pictures than the other methods but TAC"),
    Question("DeAR is better than the other methods, however many pictures a class they are given",
             "DeAR is better than the other methods at every number of shots"),
    Question("Shielding every head from the tokens costs accuracy on the classes that were trained on",
             "shielding every head costs base accuracy"),
    Question("Shielding every head is best for classes never seen", "shielding every head is best for novel classes"),
    Question("Letting every head listen to the tokens costs accuracy on classes never seen",
             "letting every head listen costs novel accuracy"),
    Question("Masks by role are better than both extremes", "role masks have the best harmonic mean of the three"),
    Question("The roles that were found are better than the same roles dealt out at random",
             "DeAR does better than role maps shuffled among the heads, anew for every data set and seed"),
    Question("Keeping close to frozen CLIP helps on classes never seen", "the regularisation helps novel classes"),
    Question("The fusion loss then helps", "the fusion loss then helps the harmonic mean"),
    Question("Five attribute tokens are better than one", "DeAR does better than one token in place of five"),
    Question("DeAR is better than a learned constant per class, which sees no picture",
             "DeAR does better than a learned constant per class"),
    Question("DeAR is better than a linear map of CLIP's image feature, which has no token at all",
             "DeAR does better than a learned linear map of the class feature"),
    Question("What its tokens say of a picture matters: a constant in its place is worse",
             "DeAR does better than each attribute score replaced by its mean over the pictures"),
    Question("Keeping each attribute's queries to its own heads is better than the mask as printed",
             "each attribute's queries kept to its own heads do better than Eq. 9 as printed"),
    Question("A token finds pictures of its own attribute better than the class feature does",
             "a token's feature finds pictures of its own attribute better than the class feature"),
    Question("With exclusive routing, a token finds pictures of its own attribute better than the class feature does",
             "with exclusive routing a token's feature finds pictures of its own attribute better than the class feature"),
    Question("Exclusive routing, tuned as long, is better than the mask as printed",
             "exclusive routing, tuned by as many trials, does better than Eq. 9 as printed"),
)  # fmt: skip


def findings(claims: pd.DataFrame) -> str:
    """Markdown: under each heading its sentences, with difference, 95 % interval and verdict; `claims`: `claims_table`.

    What is undecided for data sets like these may be decided for these very ones: then that is said, under a heading of its own.

    Raises `InputError` for a question that the table does not answer.
    """
    said: dict[str, list[str]] = {FOR: [], AGAINST: [], HERE: [], OPEN: []}
    for question in QUESTIONS:
        asked = claims[claims["claim"] == question.claim]
        like, here = (asked[asked["estimand"] == e] for e in ESTIMANDS)
        if like.empty:
            raise InputError(f"findings: expected the claim '{question.claim}', got none; correct the question or the family of claims")
        like, here = (rows[rows["verdict"] != NOT_RUN] for rows in (like, here))
        if len(like):
            heading = HEADINGS[joint(list(like["verdict"]))]
            alone = heading == OPEN and HEADINGS[joint(list(here["verdict"]))] != OPEN
            said[HERE if alone else heading].append(_sentence(question, here if alone else like))
    return "\n\n".join("\n".join([f"**{heading}**", "", *(f"- {s}" for s in own)]) for heading, own in said.items() if own) + "\n"


def _sentence(question: Question, rows: pd.DataFrame) -> str:
    """The question and its answer. Of several comparisons how often which verdict was given, and each; of many the two ends."""
    told = [_compared(row) for row in rows.itertuples()]
    if len(told) == 1:
        return f"*{question.asked}?* {told[0]}."
    counts = "; ".join(f"{n} of {len(told)}: {verdict}" for verdict, n in rows["verdict"].value_counts().items())
    if len(told) > MANY:
        told = [f"least: {told[rows['difference'].argmin()]}", f"most: {told[rows['difference'].argmax()]}"]
    return "\n".join([f"*{question.asked}?* {counts}.", *(f"    - {one}" for one in told)])


def _compared(row: Any) -> str:
    return f"{row.contrast}: {row.difference:+.2f} [{row.low:+.2f}, {row.high:+.2f}], {_said(row)}{_reported(row.effect)}"


def _said(row: Any) -> str:
    """The verdict; a claim may hold with less than is reported."""
    return f"{row.verdict}, by less than reported" if row.verdict == HOLDS and row.p_effect_holm < LEVEL else str(row.verdict)


def _reported(effect: float) -> str:
    return "" if pd.isna(effect) else f" (*reported* {effect:+.2f})"
