"""Pre-training of DeAR-Mini: the loss by hand, the batches, and a killed run that resumes to the same weights."""

import errno
import math
import os
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch

from dearlib.clip.loading import ASSETS, load
from dearlib.datasets.world import vocabulary
from dearlib.errors import InputError
from dearlib.files import filled_tensors
from dearlib.mini import batches, pretraining
from dearlib.mini.batches import batch, kept_patches, render_pool
from dearlib.mini.encoders import embedded, encode_image, encode_parts, encode_text
from dearlib.mini.planting import Demands
from dearlib.mini.pretraining import Recipe, contrastive_loss, export, pretrain, rescale

RECIPE = Recipe(
    seed=0,
    images=12,
    batch=4,
    keep=0.5,
    masked_steps=2,
    full_steps=1,
    warmup_steps=2,
    lr_matrices=1e-3,
    lr_others=1e-3,
    weight_decay=0.05,
    first_layer=2,
    planted={"color": 1},
    demands=Demands(late=0.8, purity=0.8, owned=0.5, silence=0.9),
    weight_answers=1.0,
    weight_demands=2.0,
    stream=0.7,
    token=0.02,
    bfloat16=False,
)


def tiny(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return open_clip.CLIP(
        8,
        {"image_size": 64, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
        {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    )


def test_identical_captions_are_positives_of_each_other() -> None:
    """Three pictures, two of them captioned 'a'. With all logits 0, −log of the shares: ln 3 each way."""
    image, text = torch.zeros(3, 2), torch.eye(2)
    image[:, 0] = 1e-30
    even = contrastive_loss(image, ["a", "a", "b"], text, ["a", "b"], torch.tensor(0.0))
    assert even.item() == pytest.approx(math.log(3))


def test_contrastive_loss_equals_the_pairwise_form() -> None:
    """A soft-target cross-entropy on the whole 5 × 5 matrix, a target spread evenly over equal captions."""
    draw = torch.Generator().manual_seed(0)
    captions, unique = ["b", "a", "b", "c", "b"], ["a", "b", "c"]
    image = torch.randn(5, 7, generator=draw, dtype=torch.float64)
    text = torch.randn(3, 7, generator=draw, dtype=torch.float64)
    repeated = text[[unique.index(c) for c in captions]]
    logits = 3 * torch.nn.functional.normalize(image, dim=1) @ torch.nn.functional.normalize(repeated, dim=1).T
    same = torch.tensor([[a == b for b in captions] for a in captions]).double()
    same /= same.sum(dim=1, keepdim=True)
    expected = -(same * logits.log_softmax(dim=1)).sum(1).mean() / 2 - (same * logits.T.log_softmax(dim=1)).sum(1).mean() / 2
    got = contrastive_loss(image, captions, text, unique, torch.tensor(3.0, dtype=torch.float64))
    torch.testing.assert_close(got, expected)


def test_rate_rises_stays_and_falls() -> None:
    recipe = replace(RECIPE, masked_steps=80, full_steps=20, warmup_steps=10)
    rates = [recipe.rate(s) for s in range(recipe.steps)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:60] == [1.0] * 50
    assert rates[80] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.05


def test_a_batch_is_a_function_of_seed_and_step(tmp_path) -> None:
    pool, factors = render_pool(tmp_path, 12, 0)
    first, again = (batch(pool, factors, 12, 4, 0, 1) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert (first.single, first.several, first.prompts) == (again.single, again.several, again.prompts)
    epoch = [batch(pool, factors, 12, 4, 0, s).images for s in range(3)]
    seen = {tuple(np.round(x[0, 0, :4].tolist(), 4)) for b in epoch for x in b}
    assert len(seen) == 12  # an epoch shows every picture once
    (stored,) = tmp_path.glob("pool-*.safetensors")
    with filled_tensors(stored, {"pictures": (torch.uint8, (5, 64, 64, 3))}, {}):
        pass
    with pytest.raises(InputError, match="expected 12 pictures, got 5"):
        render_pool(tmp_path, 12, 0)


def test_a_pool_that_does_not_fit_on_the_disk_is_refused_before_it_is_rendered(tmp_path, monkeypatch) -> None:
    """Memory that is mapped to a file without room for it ends a process without a word when it is written to."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(batches, "tqdm", lambda *_, **__: pytest.fail("rendered for nothing"))
    with pytest.raises(InputError, match=r"pool-.*: could not be written \(.*No space left on device\); make room"):
        render_pool(tmp_path, 12, 0)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_rendered_is_deleted(tmp_path) -> None:
    left = tmp_path / ".pool-12-0.safetensors.of-a-killed-process.partial"
    left.touch()
    os.utime(left, (0, 0))
    render_pool(tmp_path, 12, 0)
    assert not left.exists()


def test_captions_and_labels_are_those_of_the_pictures(tmp_path) -> None:
    """A single caption is one of the step's prompts for the picture's own value; labels count in the factor's values."""
    pool, factors = render_pool(tmp_path, 12, 0)
    made = batch(pool, factors, 12, 12, 0, 0)
    assert sorted(made.prompts) == sorted(vocabulary.FACTORS)
    for i, f in enumerate(factors):  # one batch holds them all, in order
        for name, values in vocabulary.FACTORS.items():
            label = int(made.labels[name][i])
            assert (values[label] if label >= 0 else None) == f.value(name)
        told = [(n, v) for n, own in made.prompts.items() for v, p in zip(vocabulary.FACTORS[n], own, strict=True) if p == made.single[i]]
        assert any(f.value(n) == v for n, v in told)


def test_encoders_equal_open_clips() -> None:
    model = tiny().eval()
    images = torch.randn(2, 3, 64, 64)
    tokens = open_clip.tokenize(["a cup", "a photo of a green umbrella"])
    with torch.no_grad():
        torch.testing.assert_close(encode_image(model.visual, images), model.encode_image(images))
        torch.testing.assert_close(encode_text(model, tokens), model.encode_text(tokens))
        every = torch.arange(64).flip(0).expand(2, -1)
        torch.testing.assert_close(encode_image(model.visual, images, every), model.encode_image(images))


def multihead(attn: torch.nn.MultiheadAttention, x: torch.Tensor) -> torch.Tensor:
    """What goes into the output projection: every head's average of values, side by side."""
    query, key, value = (x @ attn.in_proj_weight.T + attn.in_proj_bias).chunk(3, dim=-1)
    heads = [
        torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) @ v
        for q, k, v in zip(*(t.split(attn.head_dim, dim=-1) for t in (query, key, value)), strict=True)
    ]
    return torch.cat(heads, dim=-1)


def test_parts_are_the_heads_of_the_decomposition() -> None:
    """Against the definition: a head's slice of the output projection, centred, over the final state's deviation."""
    visual = tiny().eval().double().visual
    images = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    block = visual.transformer.resblocks[1]
    with torch.no_grad():
        entering = visual.transformer.resblocks[0](embedded(visual, images, None))
        mixed = multihead(block.attn, block.ln_1(entering))
        final = block(entering)[:, 0]
        whole, parts = encode_parts(visual, images, None, 2)
    std = (final.var(dim=-1, correction=0) + visual.ln_post.eps).sqrt()
    torch.testing.assert_close(whole, visual(images).detach())
    for head in range(2):
        own = torch.zeros_like(mixed[:, 0])
        own[:, 8 * head : 8 * head + 8] = mixed[:, 0, 8 * head : 8 * head + 8]
        written = own @ block.attn.out_proj.weight.T
        expected = (written - written.mean(dim=-1, keepdim=True)) / std[:, None] * visual.ln_post.weight @ visual.proj
        torch.testing.assert_close(parts[:, 0, head], expected)


def test_an_asker_sees_and_is_not_seen() -> None:
    """What is written to [CLS] does not depend on the asker; what the asker is told, at its own place, does on both."""
    visual = tiny().eval().double().visual
    images, other = torch.randn(2, 3, 3, 64, 64, dtype=torch.float64)
    one, two = torch.randn(2, 3, 1, 16, dtype=torch.float64)
    with torch.no_grad():
        plain = encode_parts(visual, images, None, 2)
        asked = encode_parts(visual, images, None, 2, one)
        another = encode_parts(visual, images, None, 2, two)
        elsewhere = encode_parts(visual, other, None, 2, one)
    torch.testing.assert_close(asked[0], plain[0])
    torch.testing.assert_close(asked[1][:, :1], plain[1])
    assert asked[1].shape[1] == 2
    for changed in (another, elsewhere):
        assert (changed[1][:, 1] - asked[1][:, 1]).abs().max() > 1e-6


def test_masked_steps_keep_their_share_of_distinct_patches() -> None:
    kept = kept_patches(0, 1, 4, 64, 0.5)
    assert [len(set(row)) for row in kept.tolist()] == [32] * 4
    assert torch.equal(kept, kept_patches(0, 1, 4, 64, 0.5))
    assert not torch.equal(kept, kept_patches(0, 0, 4, 64, 0.5))


@pytest.mark.parametrize("tower", ["image", "text"])
def test_rescaling_scales_the_stream_and_no_feature(tower) -> None:
    """With the ε of every LayerNorm at 0 the features are the same to rounding, and only one tower's stream is scaled."""
    model, scaled = tiny().eval().double(), tiny().eval().double()
    for each in (model, scaled):
        for module in each.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.eps = 0.0
    rescale(scaled, tower, 1 / 25)
    images, tokens = torch.randn(2, 3, 64, 64, dtype=torch.float64), open_clip.tokenize(["a cup", "a green umbrella"])
    streams: dict[tuple[int, str], torch.Tensor] = {}
    for i, each in enumerate((model, scaled)):
        for name, blocks in (("image", each.visual.transformer.resblocks), ("text", each.transformer.resblocks)):
            blocks[-1].register_forward_pre_hook(lambda _m, given, key=(i, name): streams.__setitem__(key, given[0]))
    with torch.no_grad():
        torch.testing.assert_close(scaled.encode_image(images), model.encode_image(images))
        torch.testing.assert_close(scaled.encode_text(tokens), model.encode_text(tokens))
    for name in ("image", "text"):
        torch.testing.assert_close(streams[1, name], streams[0, name] / (25 if name == tower else 1))


def test_a_killed_run_resumes_to_the_same_weights(tmp_path, monkeypatch) -> None:
    whole = tiny()
    curve = pretrain(whole, RECIPE, tmp_path / "whole", every=1)
    assert [c["step"] for c in curve] == [0, 1, 2]

    real = pretraining.batch

    def killed(*args):
        if args[-1] == 2:  # the step
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(pretraining, "batch", killed)
    with pytest.raises(KeyboardInterrupt):
        pretrain(tiny(), RECIPE, tmp_path / "killed", every=1)
    monkeypatch.undo()
    resumed = tiny(seed=5)
    assert pretrain(resumed, RECIPE, tmp_path / "killed", every=1) == curve
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path) -> None:
    pretrain(tiny(), RECIPE, tmp_path, every=1)
    with pytest.raises(InputError, match="expected a checkpoint of"):
        pretrain(tiny(), replace(RECIPE, lr_others=2e-3), tmp_path, every=1)


def test_export_is_read_by_open_clip(tmp_path) -> None:
    open_clip.add_model_config(ASSETS)
    model = open_clip.create_model("DeAR-Mini")
    digest = export(model, tmp_path / "weights.safetensors")
    loaded = load("DeAR-Mini", tmp_path / "weights.safetensors", sha256=digest)
    torch.testing.assert_close(loaded.visual.proj, model.visual.proj, rtol=1e-3, atol=1e-4)
