"""`descend` on models of a number or two: what is lost is noticed in the epoch it is lost in, and a checkpoint is whole or refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch import Tensor, nn

from dearlib.errors import InputError
from dearlib.methods.loop import Curve, descend
from dearlib.methods.recipe import Recipe


def trained(
    recipe: Recipe, slope: float = 1.0, names: int = 1, checkpoint: Path | None = None, stop: int | None = None, term: str = "term"
) -> tuple[nn.Module, Curve]:
    """One step an epoch on a loss whose gradient is `slope`; `stop` ends it before that epoch."""
    model = nn.ParameterDict({f"p{i}": nn.Parameter(torch.ones(2)) for i in range(names)})

    def steps(epoch: int) -> Iterator[tuple[float, Tensor]]:
        if epoch == stop:
            raise KeyboardInterrupt
        yield 1.0, slope * torch.stack([p.sum() for p in model.values()]).sum().view(1, 1)

    (curve,) = descend([model], [recipe], steps, {term: [1.0]}, Fabric(accelerator="cpu", devices=1), checkpoint)
    return model, curve


def test_a_parameter_that_no_norm_can_be_taken_of_ends_the_training() -> None:
    """In the last step of all: 1e30 is finite, its square is not, and a feature made of it would be 0 for every picture."""
    with pytest.raises(InputError, match="got p0 that are not, in epoch 1 of 1 at learning rate 1e\\+30"):
        trained(Recipe(epochs=1, warmup_epochs=0, lr=1e30))
    model, _ = trained(Recipe(epochs=1, warmup_epochs=0, lr=1e10))
    assert float(model["p0"].detach().abs().max()) > 1e9


@pytest.mark.parametrize("optimiser", ["adamw", "adam"])
def test_a_gradient_that_moves_nothing_ends_the_training(optimiser: str) -> None:
    """Its square is infinite, so Adam divides by infinity and stays where it is."""
    with pytest.raises(InputError, match="got p0 that are not, in epoch 1 of 2"):
        trained(Recipe(epochs=2, optimiser=optimiser), slope=1e30)
    model, _ = trained(Recipe(epochs=2, optimiser=optimiser), slope=1e10)
    assert not torch.equal(model["p0"], torch.ones(2))


def test_of_many_parameters_that_are_lost_a_few_are_named() -> None:
    with pytest.raises(InputError, match="got p0, p1, p2, p3, p4, p5 and 3 more that are not"):
        trained(Recipe(epochs=1, warmup_epochs=0, lr=1e30), names=9)


@pytest.mark.parametrize(("rates", "told"), [({}, "0.001"), ({"p1": 1e30}, "1e\\+30"), ({"p": 1e30, "p1": 1e29}, "1e\\+30")])
def test_the_rate_that_is_told_is_that_of_what_is_lost(rates: dict[str, float], told: str) -> None:
    """Of the highest rate, where others are lost with it."""
    recipe = Recipe(epochs=1, warmup_epochs=0, rates=rates)
    with pytest.raises(InputError, match=f"at learning rate {told}; lower"):
        trained(recipe, slope=1.0 if rates else 1e30, names=2)


def test_a_term_and_a_parameter_of_one_name_are_told_once() -> None:
    with pytest.raises(InputError, match="expected finite numbers, got p0 that are not"):
        trained(Recipe(epochs=1), slope=float("inf"), term="p0")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_checkpoint_is_one_line_or_ends_in_the_same_numbers(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes changed anywhere, or cut, in what a run that was stopped after two of three epochs left."""
    path = tmp_path_factory.getbasetemp() / "checkpoint.safetensors"
    path.unlink(missing_ok=True)
    recipe = Recipe(epochs=3, lr=0.1, average="uniform")
    model, curve = trained(recipe)
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, checkpoint=path, stop=2)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3), label="changes")):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged[: data.draw(st.one_of(st.just(len(damaged)), st.integers(0, len(damaged))), label="kept")])
    try:
        found, rows = trained(recipe, checkpoint=path)
    except InputError as error:
        told = str(error)
    else:
        told = "the same"
        assert torch.equal(found["p0"], model["p0"])
        assert rows == curve
    assert len(told.splitlines()) == 1
