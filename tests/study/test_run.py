"""A group of runs: what its record holds, that it goes on where it was stopped, and which pictures it may look at."""

import json
from pathlib import Path

import pytest
import small_study
import torch
from lightning_fabric import Fabric
from PIL import Image

from dearlib.clip import cache
from dearlib.clip.cut import TextStates
from dearlib.clip.loading import load
from dearlib.clip.prefix import Prefix
from dearlib.datasets import few_shot, half, read_split
from dearlib.errors import InputError
from dearlib.files import read_tensors
from dearlib.methods.dear import DeAR
from dearlib.methods.evaluation import Accuracies
from dearlib.params.study import read_study, row, tokens_file
from dearlib.study import batches, run, trials
from dearlib.study.ground import Ground
from dearlib.study.records import RunCost, RunRecord
from dearlib.study.run import run_group
from dearlib.study.trials import Trial

FABRIC = Fabric(accelerator="cpu", devices=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_study.make(tmp_path)


def made(folder: Path, group: str, dataset: str = "dtd") -> RunRecord:
    return run_group(folder, group, read_study(folder).groups[group], dataset, FABRIC)


def same(a: RunRecord, b: RunRecord) -> bool:
    """But for what is measured by the clock."""
    one, two = (r.model_copy(update={"wall_seconds": 0.0, "costs": {}}) for r in (a, b))
    return one == two


def test_a_record_has_every_run_on_every_half_and_clip_once(folder: Path) -> None:
    record = made(folder, "halved")
    told = {(m.method, m.split, m.seed) for m in record.metrics}
    methods = [f"{m}{end}" for m in ("DeAR", "shielded", "late") for end in ("", " (class feature)")]
    assert told == {("CLIP", h, None) for h in ("base", "novel")} | {(m, h, s) for m in methods for h in ("base", "novel") for s in (1, 2)}
    assert len(record.metrics) == len(told)
    assert {m.part for m in record.metrics} == {"test"}
    assert record.runs["late, once"]["first_layer"] == 11
    assert record == RunRecord.load(Path(record.runs["DeAR"]["runs_root"]) / "halved-dtd" / "record.json")
    assert set(record.last) == {f"{r}, seed {s}" for r in ("DeAR", "shielded", "late, once") for s in (1, 2)}


def test_targets_are_tested_with_what_was_trained_elsewhere(folder: Path) -> None:
    record = made(folder, "away")
    rows = {(m.dataset, m.method, m.trained_on) for m in record.metrics if m.seed is not None}
    assert ("eurosat", "DeAR", "dtd") in rows
    assert ("dtd", "DeAR", None) in rows
    assert ("dtd", "linear probe", None) in rows
    assert {m.trained_on for m in record.metrics if m.method == "CLIP"} == {None}
    assert set(record.split_sha256) == {"dtd", "eurosat"}


def test_a_stopped_group_goes_on_after_its_last_batch_to_the_same_record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(folder, "halved")
    place = Path(whole.runs["DeAR"]["runs_root"]) / "halved-dtd"
    tokens = {p.name: p.read_bytes() for p in place.glob("tokens-*")}
    for path in place.iterdir():
        path.unlink()
    real, calls = trials.train, []

    def stopped(*args: object, **more: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(trials, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        made(folder, "halved")
    assert len(list(place.glob("batch-*.json"))) == 1
    assert not (place / "record.json").exists()
    assert same(made(folder, "halved"), whole)
    assert len(calls) == 4, "the first batch was not trained again"
    assert {p.name: p.read_bytes() for p in place.glob("tokens-*")} == tokens


TWICE = """
groups:
  halved:
    datasets: [dtd]
    classes: halves
    runs:
      DeAR: {}
      slow: {lr: 1.0e-4}
      mean s_a: {attribute_scores: mean}
      slow mean: {lr: 1.0e-4, attribute_scores: mean}
"""


def test_runs_that_differ_only_after_training_are_trained_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same record, tokens and files' names as with every run trained, to rounding: how many models are multiplied at once decides in
    what order some processors add. Half of the models are trained."""
    (folder / "study.yaml").write_text(TWICE)
    profile = folder / "profile.yaml"
    profile.write_text(profile.read_text().replace("together: 2", "together: 8"))
    counted: list[int] = []
    real = trials.train
    monkeypatch.setattr(trials, "train", lambda *a, **k: (counted.append(len(a[1])), real(*a, **k))[1])
    once = made(folder, "halved")
    place = Path(once.runs["DeAR"]["runs_root"]) / "halved-dtd"
    told = {path.name: read_tensors(path)[0] for path in place.glob("tokens-*")}
    names = {path.name for path in place.glob("batch-*")}
    for path in place.iterdir():
        path.unlink()
    monkeypatch.setattr(trials, "by_model", lambda batch: {key: key for key in batch})
    each = made(folder, "halved")
    assert counted == [4, 8]
    assert [m.model_dump() for m in once.metrics] == [m.model_dump() for m in each.metrics]
    assert once.last == {run: pytest.approx(values, rel=1e-4) for run, values in each.last.items()}
    assert told.keys() == {path.name for path in place.glob("tokens-*")}
    for name, tensors in told.items():
        torch.testing.assert_close(tensors, read_tensors(place / name)[0], rtol=1e-3, atol=1e-4)
    assert names == {path.name for path in place.glob("batch-*")}
    fused = {m.method: m.accuracy for m in once.metrics if m.split == "base" and m.seed == 1}
    assert fused["mean s_a (class feature)"] == fused["DeAR (class feature)"]


@pytest.mark.parametrize(("told", "expected"), [(100.0, 800), (None, 400)])
def test_a_record_takes_at_least_as_long_as_what_was_made_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch, told: float | None, expected: float
) -> None:
    """Read from kept batches it is made in no time; its time is still that of all four runs with two seeds, or, where kept batches do not
    tell it, of the four trainings that two of the runs share with the others."""
    (folder / "study.yaml").write_text(TWICE)
    first = made(folder, "halved")
    kept = sorted((Path(first.runs["DeAR"]["runs_root"]) / "halved-dtd").glob("batch-*.json"))
    done = [one for path in kept for one in json.loads(path.read_text())]
    assert 0 < sum(one["wall_seconds"] for one in done) <= first.wall_seconds + 0.1
    for path in kept:
        path.write_text(json.dumps([one | {"wall_seconds": told} for one in json.loads(path.read_text())]))
    monkeypatch.setattr(RunCost, "seconds", property(lambda cost: 100.0))
    assert made(folder, "halved").wall_seconds == expected


def test_a_record_names_every_processor_that_made_a_part_of_it(folder: Path) -> None:
    """Seconds of one machine do not stand beside those of another unseen; a batch of an earlier version tells none."""
    (folder / "study.yaml").write_text(TWICE)
    first = made(folder, "halved")
    own = first.hardware["processor"]
    kept = sorted((Path(first.runs["DeAR"]["runs_root"]) / "halved-dtd").glob("batch-*.json"))
    for told, expected in ((None, own), ("1 Abacus", f"1 Abacus, {own}")):
        for path in kept:
            path.write_text(json.dumps([one | {"processor": told} for one in json.loads(path.read_text())]))
        assert made(folder, "halved").hardware["processor"] == expected


def test_what_is_trained_once_is_tested_as_each_run_asks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean scores are asked of the model of the run that it shares, for every half, and of no other run's."""
    (folder / "study.yaml").write_text(TWICE)
    asked: list[torch.Tensor] = []

    def mean_scores(ground: Ground, model: DeAR, trial: Trial, pictures: Prefix, text: TextStates, labels: torch.Tensor) -> float:
        assert trial.p.attribute_scores == "mean"
        assert len(pictures.features) == len(labels)
        asked.append(model.attribute_tokens)
        return 12.345

    monkeypatch.setattr(batches, "_with_mean_scores", mean_scores)
    record = made(folder, "halved")
    assert {m.method for m in record.metrics if m.accuracy == 12.345} == {"mean s_a", "slow mean"}
    assert sum(m.accuracy == 12.345 for m in record.metrics) == len(asked) == 2 * 2 * 2
    place = Path(record.runs["DeAR"]["runs_root"]) / "halved-dtd"
    trained = [read_tensors(place / f"tokens-{run}-seed{seed}.safetensors")[0] for run in ("DeAR", "slow") for seed in (1, 2)]
    assert all(any(torch.equal(tokens, own["attribute_tokens"]) for own in trained) for tokens in asked)


def test_another_setting_is_not_answered_by_an_old_batch(folder: Path) -> None:
    before = made(folder, "halved")
    study = folder / "study.yaml"
    study.write_text(study.read_text().replace("DeAR: {}", "DeAR: {lr: 0.1}"))
    after = made(folder, "halved")
    assert after.last["DeAR, seed 1"] != before.last["DeAR, seed 1"]
    assert after.parameters_sha256 != before.parameters_sha256


def test_redrawn_test_pictures_and_changed_code_are_not_answered_by_an_old_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The split file is the same as before."""
    record = made(folder, "halved")
    place = Path(record.runs["DeAR"]["runs_root"]) / "halved-dtd"
    before = set(place.glob("batch-*"))
    picture = read_split(Path(record.runs["DeAR"]["data_root"]), "dtd").test[0].path
    small_study.paint(picture, 3)
    made(folder, "halved")
    redrawn = set(place.glob("batch-*")) - before
    assert len(redrawn) == len(before)
    monkeypatch.setattr(batches, "VERSION", batches.VERSION + 1)
    made(folder, "halved")
    assert len(set(place.glob("batch-*")) - before - redrawn) == len(before)


def test_training_looks_at_no_test_picture_and_at_no_novel_class(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture that is opened before the models are tested is a base class's training picture, or a test picture for the test."""
    opened: list[Path] = []
    real = cache.open_image
    monkeypatch.setattr(cache, "open_image", lambda path: (opened.append(path), real(path))[1])
    monkeypatch.setattr(run.Ground, "pictures", {})
    monkeypatch.setattr(run, "_without_training", lambda *_: [])
    monkeypatch.setattr(batches, "_tested", lambda _g, models, *_: {key: [] for key in models})
    monkeypatch.setattr(batches, "_gates", lambda *_: None)
    record = made(folder, "halved")
    split = read_split(Path(record.runs["DeAR"]["data_root"]), "dtd")
    base = {item.path for item in half(split, "base").train}
    assert opened
    assert set(opened) <= base


def test_every_seed_has_its_own_sample(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DeAR's, and the linear probe's beside it."""
    seen: dict[int, list[Path]] = {}
    real, drawn = trials.training_set, run.few_shot
    monkeypatch.setattr(trials, "training_set", lambda *a: (seen.update({a[4]: [i.path for i in a[3]]}), real(*a))[1])
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(run, "few_shot", lambda split, shots, seed: (asked.append((shots, seed)), drawn(split, shots, seed))[1])
    record = made(folder, "away")
    split = read_split(Path(record.runs["DeAR"]["data_root"]), "dtd")
    assert seen == {seed: [i.path for i in few_shot(split, 1, seed).train] for seed in (1, 2)}
    assert seen[1] != seen[2]
    assert asked == [(1, 1), (1, 2)]


def test_the_probe_is_fitted_on_the_shots_and_chosen_on_the_validation_sample(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen on its own shots it would always be the least regularised one."""
    given: list[tuple[tuple[torch.Tensor, torch.Tensor], ...]] = []
    real = run.linear_probe
    monkeypatch.setattr(run, "linear_probe", lambda train, val, test: (given.append((train, val)), real(train, val, test))[1])
    record = made(folder, "away")
    p = record.runs["DeAR"]
    clip, split = load(p["clip"]), read_split(Path(p["data_root"]), "dtd")
    assert len(given) == 2
    for seed, sets in zip((1, 2), given, strict=True):
        few = few_shot(split, 1, seed)
        assert {i.path for i in few.train}.isdisjoint(i.path for i in few.val)
        for items, (features, labels) in zip((few.train, few.val), sets, strict=True):
            assert labels.tolist() == [i.label for i in items]
            images = torch.stack([clip.preprocess(Image.open(i.path)) for i in items])
            torch.testing.assert_close(features, clip.encode_image(images), rtol=1e-4, atol=1e-5)


def test_every_row_is_answered_by_its_own_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of models that are tested together none answers for another: each says here what its tokens are, and they lie beside the record."""

    def told(tokens: torch.Tensor) -> float:
        return float(100 * tokens.double().abs().mean())

    def answers(models: list[DeAR], *_: object) -> list[Accuracies]:
        return [Accuracies(class_feature=told(m.attribute_tokens.detach()), fused=told(m.text_tokens.detach())) for m in models]

    monkeypatch.setattr(batches, "evaluate_together", answers)
    place, record = folder.parents[1] / "runs" / "halved-dtd", made(folder, "halved")
    expected = set()
    for name, seed in ((name, seed) for name in record.runs for seed in (1, 2)):
        held, _ = read_tensors(place / tokens_file(name, seed))
        expected |= {(row(name), seed, told(held["text_tokens"]))}
        expected |= {(f"{row(name)} (class feature)", seed, told(held["attribute_tokens"]))}
    assert len({value for _, _, value in expected}) == 12
    assert {(m.method, m.seed, m.accuracy) for m in record.metrics if m.seed is not None} == expected


def test_runs_that_share_no_ground_are_refused(folder: Path) -> None:
    study = folder / "study.yaml"
    study.write_text(study.read_text().replace("shielded: {role", "shielded: {cache_dtype: float16, role"))
    with pytest.raises(InputError, match=r"expected one cache_dtype for all runs of a group, got float16, float32"):
        made(folder, "halved")


def test_a_setting_that_no_run_has_is_one_line(folder: Path) -> None:
    study = folder / "study.yaml"
    study.write_text(study.read_text().replace("DeAR: {shots: 1}", "DeAR: {shot: 1}"))
    with pytest.raises(InputError, match=r"study.yaml: away: runs.DeAR: shot: expected shots, got an unknown key"):
        read_study(folder)
    study.write_text(study.read_text().replace("linear_probe: true", "linear: true"))
    with pytest.raises(InputError, match=r"groups.away.linear: expected linear_probe, got an unknown key"):
        read_study(folder)


def test_records_are_json_without_a_path_of_this_machine(folder: Path) -> None:
    """Apart from what the parameters themselves say."""
    record = made(folder, "away").model_dump(mode="json")
    del record["runs"]
    assert str(folder.parents[1]) not in json.dumps(record)
