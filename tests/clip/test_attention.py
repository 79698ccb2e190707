"""The fast attention equals the definition, and a blocked pair neither reads nor learns."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dearlib.clip.attention import additive, fused, masked_layer, reference


def _tensors(seed: int, batch: int, head: int, query: int, key: int, d_head: int) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    may_attend = torch.rand(batch, head, query, key, generator=draw) < 0.5
    may_attend[..., 0] = True
    return random(batch, head, query, d_head), random(batch, head, key, d_head), random(batch, head, key, d_head), may_attend


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9999), st.integers(1, 3), st.integers(1, 5), st.integers(1, 7), st.integers(1, 11), st.integers(1, 4))
def test_fused_equals_reference(seed: int, batch: int, head: int, query: int, key: int, d_head: int) -> None:
    tensors = _tensors(seed, batch, head, query, key, d_head)
    torch.testing.assert_close(fused(*tensors), reference(*tensors))


def test_reference_by_hand() -> None:
    """Scores 0 and ln 3 of two allowed keys, the third blocked: weights 1/4, 3/4 and 0."""
    query = torch.tensor([[[[1.0]]]])
    key = torch.tensor([0.0, 3.0, 50.0]).log().clamp(min=0).view(1, 1, 3, 1)
    value = torch.tensor([4.0, 8.0, 1e6]).view(1, 1, 3, 1)
    may_attend = torch.tensor([[[[True, True, False]]]])
    assert reference(query, key, value, may_attend).item() == pytest.approx(7.0)


@pytest.mark.parametrize("attend", [reference, fused])
def test_blocked_pairs_have_no_weight_and_no_gradient(attend: object) -> None:
    query, key, value, may_attend = _tensors(1, 2, 3, 5, 7, 4)
    may_attend[:, :, :, 6] = False
    key.requires_grad_(), value.requires_grad_()
    out = attend(query, key, value, may_attend)  # type: ignore[operator]
    out.square().sum().backward()
    assert key.grad is not None
    assert value.grad is not None
    assert not key.grad[:, :, 6].any()
    assert not value.grad[:, :, 6].any()
    assert key.grad[:, :, 0].all()
    assert value.grad[:, :, 0].all()
    value.data[:, :, 6] = 1e9
    torch.testing.assert_close(attend(query, key, value, may_attend), out, rtol=0, atol=0)  # type: ignore[operator]


def test_polarity_matters() -> None:
    """Should somebody read True as *blocked*, this and most of test_model fails."""
    assert additive(torch.tensor([[True, False]]), torch.float64).tolist() == [[0.0, float("-inf")]]
    query, key, value, may_attend = _tensors(2, 1, 2, 3, 5, 4)
    may_attend[..., 1] = False
    flipped = reference(query, key, value, ~may_attend)
    assert not torch.allclose(flipped, reference(query, key, value, may_attend))


def test_masked_layer_equals_open_clips(clip) -> None:
    """With everything allowed; and reading some tokens alone gives exactly their rows."""
    block = clip.visual.transformer.resblocks[8]
    x = torch.randn(3, 17, clip.d_model, dtype=torch.float64)
    everything = torch.ones(1, 1, 17, 17, dtype=torch.bool)
    whole = masked_layer(block, x, everything)
    torch.testing.assert_close(whole, block(x))
    read = torch.tensor([0, 5, 13])
    torch.testing.assert_close(masked_layer(block, x, everything[:, :, read], x[:, read]), whole[:, read])


def test_masked_layer_is_per_head(clip) -> None:
    """Against PyTorch's own attention with a mask for each head."""
    block = clip.visual.transformer.resblocks[9]
    x = torch.randn(2, 7, clip.d_model, dtype=torch.float64)
    may_attend = torch.rand(1, clip.heads, 7, 7) < 0.6
    may_attend[..., 0] = True
    normed = block.ln_1(x)
    mask = ~may_attend.expand(2, -1, -1, -1).reshape(-1, 7, 7)
    attn = block.attn
    expected, _ = F.multi_head_attention_forward(
        *(normed.transpose(0, 1),) * 3,
        clip.d_model,
        clip.heads,
        attn.in_proj_weight,
        attn.in_proj_bias,
        None,
        None,
        False,
        0.0,
        attn.out_proj.weight,
        attn.out_proj.bias,
        attn_mask=mask,
        need_weights=True,
    )
    after = x + expected.transpose(0, 1)
    torch.testing.assert_close(masked_layer(block, x, may_attend), after + block.mlp(block.ln_2(after)))
