"""The plan: every table names groups that its profile has, and records are found where they are written."""

from pathlib import Path

import pytest
import small_study

from dearlib.datasets.catalogue import CATALOGUE
from dearlib.errors import InputError
from dearlib.params.study import read_study, run_settings
from dearlib.study.plan import MADE_OF, RETRIEVAL, Plan, read_plan

ROOT = Path(__file__).parents[2]
PROFILES = ("mini", "quick", "paper")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_table_is_made_of_groups_that_there_are(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    plan = read_plan(profile, Path("figures") / profile)
    for made in MADE_OF.values():
        assert (ROOT / "notebooks" / f"{made.notebook}.py").is_file()
        for name in made.groups:
            assert set(plan.datasets(name)) <= set(CATALOGUE)
    assert plan.record("source", plan.source) == Path(f"figures/{profile}/records/source-{plan.source}.json")
    assert all(CATALOGUE[t].classes_of == plan.source for t in plan.shifted)
    assert not set(plan.targets) & set(plan.shifted)
    assert {*plan.targets, *plan.shifted} == set(plan.group("source").targets)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_run_of_every_group_has_settings_on_every_data_set(profile: str) -> None:
    folder = ROOT / "params" / profile
    for group in read_study(folder).groups.values():
        for run in group.runs:
            for dataset in group.datasets:
                assert run_settings(folder, group, run, dataset).dataset == dataset


def test_an_unknown_group_is_one_line(tmp_path: Path) -> None:
    plan = Plan(read_study(small_study.make(tmp_path)), tmp_path)
    with pytest.raises(InputError, match="expected a group among halved, away, got nothing"):
        plan.group("nothing")
    assert RETRIEVAL not in plan.study.groups


WRONG = {
    "a data set twice": ("datasets: [dtd, eurosat]", "datasets: [dtd, dtd]", "halved.datasets: expected distinct data sets"),
    "a target twice": ("targets: [eurosat]", "targets: [eurosat, eurosat]", "away.targets: expected distinct data sets"),
    "a target that is trained on": ("targets: [eurosat]", "targets: [dtd]", "away.targets: expected other data sets than those"),
    "the row of zero-shot CLIP": ("shielded: {", "CLIP: {", "halved.runs: expected names other than CLIP, linear probe"),
    "the linear probe's row": ("shielded: {", '"linear probe, 1 shot": {', "halved.runs: expected names other than CLIP, linear probe"),
    "the class feature's row": ("shielded: {", "DeAR (class feature): {", "halved.runs: expected names other than CLIP, linear probe"),
    "no name": ("shielded: {", "'': {", "halved.runs: expected names of 1 to 100 letters"),
    "a name that no file can have": ("shielded: {", r'"a\0b": {', "expected YAML, got: a NUL"),
    "a name that is too long": ("shielded: {", f"{'x' * 101}: {{", "halved.runs: expected names of 1 to 100 letters"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_group_that_would_count_or_name_something_twice_is_one_line(tmp_path: Path, case: str) -> None:
    old, new, line = WRONG[case]
    (tmp_path / "profile.yaml").write_text(small_study.PROFILE.read_text())
    (tmp_path / "study.yaml").write_text(small_study.STUDY.replace(old, new))
    with pytest.raises(InputError, match=line) as error:
        read_study(tmp_path)
    assert "\n" not in str(error.value)


def test_the_hardest_shifts_are_named_where_both_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Table 4's claim about ImageNet-A and -R, or what stands for them, is about both."""
    monkeypatch.chdir(ROOT)
    for profile, hardest in (("mini", ("source_adversarial", "source_renditions")), ("paper", ("imagenet_a", "imagenet_r"))):
        plan = read_plan(profile, Path())
        assert plan.design().hardest == hardest
        assert plan.design().shots == (1, 2, 4, 8, 16)
        fewer = plan.group("source").model_copy(update={"targets": tuple(t for t in plan.group("source").targets if t != hardest[1])})
        less = plan.study.model_copy(update={"groups": {**plan.study.groups, "source": fewer}})
        assert Plan(less, Path()).design().hardest == ()
    silent = plan.group("few_shot").model_copy(update={"runs": {"DeAR": {}}})
    with pytest.raises(InputError, match="few_shot: expected shots of every run, got none of DeAR"):
        Plan(plan.study.model_copy(update={"groups": {**plan.study.groups, "few_shot": silent}}), Path()).design()


def test_what_stands_above_what(tmp_path: Path) -> None:
    """Over the profile's values the group's, then the profile's for this data set, then the run's own, then those given by hand."""
    folder = small_study.make(tmp_path)
    profile = folder / "profile.yaml"
    profile.write_text(profile.read_text() + "per_dataset: {dtd: {batch: 7, epochs: 7, views: 7, lr: 7.0}}\n")
    study = folder / "study.yaml"
    study.write_text(
        study.read_text().replace("    targets: [eurosat]", "    settings: {batch: 5, shots: 5, lr: 5.0}\n    targets: [eurosat]")
    )
    study.write_text(study.read_text().replace("DeAR: {shots: 1}", "DeAR: {epochs: 3, lr: 3.0}"))
    group = read_study(folder).groups["away"]
    v = run_settings(folder, group, "DeAR", "dtd", given={"lr": 1.0})
    assert (v.together, v.shots, v.batch, v.views, v.epochs, v.lr) == (2, 5, 7, 7, 3, 1.0)
    elsewhere = run_settings(folder, group, "DeAR", "eurosat")
    assert (elsewhere.batch, elsewhere.views) == (5, 1)
