"""The search for hyper-parameters: what it tries, how it ranks, what it refuses."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import small_study
from lightning_fabric import Fabric

from dearlib.clip import cache
from dearlib.clip.loading import load
from dearlib.datasets import few_shot, half, read_split
from dearlib.errors import InputError
from dearlib.methods import catalogue
from dearlib.methods.recipe import Recipe
from dearlib.params.methods import MethodRun
from dearlib.params.schemas import Variant
from dearlib.params.study import Group, dear_settings, read_study, run_settings
from dearlib.roles.controls import rethresholded, uniform_roles
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import fair, tuning
from dearlib.study.plan import TABLE2
from dearlib.study.tuning import Plan, read_plan, settings_of, summary

MINI = Path(__file__).parents[2] / "params" / "mini"


def start() -> Variant:
    return tuning.starting_point(MINI, read_plan(MINI / "tuning.yaml"))


def test_one_key_changes_at_a_time() -> None:
    plan = Plan(datasets=["objects"], seeds=[1], alternatives={"beta": [start().beta, 0.11, 0.22], "lambda_reg": [0.033]})
    tried = list(settings_of(start(), plan))
    assert tried[0] == start()
    assert [(p.beta, p.lambda_reg) for p in tried[1:]] == [
        (0.11, start().lambda_reg),
        (0.22, start().lambda_reg),
        (start().beta, 0.033),
    ]


def test_a_change_is_checked_as_a_parameter_file_is() -> None:
    plan = read_plan(MINI / "tuning.yaml")
    tried = list(settings_of(start(), plan))
    assert len(tried) == 1 + sum(map(len, plan.alternatives.values()))
    assert [p.thresholds for p in tried if p.thresholds] == [(0.3, 0.7), (0.6, 0.9)]  # YAML has lists
    with pytest.raises(InputError, match=r"tuning: alternatives\.beta: .*; correct the plan") as caught:
        list(settings_of(start(), plan.model_copy(update={"alternatives": {"beta": [2.0]}})))
    assert "\n" not in str(caught.value)


def test_the_best_setting_has_the_best_harmonic_mean_of_means() -> None:
    rows = pd.DataFrame(
        {"beta": [0.1, 0.1, 0.2, 0.2], "base": [90.0, 70.0, 60.0, 60.0], "novel": [20.0, 40.0, 60.0, 50.0]},
    )
    table = summary(rows, ["beta"])
    assert list(table.index) == [0.2, 0.1]
    assert table.loc[0.1, "hm"] == pytest.approx(2 * 80 * 30 / 110)


def test_the_committed_plan_is_valid_and_a_wrong_one_is_one_line(tmp_path) -> None:
    assert read_plan(MINI / "tuning.yaml").alternatives
    (tmp_path / "plan.yaml").write_text("datasets: [a]\nseeds: [1]\nalternatives: {bet: [1]}\n")
    with pytest.raises(InputError, match=r"plan.yaml: alternatives: .*'bet'") as caught:
        read_plan(tmp_path / "plan.yaml")
    assert "\n" not in str(caught.value)


def test_finished_trials_are_not_run_again(tmp_path) -> None:
    """All rows are there, also as a CSV gives numbers back, so no trial (which would need data and roles) starts."""
    plan = Plan(datasets=["objects", "digits"], seeds=[1], alternatives={"beta": [0.25], "epochs": [3], "thresholds": [[0.3, 0.7]]})
    belongs = {"weights": "w" * 12, "roles": "r" * 12}
    rows = [
        {
            **belongs,
            "beta": p.beta,
            "epochs": p.epochs,
            "thresholds": str(p.thresholds or "none"),
            "dataset": d,
            "seed": 1,
            "base": 50.0,
            "novel": 40.0,
        }
        for p in settings_of(start(), plan)
        for d in plan.datasets
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    frame = tuning._run(plan, start(), belongs, tmp_path / "t.csv", cores=1)
    assert len(frame) == len(rows) == 8
    assert frame["base"].eq(50).all()
    assert len(summary(frame, list(plan.alternatives))) == 4


def test_no_test_picture_and_no_novel_class_chooses_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DeAR learns the first quarter of the classes and is judged on the validation pictures of the first two."""
    folder = small_study.make(tmp_path)
    p = dear_settings(folder, read_study(folder).groups["halved"], "DeAR", "dtd")
    opened: list[Path] = []
    real = cache.open_image
    monkeypatch.setattr(cache, "open_image", lambda path: (opened.append(path), real(path))[1])
    row = tuning.trial(load("DeAR-Mini"), HeadRoles.load(p.roles), p, 1, Fabric(accelerator="cpu", devices=1))
    assert {"base", "novel", "base_clip", "novel_clip"} <= set(row)
    split = read_split(p.data_root, "dtd")
    known = half(split, "base")
    judged = {item.path for item in known.val}
    assert judged <= set(opened)
    assert set(opened) - judged == {item.path for item in half(half(few_shot(split, p.shots, 1), "base"), "base").train}


def test_a_trial_has_the_role_map_that_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_study.make(tmp_path)
    p = dear_settings(folder, read_study(folder).groups["halved"], "DeAR", "dtd")
    found, seen = HeadRoles.load(p.roles), []
    monkeypatch.setattr(tuning.trials, "train", lambda clip, each, *more: seen.extend(t.roles for t in each) or 1 / 0)
    for changed in (p, p.model_copy(update={"thresholds": (0.01, 0.02)}), p.model_copy(update={"role_map": "all_mixed"})):
        with pytest.raises(ZeroDivisionError):
            tuning.trial(load("DeAR-Mini"), found, changed, 1, Fabric(accelerator="cpu", devices=1))
    assert seen[0] == found
    assert seen[1] == rethresholded(found, 0.01, 0.02) != found
    assert seen[2] == uniform_roles("mixed", found) != found


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n3,4,5,6\n", b"\xff\xfe\x00"])
def test_damaged_trials_are_one_line_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.csv: expected rows of trials, got .*restore or delete the file") as caught:
        tuning.kept_rows(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "t.csv").read_bytes() == content


def test_the_committed_trials_chose_the_committed_settings() -> None:
    """The best trial of each method, applied to what it started from, is what Table 2 is made with."""
    plan, group = read_plan(MINI / "tuning.yaml"), read_study(MINI).groups[TABLE2]
    ranked = fair.best(pd.read_csv(MINI / fair.FILE))
    for run in group.dear:
        best = fair.changed_dear(tuning.starting_point(MINI, plan, run), ranked.loc[run].index[0])
        assert best == dear_settings(MINI, group, run, group.datasets[0])
    for method in set(ranked.index.get_level_values("method")) - set(group.dear):
        alone = Group(datasets=("digits",), classes="halves", runs={method: {"method": method}})
        before, after = (run_settings(MINI, alone, method, "digits", chosen=c) for c in (False, True))
        assert isinstance(before, MethodRun)
        assert isinstance(after, MethodRun)
        assert trained_with(fair.changed(before, ranked.loc[method].index[0])) == trained_with(after), method


def test_the_readme_says_what_other_settings_would_change() -> None:
    """Of the weights and roles that are committed, every alternative on every data set; the first row of the plan is what is in use."""
    plan = read_plan(MINI / "tuning.yaml")
    rows = pd.read_csv(MINI / "tuning.csv")
    roles = HeadRoles.load(MINI.parents[1] / "figures" / "mini" / "records" / "roles.json")
    assert set(rows.weights + rows.roles) == {roles.weights_sha256[:12] + roles.sha256[:12]}
    keys = list(plan.alternatives)
    assert rows.groupby(keys).size().eq(len(plan.datasets) * len(plan.seeds)).all()
    ranked = summary(rows, keys)["hm"]
    here = ranked[tuple(tuning._told(getattr(start(), key)) for key in keys)]
    others = (ranked - here).drop(ranked.index[ranked == here])
    assert len(ranked) == 1 + sum(map(len, plan.alternatives.values())) == 1 + len(others)
    said = f"what {len(others)} other settings of DeAR would change", f"the best of them is {others.max():.1f} points above"
    readme = " ".join((MINI.parents[1] / "README.md").read_text(encoding="utf-8").split())
    assert [words for words in (*said, f"the others up to {-others.min():.1f} below") if words not in readme] == []


def trained_with(p: MethodRun) -> tuple[object, ...]:
    """What a run is trained with, however its file spells it: whole recipe and settings. Without an average it matters not where."""
    recipe = catalogue.recipe(p.method, p.recipe)
    if recipe.average != "gaussian":
        recipe = replace(recipe, average_at=Recipe.average_at)
    settings = catalogue.checked(p.method, catalogue.module(p.method).Settings, p.settings)
    return recipe, settings, p.model_copy(update={"recipe": {}, "settings": {}})
