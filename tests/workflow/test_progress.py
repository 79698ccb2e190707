"""What is said while a run goes on: by hand, from what Snakemake says."""

import pytest

from dearlib.workflow.progress import SHORT, Progress, minutes, steps

PLANNED = """
[Thu Nov 26 11:47:23 2026]
Job 2: base_to_novel on digits
Job 3: base_to_novel on letters_ripple
Job 4: the record of base_to_novel on digits
Job 5: 06_base_to_novel: table2
"""
KNOWN = {("base_to_novel", "digits"): 100.0, ("base_to_novel", "letters_ripple"): 60.0, ("source", "digits"): 9999.0}


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def followed(now: list[float]) -> Progress:
    return Progress(KNOWN, steps(PLANNED), at_once=2, clock=lambda: now[0])


def test_the_expected_time_is_that_of_the_records_over_the_steps_at_once(followed: Progress) -> None:
    assert followed.messages == ["base_to_novel on digits", "base_to_novel on letters_ripple", "06_base_to_novel: table2"]
    assert followed.expected() == (100 + 60 + SHORT) / 2


def test_what_is_left_follows_the_pace_of_this_run(followed: Progress, now: list[float]) -> None:
    assert followed.heard("Job 2: base_to_novel on digits") is None
    assert followed.heard("Job 3: base_to_novel on letters_ripple") is None
    assert followed.heard("[digits] epoch 3") is None
    now[0] = 300.0  # its record says 100: a machine of a third of the speed
    assert followed.heard("Finished jobid: 2 (Rule: run)") == f"1 of 3 steps, 5 min so far, about {minutes(3 * (60 + SHORT) / 2)} to go"
    assert followed.heard("Job 4: the record of base_to_novel on digits") is None
    assert followed.heard("Finished jobid: 4 (Rule: publish)") is None
    followed.heard("Finished jobid: 3 (Rule: run)")
    followed.heard("Job 5: 06_base_to_novel: table2")
    assert followed.heard("Finished jobid: 5 (Rule: base_to_novel)") == "3 of 3 steps, 5 min so far, done"


@pytest.mark.parametrize(("seconds", "said"), [(59, "59 s"), (61, "1 min"), (7000, "117 min"), (7200, "2.0 h")])
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert minutes(seconds) == said
