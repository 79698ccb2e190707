"""`fit`: the schedule by hand; same seed, same numbers; the cache changes nothing; a killed run ends where it would have."""

import math

import pytest
import torch
from lightning_fabric import Fabric

from dearlib.checkpoint import read_tensors
from dearlib.clip import image_prefix, image_suffix, text_prefix
from dearlib.evaluation import accuracy, evaluate, harmonic_mean, zero_shot
from dearlib.model import DeAR, Settings
from dearlib.training import Schedule, TrainingSet, fit

PROMPTS = ["a photo of a cup.", "a photo of a key.", "a photo of a ring."]


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """[view, picture, 3, side, side]"""
    return torch.randn(2, 6, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def data(clip, pictures) -> TrainingSet:
    states = image_prefix(clip.visual, pictures.flatten(0, 1), 9)
    frozen = image_suffix(clip.visual, states, 9)
    return TrainingSet(states.unflatten(0, (2, 6)), frozen.unflatten(0, (2, 6)), torch.tensor([0, 0, 1, 1, 2, 2]))


def run(clip, roles, data, *, seed=1, epochs=3, checkpoint=None, each_epoch=lambda model: {}):
    model = DeAR(clip, roles, Settings(text_tokens=2), seed=seed).double()
    text = text_prefix(clip, PROMPTS, 9)
    fabric = Fabric(accelerator="cpu", devices=1)
    schedule = Schedule(epochs=epochs, batch=2, lr=1e-2)
    return model, fit(model, data, text, clip.encode_text(PROMPTS), schedule, seed, fabric, checkpoint, each_epoch)


def test_schedule_by_hand() -> None:
    """CoOp's: the warm-up epoch, then the whole cosine from its top, so that the last rate is above zero."""
    schedule = Schedule(epochs=4, lr=8.0, warmup_epochs=1, warmup_lr=0.5)
    assert [schedule.rate(e) for e in range(4)] == pytest.approx([0.5, 8.0, 4 * (1 + math.sqrt(0.5)), 4.0])
    assert Schedule(epochs=2, lr=8.0, warmup_epochs=0).rate(0) == 8.0


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
        if path.exists() and len(read_tensors(path)[1]["curve"]) == survived:
            raise Killed
        return {}

    with pytest.raises(Killed):
        run(clip, roles, data, checkpoint=path, each_epoch=kill)
    resumed, rest = run(clip, roles, data, checkpoint=path)
    assert rest == curve
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert run(clip, roles, data, checkpoint=path)[1] == curve  # a finished run is not trained further


def test_the_cached_prefix_trains_like_the_whole_encoder(clip, roles, data, pictures) -> None:
    """Without a cache: the prefix of every batch is computed when it is needed."""

    class Uncached:
        """Indexed like the cached states, but computes them from the pictures each time."""

        def __init__(self, pictures: torch.Tensor) -> None:
            self.pictures = pictures

        def __getitem__(self, view: int) -> "Uncached | torch.Tensor":
            if isinstance(view, int):
                return Uncached(self.pictures[view])
            return image_prefix(clip.visual, self.pictures[view], 9)

        def __len__(self) -> int:
            return len(self.pictures)

    uncached = TrainingSet(data.states, data.frozen, data.labels)
    object.__setattr__(uncached, "states", Uncached(pictures))
    (one, curve), (two, again) = run(clip, roles, data), run(clip, roles, uncached)
    for a, b in zip(curve, again, strict=True):
        assert a == pytest.approx(b, rel=1e-9)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_views_take_turns(clip, roles, data) -> None:
    """Epoch e sees view e mod 2: spoiling view 1 changes nothing before epoch 1."""
    spoiled = TrainingSet(data.states * torch.tensor([1.0, 0.5]).view(2, 1, 1, 1), data.frozen, data.labels)
    curve, other = run(clip, roles, data)[1], run(clip, roles, spoiled)[1]
    assert curve[0] == other[0]
    assert curve[1] != other[1]


def test_accuracy_and_harmonic_mean_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [0.0, 5.0, 2.0], [9.0, 5.0, 2.0]])
    assert accuracy(logits, torch.tensor([0, 2, 1, 2])) == 75.0
    assert harmonic_mean(60.0, 90.0) == pytest.approx(72)
    assert harmonic_mean(100.0, 0.0) == harmonic_mean(0.0, 0.0) == 0.0


def test_zero_shot_ignores_lengths() -> None:
    text = torch.tensor([[100.0, 0.0], [0.0, 1.0]])
    images = torch.tensor([[1.0, 2.0], [50.0, 1.0]])
    assert zero_shot(images, text, torch.tensor([1, 0])) == 100.0


def test_evaluate_does_not_depend_on_the_batch(clip, roles, data) -> None:
    model, _ = run(clip, roles, data)
    text = text_prefix(clip, PROMPTS, 9)
    whole = evaluate(model, data.states[0], text, data.labels)
    assert evaluate(model, data.states[0], text, data.labels, batch=4) == whole
    image, classes = model.image_features(data.states[0]), model.text_features(text)
    similarities = model.similarities(image, classes)
    assert whole.class_feature == accuracy(similarities[:, 0], data.labels)
    assert whole.fused == accuracy(model.fuse(similarities), data.labels)
