"""`fit`: the schedule by hand; same seed, same numbers; the cache changes nothing; a killed run ends where it would have."""

import math

import pytest
import torch
from lightning_fabric import Fabric

from dearlib.clip.cut import image_prefix, image_suffix, run_layers, text_prefix
from dearlib.clip.prefix import Prefix, Streamed
from dearlib.errors import InputError
from dearlib.files import read_tensors, write_tensors
from dearlib.methods.dear import DeAR, Settings
from dearlib.methods.evaluation import accuracy, evaluate, evaluate_together, harmonic_mean, zero_shot
from dearlib.methods.losses import losses
from dearlib.methods.recipe import Recipe, optimiser_of, set_rates
from dearlib.methods.training import Schedule, TrainingRun, TrainingSet, fit
from dearlib.roles.controls import shuffled_roles, uniform_roles

PROMPTS = ["a photo of a cup.", "a photo of a key.", "a photo of a ring."]


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """[view, picture, 3, side, side]"""
    return torch.randn(2, 6, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def data(clip, pictures) -> TrainingSet:
    states = image_prefix(clip.visual, pictures.flatten(0, 1), 9)
    frozen = image_suffix(clip.visual, states, 9)
    return TrainingSet(Prefix(states, frozen, 9), torch.tensor([0, 0, 1, 1, 2, 2]))


def one(clip, roles, data, *, seed=1, epochs=3, beta=0.5, lr=1e-2, **schedule) -> TrainingRun:
    model = DeAR(clip, roles, Settings(text_tokens=2, beta=beta), seed=seed).double()
    return TrainingRun(model, data, Schedule(epochs=epochs, batch=2, lr=lr, **schedule), seed)


def fitted(clip, runs, checkpoint=None, each_epoch=None):
    fabric = Fabric(accelerator="cpu", devices=1)
    return fit(runs, text_prefix(clip, PROMPTS, 9), clip.encode_text(PROMPTS), fabric, checkpoint, each_epoch)


def run(clip, roles, data, *, checkpoint=None, each_epoch=None, **settings):
    made = one(clip, roles, data, **settings)
    told = (lambda models: [each_epoch(m) for m in models]) if each_epoch else None
    (curve,) = fitted(clip, [made], checkpoint, told)
    return made.model, curve


def test_runs_trained_together_are_the_runs_trained_apart(clip, roles, data) -> None:
    """Other seeds, roles, β and λ in one batch: each run's curve and tokens are its own."""

    def runs() -> list[TrainingRun]:
        return [
            one(clip, roles, data, seed=1),
            one(clip, uniform_roles("mixed", roles), data, seed=2, beta=0.9),
            one(clip, shuffled_roles(roles, 0), data, seed=1, lambda_reg=0.0, lambda_fusion=3.0),
        ]

    together, apart = runs(), runs()
    curves = fitted(clip, together)
    for i, alone in enumerate(apart):
        (curve,) = fitted(clip, [alone])
        assert [sorted(row) for row in curve] == [sorted(row) for row in curves[i]]
        for a, b in zip(curve, curves[i], strict=True):
            assert a == pytest.approx(b, rel=1e-5)  # means are kept in single precision
        for a, b in zip(alone.model.parameters(), together[i].model.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)  # AdamW divides by gradients near 0


def test_runs_of_other_shapes_are_refused(clip, roles, data) -> None:
    with pytest.raises(InputError, match="same epochs"):
        fitted(clip, [one(clip, roles, data), one(clip, roles, data, epochs=4)])
    odd = TrainingRun(DeAR(clip, roles, Settings(text_tokens=3)).double(), data, Schedule(epochs=3, batch=2), 1)
    with pytest.raises(InputError, match="one shape"):
        fitted(clip, [one(clip, roles, data), odd])


def test_more_processes_than_pictures_in_a_batch_are_refused(clip, roles, data) -> None:
    """An empty share has no mean."""

    class Three(Fabric):
        world_size = 3

    model = one(clip, roles, data)
    with pytest.raises(InputError, match="expected at most 2 processes, one per picture of a batch, got 3"):
        fit([model], text_prefix(clip, PROMPTS, 9), clip.encode_text(PROMPTS), Three(accelerator="cpu", devices=1))


def test_schedule_by_hand() -> None:
    """CoOp's: the warm-up epoch, then the whole cosine from its top, so that the last rate is above zero."""
    schedule = Schedule(epochs=4, lr=8.0, warmup_epochs=1, warmup_lr=0.5)
    assert [schedule.rate(e) for e in range(4)] == pytest.approx([0.5, 8.0, 4 * (1 + math.sqrt(0.5)), 4.0])
    assert Schedule(epochs=2, lr=8.0, warmup_epochs=0).rate(0) == 8.0


def test_schedules_are_named() -> None:
    """Swapped weights of two terms once went unnoticed."""
    with pytest.raises(TypeError):
        Schedule(3, 2, 1e-3)


def test_tokens_and_fusion_weights_have_their_own_rates(clip, roles, data) -> None:
    """At rate 0 and without decay a parameter stays; left as such all have `lr`."""
    same, apart = run(clip, roles, data)[0], run(clip, roles, data, lr_tokens=1e-2, lr_fusion=1e-2)[0]
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), apart.parameters(), strict=True))
    start = one(clip, roles, data).model
    for told, still in (({"lr_tokens": 0.0}, {"attribute_tokens", "text_tokens"}), ({"lr_fusion": 0.0}, {"fusion"})):
        model, _ = run(clip, roles, data, weight_decay=0.0, warmup_epochs=0, **told)
        moved = {n for (n, a), b in zip(model.named_parameters(), start.parameters(), strict=True) if not torch.equal(a, b)}
        assert moved == {"attribute_tokens", "text_tokens", "projection", "fusion"} - still


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_parameter_without_a_gradient_decays_by_rate_times_decay(optimiser: str) -> None:
    """Each of a stack's runs by its own decay; with 0 it stays."""
    modules = [torch.nn.Linear(2, 1, bias=False) for _ in range(2)]
    recipes = [Recipe(lr=0.1, weight_decay=d, optimiser=optimiser, warmup_epochs=0, epochs=1) for d in (0.3, 0.0)]
    before = [m.weight.detach().clone() for m in modules]
    made = optimiser_of(modules, recipes)
    set_rates(made, 0)
    for module in modules:
        module.weight.grad = torch.zeros_like(module.weight)
    made.step()
    torch.testing.assert_close(modules[0].weight, before[0] * (1 - 0.1 * 0.3))
    assert torch.equal(modules[1].weight, before[1])


def test_the_weights_of_the_terms_are_theirs(clip, roles, data) -> None:
    """The first step's gradients are those of Eq. 12 with λ_reg and λ_fusion where they belong."""
    made = one(clip, roles, data, lambda_reg=0.7, lambda_fusion=3.0, epochs=1, warmup_epochs=0)
    model, order, text = made.model, made.order(0)[:2], text_prefix(clip, PROMPTS, 9)
    states, frozen = data.rows(0, order)
    image, classes = model.image_features(states), model.text_features(text)
    found = losses(model, image, classes, frozen, clip.encode_text(PROMPTS), data.labels[order])
    whole = found.cross_entropy + 0.7 * found.regularisation + 3.0 * found.fusion
    expected = torch.autograd.grad(whole, list(model.parameters()))
    seen = [[] for _ in expected]
    for parameter, kept in zip(model.parameters(), seen, strict=True):
        parameter.register_hook(lambda g, kept=kept: kept.append(g.clone()))
    fitted(clip, [made])
    for kept, gradient in zip(seen, expected, strict=True):
        torch.testing.assert_close(kept[0], gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("lr", [1e30, float("inf")])
def test_a_number_that_is_not_finite_ends_the_training(clip, roles, data, tmp_path, lr) -> None:
    """Before a checkpoint or a record is made of it, naming where it was met."""
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(InputError, match=r"expected finite numbers, got \w+.* that are not, in epoch 1 of 3 at learning rate") as caught:
        run(clip, roles, data, checkpoint=path, warmup_epochs=0, lr=lr)
    assert "\n" not in str(caught.value)
    assert not path.exists()


def test_a_parameter_lost_in_the_last_step_is_noticed(clip, roles, data) -> None:
    """Its loss has not been seen by anybody."""
    made = one(clip, roles, data, epochs=1)
    steps = len(made.order(0)) // 2
    seen = []
    made.model.fusion.register_hook(lambda g: seen.append(g) or (g * float("nan") if len(seen) == steps else g))
    with pytest.raises(InputError, match="got fusion that are not, in epoch 1 of 1"):
        fitted(clip, [made])


def test_averages_over_epochs_by_hand() -> None:
    recipe = Recipe(epochs=3, average="gaussian", average_at=(2.0, 1.0))
    assert [recipe.share(e) for e in range(3)] == pytest.approx([math.exp(-0.5), 1.0, math.exp(-0.5)])
    assert [Recipe(epochs=3, average="uniform").share(e) for e in range(3)] == [1, 1, 1]
    assert [Recipe(epochs=3).share(e) for e in range(3)] == [0, 0, 1]


@pytest.mark.parametrize("average", ["uniform", "gaussian"])
def test_the_average_is_that_of_the_epochs_ends(clip, roles, data, tmp_path, average) -> None:
    """And a killed run ends with the same one."""
    told = {"average": average, "average_at": (2.0, 0.7)}
    ends, path = [], tmp_path / "checkpoint.safetensors"

    def keep(model: DeAR) -> dict[str, float]:
        ends.append([p.detach().clone() for p in model.parameters()])
        return {}

    whole, curve = run(clip, roles, data, each_epoch=keep, **told)
    shares = [Recipe(epochs=3, **told).share(e) for e in range(3)]
    for got, *each in zip(whole.parameters(), *ends, strict=True):
        torch.testing.assert_close(got, sum(s * e for s, e in zip(shares, each, strict=True)) / sum(shares))

    def kill(model: DeAR) -> dict[str, float]:
        if path.exists():
            raise Killed
        return {}

    with pytest.raises(Killed):
        run(clip, roles, data, checkpoint=path, each_epoch=kill, **told)
    resumed, rest = run(clip, roles, data, checkpoint=path, **told)
    assert rest == curve
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_the_same_seed_gives_the_same_run(clip, roles, data) -> None:
    (one, curve), (two, again) = run(clip, roles, data), run(clip, roles, data)
    assert curve == again
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert run(clip, roles, data, seed=2)[1] != curve


def test_training_learns_and_leaves_clip_alone(clip, roles, data) -> None:
    before = {k: v.clone() for k, v in clip.model.state_dict().items()}
    model, curve = run(clip, roles, data, epochs=8)
    assert curve[-1]["cross_entropy"] < curve[0]["cross_entropy"] - 0.1
    assert curve[0]["alpha_cls"] < curve[-1]["alpha_cls"] < 1
    assert all(torch.equal(before[k], v) for k, v in clip.model.state_dict().items())
    assert all(p.grad is None for p in clip.model.parameters())
    assert not model.training


class Killed(Exception):
    """Stands for a kill between two epochs."""


@pytest.mark.parametrize("survived", [1, 2])
def test_a_killed_run_ends_where_it_would_have(clip, roles, data, tmp_path, survived) -> None:
    whole, curve = run(clip, roles, data)
    path = tmp_path / "checkpoint.safetensors"

    def kill(model: DeAR) -> dict[str, float]:
        if path.exists() and len(read_tensors(path)[1]["curves"][0]) == survived:
            raise Killed
        return {}

    with pytest.raises(Killed):
        run(clip, roles, data, checkpoint=path, each_epoch=kill)
    resumed, rest = run(clip, roles, data, checkpoint=path)
    assert rest == curve
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert run(clip, roles, data, checkpoint=path)[1] == curve  # a finished run is not trained further


def test_the_cached_prefix_trains_like_the_whole_encoder(clip, roles, data, pictures) -> None:
    """Without room in the cache the prefix is computed when it is needed, a block of pictures at a time."""
    streamed = Streamed(clip, 9, lambda i: pictures[:, i], 2, data.source.features)
    for block in (1, 4):
        (one, curve), (two, again) = run(clip, roles, data), run(clip, roles, TrainingSet(streamed, data.labels, block))
        for a, b in zip(curve, again, strict=True):
            assert a == pytest.approx(b, rel=1e-5)
        for a, b in zip(one.parameters(), two.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_views_take_turns(clip, roles, data) -> None:
    """Epoch e sees view e mod 2: spoiling view 1 changes nothing before epoch 1."""
    states = data.source.states.clone()
    states[6:] *= 0.5
    spoiled = TrainingSet(Prefix(states, data.source.features, 9), data.labels)
    curve, other = run(clip, roles, data)[1], run(clip, roles, spoiled)[1]
    assert curve[0] == other[0]
    assert curve[1] != other[1]


def test_a_views_teacher_is_the_frozen_feature_of_that_view(data) -> None:
    chosen = torch.tensor([4, 0])
    for view in (0, 1):
        states, features = data.rows(view, chosen)
        assert torch.equal(states, data.source.states[6 * view + chosen])
        assert torch.equal(features, data.source.features[6 * view + chosen])
    assert not torch.equal(data.rows(0, chosen)[1], data.rows(1, chosen)[1])


def test_accuracy_and_harmonic_mean_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [0.0, 5.0, 2.0], [9.0, 5.0, 2.0]])
    assert accuracy(logits, torch.tensor([0, 2, 1, 2])) == 75.0
    assert harmonic_mean(60.0, 90.0) == pytest.approx(72)
    assert harmonic_mean(0.2, 0.3) == pytest.approx(0.24), "in percent or as shares"
    assert harmonic_mean(100.0, 0.0) == harmonic_mean(0.0, 0.0) == 0.0


def test_logits_that_are_no_numbers_have_no_accuracy(clip, roles, data) -> None:
    """The largest of NaN is the first: every picture would be of class 0."""
    with pytest.raises(InputError, match=r"logits .*expected finite numbers, got nan at \[1, 0\]"):
        accuracy(torch.tensor([[1.0, 2.0], [float("nan"), 0.0]]), torch.tensor([1, 0]))
    model = one(clip, roles, data).model
    with torch.no_grad():
        model.projection.mul_(float("nan"))
    text, (states, _) = text_prefix(clip, PROMPTS, 9), data.rows(0, torch.arange(6))
    with pytest.raises(InputError, match=r"logits .*expected finite numbers, got nan"):
        evaluate(model, states, text, data.labels)


def test_zero_shot_ignores_lengths() -> None:
    text = torch.tensor([[100.0, 0.0], [0.0, 1.0]])
    images = torch.tensor([[1.0, 2.0], [50.0, 1.0]])
    assert zero_shot(images, text, torch.tensor([1, 0])) == 100.0


def test_evaluate_does_not_depend_on_the_batch(clip, roles, data) -> None:
    model, _ = run(clip, roles, data)
    text, states = text_prefix(clip, PROMPTS, 9), data.source.states[:6]
    whole = evaluate(model, states, text, data.labels)
    assert evaluate(model, states, text, data.labels, batch=4) == whole
    image, classes = model.image_features(states), model.text_features(text)
    similarities = model.similarities(image, classes)
    assert whole.class_feature == accuracy(similarities[:, 0], data.labels)
    assert whole.fused == accuracy(model.fuse(similarities), data.labels)


def test_models_of_several_first_layers_are_evaluated_on_one_stream(clip, roles, data) -> None:
    states = data.source.states[:6]
    models = [DeAR(clip, roles, Settings(first_layer=j, text_tokens=k), seed=j).double() for j, k in ((9, 2), (11, 0))]
    texts = {j: text_prefix(clip, PROMPTS, j) for j in (9, 11)}
    found = evaluate_together(models, Prefix(states, data.source.features[:6], 9), texts, data.labels)
    deeper = run_layers(clip.visual.transformer, states, 9, 10)
    with pytest.raises(InputError, match="enter layer 9, the model's J, got those of layer 10"):
        evaluate_together(models, Prefix(states, data.source.features[:6], 10), texts, data.labels)
    assert found == [evaluate(models[0], states, texts[9], data.labels), evaluate(models[1], deeper, texts[11], data.labels)]


def test_states_of_another_layer_train_nothing(clip, roles, data) -> None:
    """Pictures and prompts of layer 9, a model with J = 10: the shapes agree, nothing else does."""
    model = DeAR(clip, roles, Settings(first_layer=10)).double()
    with pytest.raises(InputError, match="enter layer 10, the model's J, got those of layer 9"):
        TrainingRun(model, data, Schedule(), 1)
    with pytest.raises(InputError, match="enter layer 10, the model's J, got those of layer 9"):
        model.text_features(text_prefix(clip, PROMPTS, 9))


def test_a_checkpoint_of_something_else_is_one_line(clip, roles, data, tmp_path) -> None:
    """Tensors or curves that are not this run's: refused, not half loaded."""
    path = tmp_path / "checkpoint.safetensors"
    run(clip, roles, data, checkpoint=path)
    tensors, notes = read_tensors(path)
    spoiled = [
        ({k: v for k, v in tensors.items() if "fusion" not in k}, notes),
        (tensors | {"model0.fusion": torch.zeros(2)}, notes),
        ({k: v for k, v in tensors.items() if not k.startswith("model0")}, notes),
        (tensors | {"optimiser.zero.step": torch.zeros(1)}, notes),
        (tensors, {}),
        (tensors, {"curves": 3}),
        (tensors, {"curves": [[], []]}),
    ]
    for held, said in spoiled:
        write_tensors(path, held, said)
        with pytest.raises(InputError, match="checkpoint") as error:
            run(clip, roles, data, checkpoint=path)
        assert "\n" not in str(error.value)
