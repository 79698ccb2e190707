"""What is said while a run goes on: by hand, from what Snakemake says."""

import pytest

from dearlib.workflow.progress import Progress, kind, minutes, record_of, steps

PLANNED = """
[Thu Nov 26 11:47:23 2026]
Job 2: base_to_novel on digits
Job 3: base_to_novel on letters_ripple
Job 4: the record of base_to_novel on digits
Job 5: 06_base_to_novel: table2
"""
EXPECTED = {"base_to_novel on digits": 100.0, "base_to_novel on letters_ripple": 60.0, "06_base_to_novel: table2": 20.0}


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def followed(now: list[float]) -> Progress:
    assert steps(PLANNED) == list(EXPECTED)
    return Progress(EXPECTED, at_once=2, clock=lambda: now[0])


def test_the_expected_time_is_shared_by_the_steps_at_once_but_never_less_than_the_longest(followed: Progress, now: list[float]) -> None:
    assert followed.left() == 100
    assert Progress(EXPECTED, at_once=1, clock=lambda: now[0]).left() == 180
    assert Progress(dict.fromkeys("abcd", 60.0), at_once=2, clock=lambda: now[0]).left() == 120


def test_what_is_left_follows_the_pace_of_this_run(followed: Progress, now: list[float]) -> None:
    """One step three times as slow as expected, and the expectation counting as one step more: 300 + 80 over 100 + 80."""
    assert followed.heard("Job 2: base_to_novel on digits") is None
    assert followed.heard("[digits] epoch 3") is None
    now[0] = 300.0
    pace = (300 + 80) / (100 + 80)
    told = followed.heard("Finished jobid: 2 (Rule: run)")
    others = (300 + 60) / (100 + 60)  # of a kind of which nothing is done: as all steps, whose mean is 60
    assert told == f"1 of 3 steps, 5 min so far, about {minutes(max(pace * 60, (pace * 60 + others * 20) / 2))} to go"
    assert followed.heard("Job 4: the record of base_to_novel on digits") is None
    assert followed.heard("Finished jobid: 4 (Rule: publish)") is None
    followed.heard("Job 3: base_to_novel on letters_ripple")
    followed.heard("Finished jobid: 3 (Rule: run)")
    followed.heard("Job 5: 06_base_to_novel: table2")
    assert followed.heard("Finished jobid: 5 (Rule: base_to_novel)") == "3 of 3 steps, 5 min so far, done"


def test_a_step_that_goes_on_has_less_before_it(followed: Progress, now: list[float]) -> None:
    followed.heard("Job 2: base_to_novel on digits")
    now[0] = 70.0
    assert followed.left() == 60  # of the other record; of this one 30 are left
    now[0] = 700.0  # longer than it should: it does not give time back
    assert followed.left() == 60


def test_a_guess_that_is_far_off_is_right_after_some_steps(now: list[float]) -> None:
    """Forty records of 200 seconds that were taken for 20: after ten of them what is left is right to a tenth."""
    progress = Progress({f"ablations on a{i}": 20.0 for i in range(40)}, at_once=2, clock=lambda: now[0])
    for i in range(10):
        progress.heard(f"Job {i}: ablations on a{i}")
        now[0] += 200
        progress.heard(f"Finished jobid: {i} (Rule: run)")
    assert progress.left() == pytest.approx(30 * 200 / 2, rel=0.1)


def test_steps_of_one_kind_are_off_by_one_factor(now: list[float]) -> None:
    messages = ["Attribute World: digits", "02: what the heads do", "06_base_to_novel: table2", "sweeps on digits", "source on source"]
    assert [kind(m) for m in messages] == ["Attribute World", "notebook", "notebook", "sweeps", "source"]
    assert [record_of(m) for m in messages] == [None, None, None, ("sweeps", "digits"), ("source", "source")]


@pytest.mark.parametrize(("seconds", "said"), [(59, "59 s"), (61, "1 min"), (7000, "117 min"), (7200, "2.0 h")])
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert minutes(seconds) == said
