"""Every finding has a claim; under which heading it stands says the verdict, not the author."""

import pandas as pd
import pytest

from dearlib.errors import InputError
from dearlib.paper.reported import all_reported, reported_claims
from dearlib.study.claims import COLUMNS
from dearlib.study.family import Design, family
from dearlib.study.findings import AGAINST, FOR, HERE, OPEN, QUESTIONS, findings
from dearlib.study.inference import ESTIMANDS, EXCLUDED, FAILS, HOLDS, NOT_RUN, UNDECIDED


def table(verdict: str, **changes: object) -> pd.DataFrame:
    row = {
        "contrast": "a − b, HM",
        "difference": 1.25,
        "low": 0.5,
        "high": 2.0,
        "effect": float("nan"),
        "p_effect_holm": float("nan"),
        "verdict": verdict,
    } | changes
    rows = [{**dict.fromkeys(COLUMNS), "claim": q.claim, "estimand": e, **row} for q in QUESTIONS for e in ESTIMANDS]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_every_question_is_a_claim_of_the_family() -> None:
    design = Design(("a",), ("a",), "s", ("a",), ("b",), ("a",), (1,))
    stated = {claim.statement for claim in family(design, all_reported(), reported_claims())}
    assert {q.claim for q in QUESTIONS} <= stated


@pytest.mark.parametrize(("verdict", "heading"), [(HOLDS, FOR), (FAILS, AGAINST), (EXCLUDED, AGAINST), (UNDECIDED, OPEN)])
def test_the_verdict_is_the_heading(verdict: str, heading: str) -> None:
    text = findings(table(verdict, effect=0.73))
    assert [line for line in text.splitlines() if line.startswith("**")] == [f"**{heading}**"]
    assert text.count(f"a − b, HM: +1.25 [+0.50, +2.00], {verdict} (*reported* +0.73)") == len(QUESTIONS)


@pytest.mark.parametrize(("here", "heading"), [(HOLDS, HERE), (FAILS, HERE), (UNDECIDED, OPEN)])
def test_what_is_decided_for_these_data_sets_alone_stands_apart_with_its_own_numbers(here: str, heading: str) -> None:
    claims = table(UNDECIDED)
    claims.loc[claims["estimand"] == ESTIMANDS[1], ["verdict", "difference"]] = (here, 7.0)
    text = findings(claims)
    assert [line for line in text.splitlines() if line.startswith("**")] == [f"**{heading}**"]
    assert text.count(f"+7.00 [+0.50, +2.00], {here}") == (len(QUESTIONS) if heading == HERE else 0)


def test_a_claim_that_holds_by_less_than_reported_says_so() -> None:
    less, as_much = (findings(table(HOLDS, effect=4.0, p_effect_holm=p)) for p in (0.01, 0.2))
    assert less.count("holds, by less than reported (*reported* +4.00)") == len(QUESTIONS)
    assert "by less" not in as_much


def test_several_comparisons_are_counted_and_each_has_a_line() -> None:
    one = table(UNDECIDED).iloc[:2]
    rest = table(UNDECIDED).iloc[2:]
    three = [one.assign(contrast=f"DeAR − {m}, HM", verdict=v) for m, v in (("A", UNDECIDED), ("B", EXCLUDED), ("C", EXCLUDED))]
    lines = findings(pd.concat([*three, rest], ignore_index=True)).splitlines()
    at = lines.index(f"- *{QUESTIONS[0].asked}?* 2 of 3: {EXCLUDED}; 1 of 3: {UNDECIDED}.")
    assert [line[:18] for line in lines[at + 1 : at + 4]] == [f"    - DeAR − {m}, HM" for m in "ABC"]
    many = [one.assign(contrast=f"DeAR − {m}, HM", difference=float(d)) for m, d in zip("ABCDEFG", (3, 1, -4, 1, 5, 9, 2), strict=True)]
    lines = findings(pd.concat([*many, rest], ignore_index=True)).splitlines()
    at = lines.index(f"- *{QUESTIONS[0].asked}?* 7 of 7: {UNDECIDED}.")
    assert [line.partition(" [")[0] for line in lines[at + 1 : at + 3]] == [
        "    - least: DeAR − C, HM: -4.00", "    - most: DeAR − F, HM: +9.00"]  # fmt: skip
    assert lines[at + 3].startswith("- *")


def test_what_was_not_run_is_not_said() -> None:
    assert findings(table(NOT_RUN)).strip() == ""


def test_a_question_without_an_answer_is_one_line() -> None:
    claims = table(HOLDS)
    with pytest.raises(InputError, match="findings: expected the claim 'the fusion loss"):
        findings(claims[~claims.claim.str.startswith("the fusion loss")])
