"""Ablation against known factors: readings by hand, planted effects are confirmed, ties and noise are not."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dearlib.errors import InputError
from dearlib.mini.premises import write_planted
from dearlib.roles import truth
from dearlib.roles.rolefile import HeadRole, HeadRoles

FACTORS = ("color", "shape")
NAN = math.nan


def _roles(*heads: tuple[str, str]) -> HeadRoles:
    """Two layers of two heads from layer 3 on, each with (role, concept)."""
    entries = [
        HeadRole(layer=3 + i // 2, head=i % 2, role=role, concept=concept, entropy=0.0, interval=(0, 0), distribution={concept: 1.0},
                 phrases=("a",)) for i, (role, concept) in enumerate(heads)
    ]  # fmt: skip
    return HeadRoles(model="toy", weights_sha256="a" * 64, identity="i" * 64, pool_sha256="b" * 64, first_layer=3, layers=4, heads=2,
                     attributes=FACTORS, concepts=FACTORS, settings={}, entries=tuple(entries))  # fmt: skip


def _scenes(images: int = 60) -> tuple[truth.Scenes, list[Tensor]]:
    """Head 0 of layer 3 writes color (axes 0–2), head 1 of layer 4 writes shape (axes 3–4); the others write noise on axis 5."""
    g = torch.Generator().manual_seed(0)
    color, shape = torch.randint(3, (images,), generator=g), torch.randint(2, (images,), generator=g)
    shape[::5] = -1
    heads = torch.zeros(images, 2, 2, 6, dtype=torch.float64)
    heads[torch.arange(images), 0, 0, color] = 1.0
    has = (shape >= 0).nonzero()[:, 0]
    heads[has, 1, 1, 3 + shape[has]] = 1.0
    heads[:, 0, 1, 5] = torch.randn(images, generator=g, dtype=torch.float64) * 0.01
    axes = torch.eye(6, dtype=torch.float64)
    return truth.Scenes(heads.sum(dim=(1, 2)), heads, torch.stack([color, shape])), [axes[:3], axes[3:5]]


def test_reading_by_hand() -> None:
    """cos = 0.6 and 0.8 with a scale of 10; the second picture has nothing of the factor; a tie is not right."""
    features = torch.tensor([[3.0, 4.0], [1.0, 0.0], [2.0, 2.0]], dtype=torch.float64)
    answers = [torch.eye(2, dtype=torch.float64)]
    read = truth.read_factors(features, answers, torch.tensor([[1, -1, 0]]), 10.0)
    torch.testing.assert_close(read.accuracy, torch.tensor([[100.0, NAN, 0.0]]).double(), equal_nan=True, check_dtype=False)
    torch.testing.assert_close(read.margin, torch.tensor([[2.0, NAN, 0.0]], dtype=torch.float64), equal_nan=True)


def test_losses_leave_out_pictures_without_the_factor() -> None:
    features = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64)
    loss = truth.factor_losses(features, [torch.eye(2, dtype=torch.float64)], torch.tensor([[1, -1]]), 10.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2.0)))
    both = truth.factor_losses(features, [torch.eye(2, dtype=torch.float64)], torch.tensor([[1, 0]]), 10.0)
    assert both.item() == pytest.approx((math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(-10.0))) / 2)


def test_resampling_counts_pictures_that_have_the_factor() -> None:
    change = torch.tensor([[1.0, NAN, 3.0], [2.0, 2.0, 2.0]], dtype=torch.float64)
    means, samples = truth.resampled_means(change, 400, seed=1)
    assert means.tolist() == [2.0, 2.0]
    assert samples.shape == (400, 2)
    assert (samples[:, 1] == 2).all()
    seen = samples[:, 0][~samples[:, 0].isnan()]
    assert seen.min() == 1.0
    assert seen.max() == 3.0
    assert torch.equal(samples.nan_to_num(), truth.resampled_means(change, 400, seed=1)[1].nan_to_num())


def test_a_head_of_color_is_confirmed_and_a_head_of_noise_is_not() -> None:
    scenes, answers = _scenes()
    roles = _roles(("attribute", "color"), ("attribute", "shape"), ("generalization", "color"), ("attribute", "shape"))
    changes = truth.one_by_one(scenes, answers, 10.0)
    found = truth.confirmation(changes, roles, FACTORS, 200, seed=0)
    assert [(r.layer, r.head, r.attribute, r.confirmed) for r in found.itertuples()] == [
        (3, 0, "color", True),
        (3, 1, "shape", False),
        (4, 1, "shape", True),
    ]
    first = found.iloc[0]
    assert first["own"] < first["largest_other"]
    assert first["low"] <= first["difference"] <= first["high"] < 0
    assert first["other"] == "shape"


def test_changes_of_every_head_and_factor() -> None:
    scenes, answers = _scenes()
    changes = truth.one_by_one(scenes, answers, 10.0)
    table = truth.head_changes(changes, _roles(*[("mixed", "color")] * 4), FACTORS, 50, seed=0)
    assert len(table) == 4 * 2 * 2
    assert (table["low"] <= table["high"]).all()
    own = table[(table["layer"] == 3) & (table["head"] == 0) & (table["kind"] == "margin")].set_index("factor")["change"]
    assert own["color"] < 0 < own["shape"]  # what is left is all shape
    accuracy = table[table["kind"] == "accuracy"].set_index(["layer", "head", "factor"])["change"]
    assert accuracy[4, 0, "color"] == 0  # it writes nothing


def test_a_head_that_speaks_of_another_factor_is_not_confirmed() -> None:
    scenes, answers = _scenes()
    wrong = _roles(("attribute", "shape"), ("mixed", "color"), ("mixed", "color"), ("attribute", "color"))
    found = truth.confirmation(truth.one_by_one(scenes, answers, 10.0), wrong, FACTORS, 200, seed=0)
    assert not found["confirmed"].any()
    assert (found["difference"] > 0).all()


def test_a_tie_is_no_confirmation() -> None:
    same = truth.Reading(torch.zeros(2, 30), -torch.rand(30, generator=torch.Generator().manual_seed(0)).expand(2, 30))
    roles = _roles(("attribute", "color"), *[("mixed", "color")] * 3)
    found = truth.confirmation([same] * 4, roles, FACTORS, 100, seed=0)
    assert found[["difference", "low", "high"]].abs().to_numpy().max() == 0
    assert not found["confirmed"].any()


def test_without_attribute_heads_the_table_is_empty_and_keeps_its_columns() -> None:
    scenes, answers = _scenes()
    found = truth.confirmation(truth.one_by_one(scenes, answers, 10.0), _roles(*[("mixed", "color")] * 4), FACTORS, 20, seed=0)
    assert len(found) == 0
    assert {"layer", "head", "attribute", "confirmed"} <= set(found.columns)


def test_groups_by_attribute_and_random_groups() -> None:
    scenes, answers = _scenes()
    roles = _roles(("attribute", "color"), ("mixed", "shape"), ("other", "number"), ("attribute", "shape"))
    assert truth.heads_of(roles, "color").tolist() == [[True, False], [False, False]]
    own = truth.ablated(scenes, answers, 10.0, truth.heads_of(roles, "color")).margin.nanmean(dim=-1)
    assert own[0] < 0
    assert own[0] < own[1]
    every = truth.random_groups(scenes, answers, 10.0, 4, 3, seed=0)
    torch.testing.assert_close(
        every, truth.ablated(scenes, answers, 10.0, torch.ones(2, 2, dtype=torch.bool)).margin.nanmean(-1).expand(3, 2)
    )


def test_planted_heads(tmp_path: Path) -> None:
    path = truth.planted_file("toy", tmp_path / "toy.safetensors")
    assert path == tmp_path / "toy.planted.json"
    assert truth.planted_heads(path, "abc") is None
    write_planted(path, "abc", 9, 12, {"color": [0, 13], "general": [47]})
    assert truth.planted_heads(path, "abc") == {"color": [(9, 0), (10, 1)], "general": [(12, 11)]}
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert truth.planted_heads(path, "abc") == {"color": [(9, 0), (10, 1)], "general": [(12, 11)]}, "with a byte-order mark as without"
    with pytest.raises(InputError, match=r"expected the heads of weights other…, got those of abc"):
        truth.planted_heads(path, "other")
    for planted in ('{"color": 3}', '{"color": [[1]]}', '{"color": [[1, 2]], "shape": [[1, 2]]}', "[]"):
        path.write_text(f'{{"weights_sha256": "abc", "planted": {planted}}}')
        with pytest.raises(InputError, match=r"planted\.json: expected") as caught:
            truth.planted_heads(path, "abc")
        assert "\n" not in str(caught.value)
    for content in ("[1, 2]", "{", "{}"):
        path.write_text(content)
        with pytest.raises(InputError, match=r"planted\.json: expected"):
            truth.planted_heads(path, "abc")


def test_scenes_have_the_factors_they_are_said_to_have(clip) -> None:
    model = clip
    visual_type = next(model.visual.parameters()).dtype
    original = model.preprocess
    object.__setattr__(model, "preprocess", lambda picture: original(picture).to(visual_type))
    try:
        scenes = truth.held_out_scenes(model, ("color", "object", "shape"), 9, 4, 1, torch.device("cpu"))
    finally:
        object.__setattr__(model, "preprocess", original)
    assert scenes.heads.shape == (4, 4, model.heads, model.d_embed)
    assert (scenes.values[0] >= 0).all()
    assert ((scenes.values[1] >= 0) == torch.tensor([True, False, True, False])).all()
    assert ((scenes.values[2] >= 0) == torch.tensor([False, True, False, True])).all()
    features = truth.value_features(model, "size")
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2, dtype=features.dtype))
