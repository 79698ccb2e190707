"""Methods beside DeAR in a study: the same pictures and splits, kept batch by batch, one line for what cannot be."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import small_study
import torch
from lightning_fabric import Fabric
from public_layout import CLASSES

from dearlib import plots
from dearlib.clip.loading import load
from dearlib.datasets import few_shot, half, splits
from dearlib.errors import InputError
from dearlib.files import read_tensors
from dearlib.methods import catalogue, family, harness
from dearlib.methods.dear import DeAR, Settings
from dearlib.methods.family import coop
from dearlib.methods.interface import Classes, Method
from dearlib.params.study import read_study, row, rows_named, run_settings
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import averages, companion, costs, others, trials
from dearlib.study.family import CONTROLS
from dearlib.study.plan import rows_wanted
from dearlib.study.records import RunRecord, tidy
from dearlib.study.run import run_group

FABRIC = Fabric(accelerator="cpu", devices=1)
QUICK = {"epochs": 2, "batch": 2, "warmup_epochs": 0}
SETTINGS = {
    "maple": {"depth": 2},
    "promptsrc": {"depth": 2},
    "provp": {"tokens": 2},
    "tac": {"depth": 2, "views": 1},
    "mmrl": {"first_layer": 11, "width": 16},
    "mmrl_plus": {"first_layer": 11, "width": 16},
    "skiptuning": {"first_layer": 12},
    "promptkd": {"depth": 2},
}


def method(folder: Path, name: str, **more: object) -> None:
    """Its parameter file, cheap."""
    values = {"recipe": QUICK, "settings": SETTINGS.get(name, {}), **more}
    (folder / "methods").mkdir(exist_ok=True)
    (folder / "methods" / f"{name}.yaml").write_text("\n".join(f"{k}: {json.dumps(v)}" for k, v in values.items()) + "\n")


def study(folder: Path, runs: str, more: str = "classes: halves") -> None:
    (folder / "study.yaml").write_text(f"groups:\n  halved:\n    datasets: [dtd, eurosat]\n    {more}\n    runs: {runs}\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_study.make(tmp_path)


def made(folder: Path, group: str = "halved", dataset: str = "dtd") -> RunRecord:
    return run_group(folder, group, read_study(folder).groups[group], dataset, FABRIC)


KEYS = ("coop", "tac", "promptkd", "mmrl", "skiptuning", "class_bias")  # each its own way of being shown pictures
TEACHER = {"method": "promptsrc", "recipe": QUICK, "settings": SETTINGS["promptsrc"]}


def test_every_method_stands_in_one_record_with_dear(folder: Path) -> None:
    """And each says what it took."""
    method(folder, "promptsrc")
    for key in KEYS:
        method(folder, key, **({"teacher": {"method": "promptsrc"}} if key == "promptkd" else {}))
    runs = {"DeAR": {}, **{catalogue.module(key).METHOD.title: {"method": key} for key in KEYS}}
    study(folder, json.dumps(runs))
    record = made(folder)
    metrics = tidy([record])
    for name in runs:
        own = metrics[metrics.method == name]
        assert set(zip(own.split, own.seed, strict=True)) == {(h, s) for h in ("base", "novel") for s in (1, 2)}, name
        cost = record.costs[name]
        assert cost.parameters > 0
        assert cost.seconds_per_step is not None
        assert cost.pictures == (24 if name == "PromptKD" else 8), name  # all classes' pictures, two classes' shots; twice
        assert cost.transductive == (name == "PromptKD")
    assert list(record.runs) == list(runs)
    assert companion.rows_of([record]) == list(runs)
    assert companion.others_of([record]) == list(runs)[1:-1], "a control is no other method"
    assert set(companion.marked(pd.Series(["PromptKD", "CoOp"]), [record])) == {"PromptKD, *transductive*", "CoOp"}


def test_clip_and_a_method_that_is_clip_agree(folder: Path) -> None:
    """The road of the harness and zero-shot's: a method that trains nothing has CLIP's accuracies."""
    method(folder, "clip", recipe={})
    study(folder, json.dumps({"as it is": {"method": "clip"}}))
    metrics = tidy([made(folder)])
    mean = metrics.groupby(["method", "split"]).accuracy.mean()
    assert mean["as it is"].to_dict() == mean["CLIP"].to_dict()


def test_training_sees_what_dear_sees_and_no_test_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures of a run are the base half's few-shot sample of its seed; only a transductive method sees more."""
    method(folder, "coop")
    study(folder, json.dumps({"DeAR": {}, "CoOp": {"method": "coop"}}))
    seen: dict[str, dict[int, list[Path]]] = {"DeAR": {}, "CoOp": {}}
    for place, name in ((trials, "DeAR"), (others, "CoOp")):
        real = place.training_set

        def watched(*args: object, real: object = real, name: str = name) -> object:
            items, seed = (args[1].items, args[1].seed) if name == "CoOp" else (args[3], args[4])  # type: ignore[attr-defined]
            seen[name][seed] = [item.path for item in items]  # type: ignore[attr-defined,index]
            return real(*args)  # type: ignore[operator]

        monkeypatch.setattr(place, "training_set", watched)
    record = made(folder)
    split = splits.read_split(Path(record.runs["DeAR"]["data_root"]), "dtd")
    assert seen["DeAR"] == seen["CoOp"] == {s: [i.path for i in half(few_shot(split, 2, s), "base").train] for s in (1, 2)}
    assert seen["DeAR"][1] != seen["DeAR"][2]


@pytest.mark.parametrize("key", ["mmrl", "tac", "promptkd"])
def test_views_that_no_epoch_comes_to_are_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Two epochs see two views, or four where a step sees two; the numbers are those of all five."""
    drawn: dict[str, set[int]] = {"few": set(), "all": set()}
    records = []
    for name, seen in drawn.items():
        folder = small_study.make(tmp_path / name)
        settings = SETTINGS.get(key, {}) | ({"views": 2} if key == "tac" else {})
        method(folder, key, views=5, settings=settings, **({"teacher": {"method": "promptsrc"}} if key == "promptkd" else {}))
        method(folder, "promptsrc")
        study(folder, json.dumps({"it": {"method": key}}))
        with monkeypatch.context() as watched:
            real = others.kept.draw_views
            watched.setattr(others.kept, "draw_views", lambda s, i, n, c, seen=seen, real=real: (seen.add(n), real(s, i, n, c))[1])
            if name == "all":
                watched.setattr(others.Other, "views", lambda self, needs: self.p.views)
            records.append(made(folder))
    assert drawn == {"few": {0, 4 if key == "tac" else 2}, "all": {0, 5}}, "0: the plain pictures"
    assert records[0].metrics == records[1].metrics
    assert records[0].last == records[1].last


def test_a_teacher_learns_from_labels_of_base_classes_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its pupil sees without labels it is not shown with them."""
    method(folder, "promptsrc")
    method(folder, "promptkd", teacher={"method": "promptsrc"})
    study(folder, json.dumps({"PromptKD": {"method": "promptkd"}}))
    seen: dict[tuple[str, int], list[Path]] = {}
    real = others.training_set

    def watched(ground: object, other: others.Other, made: Method) -> object:
        seen[made.title, other.seed] = [item.path for item in other.seen(made.needs)]
        return real(ground, other, made)  # type: ignore[arg-type]

    monkeypatch.setattr(others, "training_set", watched)
    split = splits.read_split(Path(made(folder).runs["PromptKD"]["data_root"]), "dtd")
    for seed in (1, 2):
        assert seen["PromptSRC", seed] == [i.path for i in half(few_shot(split, 2, seed), "base").train]
        assert seen["PromptKD", seed] == [i.path for i in split.train]


def test_classes_are_answered_by_what_a_method_has_seen_of_them() -> None:
    home = ("dtd", "base")
    assert others.answers_of(home, home) == "base"
    assert others.answers_of(("dtd", "novel"), home) == "novel"
    assert others.answers_of(("eurosat", "all"), ("dtd", "all")) == "transferred"


def test_a_stopped_training_goes_on_to_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two epochs of the second method: the first is not trained again, and all numbers are those of an unbroken run."""
    method(folder, "class_bias")
    method(folder, "mmrl", recipe={**QUICK, "epochs": 3})
    study(folder, json.dumps({"class bias": {"method": "class_bias"}, "MMRL": {"method": "mmrl"}}))
    whole = made(folder)
    place = Path(whole.runs["MMRL"]["runs_root"]) / "halved-dtd"
    names = {p.name for p in place.glob("batch-*")}
    for path in place.iterdir():
        path.unlink()
    real, epochs, trained = costs.Meter.epoch, [], []

    def killed(meter: costs.Meter) -> dict[str, float]:
        epochs.append(1)
        if len(epochs) == 2 * 2 + 2 + 1:  # two runs of two epochs, then the second epoch of the first of two runs
            raise KeyboardInterrupt
        return real(meter)

    monkeypatch.setattr(costs.Meter, "epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        made(folder)
    assert len(list(place.glob("batch-*"))) == 1
    assert list(place.glob("checkpoint-*"))
    monkeypatch.setattr(costs.Meter, "epoch", real)
    train = harness.train
    monkeypatch.setattr(harness, "train", lambda *a: (trained.append(a[0][0].method.title), train(*a))[1])
    again = made(folder)
    assert trained == ["MMRL"]
    assert [m.model_dump_json() for m in again.metrics] == [m.model_dump_json() for m in whole.metrics]
    assert again.last == whole.last
    assert {p.name for p in place.glob("batch-*")} == names
    assert not list(place.glob("checkpoint-*"))


MADE_UP = '''
"""A learned temperature."""
from dataclasses import dataclass
import torch
from dearlib.methods.family.clip import RECIPE, Clip
from dearlib.methods.family.clip import Settings as Nothing
@dataclass(frozen=True, kw_only=True)
class Settings:
    start: float = 0.0
class Scaled(Clip):
    title = "Scaled"
    def __init__(self, clip, classes, settings, seed):
        super().__init__(clip, classes, Nothing(), seed)
        self.factor = torch.nn.Parameter(torch.tensor(1.0 + settings.start))
    def logits(self, pictures, encoded, split):
        return self.factor * super().logits(pictures, encoded, split)
METHOD = Scaled
'''


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A method of a student's own, in one file."""
    path = tmp_path / "family" / "scaled.py"
    path.parent.mkdir()
    path.write_text(MADE_UP)
    monkeypatch.setattr(family, "__path__", [*family.__path__, str(path.parent)])
    yield path
    for name in ("scaled", "half"):
        sys.modules.pop(f"dearlib.methods.family.{name}", None)


LESSON = {  # notebook 16: copy coop.py, change `title`, `enters` and `encode`
    'title: ClassVar = "CoOp"': 'title: ClassVar = "Half"',
    'rule="words", source="parameter"': 'rule="words", source="projected"',
    "[(1, self.ctx[None])]": "[(1, self.ctx[None] / 2)]",
}


def test_a_method_of_ones_own_is_one_file_and_its_parameters(folder: Path, made_up: Path) -> None:
    """As the lesson's exercise makes it. It joins a group by its parameter file: a row of the table, of the companion and of the chart of
    places, and a point in the chart of costs."""
    text = Path(coop.__file__).read_text()
    for old, new in LESSON.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (made_up.parent / "half.py").write_text(text)
    method(folder, "half", settings={"tokens": 2}, joins=["halved"], row="Half words")
    records = [made(folder, dataset=name) for name in ("dtd", "eurosat")]
    assert "Half words" in companion.others_of(records)
    table = averages.base_to_novel(tidy(records), ["dtd", "eurosat"], ["CLIP", *companion.rows_of(records)])
    assert set(table[table.method == "Half words"].dataset) == {"dtd", "eurosat", "average"}
    taken = companion.cost_table(records, pd.Series({"Half words": 3}))
    row = taken.set_index("method").loc["Half words"]
    assert (row.parameters, row.trials, row.pictures) == (2 * 96, 3, 8)
    assert "Half words" in set(companion.presentable_costs(taken, records)["Method"])
    _, ax = plots.figure()
    plots.accuracy_cost(ax, taken.merge(table[table.dataset == "average"][["method", "hm"]], on="method"), "parameters", "")
    assert "Half words" in {text.get_text() for text in ax.texts}
    clip = load("DeAR-Mini")
    family_of = {key: catalogue.build(key, clip, Classes(names=("a", "b")), {}, 1) for key in catalogue.names() if key in ("coop", "half")}
    _, axes = plots.figure(1, 2)
    plots.family_chart(axes, {m.title: m.enters for m in family_of.values()}, clip.layers)
    assert [label.get_text() for label in axes[1].get_yticklabels()] == ["CoOp", "Half"]
    assert len(axes[1].patches) == 2


def test_a_method_whose_file_changes_is_trained_anew(folder: Path, made_up: Path) -> None:
    """And only that one."""
    method(folder, "scaled")
    study(folder, json.dumps({"class bias": {"method": "class_bias"}, "Scaled": {"method": "scaled"}}))
    method(folder, "class_bias")
    place = Path(made(folder).runs["Scaled"]["runs_root"]) / "halved-dtd"
    before = {p.name for p in place.glob("batch-*")}
    made_up.write_text(MADE_UP.replace("1.0 + settings.start", "2.0 + settings.start"))
    made(folder)
    assert len({p.name for p in place.glob("batch-*")} - before) == 1


HALVES = "classes: halves"


@pytest.mark.parametrize(
    ("runs", "more", "message"),
    [
        ({"A": {"method": "copo"}}, HALVES, r"halved: runs.A: method: expected coop, got 'copo'"),
        (
            {"A": {"method": "coop", "settings": {"token": 2}}},
            HALVES,
            "runs.A: coop: expected tokens, got the unknown key 'token'",
        ),
        ({"A": {"method": "coop", "recipe": {"lr": -1}}}, HALVES, "runs.A: coop: lr: .*greater than 0, got -1"),
        (
            {"A": {"method": "coop", "recipe": {"warmup_epochs": 9}}},
            HALVES,
            "warmup_epochs: expected less than epochs = 2, got 9",
        ),
        ({"A": {"method": "promptkd"}}, HALVES, "promptkd: expected a teacher, got none; PromptKD cannot be trained without"),
        ({"A": {"method": "promptkd", "teacher": TEACHER}}, "classes: all", "expected a table from base to novel classes .* got another"),
        (
            {"A": {"method": "promptkd", "teacher": {"method": "coop"}}},
            HALVES,
            "expected a teacher with image features, such as promptsrc, got coop",
        ),
        (
            {"A": {"method": "tac", "views": 1, "settings": {"views": 4, "depth": 2}}},
            HALVES,
            "expected 4 views a picture for TAC",
        ),
        (
            {"A": {"method": "skiptuning", "shots": 1}},
            HALVES,
            "expected a class with 2 pictures for a batch of one class, got none",
        ),
        (
            {"A": {"method": "tac", "descriptions": {"dtd": "nowhere.json"}}},
            HALVES,
            "runs.A: descriptions: expected sentences for every class in nowhere.json",
        ),
        (
            {"A": {"method": "tac", "descriptions": {"dtd": "/tmp"}}},
            HALVES,
            "descriptions: expected sentences for every class in /tmp, got 'Is a directory'",
        ),
        ({"A": {"method": "coop", "seeds": [1, 1]}}, HALVES, r"seeds: expected distinct seeds, got \[1, 1\]"),
        ({"A": {"method": "coop", "crop_scale": [1.0, 0.5]}}, HALVES, r"crop_scale: expected \[smallest, largest\] share"),
        ({"A": {"method": "coop", "templates": {"dtd": "a"}}}, HALVES, "templates.dtd: expected one {} for the class name, got 'a'"),
        ({"A": {"method": "tcp", "settings": {"template": "a {n}"}}}, HALVES, "tcp: template: one {} for the class name, got 'a {n}'"),
        ({"A": {"method": "tac", "settings": {"templates": []}}}, HALVES, "tac: templates: .* at least 1 item"),
        ({"A": {"method": "tcp", "settings": {"tokens": 6}}}, HALVES, "expected at least 6 before the class name, got 4"),
        ({"a b": {}, "a_b": {}}, HALVES, r"unlike 'a b' and 'a_b'"),
        ({"A": {"method": "coop", "shot": 1}}, HALVES, "runs.A: shot: expected shots, got an unknown key"),
        ({"A": {"method": "coop", "seeds": [3]}, "DeAR": {}}, HALVES, "expected one seeds for all runs of a group"),
    ],
)
def test_what_cannot_be_is_one_line(folder: Path, runs: dict[str, object], more: str, message: str) -> None:
    for key in ("coop", "tac", "skiptuning", "tcp", "atprompt"):
        method(folder, key)
    method(folder, "promptkd")
    study(folder, json.dumps(runs), more)
    with pytest.raises(InputError, match=message) as caught:
        made(folder)
    assert "\n" not in str(caught.value)


def test_descriptions_want_a_sentence_for_every_class(folder: Path, tmp_path: Path) -> None:
    method(folder, "tac")
    path = tmp_path / "dtd.json"
    path.write_text(json.dumps({"banded": ["it has bands."], "bubbly": []}))
    study(folder, json.dumps({"TAC": {"method": "tac", "descriptions": {"dtd": str(path)}}}))
    with pytest.raises(InputError, match=r"dtd.json: expected a list of sentences for every class, got none for bubbly"):
        made(folder)
    names = [classname for _, classname in CLASSES["dtd"]]
    for text in ("", "[" * 10_000, "[]", '{"a": 1, ', json.dumps({n: [None] for n in names}), json.dumps(dict.fromkeys(names, " "))):
        path.write_text(text)
        with pytest.raises(InputError, match=r"dtd.json: expected a list of sentences for every class, got (no whole JSON|none for)"):
            made(folder)
    path.write_text(json.dumps({n: [f"it is {n}."] for n in names}))
    plain = made(folder).metrics
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert made(folder).metrics == plain, "a byte-order mark is no part of a file"


def test_prompts_of_a_methods_own_template_that_become_the_same_tokens_are_refused(folder: Path) -> None:
    """A method that runs no text layer, too: its template is so long that no class name is left of it."""
    method(folder, "clip")
    study(folder, json.dumps({"as it is": {"method": "clip", "templates": {"dtd": f"{'a ' * 80}{{}}"}}}))
    with pytest.raises(InputError, match="prompts: expected different ones within 77 tokens, got the same for classes 0"):
        made(folder)


def test_what_a_profile_says_of_data_sets_is_a_mapping(folder: Path) -> None:
    profile = folder / "profile.yaml"
    text = "".join(line for line in profile.read_text().splitlines(keepends=True) if not line.startswith(("per_dataset", "  ")))
    method(folder, "coop")
    study(folder, json.dumps({"DeAR": {}, "CoOp": {"method": "coop"}}))
    for said in ("3", "[dtd]", "{dtd: 3}"):
        profile.write_text(f"{text}per_dataset: {said}\n")
        with pytest.raises(InputError, match=r"halved: per_dataset: expected \{data set: .*got .*; correct the file"):
            made(folder)


def test_records_of_two_methods_from_different_splits_are_refused(folder: Path) -> None:
    method(folder, "class_bias")
    study(folder, json.dumps({"class bias": {"method": "class_bias"}}))
    record = made(folder)
    with pytest.raises(InputError, match="expected one split file of dtd, got"):
        tidy([record, record.model_copy(update={"group": "other", "split_sha256": {"dtd": "0" * 64}})])


def test_only_the_rows_that_are_named(folder: Path) -> None:
    """DeAR's own runs stay; a method is named as in tables, by its first word, or as in parameter files."""
    for key in ("coop", "atprompt", "mmrl"):
        method(folder, key)
    runs = {
        "CoOp": {"method": "coop"},
        "ATPrompt (CoOp)": {"method": "atprompt"},
        "MMRL, 1 shot": {"method": "mmrl"},
        "DeAR": {},
        "open": {},
    }
    study(folder, json.dumps(runs))
    told = read_study(folder)
    group = told.groups["halved"]
    assert group.methods == ["CoOp", "ATPrompt (CoOp)", "MMRL"]
    assert list(group.only(rows_named(told, ["DeAR", "MMRL", "coop"])).runs) == ["CoOp", "MMRL, 1 shot", "DeAR", "open"]
    assert rows_named(told, ["ATPrompt"]) == rows_named(told, ["atprompt"]) == ["ATPrompt (CoOp)"]
    assert list(group.only(rows_named(told, ["DeAR"])).runs) == ["DeAR", "open"]
    with pytest.raises(InputError, match="--methods: expected MMRL, got MMLR"):
        rows_named(told, ["DeAR", "MMLR"])


@pytest.mark.parametrize("profile", ["mini", "quick", "paper"])
def test_whoever_is_wanted_beside_dear_its_controls_stay(profile: str) -> None:
    """Claims are judged by them, and the companion of Table 5 is made of them: without them METHODS=DeAR would not come to its end."""
    told = read_study(Path(__file__).parents[2] / "params" / profile)
    for names, wanted in ((["DeAR"], set()), (["MMRL", "DeAR"], {"MMRL"})):
        rows = rows_wanted(told, names)
        for group in told.groups.values():
            left = group.only(rows)
            assert set(CONTROLS) & set(group.runs) <= set(left.runs)
            assert {row(run) for run in left.runs if run not in left.dear} - set(CONTROLS) <= wanted
            assert left.dear == group.dear


def test_what_stands_above_what_in_a_methods_run(folder: Path) -> None:
    """Profile, file, the group's settings that it knows, what the group says of others, the run's own; recipes key by key."""
    method(
        folder, "coop", recipe={"epochs": 7, "lr": 0.7}, settings={"tokens": 3}, views=7, per_dataset={"eurosat": {"recipe": {"lr": 0.9}}}
    )
    more = "classes: halves\n    settings: {shots: 1, epochs: 99}\n    others: {recipe: {epochs: 5}}"
    study(folder, json.dumps({"CoOp": {"method": "coop", "settings": {"init": None}}}), more)
    group = read_study(folder).groups["halved"]
    p = run_settings(folder, group, "CoOp", "dtd", given={"cache_gb": 1.0})
    assert (p.shots, p.views, p.cache_gb) == (1, 7, 1.0)
    assert (p.recipe, p.settings) == ({"epochs": 5, "lr": 0.7}, {"tokens": 3, "init": None})
    assert run_settings(folder, group, "CoOp", "eurosat").recipe == {"epochs": 5, "lr": 0.9}


def test_a_profile_that_extends_another_has_its_methods(folder: Path) -> None:
    method(folder, "coop", recipe={"epochs": 7, "lr": 0.7})
    upper = folder.parent / "upper"
    upper.mkdir()
    (upper / "profile.yaml").write_text(f"extends: {folder.name}\nprofile: upper\n")
    study(upper, json.dumps({"CoOp": {"method": "coop"}}))
    group = read_study(upper).groups["halved"]
    assert run_settings(upper, group, "CoOp", "dtd").recipe == {"epochs": 7, "lr": 0.7}
    method(upper, "coop", recipe={"epochs": 1})
    assert run_settings(upper, group, "CoOp", "dtd").recipe == {"epochs": 1, "lr": 0.7}


def test_controls_are_runs_of_dear(folder: Path) -> None:
    """One token is one attribute; frozen parts stay as drawn; mean scores change answers, not training; the gates are told of each."""
    runs = {
        "role masks": {},
        "one token": {"role_map": "one_attribute"},
        "P_attr alone": {"trained": ["projection"]},
        "mean s_a": {"attribute_scores": "mean"},
    }
    study(folder, json.dumps(runs))
    record = made(folder)
    place = Path(record.runs["role masks"]["runs_root"]) / "halved-dtd"
    kept = {name: read_tensors(place / f"tokens-{name.replace(' ', '_')}-seed1.safetensors")[0] for name in runs}
    assert len(kept["one token"]["attribute_tokens"]) == 1
    clip = load("DeAR-Mini")
    fresh = DeAR(clip, HeadRoles.load(Path(record.runs["role masks"]["roles"])), Settings(beta=0.7), 1)
    assert torch.equal(kept["P_attr alone"]["attribute_tokens"], fresh.attribute_tokens)
    assert not torch.equal(kept["P_attr alone"]["projection"], fresh.projection)
    for name in ("attribute_tokens", "projection", "fusion"):
        assert torch.equal(kept["mean s_a"][name], kept["role masks"][name])
    assert record.costs["P_attr alone"].parameters == fresh.projection.numel()
    assert set(record.gates) == {f"{name}, seed {s}" for name in runs for s in (1, 2)}
    assert record.gates["one token, seed 1"].tokens is None
    shown = companion.gates_table([record]).set_index("Run")
    assert shown.loc["one token", "Cosine between tokens"] == ""
    assert shown.loc["role masks", "Shielded heads"] == "L9 6, L10 6, L11 6, L12 6"
