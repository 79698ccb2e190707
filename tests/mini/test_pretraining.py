"""Pre-training of DeAR-Mini: the loss by hand, the batches, and a killed run that resumes to the same weights."""

import math
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch

from dearlib.clip.loading import ASSETS, load
from dearlib.errors import InputError
from dearlib.mini import pretraining
from dearlib.mini.pretraining import Recipe, batch, contrastive_loss, encode_image, encode_text, export, kept_patches, pretrain, render_pool

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
)


def tiny(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return open_clip.CLIP(
        8,
        {"image_size": 64, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
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
    recipe = Recipe(0, 10, 2, 0.5, 80, 20, 10, 1.0, 1.0, 0.0)
    rates = [recipe.rate(s) for s in range(recipe.steps)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:60] == [1.0] * 50
    assert rates[80] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.05


def test_a_batch_is_a_function_of_seed_and_step(tmp_path) -> None:
    pool, factors = render_pool(tmp_path, RECIPE.images, RECIPE.seed)
    first, again = batch(pool, factors, RECIPE, 1), batch(pool, factors, RECIPE, 1)
    assert torch.equal(first[0], again[0])
    assert first[1:] == again[1:]
    epoch = [batch(pool, factors, RECIPE, s)[0] for s in range(3)]
    seen = {tuple(np.round(x[0, 0, :4].tolist(), 4)) for b in epoch for x in b}
    assert len(seen) == 12  # an epoch shows every picture once
    (stored,) = tmp_path.glob("pool-*.npy")
    stored.unlink()
    np.save(stored, np.zeros((5, 64, 64, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="expected 12 pictures, got 5"):
        render_pool(tmp_path, RECIPE.images, RECIPE.seed)


def test_encoders_equal_open_clips() -> None:
    model = tiny().eval()
    images = torch.randn(2, 3, 64, 64)
    tokens = open_clip.tokenize(["a cup", "a photo of a green umbrella"])
    with torch.no_grad():
        torch.testing.assert_close(encode_image(model.visual, images), model.encode_image(images))
        torch.testing.assert_close(encode_text(model, tokens), model.encode_text(tokens))
        every = torch.arange(64).flip(0).expand(2, -1)
        torch.testing.assert_close(encode_image(model.visual, images, every), model.encode_image(images))


def test_masked_steps_keep_their_share_of_distinct_patches() -> None:
    kept = kept_patches(RECIPE, 1, 64)
    assert kept is not None
    assert [len(set(row)) for row in kept.tolist()] == [32] * RECIPE.batch
    assert torch.equal(kept, kept_patches(RECIPE, 1, 64))
    assert not torch.equal(kept, kept_patches(RECIPE, 0, 64))
    assert kept_patches(RECIPE, RECIPE.masked_steps, 64) is None


def test_a_killed_run_resumes_to_the_same_weights(tmp_path, monkeypatch) -> None:
    whole = tiny()
    curve = pretrain(whole, RECIPE, tmp_path / "whole", every=1)
    assert [c["step"] for c in curve] == [0, 1, 2]

    real = pretraining.batch

    def killed(*args):
        if args[-1] == 2:
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
