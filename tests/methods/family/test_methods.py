"""Every method: one step's loss and all gradients equal an independent plain form; what is frozen stays so; how much is trained."""

import open_clip
import plain
import pytest
import torch
from role_maps import make_roles

from dearlib.clip.cut import image_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.clip.prefix import Prefix
from dearlib.datasets.transforms import Preprocessing
from dearlib.methods import catalogue
from dearlib.methods.family.promptkd import teacher_features
from dearlib.methods.family.promptsrc import PromptSRC
from dearlib.methods.family.promptsrc import Settings as PromptSRCSettings
from dearlib.methods.interface import Batch, Classes, Pictures

NAMES = ("cup", "green umbrella under the sea", "key", "old ring", "tent")
DESCRIPTIONS = tuple((f"a drawing of a {n}.", f"{n} on a table.") for n in NAMES)
CLASSES = Classes(names=NAMES, template="a picture of a {}, a thing.", descriptions=DESCRIPTIONS)
SETTINGS = {"promptsrc": {"templates": ("a photo of a {}.", "{} seen from above.")}, "mmrl_plus": {"beta": 0.4}, "dear": {"beta": 0.3}}
KEYS = catalogue.names()
PLAIN = {key: getattr(plain, "zero_shot" if key == "clip" else key) for key in KEYS}


def built(key: str, clip: FrozenClip, seed: int = 1):
    """A method in float64, moved away from its start: tokens at their start are nearly nothing."""
    teacher = moved(PromptSRC(clip, CLASSES, PromptSRCSettings(), 7))
    return moved(catalogue.build(key, clip, CLASSES, SETTINGS.get(key, {}), seed, roles=make_roles(clip), teacher=teacher))


def moved(method):
    draw = torch.Generator().manual_seed(3)
    method.double().train()
    with torch.no_grad():
        for name, p in method.named_parameters():
            p.add_((0.01 if name.startswith(("image.", "text.")) else 0.1) * torch.randn(p.shape, generator=draw, dtype=p.dtype))
    return method


@pytest.mark.parametrize("key", KEYS)
def test_where_a_method_enters_is_said_once_for_every_layer(key: str, clip: FrozenClip) -> None:
    """The chart of methods: from the words (0) to what comes after the last layer, in order, one rule for what is learned at a layer."""
    places = [(e.modality, e.source, layer) for e in built(key, clip).enters for layer in range(e.layers[0], e.layers[1] + 1)]
    assert len(places) == len(set(places))
    assert all(0 <= layer <= clip.layers + 1 for _, _, layer in places)
    assert all(e.layers[0] <= e.layers[1] for e in built(key, clip).enters)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(4, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


LABELS = torch.tensor([0, 3, 3, 4])


def batch_of(method, clip: FrozenClip, images: torch.Tensor, labels: torch.Tensor = LABELS) -> Batch:
    """The pictures as the cache has them."""
    needs, v = method.needs, clip.visual
    states = (
        image_prefix(v, images, needs.image_from) if needs.image_from <= clip.layers else images.new_empty(len(images), 0, clip.d_model)
    )
    features = clip.encode_image(images)
    if needs.teacher == "plain":
        features, labels = features[: len(images) // needs.views].repeat(needs.views, 1), labels[:1].repeat(len(labels))
    if needs.teacher == "tuned":
        features = method.teacher.image_features(Pictures(states, features)).detach()
    return Batch(states, features, labels, torch.Generator().manual_seed(11))


def loss_of(method, batch: Batch) -> torch.Tensor:
    found = method.losses(batch, method.prepare(CLASSES))
    assert found.keys() == method.weights.keys()
    return sum(method.weights[name] * term for name, term in found.items())


@pytest.mark.parametrize("key", KEYS)
def test_one_steps_loss_and_gradients_equal_the_plain_form(key: str, clip: FrozenClip, images: torch.Tensor) -> None:
    """From the cache, cut and shared, against pixels and whole prompts."""
    method = built(key, clip)
    batch = batch_of(method, clip, images)
    fast = loss_of(method, batch)
    slow = PLAIN[key](method, images, batch.labels, CLASSES, torch.Generator().manual_seed(11))
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    parameters = dict(method.named_parameters())
    if not parameters:
        return
    ours, theirs = (torch.autograd.grad(x, list(parameters.values()), allow_unused=True) for x in (fast, slow))
    for name, a, b in zip(parameters, ours, theirs, strict=True):
        assert a is not None, name
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * (1 + float(b.abs().max())), msg=lambda m, name=name: f"{name}: {m}")
        assert a.any(), name


@pytest.mark.parametrize("key", KEYS)
def test_frozen_parameters_get_no_gradient_and_do_not_move(key: str, clip: FrozenClip, images: torch.Tensor) -> None:
    method = built(key, clip)
    if list(method.parameters()):
        loss_of(method, batch_of(method, clip, images)).backward()
    frozen = {id(p) for p in clip.model.parameters()}
    assert not frozen & {id(p) for p in method.parameters()}
    assert all(p.grad is None and not p.requires_grad for p in clip.model.parameters())


# Authors' figures where they give one, else what the facts give: tokens × width, maps with their biases.
TRAINED = {
    "clip": 0,
    "coop": 4 * 512,
    "cocoop": 35_360,  # CoCoOp's paper, Table on cost
    "atprompt": (2 + 2 * 2) * 512,
    "prograd": 4 * 512,
    "tcp": 331_904,  # "0.331 M" in TCP's table
    "maple": 3_555_072,  # "3.55 M" in MaPLe's table
    "promptsrc": 46_080,  # "46 K" in PromptSRC's repository
    "provp": 12 * 16 * 768,
    "mmrl": 4_992_256,  # "4.992 M" in MMRL's table
    "mmrl_plus": 813_312,  # "0.813 M" in MMRL++'s table
    "tac": 12 * 5 * (512 + 768) + (512 + 1) * (512 + 768),
    "skiptuning": 6 * (12 * 768**2 + 13 * 768) + 2 * 768 + 768 * 512 + 6 * (12 * 512**2 + 13 * 512) + 2 * 512 + 512 * 512,
    "promptkd": 9 * 4 * 768 + 513 * 768 + 2 * 768 + 769 * 768,  # with the teacher's dimension of ViT-L/14
    "dear": 399_622,
}


@pytest.mark.parametrize("key", KEYS)
def test_trained_numbers_at_the_papers_size(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is computed: ViT-B/16 is laid out without memory."""
    vit, large = (on_meta(name) for name in ("ViT-B-16", "ViT-L-14"))
    monkeypatch.setattr("dearlib.methods.family.tac.described", lambda clip, classes, _: torch.randn(5, clip.d_embed))
    teacher = PromptSRC(large, CLASSES, PromptSRCSettings(), 0)
    method = catalogue.build(key, vit, CLASSES, {}, 0, roles=make_roles(vit), teacher=teacher)
    assert sum(p.numel() for p in method.parameters()) == TRAINED[key]


def on_meta(name: str) -> FrozenClip:
    with torch.device("meta"):
        model = open_clip.create_model(name, device="meta").requires_grad_(False)
    preprocess = Preprocessing.of_config(open_clip.get_model_preprocess_cfg(model))
    return FrozenClip(name, model, preprocess, open_clip.get_tokenizer(name), "0" * 64)


@pytest.mark.parametrize("key", KEYS)
def test_answers_of_every_split(key: str, clip: FrozenClip, images: torch.Tensor) -> None:
    """New classes get answers too; of a picture they do not depend on the others in its batch."""
    method = built(key, clip).eval()
    batch = batch_of(method, clip, images)
    new = method.prepare(Classes(names=("lamp", "shoe"), template=CLASSES.template))
    with torch.no_grad():
        encoded = method.encode(new)
        for split in ("base", "novel", "transferred"):
            together = method.logits(batch, encoded, split)
            assert together.shape == (4, 2)
            alone = method.logits(Pictures(batch.states[:1], batch.features[:1]), encoded, split)
            torch.testing.assert_close(together[:1], alone, rtol=1e-9, atol=1e-9)


def test_teacher_features_are_the_teachers(clip: FrozenClip, images: torch.Tensor) -> None:
    method = built("promptkd", clip)
    source = Prefix(image_prefix(clip.visual, images, 1), clip.encode_image(images), 1)
    torch.testing.assert_close(teacher_features(method.teacher, source, 3), batch_of(method, clip, images).features)
