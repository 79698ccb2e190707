"""A sample of committed records made anew: which ones, and what is held."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from dearlib.commands import main
from dearlib.errors import InputError
from dearlib.files import alone
from dearlib.params.study import read_study, row
from dearlib.study.companion import others_of
from dearlib.study.plan import rows_wanted
from dearlib.study.records import Metric, RunCost, RunRecord
from dearlib.workflow import check
from dearlib.workflow.check import draw, held_against, pieces, report
from dearlib.workflow.compare import Tolerance
from dearlib.workflow.inputs import load_profile

ROOT = Path(__file__).parents[2]
TOLERANCE = Tolerance(roles=0.3, zero_shot=0.3, trained_average=1.0, claims=0.5)
METHODS = (("CLIP", None), ("DeAR", 1), ("DeAR", 2))


def record(group: str = "base_to_novel", dataset: str = "digits", seconds: float = 60.0, **changed: object) -> RunRecord:
    metrics = [Metric(dataset=dataset, split="base", part="test", method=m, seed=s, accuracy=60.0) for m, s in METHODS]
    values = {
        "profile": "mini",
        "group": group,
        "dataset": dataset,
        "runs": {"DeAR": {"beta": 0.7, "runs_root": "runs/mini"}},
        "parameters_sha256": "p",
        "weights_sha256": "w",
        "identity": "i",
        "roles_sha256": "r",
        "split_sha256": {dataset: "s"},
        "commit": "c",
        "versions": {},
        "hardware": {},
        "wall_seconds": seconds,
        "metrics": tuple(metrics),
        "last": {},
    }
    return RunRecord(**(values | changed))


def moved(old: RunRecord, *by: float) -> RunRecord:
    metrics = [m.model_copy(update={"accuracy": m.accuracy + d}) for m, d in zip(old.metrics, by, strict=True)]
    return old.model_copy(update={"metrics": tuple(metrics), "runs": {"DeAR": {"beta": 0.7, "runs_root": "runs/mini/check"}}})


def test_a_commit_draws_the_same_records_each_time_and_another_commit_others() -> None:
    every = [record("base_to_novel", f"d{i}", 100.0) for i in range(20)]
    taken = draw(every, 600.0, "a" * 40)
    assert len(taken) == 6
    assert taken == draw(every[::-1], 600.0, "a" * 40)
    assert {r.dataset for r in taken} != {r.dataset for r in draw(every, 600.0, "b" * 40)}
    assert len(draw(every, 0.0, "a")) == 1, "one at least"
    seen = {r.dataset for seed in range(40) for r in draw(every, 600.0, str(seed))}
    assert len(seen) == 20, "no record is out of reach"


def family() -> RunRecord:
    """DeAR, and two others of two shots each, of which CoOp took a quarter of MaPLe's time."""
    runs = {"DeAR": {"beta": 0.7}}
    runs |= {f"{m}, {k} shots": {"method": m.lower(), "shots": k} for m in ("CoOp", "MaPLe") for k in (1, 2)}
    seconds = {"DeAR": 3.0, "CoOp": 1.0, "MaPLe": 4.0}
    costs = {
        r: RunCost(method=r.split(",")[0], parameters=1, steps=10, pictures=1, seconds_per_step=seconds[r.split(",")[0]]) for r in runs
    }
    shape = {"dataset": "digits", "split": "all", "part": "test", "accuracy": 60.0}
    rows = [("CLIP", None), ("linear probe", 1), *((m, 1) for m in seconds)]
    metrics = tuple(Metric(method=m, seed=s, **shape) for m, s in rows)
    return record("few_shot", seconds=130.0).model_copy(update={"runs": runs, "costs": costs, "metrics": metrics})


def test_of_a_record_with_other_methods_one_is_made_anew_beside_dears_own() -> None:
    coop, maple = pieces(family())
    assert list(coop.runs) == ["DeAR", "CoOp, 1 shots", "CoOp, 2 shots"]
    assert [m.method for m in coop.metrics] == ["CLIP", "linear probe", "DeAR", "CoOp"]
    assert (coop.wall_seconds, maple.wall_seconds) == (50.0, 110.0)  # 3 + 2 · 1 and 3 + 2 · 4 of 13 parts
    assert pieces(record()) == [record()], "nothing to leave out"
    drawn = {list(p.runs)[-1] for seed in range(20) for p in draw([family()], 120.0, str(seed))}
    assert drawn == {"CoOp, 2 shots", "MaPLe, 2 shots"}
    unmeasured = family().model_copy(update={"costs": {}})
    assert [p.wall_seconds for p in pieces(unmeasured)] == pytest.approx([130 * 3 / 5] * 2)


@pytest.mark.parametrize("profile", ["mini", "quick", "paper"])
def test_a_piece_has_the_runs_that_its_command_makes(profile: str) -> None:
    """Those that `run --methods NAME` asks for: the controls stay, and are no other method."""
    study = read_study(ROOT / "params" / profile)
    whole = 0
    for name, group in study.groups.items():
        runs = {run: {k: v for k, v in settings.items() if k == "method"} for run, settings in group.runs.items()}
        made = record(name).model_copy(update={"runs": runs})
        for piece in pieces(made):
            others = others_of([piece])
            wanted = rows_wanted(study, others) if others else [row(run) for run in runs]
            own = [run for run, settings in runs.items() if "method" not in settings]
            assert list(piece.runs) == [run for run in runs if run in own or row(run) in wanted], name
            whole += not others
    assert whole, "the ablations' controls are made anew with it"


def test_the_piece_alone_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(check, "_call", asked.append)
    monkeypatch.setattr(RunRecord, "load", lambda path: family())
    for piece in (pieces(family())[1], record()):
        check.remade(piece, tmp_path)
    assert asked[0][:6] == ["run", "mini", "few_shot", "digits", "--methods", "MaPLe"]
    assert "--methods" not in asked[1]


def test_roles_that_a_check_has_to_find_are_drawn_beside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not into the committed figures, which another kind of processor draws alike to rounding alone."""
    monkeypatch.chdir(ROOT)
    loaded = load_profile("mini")
    elsewhere = loaded.roles.model_copy(update={"runs_root": tmp_path})
    loaded = replace(loaded, params=loaded.params | {check.ROLES: elsewhere})
    asked: list[list[str]] = []
    monkeypatch.setattr(check, "_call", asked.append)
    monkeypatch.setattr(check, "write_all", lambda *args: None)
    check._prepare(loaded, [], 1, tmp_path / "figures")
    assert [call[-2:] for call in asked] == [["-p", f"figures_root={tmp_path / 'figures'}"]]


@pytest.mark.parametrize(
    ("by", "status"),
    [
        ((0.0, 0.0, 0.0), 0),
        ((0.29, 9.0, -8.0), 0),  # a run that turned, and another the other way
        ((0.31, 0.0, 0.0), 1),  # zero-shot: nothing is trained
        ((-0.31, 0.0, 0.0), 1),
        ((0.0, 2.5, 0.0), 1),
        ((0.0, -1.5, -0.7), 1),
    ],
)
def test_zero_shot_is_held_number_by_number_and_what_is_trained_on_average(
    by: tuple[float, ...], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    old = record()
    assert report(held_against(old, moved(old, *by), TOLERANCE), TOLERANCE) == status
    assert "all that is trained" in capsys.readouterr().out


def test_a_number_that_is_missing_is_not_within_tolerance() -> None:
    old = record()
    held = held_against(old, moved(old, 0.0, 0.0, 0.0), TOLERANCE)
    for index in (0, 1):
        broken = held.copy()
        broken.loc[index, "fresh"] = float("nan")
        if index:
            broken = broken[broken.index != 2]
        assert report(pd.DataFrame(broken), TOLERANCE) == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"roles_sha256": "other"}, "roles_sha256"),
        ({"split_sha256": {"digits": "other"}}, "split_sha256"),
        ({"runs": {"DeAR": {"beta": 0.5}}}, "other beta"),
        ({"runs": {}}, "other beta"),
        ({"metrics": ()}, "metrics"),
    ],
)
def test_records_of_other_runs_or_input_are_refused(changed: dict[str, object], words: str) -> None:
    old = record()
    new = old.model_copy(update=changed)
    if words == "metrics":
        new, words = old.model_copy(update={"metrics": old.metrics[:2]}), "committed rows"
    with pytest.raises(InputError, match=words):
        held_against(old, new, TOLERANCE)


def test_two_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The second would delete what the first has made."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    shutil.copytree(ROOT / "figures" / "mini" / "records", tmp_path / "figures" / "mini" / "records")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "runs" / "mini" / "check" / "of-the-first"
    kept.mkdir(parents=True)
    with alone(Path("runs/mini/check"), "test"):
        assert main(["check"]) == 2
    assert "runs/mini/check: expected no other `make check` of this profile, got one still running" in capsys.readouterr().err
    assert kept.is_dir()
