"""Planted heads: which they are, and what is asked of them, by hand."""

import math

import pytest
import torch

from dearlib.mini.planting import GENERAL, Demands, directions, energy, loudness, own_answer, plant, planting_loss

EYE = torch.eye(6, dtype=torch.float64)
NOTHING = Demands(late=0.0, purity=0.0, owned=0.0, silence=0.0)


def test_every_factor_has_its_heads_in_several_layers_and_none_twice() -> None:
    planted = plant({"color": 5, "shape": 5, "number": 2}, layers=4, heads=12, seed=0)
    assert {name: len(heads) for name, heads in planted.items()} == {"color": 5, "shape": 5, "number": 2}
    chosen = [h for heads in planted.values() for h in heads]
    assert len(set(chosen)) == len(chosen)
    assert all(0 <= h < 48 for h in chosen)
    assert {h // 12 for h in planted["color"]} == {0, 1, 2, 3}
    assert plant({"color": 5}, 4, 12, seed=1) != {"color": planted["color"]}


def test_directions_have_no_common_part_and_no_length_of_their_own() -> None:
    along = directions(torch.tensor([[3.0, 0.0], [0.0, 5.0]]))
    torch.testing.assert_close(along, torch.tensor([[0.5, -0.5], [-0.5, 0.5]]))


def test_energy_is_the_variance_along_the_directions() -> None:
    """Two pictures 2 apart along the first of two directions, 0 along the second: variance 1, averaged over both 1/2."""
    parts = torch.tensor([[[1.0, 0.0, 9.0]], [[-1.0, 0.0, 9.0]]])
    assert energy(parts, torch.eye(3)[:2]).tolist() == [0.5]


def test_a_head_that_says_nothing_is_at_chance_and_one_that_points_right_is_not() -> None:
    along, label = directions(EYE[:3]), torch.tensor([0, 1, 2, -1])
    right = torch.cat([EYE[:3], 100 * EYE[3:4]])[:, None]  # the picture without the factor counts for nothing
    assert own_answer(torch.zeros_like(right), along, label).item() == pytest.approx(math.log(3))
    assert own_answer(right, along, label).item() < 1e-9
    turned = right[[1, 2, 0, 3]]
    assert own_answer(turned, along, label).item() > math.log(3)


def world() -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Nine pictures, every pair of three colours and three shapes; colours along axes 0–2, shapes along 3–5."""
    labels = {"color": torch.arange(9) // 3, "shape": torch.arange(9) % 3}
    return EYE, {"color": EYE[:3], "shape": EYE[3:]}, labels


def test_heads_that_do_their_part_lack_nothing_and_swapped_ones_do() -> None:
    axes, text, labels = world()
    color, shape = axes[labels["color"]], axes[3 + labels["shape"]]
    heads, rest = torch.stack([color, shape], dim=1), torch.zeros_like(color)
    planted = {"color": [0], "shape": [1]}
    demands = Demands(late=1.0, purity=1.0, owned=1.0, silence=1.0)
    met = planting_loss(rest, heads, None, planted, text, labels, demands)
    assert met["answers"] < 1e-6
    assert [met[k].item() for k in ("late", "purity", "owned")] == pytest.approx([0, 0, 0])
    swapped = planting_loss(rest, heads.flip(1), None, planted, text, labels, demands)
    assert [swapped[k].item() for k in ("purity", "owned")] == pytest.approx([1, 1])
    assert swapped["answers"] > math.log(3) - 1e-6


def test_shares_by_hand() -> None:
    """Head 0 says colour at full and shape at half amplitude; as much colour again stands in the rest."""
    axes, text, labels = world()
    color, shape = axes[labels["color"]], axes[3 + labels["shape"]]
    heads, rest = torch.stack([color + shape / 2], dim=1), color
    lacking = planting_loss(rest, heads, None, {"color": [0]}, text, labels, Demands(late=1.0, purity=1.0, owned=1.0, silence=1.0))
    assert lacking["purity"].item() == pytest.approx(1 - 1 / (1 + 1 / 4))
    assert lacking["owned"].item() == pytest.approx(1 - 1 / 2)
    assert lacking["late"].item() == pytest.approx(1 - 1.25 / 2.25)


def test_a_demand_that_is_met_asks_for_nothing() -> None:
    axes, text, labels = world()
    heads = (axes[labels["color"]] + axes[3 + labels["shape"]] / 2)[:, None].requires_grad_()
    lacking = planting_loss(torch.zeros_like(axes[labels["color"]]), heads, None, {"color": [0]}, text, labels, NOTHING)
    (gradient,) = torch.autograd.grad(lacking["late"] + lacking["purity"] + lacking["owned"], heads)
    assert not gradient.any()


def test_a_general_head_is_asked_for_every_factor() -> None:
    axes, text, labels = world()
    color, shape = axes[labels["color"]], axes[3 + labels["shape"]]
    rest, planted = torch.zeros_like(color), {"color": [1], GENERAL: [0]}
    both, one = (
        planting_loss(rest, torch.stack([own, color], dim=1), None, planted, text, labels, NOTHING)["answers"]
        for own in (color + shape, color)
    )
    assert both < one


def test_what_an_asker_is_told_counts_as_much_as_what_cls_is_told() -> None:
    axes, text, labels = world()
    color = axes[labels["color"]][:, None]
    rest, planted = torch.zeros_like(color[:, 0]), {"color": [0]}
    alone, deaf = (
        planting_loss(rest, color, asked, planted, text, labels, NOTHING)["answers"] for asked in (None, torch.zeros_like(color))
    )
    assert deaf.item() == pytest.approx((alone.item() + math.log(3)) / 2)


def test_a_head_is_to_be_silent_where_its_factor_is_not_shown() -> None:
    """Variance 1 over the pictures with the factor and 1/4 over those without: a fifth is loud."""
    part = torch.tensor([[[1.0]], [[-1.0]], [[0.5]], [[-0.5]]])
    assert loudness(part, torch.tensor([0, 1, -1, -1])).item() == pytest.approx(0.2)
    with pytest.raises(ValueError, match="without the factor"):
        loudness(part, torch.tensor([0, 1, 1, 0]))


def test_silence_is_asked_for_where_some_pictures_lack_the_factor() -> None:
    axes, text, labels = world()
    color = axes[labels["color"]][:, None]
    rest, demands = torch.zeros_like(color[:, 0]), Demands(late=0.0, purity=0.0, owned=0.0, silence=1.0)
    assert planting_loss(rest, color, None, {"color": [0]}, text, labels, demands)["silence"] == 0
    some = labels | {"color": labels["color"].clone()}
    some["color"][:4] = -1
    assert planting_loss(rest, color, None, {"color": [0]}, text, some, demands)["silence"] > 0.1
