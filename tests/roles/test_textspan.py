"""TextSpan: the batch over heads ranks the phrases that a plain loop ranks."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dearlib.errors import InputError
from dearlib.roles.textspan import rank_phrases, span_coordinates, textspan

HEADS, IMAGES, PHRASES, D = 3, 41, 67, 23


def textspan_loop(data: Tensor, text: Tensor, rank: int, steps: int) -> list[int]:
    """The algorithm as published, one head at a time: both sides are deflated, the spread is measured anew at each step."""
    right = torch.linalg.svd(data, full_matrices=False).Vh[:rank]
    text = text @ right.T @ right
    data = data - data.mean(dim=0)
    found = []
    for _ in range(steps):
        best = int((data @ text.T).std(dim=0).argmax())
        found.append(best)
        direction = text[best] / text[best].norm()
        data = data - torch.outer(data @ direction, direction)
        text = text - torch.outer(text @ direction, direction)
    return found


def _random(seed: int, d: int = D) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    scale = torch.linspace(2.0, 0.2, d, dtype=torch.float64)
    data = torch.randn(HEADS, IMAGES, d, generator=g, dtype=torch.float64) * scale + torch.randn(d, generator=g, dtype=torch.float64)
    return data, F.normalize(torch.randn(PHRASES, d, generator=g, dtype=torch.float64), dim=1)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), rank=st.integers(7, D), steps=st.integers(1, 7))
def test_equals_the_published_loop(seed: int, rank: int, steps: int) -> None:
    data, text = _random(seed)
    assert textspan(data, text, rank, steps).indices.tolist() == [textspan_loop(x, text, rank, steps) for x in data]


def test_rank_counts_singular_vectors_of_the_uncentred_data() -> None:
    """A large constant is a singular direction: with rank 1 only it is left, centred it hardly varies, and texts follow it."""
    data, text = _random(0)
    data = data + 100 * F.normalize(torch.ones(D, dtype=torch.float64), dim=0)
    result = textspan(data, text, 1, 2)
    towards = (text @ torch.ones(D, dtype=torch.float64)).abs().argmax()
    assert result.indices[:, 0].tolist() == [towards] * HEADS
    assert result.indices[:, 1].tolist() == [-1] * HEADS


def test_by_hand() -> None:
    """Images vary by 3 along x and 1 along y; of three texts the x one comes first and what is left of xy beats y's copy."""
    data = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    text = torch.tensor([[0.0, 0.9], [1.0, 0.0], [0.6, 0.8]])
    result = textspan(data, text, 2, 3)
    assert result.indices.tolist() == [[1, 0, -1]]
    torch.testing.assert_close(result.variance, torch.tensor([[0.9, 0.1, 0.0]], dtype=torch.float64))


def test_the_list_ends_where_a_phrase_falls_short_of_the_first() -> None:
    """Variances 4, 1 and 0.25 along three phrases: shares 1, 1/4 and 1/16 of the first."""
    axes = torch.eye(3, dtype=torch.float64)
    points = torch.cat([sign * scale * axes[i : i + 1] for i, scale in enumerate((2.0, 1.0, 0.5)) for sign in (1, -1)])
    for least, said in ((0.0, [0, 1, 2]), (1 / 16, [0, 1, 2]), (0.07, [0, 1, -1]), (0.26, [0, -1, -1]), (1.0, [0, -1, -1])):
        assert textspan(points, axes, rank=3, steps=3, least=least).indices[0].tolist() == said


def test_a_head_of_few_dimensions_has_a_short_list() -> None:
    """Contributions of 4 dimensions in float32: rounding must not be ranked, whatever `rank` says."""
    data, text = _random(1)
    thin = (data[..., :4] @ torch.randn(4, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).float()
    result = textspan(thin, text.float(), D, 8)
    assert ((result.indices >= 0).sum(dim=1) == 4).all()
    assert (result.indices[:, 4:] == -1).all()
    torch.testing.assert_close(result.variance.sum(dim=1), torch.ones(HEADS, dtype=torch.float64), atol=1e-6, rtol=0)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), true=st.integers(2, 6), more=st.integers(0, D - 6))
def test_a_rank_above_the_true_one_changes_nothing(seed: int, true: int, more: int) -> None:
    """Contributions of `true` dimensions in float32, so that rounding fills the others: `rank` may ask for them, it gets none."""
    data, text = _random(seed)
    mix = torch.randn(true, D, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    thin = (data[..., :true] @ mix).float()
    exact, asked = textspan(thin, text.float(), true, 8), textspan(thin, text.float(), true + more, 8)
    assert torch.equal(exact.indices, asked.indices)
    torch.testing.assert_close(exact.variance, asked.variance)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_zero_and_duplicate_dimensions_change_nothing(seed: int) -> None:
    """A dimension in which nothing lies, and one told twice with half of its power in each, carry no news."""
    data, text = _random(seed)
    plain = textspan(data, text, D, 7)
    zeros = torch.zeros(1, dtype=torch.float64)
    wide, wide_text = torch.cat([data, zeros.expand(HEADS, IMAGES, 3)], dim=2), torch.cat([text, zeros.expand(PHRASES, 3)], dim=1)
    twice = [torch.cat([x[..., :1] / 2**0.5, x[..., :1] / 2**0.5, x[..., 1:]], dim=-1) for x in (data, text)]
    for other in (textspan(wide, wide_text, D + 3, 7), textspan(*twice, D + 1, 7)):
        assert torch.equal(other.indices, plain.indices)
        torch.testing.assert_close(other.variance, plain.variance)


def test_a_head_that_does_not_vary_has_no_phrases() -> None:
    data, text = _random(3)
    data[1] = data[1, :1]
    indices = textspan(data, text, D, 3).indices
    assert (indices[1] == -1).all()
    assert (indices[[0, 2]] >= 0).all()


def test_heads_do_not_mix_and_scale_does_not_matter() -> None:
    data, text = _random(4)
    together = textspan(data, text, 9, 6)
    alone = [textspan(x, text, 9, 6) for x in data * torch.tensor([1.0, 1e-3, 1e3], dtype=torch.float64)[:, None, None]]
    assert torch.equal(together.indices, torch.cat([a.indices for a in alone]))
    torch.testing.assert_close(together.variance, torch.cat([a.variance for a in alone]))


def test_no_phrase_twice_and_shares_add_up() -> None:
    data, text = _random(5)
    result = textspan(data, text, D, D)
    assert all(len(set(row)) == D for row in result.indices.tolist())
    torch.testing.assert_close(result.variance.sum(dim=1), torch.ones(HEADS, dtype=torch.float64))


def test_a_subset_of_images_stays_in_the_span() -> None:
    """What the bootstrap relies on."""
    data, text = _random(6)
    z, t = span_coordinates(data, text)
    drawn = torch.randint(IMAGES, (IMAGES,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(rank_phrases(z[:, drawn], t, 9, 6).indices, textspan(data[:, drawn], text, 9, 6).indices)


def test_published_pool_has_the_published_size() -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / "textspan_general.txt"
    if not path.exists():
        pytest.skip("the published phrase pool is not on this machine")
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3498


@pytest.mark.parametrize(("rank", "steps", "images"), [(0, 3, 5), (3, 0, 5), (3, PHRASES + 1, 5), (3, 3, 1)])
def test_bad_input_is_one_line(rank: int, steps: int, images: int) -> None:
    data, text = _random(7)
    with pytest.raises(InputError, match=r"expected .* got"):
        textspan(data[:, :images], text, rank, steps)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", ["contributions", "texts"])
def test_one_number_that_is_none_is_one_line(value: float, which: str) -> None:
    draw = torch.Generator().manual_seed(0)
    contributions, text = torch.randn(2, 9, 5, generator=draw), torch.randn(7, 5, generator=draw)
    (contributions[1, 4] if which == "contributions" else text[6])[2] = value
    with pytest.raises(InputError, match=f"{which}.*expected finite numbers, got {value} at") as error:
        textspan(contributions, text, 3, 2)
    assert "\n" not in str(error.value)


def test_contributions_and_texts_of_two_models_are_one_line() -> None:
    with pytest.raises(InputError, match="one dimension, got 5 and 6"):
        textspan.__wrapped__(torch.ones(2, 9, 5), torch.ones(7, 6), 3, 2)  # as a user calls it, without the tests' shape checks
