"""DeAR against a plain form that cuts nothing and loops over heads, and the facts that its masks promise. All in float64."""

import math
from dataclasses import replace

import open_clip
import pytest
import torch
import torch.nn.functional as F
from role_maps import ATTRIBUTES, make_roles

from dearlib.clip.attention import masked_layer, reference
from dearlib.clip.cut import image_prefix, text_prefix
from dearlib.clip.loading import FrozenClip, random_clip
from dearlib.errors import InputError
from dearlib.files import read_tensors, write_tensors
from dearlib.methods.dear import DeAR, Settings
from dearlib.methods.fusion import ImageFeatures
from dearlib.methods.losses import losses
from dearlib.methods.masks import head_mask
from dearlib.roles.controls import uniform_roles

NAMES = ["cup", "green umbrella under the sea", "key"]
PROMPTS = [f"a photo of a {n}." for n in NAMES]


def build(clip, roles, seed=3, **settings) -> DeAR:
    return DeAR(clip, roles, Settings(**settings), seed=seed).double()


@pytest.fixture(scope="module")
def images(clip) -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def states(clip, images) -> torch.Tensor:
    return image_prefix(clip.visual, images, 9)


def plain_image_features(model: DeAR, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Every token of every layer, one head after the other."""
    visual, (batch, n, _), beta = model.clip.visual, states.shape, model.settings.beta
    raw = model.attribute_tokens.expand(batch, -1, -1)
    tokens, originals = raw, states
    for layer in range(9, 13):
        if layer > 9:
            tokens = beta * raw + (1 - beta) * tokens
        x = torch.cat([originals, tokens], dim=1)
        block = visual.transformer.resblocks[layer - 1]
        d = x.shape[-1] // model.clip.heads
        q, k, v = (block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, dim=-1)
        out = []
        for h in range(model.clip.heads):
            at = slice(h * d, (h + 1) * d)
            mask = head_mask(model.roles.at(layer, h), ATTRIBUTES, n, model.settings.tokens_per_attribute, model.settings.routing)
            out.append(reference(*(t[:, None, :, at] for t in (q, k, v)), mask[None, None])[:, 0])
        x = x + block.attn.out_proj(torch.cat(out, dim=-1))
        x = x + block.mlp(block.ln_2(x))
        originals, tokens = x[:, :n], x[:, n:]
    per_token = visual.ln_post(tokens) @ model.projection
    return visual.ln_post(originals[:, 0]) @ visual.proj, per_token.reshape(batch, len(ATTRIBUTES), -1, per_token.shape[-1]).mean(dim=2)


@pytest.mark.parametrize("routing", ["printed", "exclusive"])
@pytest.mark.parametrize(("beta", "tokens"), [(0.3, 1), (0.0, 2), (1.0, 3)])
def test_image_features_equal_the_plain_form(clip, roles, states, beta, tokens, routing) -> None:
    model = build(clip, roles, beta=beta, tokens_per_attribute=tokens, routing=routing)
    got = model.image_features(states)
    cls, attribute = plain_image_features(model, states)
    torch.testing.assert_close(got.cls, cls)
    torch.testing.assert_close(got.attribute, attribute)


@pytest.mark.parametrize("k", [1, 5])
def test_text_features_equal_all_77_columns(clip, roles, k) -> None:
    """Cutting the columns behind the end of text, and all but one row in the last layer, is exact."""
    model = build(clip, roles, text_tokens=k, beta=0.3)
    encoder = clip.model
    tokens = clip.tokenize(PROMPTS)
    x = encoder.token_embedding(tokens) + encoder.positional_embedding
    for block in encoder.transformer.resblocks[:8]:
        x = block(x, attn_mask=encoder.attn_mask)
    raw = model.text_tokens.expand(len(x), -1, -1)
    mask = torch.full((77 + k, 77 + k), float("-inf"), dtype=torch.float64).triu(1)
    start, own, rest = x[:, :1], raw, x[:, 1:]
    for layer in range(9, 13):
        own = own if layer == 9 else 0.3 * raw + 0.7 * own
        x = encoder.transformer.resblocks[layer - 1](torch.cat([start, own, rest], dim=1), attn_mask=mask)
        start, own, rest = x[:, :1], x[:, 1 : 1 + k], x[:, 1 + k :]
    end = tokens.argmax(dim=1) + k
    expected = encoder.ln_final(x[torch.arange(len(x)), end]) @ encoder.text_projection
    torch.testing.assert_close(model.text_features(text_prefix(clip, PROMPTS, 9)), expected)


def test_without_text_tokens_the_text_is_clips(clip, roles) -> None:
    model = build(clip, roles, text_tokens=0)
    torch.testing.assert_close(model.text_features(text_prefix(clip, PROMPTS, 9)), clip.encode_text(PROMPTS))


def test_all_generalization_leaves_the_class_feature(clip, roles, images, states) -> None:
    model = build(clip, uniform_roles("generalization", roles))
    torch.testing.assert_close(model.image_features(states).cls, clip.encode_image(images), rtol=1e-5, atol=1e-8)


def test_all_mixed_does_not(clip, roles, images, states) -> None:
    model = build(clip, uniform_roles("mixed", roles))
    assert not torch.allclose(model.image_features(states).cls, clip.encode_image(images), rtol=1e-3)


def test_flipped_polarity_would_be_noticed(clip, roles, images, states) -> None:
    model = build(clip, uniform_roles("generalization", roles))
    for layer in range(9, 13):
        getattr(model, f"may_attend_{layer}").logical_not_()
    assert not torch.allclose(model.image_features(states).cls, clip.encode_image(images), rtol=1e-3)


def test_tokens_that_nobody_may_see_change_nothing(clip, roles, images, states) -> None:
    model = build(clip, roles)
    n = states.shape[1]
    for layer in range(9, 13):
        mask = getattr(model, f"may_attend_{layer}")
        mask[..., :n], mask[..., n:] = True, False
    torch.testing.assert_close(model.image_features(states).cls, clip.encode_image(images))


def test_one_attribute_head_reaches_the_class_feature_with_its_own_token_alone(clip, roles, states) -> None:
    """All heads blocked but L11 H4, which shows 'texture': nothing else moves the class feature."""
    blocked = uniform_roles("generalization", roles)
    model = build(clip, blocked.with_role(11, 4, "attribute", "texture"))
    features = model.image_features(states)
    (gradient,) = torch.autograd.grad(features.cls.square().sum(), model.attribute_tokens)
    moved = gradient.abs().sum(dim=1) > 0
    # Eq. 8 lets attribute tokens see each other below L11: through 'texture' all of them get to [CLS].
    assert moved.all()
    first = build(clip, blocked.with_role(9, 4, "attribute", "texture"))
    (gradient,) = torch.autograd.grad(first.image_features(states).cls.square().sum(), first.attribute_tokens)
    assert (gradient.abs().sum(dim=1) > 0).tolist() == [a == "texture" for a in ATTRIBUTES]
    before = build(clip, blocked).image_features(states)
    assert not torch.allclose(before.cls, features.cls)


def read_by_picture(model: DeAR, states: torch.Tensor) -> list[bool]:
    """Of every attribute: whether its feature differs between two pictures."""
    attribute = model.image_features(states).attribute
    return [bool((a[0] - a[1]).abs().max() > 1e-9) for a in attribute.unbind(dim=1)]


@pytest.mark.parametrize("routing", ["printed", "exclusive"])
def test_under_all_generalization_attribute_features_know_nothing_of_the_picture(clip, roles, states, routing) -> None:
    """Eq. 8 shields both ways: f_a is one vector, so s_a is a constant per class, whatever the tokens learn."""
    model = build(clip, uniform_roles("generalization", roles), routing=routing)
    attribute = model.image_features(states).attribute
    torch.testing.assert_close(attribute[0], attribute[1], rtol=1e-12, atol=1e-12)
    s = model.similarities(model.image_features(states), clip.encode_text(PROMPTS))
    torch.testing.assert_close(s[0, 1:], s[1, 1:], rtol=1e-10, atol=1e-10)
    assert read_by_picture(build(clip, uniform_roles("mixed", roles)), states) == [True] * 5


def test_who_reads_the_picture_in_an_attribute_head(clip, roles, states) -> None:
    """As printed, all tokens do; exclusively, the head's own alone (in L12, behind which no token sees another)."""
    lone = uniform_roles("generalization", roles).with_role(12, 4, "attribute", "texture")
    assert read_by_picture(build(clip, lone), states) == [True] * 5
    assert read_by_picture(build(clip, lone, routing="exclusive"), states) == [a == "texture" for a in ATTRIBUTES]


def test_a_changed_last_layer_head_changes_one_heads_output(clip, roles, states) -> None:
    """Between two role files that differ in L12 H7, the states before the last MLP differ within H7's output space."""
    a, b = (build(clip, r) for r in (roles.with_role(12, 7, "mixed"), roles.with_role(12, 7, "generalization")))
    x = torch.cat([states, a.attribute_tokens.expand(len(states), -1, -1)], dim=1)
    block = clip.visual.transformer.resblocks[11]
    seen = []
    hook = block.ln_2.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    for model in (a, b):
        masked_layer(block, x, model.may_attend_12[None])
    hook.remove()
    difference = (seen[0] - seen[1]).reshape(-1, clip.d_model)
    d = clip.d_model // clip.heads
    space = block.attn.out_proj.weight[:, 7 * d : 8 * d]
    inside = space @ torch.linalg.lstsq(space, difference.T).solution
    assert difference.abs().max() > 1e-6
    torch.testing.assert_close(inside.T, difference)


def test_only_tokens_projection_and_fusion_train(clip, roles, states) -> None:
    model = build(clip, roles)
    text = text_prefix(clip, PROMPTS, 9)
    image, classes = model.image_features(states), model.text_features(text)
    frozen_text = clip.encode_text(PROMPTS)
    terms = losses(model, image, classes, image.cls.detach() + 0.1, frozen_text, torch.tensor([0, 2]))
    (terms.cross_entropy + terms.regularisation + terms.fusion).backward()
    assert {name for name, p in model.named_parameters()} == {"attribute_tokens", "text_tokens", "projection", "fusion"}
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert all(p.grad is None and not p.requires_grad for p in clip.model.parameters())


def test_parameter_count() -> None:
    """A·D_v + K·D_t + D_v·d + (A + 1): 399,622 for ViT-B/16 with K = 5, without building its weights."""
    with torch.device("meta"):
        vit = open_clip.create_model("ViT-B-16", device="meta").requires_grad_(False)
    clip = FrozenClip("ViT-B-16", vit, random_clip().preprocess, torch.nn.Identity(), "0" * 64)
    model = DeAR(clip, make_roles(clip), Settings())
    assert sum(p.numel() for p in model.parameters()) == 5 * 768 + 5 * 512 + 768 * 512 + 6 == 399_622


def test_tokens_start_at_the_scale_that_is_asked_for(clip, roles) -> None:
    one, ten = (build(clip, roles, init_std=s) for s in (1.0, 10.0))
    for name in ("attribute_tokens", "text_tokens"):
        torch.testing.assert_close(10 * getattr(one, name), getattr(ten, name))
    assert one.attribute_tokens.std().item() == pytest.approx(1, abs=0.1)


def test_settings_are_named(clip) -> None:
    """Two numbers in the wrong order would be two other hyper-parameters."""
    with pytest.raises(TypeError):
        Settings(9, 5)


def test_alpha_starts_where_the_settings_say(clip, roles) -> None:
    model = build(clip, roles, alpha_cls=0.7)
    assert model.alpha.tolist() == pytest.approx([0.7] + [0.06] * 5)


def test_fusion_by_hand(clip, roles) -> None:
    """α = (1/2, 1/10 …): similarities 10 and 0 of the class feature, 0 and 20 of one attribute, give 5 and 2."""
    model = build(clip, roles, alpha_cls=0.5)
    similarities = torch.zeros(1, 6, 2, dtype=torch.float64)
    similarities[0, 0, 0], similarities[0, 3, 1] = 10, 20
    torch.testing.assert_close(model.fuse(similarities)[0], torch.tensor([5.0, 2.0], dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_losses_by_hand(clip, roles) -> None:
    model = build(clip, roles, alpha_cls=0.25)
    e = torch.eye(clip.d_embed, dtype=torch.float64)
    image = ImageFeatures(cls=3 * e[:1], attribute=2 * e[:1].expand(1, 5, -1))
    terms = losses(model, image, text=e[:2], frozen_image=e[1:2], frozen_text=torch.stack([e[0], -e[1]]), labels=torch.tensor([1]))
    scale = clip.scale  # all features say class 0: logits (τ, 0), label 1
    assert terms.cross_entropy.item() == pytest.approx(scale + math.log1p(math.exp(-scale)))
    assert terms.regularisation.item() == pytest.approx(1 + (0 + 2) / 2)
    assert terms.fusion.item() == pytest.approx(math.log(4))


def test_similarities_are_scaled_cosines(clip, roles, states) -> None:
    model = build(clip, roles)
    image, text = model.image_features(states), clip.encode_text(PROMPTS)
    got = model.similarities(image, text)
    assert got.shape == (2, 6, 3)
    torch.testing.assert_close(got[1, 0, 2], clip.scale * F.cosine_similarity(image.cls[1], text[2], dim=0))
    torch.testing.assert_close(got[0, 4, 1], clip.scale * F.cosine_similarity(image.attribute[0, 3], text[1], dim=0))


def test_save_and_load(clip, roles, states, tmp_path) -> None:
    model = build(clip, roles, beta=0.3, text_tokens=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    model.save(tmp_path / "tokens.safetensors")
    loaded = DeAR.load(tmp_path / "tokens.safetensors", clip, roles).double()
    assert loaded.settings == model.settings
    torch.testing.assert_close(loaded.image_features(states).attribute, model.image_features(states).attribute, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="roles_sha256"):
        DeAR.load(tmp_path / "tokens.safetensors", clip, roles.with_role(9, 0, "mixed"))
    other = FrozenClip(clip.name, clip.model, clip.preprocess, clip.tokenizer, "1" * 64)
    with pytest.raises(InputError, match="weights_sha256"):
        DeAR.load(tmp_path / "tokens.safetensors", other, roles)


@pytest.mark.parametrize(("first_layer", "message"), [(13, "expected 1 to 12"), (0, "expected 1 to 12"), (8, "expected 9 or more")])
def test_impossible_first_layer_is_one_line(clip, roles, first_layer, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(clip, roles, first_layer=first_layer)
    assert "\n" not in str(caught.value)


def test_roles_of_other_weights_are_refused(clip, roles) -> None:
    other = roles.model_copy(update={"weights_sha256": "1" * 64})
    with pytest.raises(InputError, match="roles"):
        build(clip, other)


def test_one_weights_file_read_as_another_model_is_refused(clip, roles, tmp_path) -> None:
    """The same weights, pictures prepared in another way: neither its roles nor its tokens are this model's."""
    other = replace(clip, preprocess=replace(clip.preprocess, resize_mode="squash"))
    assert other.weights_sha256 == clip.weights_sha256
    with pytest.raises(InputError, match="another activation or preprocessing") as error:
        build(other, roles)
    assert "\n" not in str(error.value)
    build(clip, roles).save(tmp_path / "tokens.safetensors")
    with pytest.raises(InputError, match="expected identity"):
        DeAR.load(tmp_path / "tokens.safetensors", other, roles.model_copy(update={"identity": other.identity}))


def test_a_file_that_holds_no_trained_part_is_one_line(clip, roles, tmp_path) -> None:
    """Its notes are right, its tensors or its settings are not."""
    build(clip, roles).save(tmp_path / "whole.safetensors")
    tensors, notes = read_tensors(tmp_path / "whole.safetensors")
    spoiled = [
        ({k: v for k, v in tensors.items() if k != "fusion"}, notes),
        (tensors | {"fusion": torch.zeros(2)}, notes),
        (tensors, {k: v for k, v in notes.items() if k != "settings"}),
        (tensors, notes | {"settings": {"depth": 3}}),
    ]
    for number, (held, said) in enumerate(spoiled):
        write_tensors(tmp_path / f"{number}.safetensors", held, said)
        with pytest.raises(InputError, match=r"expected the trained part of a DeAR") as error:
            DeAR.load(tmp_path / f"{number}.safetensors", clip, roles)
        assert "\n" not in str(error.value)
