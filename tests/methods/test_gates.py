"""Gates and controls, by hand and by what must hold."""

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from dearlib.clip.cut import image_prefix, text_prefix
from dearlib.clip.prefix import Prefix
from dearlib.errors import InputError
from dearlib.methods import catalogue, controls
from dearlib.methods.dear import DeAR, Settings
from dearlib.methods.evaluation import constant_attribute_logits, mean_similarities
from dearlib.methods.gates import Gates, gates, shielded_per_layer, token_cosines
from dearlib.methods.harness import Run, train
from dearlib.methods.interface import Batch, Classes
from dearlib.methods.recipe import Recipe
from dearlib.methods.training import TrainingSet
from dearlib.roles.controls import one_attribute, uniform_roles

CLASSES = Classes(names=("cup", "key", "ring"))
LABELS = torch.tensor([0, 1, 2, 0, 1])


@pytest.fixture(scope="module")
def source(clip) -> Prefix:
    images = torch.randn(5, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return Prefix(image_prefix(clip.visual, images, 11), clip.encode_image(images), 11)


def build(clip, roles, **settings) -> DeAR:
    return DeAR(clip, roles, Settings(first_layer=11, **settings), seed=3).double()


def test_token_cosines_by_hand() -> None:
    """Lengths do not count; two pictures, in one of which the two attributes agree."""
    features = torch.tensor([[[2.0, 0.0], [5.0, 0.0]], [[0.0, 1.0], [3.0, 0.0]]])
    torch.testing.assert_close(token_cosines(features), torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64))
    assert Gates(token_cosines(features), 1.0, {}).between_tokens == pytest.approx(0.5)


def test_shielded_heads_are_counted_per_layer(clip, roles) -> None:
    """The pattern gives a quarter each: of twelve heads six are other or generalization."""
    assert shielded_per_layer(roles, 10) == {10: 6, 11: 6, 12: 6}
    assert shielded_per_layer(uniform_roles("mixed", roles).with_role(12, 3, "generalization"), 11) == {11: 0, 12: 1}


def test_gates_of_a_model(clip, roles, source) -> None:
    """All-Generalization leaves the class feature where it was; the stream's pieces do not matter."""
    shielded = gates(build(clip, uniform_roles("generalization", roles)), source)
    assert shielded.class_cosine == pytest.approx(1, abs=1e-9)
    assert shielded.shielded == {11: 12, 12: 12}
    model = build(clip, uniform_roles("mixed", roles), init_std=1.0)
    found, features = gates(model, source), model.image_features(source.states)
    assert found.class_cosine == pytest.approx(F.cosine_similarity(features.cls, source.features, dim=-1).mean().item())
    assert found.class_cosine < 0.9999
    torch.testing.assert_close(found.token_cosines, token_cosines(features.attribute))


def test_one_attribute_keeps_the_attribute_heads(clip, roles, source) -> None:
    """One token, seen by every head that is an attribute's; all else as before."""
    merged = one_attribute(roles)
    assert merged.attributes == ("any",)
    assert [e.role for e in merged.entries] == [e.role for e in roles.entries]
    assert {e.concept for e in merged.entries if e.role == "attribute"} == {"any"}
    model = build(clip, merged)
    assert model.attribute_tokens.shape == (1, clip.d_model)
    assert model.image_features(source.states).attribute.shape == (5, 1, clip.d_embed)


def test_only_the_parts_that_are_named_are_trained(clip, roles, source, tmp_path) -> None:
    model = build(clip, roles, trained=("projection",))
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["projection"]
    model.save(tmp_path / "tokens.safetensors")
    assert DeAR.load(tmp_path / "tokens.safetensors", clip, roles).settings == model.settings
    with pytest.raises(InputError, match=r"trained: expected some of .*, got token; correct"):
        build(clip, roles, trained=("token",))


def test_constant_attributes_by_hand(clip, roles, source) -> None:
    """Each s_a at its mean over the training pictures, whatever the test picture."""
    model, text = build(clip, roles, init_std=1.0), text_prefix(clip, CLASSES.prompts, 11)
    with torch.no_grad():
        model.fusion.add_(torch.arange(6.0))
    features = model.text_features(text)
    s = model.similarities(model.image_features(source.states), features)
    training, test = [source.states[:2], source.states[2:3]], [source.states[3:]]
    mean = s[:3, 1:].mean(dim=0)
    torch.testing.assert_close(mean_similarities(model, training, features), mean)
    expected = model.alpha[0] * s[3:, 0] + sum(a * m for a, m in zip(model.alpha[1:], mean, strict=True))
    torch.testing.assert_close(constant_attribute_logits(model, test, text, training), expected)


def test_constant_attributes_change_nothing_under_all_generalization(clip, roles, source) -> None:
    """There s_a is a constant already."""
    model, text = build(clip, uniform_roles("generalization", roles), init_std=1.0), text_prefix(clip, CLASSES.prompts, 11)
    fused = model.fuse(model.similarities(model.image_features(source.states), model.text_features(text)))
    torch.testing.assert_close(constant_attribute_logits(model, [source.states], text, [source.states[:1]]), fused)


@pytest.mark.parametrize("key", catalogue.names(controls))
def test_controls_start_as_clip_and_learn(clip, key) -> None:
    """And what they may not know of new classes they do not."""
    method = catalogue.build(key, clip, CLASSES, {}, 0).double()
    reference = catalogue.build("clip", clip, CLASSES, {}, 0)
    features = torch.randn(6, clip.d_embed, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    batch = Batch(features.new_empty(6, 0, clip.d_model), features, LABELS.repeat(2)[:6], torch.Generator())
    text, new = method.prepare(CLASSES), method.prepare(Classes(names=("lamp", "shoe")))
    frozen = {split: reference.logits(batch, t, split) for split, t in (("base", text), ("novel", new))}
    torch.testing.assert_close(method.logits(batch, text, "base"), frozen["base"])
    data = TrainingSet(Prefix(batch.states, features, 12), batch.labels)
    (curve,) = train([Run(method, data, Recipe(epochs=4, batch=2, lr=0.1, warmup_epochs=0), 1)], text, Fabric(accelerator="cpu", devices=1))
    assert curve[-1]["cross_entropy"] < curve[0]["cross_entropy"]
    same = torch.allclose(method.logits(batch, new, "novel"), frozen["novel"])
    assert same == (key == "class_bias")


def test_class_constants_move_answers_as_much_as_a_vote_of_their_size(clip) -> None:
    """Cosines are multiplied by τ; a constant that is not would need τ times as many steps to say the same."""
    method = catalogue.build("class_bias", clip, CLASSES, {}, 0).double()
    features = torch.randn(6, clip.d_embed, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    batch = Batch(features.new_empty(6, 0, clip.d_model), features, LABELS.repeat(2)[:6], torch.Generator())
    text = method.prepare(CLASSES)
    frozen = method.logits(batch, text, "base")
    constants = torch.linspace(-0.1, 0.2, len(CLASSES.names), dtype=torch.float64)
    with torch.no_grad():
        method.bias.copy_(constants)
    torch.testing.assert_close(method.logits(batch, text, "base"), frozen + clip.scale * constants)
    torch.testing.assert_close(method.logits(batch, text, "novel"), frozen)
