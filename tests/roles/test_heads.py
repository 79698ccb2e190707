"""Head contributions: the parts add up to open_clip's own feature, and each head's part is what removing it takes away."""

import open_clip
import pytest
import torch
from torch import Tensor, nn

from dearlib.errors import InputError
from dearlib.roles.heads import decompose, head_contributions, mean_ablate

# Distinct primes, so that no transposition passes: 3 images, 5 layers, 7 heads of width 11, joint dimension 13.
IMAGES, LAYERS, HEADS, D_HEAD, D_EMBED = 3, 5, 7, 11, 13


def _visual(seed: int = 0, **options: object) -> nn.Module:
    torch.manual_seed(seed)
    visual = open_clip.transformer.VisionTransformer(
        image_size=12, patch_size=4, width=HEADS * D_HEAD, layers=LAYERS, heads=HEADS, mlp_ratio=2.0, output_dim=D_EMBED, **options
    )
    for parameter in visual.parameters():  # biases and norms start at 0 and 1, which would hide a forgotten one
        nn.init.normal_(parameter, std=0.3)
    return visual.eval()


def _images(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(IMAGES, 3, 12, 12, generator=torch.Generator().manual_seed(1), dtype=dtype)


def _error(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize("options", [{}, {"act_layer": open_clip.transformer.QuickGELU}, {"no_ln_pre": True}, {"ls_init_value": 0.5}])
def test_parts_add_up_to_open_clips_feature(dtype: torch.dtype, bound: float, options: dict) -> None:
    visual, images = _visual(**options).to(dtype), _images(dtype)
    parts = decompose(visual, images)
    assert parts.heads.shape == (IMAGES, LAYERS, HEADS, D_EMBED)
    assert parts.mlps.shape == (IMAGES, LAYERS, D_EMBED)
    with torch.no_grad():
        assert _error(parts.total, visual(images)) <= bound


def test_parts_of_a_registered_model_add_up() -> None:
    from dearlib.clip.loading import random_clip

    clip = random_clip()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert _error(decompose(clip.visual, images).total, clip.encode_image(images)) <= 1e-4


@pytest.mark.parametrize("first_layer", [1, 4, LAYERS])
def test_head_contributions_are_the_later_layers_of_decompose(first_layer: int) -> None:
    visual, images = _visual(), _images()
    torch.testing.assert_close(head_contributions(visual, images, first_layer), decompose(visual, images).heads[:, first_layer - 1 :])


def test_one_head_equals_its_naive_form() -> None:
    """Last layer, from open_clip's own attention: weights of nn.MultiheadAttention, values by hand, one head at a time."""
    visual, images = _visual().double(), _images(torch.float64)
    with torch.no_grad():
        x = visual._embeds(images)
        for block in visual.transformer.resblocks[:-1]:
            x = block(x)
        block = visual.transformer.resblocks[-1]
        y, final = block.ln_1(x), block(x)[:, 0]
        weights = block.attn(y, y, y, need_weights=True, average_attn_weights=False)[1]
        values = y @ block.attn.in_proj_weight[-HEADS * D_HEAD :].T + block.attn.in_proj_bias[-HEADS * D_HEAD :]
        shares = (2 * LAYERS + 1) * HEADS
        std = (final.var(dim=1, correction=0) + visual.ln_post.eps).sqrt()[:, None]
        for h in range(HEADS):
            columns = slice(h * D_HEAD, (h + 1) * D_HEAD)
            read = torch.stack([weights[b, h, 0] @ values[b, :, columns] for b in range(IMAGES)])
            wrote = read @ block.attn.out_proj.weight[:, columns].T + block.attn.out_proj.bias / HEADS
            normed = (wrote - final.mean(dim=1, keepdim=True) / shares) / std * visual.ln_post.weight + visual.ln_post.bias / shares
            torch.testing.assert_close(head_contributions(visual, images, LAYERS)[:, 0, h], normed @ visual.proj)


def test_a_head_lies_in_few_dimensions() -> None:
    """d_head directions of its own, and at most three more from the shared bias, mean and `ln_post` bias."""
    torch.manual_seed(0)
    visual = open_clip.transformer.VisionTransformer(12, 4, 35, 2, 7, 2.0, output_dim=31).double().eval()
    for parameter in visual.parameters():
        nn.init.normal_(parameter, std=0.3)
    heads = head_contributions(visual, torch.randn(40, 3, 12, 12, dtype=torch.float64), 2)[:, 0]
    assert all(torch.linalg.matrix_rank(heads[:, h], rtol=1e-9) == 5 + 3 for h in range(7))


def test_mean_ablation_by_hand() -> None:
    contributions = torch.tensor([[[[1.0, 0.0], [5.0, 5.0]]], [[[3.0, 2.0], [7.0, 9.0]]]])  # 2 images, 1 layer, 2 heads
    total = torch.tensor([[10.0, 10.0], [20.0, 20.0]])
    chosen = torch.tensor([[True, False]])
    assert mean_ablate(total, contributions, chosen).tolist() == [[11.0, 11.0], [19.0, 19.0]]
    zero = torch.zeros(1, 2, 2)
    assert mean_ablate(total, contributions, chosen, zero).tolist() == [[9.0, 10.0], [17.0, 18.0]]
    assert torch.equal(mean_ablate(total, contributions, torch.zeros_like(chosen)), total)


def test_mean_ablation_takes_away_the_heads_variation() -> None:
    parts = decompose(_visual().double(), _images(torch.float64))
    chosen = torch.ones(LAYERS, HEADS, dtype=torch.bool)
    rest = parts.embedding + parts.mlps.sum(dim=1) + parts.heads.sum(dim=(1, 2)).mean(dim=0)
    torch.testing.assert_close(mean_ablate(parts.total, parts.heads, chosen), rest)


def test_bad_input_is_one_line() -> None:
    visual, images = _visual(), _images()
    for call in (
        lambda: head_contributions(visual, images, LAYERS + 1),
        lambda: head_contributions(visual, images, 0),
        lambda: decompose(visual, torch.zeros(1, 3, 16, 16)),
        lambda: decompose(_visual(pool_type="avg"), images),
        lambda: decompose(_visual(attentional_pool=True, attn_pooler_heads=1), images),
        lambda: decompose(_visual(block_type="custom"), images),
        lambda: decompose(nn.Linear(2, 2), images),
    ):
        with pytest.raises(InputError, match=r"expected .* got") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_picture_that_is_no_number_is_one_line(clip) -> None:
    images = torch.zeros(2, 3, 64, 64, dtype=torch.float64)
    images[1, 0, 0, 0] = torch.nan
    for parts in (lambda: decompose(clip.visual, images), lambda: head_contributions(clip.visual, images, 9)):
        with pytest.raises(InputError, match=r"expected finite numbers, got nan at \[1, 0\]"):
            parts()
