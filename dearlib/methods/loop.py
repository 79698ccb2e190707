"""`descend`: the one training loop of all methods, with Lightning Fabric; several runs at once where they come as one batch.

A checkpoint after each epoch holds the models, the optimiser, the averages and the curves: a run that was killed goes on to
the same bytes. A value that is not finite ends the training, before a checkpoint or a record is made of it. Under torchrun
each process takes its share of every batch, and process 0 alone evaluates and writes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TypeAlias

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from dearlib.errors import InputError
from dearlib.files import load_optimiser, optimiser_tensors, read_tensors, write_tensors
from dearlib.methods.recipe import Recipe, optimiser_of, set_rates

Curve = list[dict[str, float]]
_NAMED = 6  # terms and parameters in the line that says what is not finite
Steps = Callable[[int], Iterator[tuple[float, Float[Tensor, "run term"]]]]


def descend(
    models: Sequence[nn.Module],
    recipes: Sequence[Recipe],
    steps: Steps,
    weights: Mapping[str, Sequence[float]],
    fabric: Fabric,
    checkpoint: Path | None = None,
    report: Callable[[], list[dict[str, float]]] | None = None,
    told: Callable[[int], dict[str, float]] | None = None,
) -> list[Curve]:
    """Trains the models in place; returns of each a row per epoch: its mean terms, and what `told` and `report` say.

    Args:
        recipes: one a model; they agree in epochs and kind of optimiser.
        steps: of an epoch, step by step: this process's share of the batch, and every run's terms of the loss on it.
        weights: the terms' names, in the order of `steps`, each with its weight in the loss for every run.
        checkpoint: a file written after every epoch and read at the start if it is there.
        report: asked after every epoch, of process 0 alone. `told`: of one model by its number, of every process.

    Raises:
        InputError: a loss or a parameter is no finite number.
    """
    optimiser, means = optimiser_of(models, recipes), _averages(models, recipes)
    curves = _resume(checkpoint, models, optimiser, means)
    fabric.barrier()  # nobody goes on, and in the end deletes the checkpoint, before all have read it
    stepper = fabric.setup_optimizers(optimiser)  # in half precision it takes the loss scale out again
    weight = fabric.to_device(torch.tensor(list(weights.values())).T)  # [run, term]
    for model in models:
        model.train()
    for epoch in tqdm(range(len(curves[0]), recipes[0].epochs), desc="epochs", leave=False):
        set_rates(optimiser, epoch)
        totals, count = torch.zeros_like(weight), 0
        for share, found in steps(epoch):
            # Shares add up to 1 over the processes: so do the means over pictures, and the terms that have none.
            each = share * found
            optimiser.zero_grad()
            fabric.backward((weight * each).sum())
            _add_up_gradients(models, fabric)
            stepper.step()
            totals += each.detach()
            count += 1
        terms = (fabric.all_reduce(totals, reduce_op="sum") / count).tolist()
        _check_finite(models, recipes, epoch, [dict(zip(weights, t, strict=True)) for t in terms], optimiser)
        for mean, model in zip(means, models, strict=True):
            if mean is not None:
                mean.update_parameters(nn.ParameterList(model.parameters()))
        more = fabric.broadcast(report() if report and fabric.is_global_zero else [{} for _ in models])
        for i, curve in enumerate(curves):
            curve.append({"epoch": float(epoch), **dict(zip(weights, terms[i], strict=True)), **(told(i) if told else {}), **more[i]})
        if checkpoint and fabric.is_global_zero:
            _write(checkpoint, models, optimiser, means, curves)
    for mean, model in zip(means, models, strict=True):
        _take_average(mean, model)
        model.eval()
    return curves


def _check_finite(
    models: Sequence[nn.Module], recipes: Sequence[Recipe], epoch: int, terms: Sequence[dict[str, float]], optimiser: torch.optim.Optimizer
) -> None:
    """Refuses to go on from a loss, parameters or the optimiser's means that are not finite.

    Nor may a parameter be so large that its square, which every norm takes, is not: nobody has seen the loss after the last step. A
    gradient whose square is infinite moves nothing any more, and says nothing.
    """
    for model, recipe, found in zip(models, recipes, terms, strict=True):
        terms_lost = [name for name, value in found.items() if not isfinite(value)]
        lost = [
            name
            for name, p in model.named_parameters()
            if not all(torch.isfinite(x).all() for x in (p.square(), *filter(torch.is_tensor, optimiser.state.get(p, {}).values())))
        ]
        if bad := list(dict.fromkeys([*terms_lost, *lost])):  # a term may have a parameter's name
            # One that is lost takes the others along in the next step: the highest rate is the likely cause.
            highest = max(recipe.lr_of(name) for name in lost or dict(model.named_parameters()))
            named = ", ".join(bad[:_NAMED]) + (f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else "")
            raise InputError(
                f"training: expected finite numbers, got {named} that are not, in epoch {epoch + 1} of {recipe.epochs} "
                f"at learning rate {recipe.rate(epoch, highest):g}; lower the learning rate"
            )


Mean: TypeAlias = AveragedModel | None


def _averages(models: Sequence[nn.Module], recipes: Sequence[Recipe]) -> list[Mean]:
    """What averages each model's parameters over the epochs; None where the last epoch's are kept."""
    return [None if r.average == "last" else _averaged(m, r) for m, r in zip(models, recipes, strict=True)]


def _averaged(model: nn.Module, recipe: Recipe) -> AveragedModel:
    """A running weighted mean; the total of the weights up to its n-th update says what the n-th counts."""

    def add(mean: Tensor, value: Tensor, done: Tensor | int) -> Tensor:
        shares = [recipe.share(e) for e in range(int(done) + 1)]
        return mean + (value - mean) * (shares[-1] / sum(shares) if sum(shares) else 0.0)

    return AveragedModel(nn.ParameterList(model.parameters()), avg_fn=add)


@torch.no_grad()
def _take_average(mean: Mean, model: nn.Module) -> None:
    if mean is not None:
        for parameter, value in zip(model.parameters(), mean.parameters(), strict=True):
            parameter.copy_(value)


def _add_up_gradients(models: Sequence[nn.Module], fabric: Fabric) -> None:
    """Gradients summed over the processes, in one message; nothing where there is one process."""
    if fabric.world_size == 1:
        return
    gradients = [p.grad for m in models for p in m.parameters() if p.grad is not None]
    total = fabric.all_reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="sum")
    for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _write(path: Path, models: Sequence[nn.Module], optimiser: torch.optim.Optimizer, means: Sequence[Mean], curves: list[Curve]) -> None:
    tensors = {f"model{i}.{k}": v for i, m in enumerate(models) for k, v in m.state_dict().items()}
    tensors |= {f"mean{i}.{k}": v for i, m in enumerate(means) if m is not None for k, v in m.state_dict().items()}
    write_tensors(path, tensors | optimiser_tensors(optimiser, "optimiser"), {"curves": curves})


def _resume(checkpoint: Path | None, models: Sequence[nn.Module], optimiser: torch.optim.Optimizer, means: Sequence[Mean]) -> list[Curve]:
    if checkpoint is None or not checkpoint.exists():
        return [[] for _ in models]
    tensors, notes = read_tensors(checkpoint)
    try:
        for name, modules in (("model", models), ("mean", means)):
            for i, module in enumerate(modules):
                if module is not None:
                    start = f"{name}{i}."
                    module.load_state_dict({k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})
        load_optimiser(optimiser, "optimiser", tensors)
        curves = [list(curve) for curve in notes["curves"]]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{checkpoint}: expected this run's checkpoint, got something else ({reason}); delete it") from error
    if len(curves) != len(models):
        raise InputError(f"{checkpoint}: expected a checkpoint of {len(models)} runs, got one of {len(curves)}; delete it")
    return curves
