"""Many runs on one prefix: what is shared is exact, what a variant asks for is what it gets, the probe is a probe."""

import dataclasses
import zlib
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from sklearn.linear_model import LogisticRegression

from dearlib.clip import cache
from dearlib.clip.loading import random_clip
from dearlib.datasets import Item
from dearlib.errors import InputError
from dearlib.methods.evaluation import accuracy
from dearlib.methods.linear_probe import STRENGTHS, linear_probe
from dearlib.params import schemas
from dearlib.params.schemas import Variant
from dearlib.params.study import Group, run_settings
from dearlib.roles.controls import rethresholded, role_counts, shuffled_roles
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import trials

MINI = Path(__file__).parents[2] / "params" / "mini"


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> list[Item]:
    """Two bright and two dark noisy pictures."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    made = []
    for i in range(4):
        noise = rng.integers(0, 80, (64, 64, 3)) + 150 * (i % 2)
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{i}.png")
        made.append(Item(folder / f"{i}.png", i % 2, ("dark", "bright")[i % 2]))
    return made


def variant(tmp_path: Path, **changes: object) -> Variant:
    given = {"cache_root": tmp_path, "views": 2, "epochs": 2}
    return run_settings(MINI, Group(datasets=("source",), classes="all", runs={"it": changes}), "it", "source", given=given)


def test_a_later_layer_starts_from_the_same_kept_states(roles: HeadRoles, items, tmp_path) -> None:
    clip = random_clip()
    p = variant(tmp_path)
    deep = trials.plain(clip, roles, p.model_copy(update={"first_layer": 11}), items)
    direct = cache.of_items(cache.Cache(tmp_path / "direct"), clip, 11, items)
    torch.testing.assert_close(deep.states, direct.states)
    torch.testing.assert_close(deep.features, direct.features)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2, "one entry of states serves every J, beside the features"


def test_every_parameter_reaches_what_is_built_and_trained_under_its_own_name(tmp_path) -> None:
    """All values differ, so that no two can be swapped: λ_reg and λ_fusion once were."""
    rates = {"lr": 0.001, "lr_tokens": 0.002, "lr_fusion": 0.003, "warmup_lr": 0.004, "weight_decay": 0.005}
    shares = {"lambda_reg": 0.06, "lambda_fusion": 0.07, "beta": 0.08, "alpha_cls": 0.09, "init_std": 0.11}
    counts = {"epochs": 12, "batch": 13, "warmup_epochs": 1, "text_tokens": 14, "tokens_per_attribute": 15, "first_layer": 10}
    told = rates | shares | counts
    assert len(set(told.values())) == len(told)
    p = variant(tmp_path).model_copy(update=told)
    found = asdict(trials.settings(p)) | asdict(trials.schedule(p))
    assert {name: found[name] for name in told} == told
    assert set(found) - set(told) == {"routing", "trained", "optimiser", "momentum", "eps", "rates", "average", "average_at"}


@pytest.mark.parametrize("told", [{"routing": "printed"}, {"routing": "exclusive"}, {"trained": ("projection",)}, {"trained": ("fusion",)}])
def test_a_run_is_routed_and_trained_as_it_says(tmp_path, told: dict) -> None:
    found = asdict(trials.settings(variant(tmp_path).model_copy(update=told)))
    assert {name: found[name] for name in told} == told


def test_a_run_is_that_of_its_variant(roles: HeadRoles, items, tmp_path) -> None:
    clip = random_clip()
    fabric = Fabric(accelerator="cpu", devices=1)
    trial = trials.Trial(variant(tmp_path, first_layer=12, text_tokens=2), roles, items, 1)
    (late,), (curve,) = trials.train(clip, [trial], ["a", "b"], fabric)
    assert (late.settings.first_layer, len(late.text_tokens), len(curve)) == (12, 2, 2)
    assert trials.train(clip, [trial], ["a", "b"], fabric)[1] == [curve]


def test_role_maps_by_variant(roles: HeadRoles, tmp_path) -> None:
    asked = {
        "as found": {},
        "shielded": {"role_map": "all_generalization"},
        "open": {"role_map": "all_mixed"},
        "shuffled": {"role_map": "shuffled"},
        "cut": {"thresholds": [0.1, 0.2], "role_map": "found"},
    }
    maps = {name: trials.role_map(roles, variant(tmp_path, **changes), seed=3) for name, changes in asked.items()}
    assert maps["as found"] == roles
    assert Counter(e.role for e in maps["shielded"].entries) == {"generalization": 48}
    assert Counter(e.role for e in maps["open"].entries) == {"mixed": 48}
    assert maps["shuffled"] == shuffled_roles(roles, zlib.crc32(b"source 3"))
    assert role_counts(maps["cut"]) == role_counts(rethresholded(roles, 0.1, 0.2))


def test_a_shuffled_map_is_dealt_anew_for_each_data_set_and_seed(roles: HeadRoles, tmp_path) -> None:
    shuffled = variant(tmp_path, role_map="shuffled")
    dealt = [
        trials.role_map(roles, shuffled.model_copy(update={"dataset": dataset}), seed) for dataset in ("cups", "keys") for seed in (1, 2)
    ]
    assert len({m.sha256 for m in dealt}) == 4


def test_variants_are_checked_before_anything_runs(tmp_path) -> None:
    with pytest.raises(InputError, match=r"runs.it: bet: expected beta, got an unknown key"):
        variant(tmp_path, bet=1)
    with pytest.raises(InputError, match=r"runs.it: role_map: expected .*, got 'none'"):
        variant(tmp_path, role_map="none")


def test_a_linear_probe_separates_what_is_separable() -> None:
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(8)
    features = 4 * torch.eye(3, 16)[labels] + 0.3 * torch.randn(24, 16, generator=draw)
    logits = linear_probe((features[:12], labels[:12]), (features[12:18], labels[12:18]), features[18:])
    assert logits.shape == (6, 3)
    assert accuracy(logits, labels[18:]) == 100


def test_the_strength_of_a_linear_probe_is_the_least_that_validation_pictures_find_best() -> None:
    """Its own shots, which any weak regularisation fits, have no say; of equally good strengths the most regularised is taken."""
    draw = torch.Generator().manual_seed(32)
    labels = torch.arange(3).repeat(6)
    features = torch.eye(3, 8)[labels] + 0.9 * torch.randn(18, 8, generator=draw)
    train, val, tested = features[:6], features[6:12], features[12:]
    unit = [torch.nn.functional.normalize(x, dim=-1).double().numpy() for x in (train, val, tested)]
    probes = [LogisticRegression(C=c, max_iter=2000).fit(unit[0], labels[:6].numpy()) for c in STRENGTHS]
    own, held = ([probe.score(x, labels[:6].numpy()) for probe in probes] for x in unit[:2])
    best = [i for i, score in enumerate(held) if score == max(held)]
    assert len(best) > 1, "several are equally good"
    assert own.index(max(own)) not in best, "its own shots would choose another"
    logits = linear_probe((train, labels[:6]), (val, labels[6:12]), tested)
    torch.testing.assert_close(logits, torch.tensor(probes[best[0]].decision_function(unit[2])))
    assert not torch.allclose(logits, torch.tensor(probes[best[-1]].decision_function(unit[2])))


def test_a_linear_probe_of_two_classes_has_two_columns() -> None:
    features, labels = torch.tensor([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1]]), torch.tensor([0, 1, 0, 1])
    assert linear_probe((features, labels), (features, labels), features).argmax(1).tolist() == [0, 1, 0, 1]


def test_a_linear_probe_of_one_class_is_one_line() -> None:
    one = torch.eye(3), torch.zeros(3, dtype=torch.long)
    with pytest.raises(InputError, match="linear probe: expected pictures of two classes or more"):
        linear_probe(one, one, torch.eye(3))


def test_trials_of_one_shape_go_together(roles: HeadRoles, items, tmp_path) -> None:
    asked = {"a": {}, "K 0": {"text_tokens": 0}, "b": {"beta": 0.1}, "short": {"shots": 1}}
    made = {
        name: trials.Trial(variant(tmp_path, **changes), roles, items[:2] if name == "short" else items, 1)
        for name, changes in asked.items()
    }
    assert trials.of_one_shape(made, most=24) == [["a", "b"], ["K 0"], ["short"]]
    assert trials.of_one_shape(made, most=1) == [["a"], ["b"], ["K 0"], ["short"]]


def test_only_what_is_read_after_training_may_differ_between_trials_of_one_model(roles: HeadRoles, items, tmp_path) -> None:
    """Any other setting, another role map, seed or picture is another model, and a model takes one place in a batch."""
    asked = {"a": {}, "mean": {"attribute_scores": "mean"}, "b": {"beta": 0.1}, "late mean": {"beta": 0.1, "attribute_scores": "mean"}}
    made = {name: trials.Trial(variant(tmp_path, **changes), roles, items, 1) for name, changes in asked.items()}
    assert trials.by_model(made) == {"a": "a", "mean": "a", "b": "b", "late mean": "b"}
    assert trials.of_one_shape(made, most=24) == [list(asked)]
    assert trials.of_one_shape(made, most=1) == [["a", "mean"], ["b", "late mean"]]
    for other in ({"roles": shuffled_roles(roles, 1)}, {"seed": 2}, {"items": items[:2]}):
        assert dataclasses.replace(made["a"], **other).learned != made["a"].learned


def test_training_does_not_read_what_is_read_after_it(roles: HeadRoles, items, tmp_path) -> None:
    """Bit by bit; and every key that is named is one that a variant has."""
    clip, fabric = random_clip(), Fabric(accelerator="cpu", devices=1)
    told = {"attribute_scores": "mean"}
    assert set(told) == set(schemas.AFTER_TRAINING)
    (one,), (two,) = (
        trials.train(clip, [trials.Trial(variant(tmp_path, **changes), roles, items, 1)], ["a", "b"], fabric)[0] for changes in ({}, told)
    )
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
