"""What steps will take: from the records that there are, else from the plan, by hand."""

import json
import shutil
from pathlib import Path

import pytest

from dearlib.params.study import read_study, run_settings
from dearlib.study.plan import Plan
from dearlib.study.records import RunCost, RunRecord
from dearlib.study.repeats import AGAIN
from dearlib.workflow.expected import A_FEW, PICTURE, START, expected

ROOT = Path(__file__).parents[2]
STUDY = """
groups:
  halved:
    datasets: [letters_ripple, dtd]
    classes: halves
    settings: {shots: 4, epochs: 3, seeds: [1, 2]}
    others: {recipe: {epochs: 5}}
    runs:
      DeAR: {}
      mean: {attribute_scores: mean}
      CoOp: {method: coop}
      "MMRL, slow": {method: mmrl}
  away:
    datasets: [digits]
    classes: all
    runs:
      DeAR: {shots: 1, epochs: 2, seeds: [1]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile beside mini's, with a study of its own."""
    shutil.copytree(ROOT / "params" / "mini", tmp_path / "params" / "mini")
    folder = tmp_path / "params" / "own"
    folder.mkdir()
    (folder / "profile.yaml").write_text("extends: mini\nprofile: own\n")
    (folder / "study.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return folder


def plan(folder: Path) -> Plan:
    return Plan(read_study(folder), Path("figures/own/records"))


def seconds(folder: Path, *messages: str, rows: tuple[str, ...] = ()) -> dict[str, float]:
    return expected(messages, folder, plan(folder), Path("data"), rows).seconds


def record(
    folder: Path, *, profile: str = "own", wall: float, costs: dict[str, tuple[int, int, float | None]], clip: str = "DeAR-Mini", below=""
) -> None:
    """One of `halved` on letters_ripple; of each run steps, pictures and seconds a step."""
    group = read_study(folder).groups["halved"]
    runs = {run: {**json.loads(run_settings(folder, group, run, "dtd").model_dump_json()), "clip": clip} for run in group.runs}
    told = {
        run: RunCost(method=run.partition(",")[0], parameters=1, steps=n, pictures=k, seconds_per_step=s)
        for run, (n, k, s) in costs.items()
    }
    names = ("parameters_sha256", "weights_sha256", "identity", "roles_sha256", "commit")
    made = RunRecord(
        profile=profile, group="halved", dataset="letters_ripple", runs=runs, split_sha256={}, versions={}, hardware={}, wall_seconds=wall,
        metrics=(), last={}, costs=told, **dict.fromkeys(names, ""),
    )  # fmt: skip
    made.save(Path("figures") / profile / "records" / below / "halved-letters_ripple.json")


def test_without_a_record_the_plan_tells(folder: Path) -> None:
    """Runs × seeds × classes × shots × epochs; what is trained with another run is trained once."""
    found = expected(
        ["halved on letters_ripple", "halved on dtd", "away on digits", "02: what the heads do"], folder, plan(folder), Path("data")
    )
    pictures = 2 * 6 * 4 * (3 + 5 + 5)  # seeds, half of twelve letters, shots; epochs of DeAR, CoOp and MMRL
    assert found.seconds["halved on letters_ripple"] == pytest.approx(START + PICTURE * pictures)
    assert found.seconds["halved on dtd"] == pytest.approx(START + PICTURE * pictures * 24 / 6)  # 47 classes, published
    assert found.seconds["away on digits"] == pytest.approx(START + PICTURE * A_FEW * 1 * 2)
    assert found.seconds["02: what the heads do"] == START
    assert found.guessed == 3


def test_a_records_own_time_is_taken_and_the_share_of_the_rows_that_are_asked_for(folder: Path) -> None:
    record(folder, wall=300.0, costs={"DeAR": (10, 40, 5.0), "mean": (10, 40, 0.0), "CoOp": (30, 40, 1.0), "MMRL, slow": (20, 40, 1.0)})
    assert seconds(folder, "halved on letters_ripple") == {"halved on letters_ripple": START + 300}
    assert seconds(folder, "halved on letters_ripple", rows=("MMRL",)) == {"halved on letters_ripple": START + 300 * 70 / 100}


@pytest.mark.parametrize(("first", "second", "told"), [(300.0, 500.0, 500.0), (500.0, 300.0, 500.0)])
def test_of_a_record_made_twice_the_slower_making_tells(folder: Path, first: float, second: float, told: float) -> None:
    record(folder, wall=first, costs={})
    record(folder, wall=second, costs={}, below=AGAIN)
    assert seconds(folder, "halved on letters_ripple") == {"halved on letters_ripple": START + told}


def test_other_records_tell_what_a_picture_takes(folder: Path) -> None:
    """Method by method; one of which none tells is taken for the usual."""
    record(folder, profile="mini", wall=300.0, costs={"DeAR": (10, 40, 4.0), "CoOp": (10, 100, 2.0), "MMRL, slow": (10, 40, None)})
    each = {"DeAR": 1.0, "CoOp": 0.2}
    took = 2 * 6 * 4 * (3 * each["DeAR"] + 5 * each["CoOp"] + 5 * 0.6)
    assert seconds(folder, "halved on letters_ripple") == {"halved on letters_ripple": pytest.approx(START + took)}
    assert expected(["halved on dtd"], folder, plan(folder), Path("data")).guessed == 0


def test_records_on_another_clip_tell_nothing(folder: Path) -> None:
    record(folder, wall=300.0, costs={"DeAR": (10, 40, 5.0)}, clip="ViT-B-16-quickgelu/openai")
    assert expected(["halved on letters_ripple"], folder, plan(folder), Path("data")).guessed == 1


def test_a_record_that_cannot_be_read_tells_nothing(folder: Path) -> None:
    record(folder, wall=300.0, costs={})
    Path("figures/own/records/halved-letters_ripple.json").write_text("{")
    assert expected(["halved on letters_ripple"], folder, plan(folder), Path("data")).guessed == 1
