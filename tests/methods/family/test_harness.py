"""The harness: resumable to the same bytes, an order that is a function of (seed, epoch), one line for what cannot be."""

import dataclasses
import sys

import pytest
import torch
from lightning_fabric import Fabric
from role_maps import make_roles

from dearlib.clip.cut import image_prefix, text_prefix
from dearlib.clip.prefix import Prefix, Streamed
from dearlib.errors import InputError
from dearlib.files import read_tensors
from dearlib.methods import catalogue, family
from dearlib.methods.family import dear as family_dear
from dearlib.methods.harness import Run, accuracy, answers, rows, taught, train
from dearlib.methods.interface import Classes, Method
from dearlib.methods.recipe import Recipe
from dearlib.methods.training import Schedule, TrainingRun, TrainingSet, fit
from dearlib.roles.controls import shuffled_roles

CLASSES = Classes(names=("cup", "key", "ring"))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """[view, picture, 3, side, side]"""
    return torch.randn(4, 6, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def sets(clip, pictures) -> dict[int, TrainingSet]:
    """The same pictures on the verge of every layer that a method here asks for."""
    images = pictures.flatten(0, 1)
    features = clip.encode_image(images)
    return {j: TrainingSet(Prefix(image_prefix(clip.visual, images, j), features, j), LABELS) for j in (6, 7, 9, 12)}


def run(clip, sets, key, *, seed=1, settings=None, checkpoint=None, each_epoch=None, **changes):
    """Cheap forms of the methods: late layers, few tokens."""
    method = catalogue.build(key, clip, CLASSES, settings or CHEAP.get(key, {}), seed, roles=make_roles(clip)).double()
    recipe = catalogue.recipe(key, {"epochs": 3, "batch": 2, **changes})
    data = sets.get(method.needs.image_from, sets[12])
    made = Run(method, data, recipe, seed)
    (curve,) = train([made], method.prepare(CLASSES), Fabric(accelerator="cpu", devices=1), checkpoint, each_epoch)
    return method, curve


SMALL = {
    "mmrl": {"first_layer": 11},
    "mmrl_plus": {"first_layer": 11, "beta": 0.4},
    "dear": {"first_layer": 11},
    "maple": {"depth": 2},
    "promptsrc": {"depth": 2},
    "provp": {"tokens": 2},
}
CHEAP = {"mmrl": {"first_layer": 12}, "mmrl_plus": {"first_layer": 12}, "skiptuning": {"first_layer": 12}, "dear": {"first_layer": 12}}


@pytest.mark.parametrize("key", ["mmrl", "mmrl_plus", "skiptuning", "prograd", "dear"])
def test_training_learns_and_ends_in_eval_mode(clip, sets, key) -> None:
    lr = 3e-2 if key == "prograd" else 1e-2  # it may step against the loss: which steps do is rounding where it starts
    method, curve = run(clip, sets, key, epochs=4, lr=lr, warmup_epochs=0, **({"rates": {}} if key == "skiptuning" else {}))
    assert curve[-1]["cross_entropy"] < curve[0]["cross_entropy"]
    assert [row["epoch"] for row in curve] == [0, 1, 2, 3]
    assert not method.training


class Killed(Exception):
    """Stands for a kill between two epochs."""


@pytest.mark.parametrize("average", ["last", "uniform"])
@pytest.mark.parametrize("key", ["mmrl_plus", "skiptuning"])
def test_a_killed_run_ends_with_the_same_bytes(clip, sets, tmp_path, key, average) -> None:
    whole, curve = run(clip, sets, key, average=average)
    path = tmp_path / "checkpoint.safetensors"

    def kill(method: Method) -> dict[str, float]:
        if path.exists() and len(read_tensors(path)[1]["curves"][0]) == 1:
            raise Killed
        return {}

    with pytest.raises(Killed):
        run(clip, sets, key, average=average, checkpoint=path, each_epoch=kill)
    resumed, rest = run(clip, sets, key, average=average, checkpoint=path)
    assert rest == curve
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True))


def test_the_same_seed_gives_the_same_run(clip, sets) -> None:
    assert run(clip, sets, "mmrl")[1] == run(clip, sets, "mmrl")[1] != run(clip, sets, "mmrl", seed=2)[1]


STACKED = [key for key in catalogue.names() if key not in ("clip", "prograd", "skiptuning", "tac", "promptkd")]


@pytest.mark.parametrize("key", STACKED)
def test_runs_trained_as_one_batch_are_the_runs_trained_apart(clip, sets, pictures, key) -> None:
    """To rounding, and each with its own start, pictures and order."""

    def runs() -> list[Run]:
        made = []
        for seed in (1, 2):
            method = catalogue.build(key, clip, CLASSES, SMALL.get(key, {}), seed, roles=make_roles(clip)).double()
            at = min(method.needs.image_from, 12)
            states = sets[at].source.states if at in sets else image_prefix(clip.visual, pictures.flatten(0, 1), at)
            source = Prefix(states.roll(seed, 0), sets[12].source.features.roll(seed, 0), at)
            made.append(Run(method, TrainingSet(source, LABELS), catalogue.recipe(key, {"epochs": 2, "batch": 3, "eps": 1e-3}), seed))
        return made

    fabric, apart, together = Fabric(accelerator="cpu", devices=1), runs(), runs()
    curves = train(together, together[0].method.prepare(CLASSES), fabric)
    assert len(curves) == 2
    for i, alone in enumerate(apart):
        (curve,) = train([alone], alone.method.prepare(CLASSES), fabric)
        for a, b in zip(curve, curves[i], strict=True):
            assert a == pytest.approx(b, rel=1e-5)
        for a, b in zip(alone.method.parameters(), together[i].method.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
    start = catalogue.build(key, clip, CLASSES, SMALL.get(key, {}), 1, roles=make_roles(clip)).double()
    assert all(not torch.equal(a, b) for a, b in zip(start.parameters(), together[0].method.parameters(), strict=True))


def test_runs_that_do_not_go_together_are_refused(clip, sets) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)

    def one(key="mmrl", data=12, **changes) -> Run:
        method = catalogue.build(key, clip, CLASSES, {**CHEAP.get(key, {}), **changes.pop("settings", {})}, 0)
        return Run(method, sets[data], Recipe(**changes), 0)

    for other in (one(settings={"tokens": 3}), one("mmrl_plus")):
        with pytest.raises(InputError, match="runs of one method with equal settings"):
            train([one(), other], None, fabric)
    roles = make_roles(clip)
    dears = [catalogue.build("dear", clip, CLASSES, CHEAP["dear"], 0, roles=r) for r in (roles, shuffled_roles(roles, 1))]
    with pytest.raises(InputError, match="the same masks"):
        train([Run(d, sets[12], Recipe(), 0) for d in dears], None, fabric)
    with pytest.raises(InputError, match="runs of one recipe"):
        train([one(), one(lr=0.1)], None, fabric)
    with pytest.raises(InputError, match="a method whose runs stack, got SkipT"):
        train([one("skiptuning"), one("skiptuning")], None, fabric)


@pytest.mark.parametrize("block", [1, 4])
def test_pictures_computed_when_asked_for_train_as_kept_ones(clip, sets, pictures, block) -> None:
    """A block of pictures at a time, in the same batches."""
    kept, streamed = (catalogue.build("mmrl", clip, CLASSES, CHEAP["mmrl"], 1).double() for _ in range(2))
    data = TrainingSet(Streamed(clip, 12, lambda i: pictures[:, i], 4, sets[12].source.features), LABELS, block)
    recipe, fabric = Recipe(epochs=2, batch=2, eps=1e-3), Fabric(accelerator="cpu", devices=1)
    (one,) = train([Run(kept, sets[12], recipe, 1)], kept.prepare(CLASSES), fabric)
    (two,) = train([Run(streamed, data, recipe, 1)], streamed.prepare(CLASSES), fabric)
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    for a, b in zip(kept.parameters(), streamed.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_an_epoch_is_a_function_of_seed_and_epoch(clip, sets) -> None:
    """Pictures, views and chance: asked for again, they come again."""
    method = catalogue.build("mmrl", clip, CLASSES, CHEAP["mmrl"], 0).double()
    method.needs = dataclasses.replace(method.needs, views=2)
    made = Run(method, sets[12], Recipe(batch=2), 5)
    one, two, other = (
        [(b.labels, b.states, torch.rand(2, generator=b.chance)) for b in made.batches(e, torch.device("cpu"))] for e in (3, 3, 4)
    )
    assert all(torch.equal(x, y) for a, b in zip(one, two, strict=True) for x, y in zip(a, b, strict=True))
    assert not torch.equal(one[0][2], other[0][2])
    labels, states, _ = one[0]
    assert labels.tolist() == labels[:2].tolist() * 2  # first the first view of both pictures, then the second
    chosen = made.order(3)[0]
    for i, view in enumerate((2, 3)):  # epoch 3 has views 6 and 7 of four
        torch.testing.assert_close(states[2 * i : 2 * i + 2], sets[12].rows(view, chosen)[0])


def test_dear_in_the_harness_is_dear_by_its_own_road(clip, roles, sets) -> None:
    """The same curve and tokens as `training.fit`, which keeps its stacked path."""
    told = {"epochs": 2, "batch": 2, "lr": 1e-2}
    slow = family_dear.Dear(clip, CLASSES, family_dear.Settings(lambda_reg=0.7, lambda_fusion=0.2), 1, roles).double()
    (curve,) = train([Run(slow, sets[9], Recipe(**told), 1)], slow.prepare(CLASSES), Fabric(accelerator="cpu", devices=1))
    fast = family_dear.Dear(clip, CLASSES, family_dear.Settings(), 1, roles).double().model
    schedule = Schedule(lambda_reg=0.7, lambda_fusion=0.2, **told)
    text, frozen = text_prefix(clip, CLASSES.prompts, 9), clip.encode_text(CLASSES.prompts)
    (own,) = fit([TrainingRun(fast, sets[9], schedule, 1)], text, frozen, Fabric(accelerator="cpu", devices=1))
    for a, b in zip(curve, own, strict=True):
        assert a == pytest.approx({k: v for k, v in b.items() if k != "alpha_cls"}, rel=1e-5)
    for a, b in zip(slow.model.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_accuracy_counts_the_right_answers(clip, sets) -> None:
    method, _ = run(clip, sets, "mmrl")
    text, source = method.prepare(CLASSES), sets[12].source
    logits = torch.cat(list(answers(method, source, text, "base", batch=5)))
    assert len(logits) == 24
    labels = LABELS.repeat(4)
    right = (logits.argmax(dim=1) == labels).double().mean().item()
    assert accuracy(method, source, labels, text, "base") == pytest.approx(100 * right)


def test_logits_that_are_no_numbers_have_no_accuracy(clip, sets) -> None:
    method = catalogue.build("linear_map", clip, CLASSES, {}, 0).double()
    with torch.no_grad():
        method.map.mul_(float("nan"))
    with pytest.raises(InputError, match=r"CLIP \+ linear map: logits .*expected finite numbers, got nan"):
        accuracy(method, sets[12].source, LABELS.repeat(4), method.prepare(CLASSES), "base")


def test_a_method_that_runs_no_layer_is_shown_features_alone(clip, sets) -> None:
    method = catalogue.build("coop", clip, CLASSES, {}, 0).double()
    got = rows(method, sets[9].source, torch.tensor([3, 1]))
    assert got.states.shape == (2, 0, clip.d_model)
    torch.testing.assert_close(got.features, sets[9].source.features[[3, 1]])


def test_another_teachers_features(sets) -> None:
    """One a picture is taken for all of its views, one a row as it is."""
    plain = torch.arange(6.0)[:, None].expand(-1, 128)
    assert taught(sets[9], plain).source.features[:, 0].tolist() == [0, 1, 2, 3, 4, 5] * 4
    every = torch.arange(24.0)[:, None].expand(-1, 128)
    assert taught(sets[9], every).source.features[:, 0].tolist() == list(range(24))


def test_nothing_to_train_is_no_epoch(clip, sets) -> None:
    assert run(clip, sets, "clip")[1] == []


def test_a_number_that_is_not_finite_is_one_line(clip, sets) -> None:
    with pytest.raises(InputError, match=r"got .+ that are not, in epoch \d of 3 at learning rate") as caught:
        run(clip, sets, "mmrl", lr=1e30, warmup_epochs=0)
    assert "\n" not in str(caught.value)


def test_too_few_views_and_too_many_processes_are_refused(clip, sets) -> None:
    class Two(Fabric):
        world_size = 2

    method = catalogue.build("mmrl", clip, CLASSES, CHEAP["mmrl"], 0)
    with pytest.raises(InputError, match="expected one process for MMRL, got 2"):
        train([Run(method, sets[12], Recipe(), 0)], None, Two(accelerator="cpu", devices=1))
    method.needs = dataclasses.replace(method.needs, views=5)
    with pytest.raises(InputError, match="expected 5 views a picture for MMRL, got 4"):
        train([Run(method, sets[12], Recipe(), 0)], None, Fabric(accelerator="cpu", devices=1))


@pytest.mark.parametrize(
    ("key", "settings", "message"),
    [
        ("mmlr", {}, "expected mmrl, got 'mmlr'"),
        ("tokens", {}, "got 'tokens'"),
        ("mmrl", {"token": 3}, "mmrl: expected tokens, got the unknown key 'token'"),
        ("mmrl", {"tokens": "many"}, "mmrl: tokens: .*got 'many'"),
        ("dear", {}, "dear: expected roles, got none; DeAR cannot be trained without"),
        ("promptkd", {}, "promptkd: expected teacher, got none"),
        ("mmrl", {"tokens": 0}, "mmrl: tokens: .*greater than or equal to 1, got 0"),
        ("mmrl_plus", {"beta": 1.5}, "mmrl_plus: beta: .*got 1.5"),
        ("promptsrc", {"depth": 13}, "depth: expected 1 to 12 for DeAR-Mini, got 13"),
        ("mmrl", {"first_layer": 13}, "first_layer: expected 1 to 12"),
        ("tcp", {"class_layer": 13}, "class_layer: expected 1 to 12"),
        ("coop", {"tokens": 9}, "expected at least 9 tokens to start from, got 'a photo of a'"),
    ],
)
def test_what_cannot_be_built_is_one_line(clip, key, settings, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        catalogue.build(key, clip, CLASSES, settings, 0)
    assert "\n" not in str(caught.value)


def test_states_of_another_layer_are_refused(clip, sets) -> None:
    """In training and in answering; a method that looks at features alone may be shown any."""
    method = catalogue.build("mmrl", clip, CLASSES, CHEAP["mmrl"], 0)
    with pytest.raises(InputError, match="enter layer 12, the model's J, got those of layer 9"):
        Run(method, sets[9], Recipe(), 0)
    with pytest.raises(InputError, match="got those of layer 9"):
        next(answers(method, sets[9].source, None, "base"))
    Run(catalogue.build("coop", clip, CLASSES, {}, 0), sets[9], Recipe(), 0)


def test_recipes_are_the_authors_with_changes() -> None:
    assert catalogue.recipe("tcp", {"epochs": 3}) == Recipe(epochs=3, batch=32, lr=2e-3, optimiser="adam", eps=1e-3)
    assert catalogue.recipe("skiptuning", {}).lr_of("image.blocks.0.ln_1.weight") == 5e-6
    assert catalogue.recipe("skiptuning", {}).lr_of("text.projection") == 2e-5
    with pytest.raises(InputError, match=r"mmrl: optimiser: .*got 'adamax'"):
        catalogue.recipe("mmrl", {"optimiser": "adamax"})


AUTHORS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "coop": ({"epochs": 200, "batch": 32, "lr": 2e-3}, {"tokens": 4, "init": "a photo of a"}),
    "cocoop": ({"epochs": 10, "batch": 1, "lr": 2e-3}, {"narrow": 16}),
    "maple": ({"epochs": 5, "batch": 4, "lr": 3.5e-3}, {"tokens": 2, "depth": 9, "init": "a photo of a"}),
    "promptsrc": ({"epochs": 20, "batch": 4, "average_at": (15.0, 1.0)}, {"tokens": 4, "depth": 9, "text_weight": 25, "image_weight": 10}),
    "provp": ({"epochs": 100, "batch": 32, "lr": 0.1, "weight_decay": 1e-3}, {"tokens": 16, "beta": 0.99, "weight": 1}),
    "prograd": ({"epochs": 100, "batch": 32, "lr": 2e-3}, {"tokens": 4, "lambda_": 1}),
    "tcp": ({"epochs": 50, "batch": 32, "eps": 1e-3}, {"tokens": 4, "class_layer": 9, "narrow": 4, "init_std": 0.02, "weight": 8}),
    "atprompt": ({"epochs": 100, "batch": 32}, {"tokens": 2, "attribute_tokens": 2, "init_std": 0.02, "attribute_std": 0.01}),
    "mmrl": (
        {"epochs": 10, "batch": 4, "lr": 1e-3},
        {"tokens": 5, "width": 512, "first_layer": 6, "alpha": 0.7, "weight": 0.5, "scale": 100},
    ),
    "mmrl_plus": ({"epochs": 10, "batch": 4}, {"tokens": 5, "first_layer": 6, "beta": 0.9, "rank": 4, "projection_rank": 64}),
    "skiptuning": ({"epochs": 20, "batch": 4, "warmup_lr": 1e-6}, {"first_layer": 7, "share": 0.5, "most": 50, "decay": 0.3}),
    "tac": ({"epochs": 20, "batch": 8, "average": "uniform"}, {"tokens": 5, "depth": 12, "clusters": 5, "views": 4, "dropout": 0.3}),
    "promptkd": ({"epochs": 20, "batch": 8, "lr": 5e-3}, {"tokens": 4, "depth": 9, "weight": 1000}),
}


@pytest.mark.parametrize("key", AUTHORS)
def test_what_nobody_sets_is_the_authors(key: str) -> None:
    """As each method's file cites them: a table's row trained with other numbers is another method."""
    recipe, settings = AUTHORS[key]
    told = dataclasses.asdict(catalogue.recipe(key, {}))
    assert {name: told[name] for name in recipe} == recipe
    found = dataclasses.asdict(catalogue.module(key).Settings())
    assert {name: found[name] for name in settings} == settings


MADE_UP = '''
"""A learned temperature."""
from dataclasses import dataclass
import torch
from dearlib.methods.family.clip import RECIPE, Clip
from dearlib.methods.family.clip import Settings as Nothing
@dataclass(frozen=True, kw_only=True)
class Settings:
    start: float = 0.0
class Scaled(Clip):
    title = "Scaled"
    def __init__(self, clip, classes, settings, seed):
        super().__init__(clip, classes, Nothing(), seed)
        self.factor = torch.nn.Parameter(torch.tensor(1.0 + settings.start))
    def logits(self, pictures, encoded, split):
        return self.factor * super().logits(pictures, encoded, split)
METHOD = Scaled
'''


def test_a_new_file_is_a_new_method(clip, sets, tmp_path, monkeypatch) -> None:
    """Found, built and trained without a word in any other file."""
    (tmp_path / "scaled.py").write_text(MADE_UP)
    monkeypatch.setattr(family, "__path__", [*family.__path__, str(tmp_path)])
    try:
        assert "scaled" in catalogue.names()
        method, curve = run(clip, sets, "scaled", settings={"start": 0.5})
    finally:
        sys.modules.pop("dearlib.methods.family.scaled", None)
    assert len(curve) == 3
    assert method.factor != 1.5
