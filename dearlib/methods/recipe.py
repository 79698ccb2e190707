"""How a method is trained: optimiser, learning rates epoch by epoch, and which epochs' parameters count in the end.

The few-shot methods around CLIP share one family of schedules, CoOp's; they differ in the numbers alone.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from dearlib.params.types import Count, Fraction, NonNegative, Positive


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Learning rates are those of the whole batch, not per picture.

    `rates`: the rate of parameters whose name starts so, where it is not `lr`. `eps`: Adam's and AdamW's. `momentum`: SGD's.
    `average`: the parameters that a run ends with: those of its last epoch, or a mean over the epochs' ends, 'uniform' or
    weighted by a normal density in the epoch's number (from 1) with `average_at` as mean and standard deviation.
    """

    epochs: Count = 10
    batch: Count = 4
    lr: Positive = 1e-3
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    warmup_lr: Positive = 1e-5
    weight_decay: NonNegative = 5e-4
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: Fraction = 0.9
    eps: Positive = 1e-8
    rates: Mapping[str, Positive] = field(default_factory=dict)
    average: Literal["last", "uniform", "gaussian"] = "last"
    average_at: tuple[float, float] = (15.0, 1.0)

    def rate(self, epoch: int, lr: float | None = None) -> float:
        """`warmup_lr` during warm-up, then lr · (1 + cos(π (epoch − warm-up) / epochs)) / 2, constant within an epoch.

        The warm-up does not shorten the cosine, so the rate never reaches 0. Source: CoOp's trainer. `lr`: of parameters
        with a rate of their own.
        """
        if epoch < self.warmup_epochs:
            return self.warmup_lr
        peak = self.lr if lr is None else lr
        return peak * (1 + math.cos(math.pi * (epoch - self.warmup_epochs) / self.epochs)) / 2

    def lr_of(self, name: str) -> float:
        """The highest rate of the parameter `name`: that of the longest key of `rates` that it starts with, or `lr`."""
        keys = [key for key in self.rates if name.startswith(key)]
        return self.rates[max(keys, key=len)] if keys else self.lr

    def share(self, epoch: int) -> float:
        """What the end of `epoch` (from 0) counts in the average over epochs, not normalised."""
        if self.average == "gaussian":
            mean, std = self.average_at
            return math.exp(-0.5 * ((epoch + 1 - mean) / std) ** 2)
        return 1.0 if self.average == "uniform" or epoch == self.epochs - 1 else 0.0


def groups(named: Iterable[tuple[str, nn.Parameter]], recipe: Recipe) -> list[dict[str, Any]]:
    """One model's parameters for an optimiser, those of one rate together; `peak` is that rate, `recipe` whose it is."""
    by_rate: dict[float, list[nn.Parameter]] = {}
    for name, parameter in named:
        by_rate.setdefault(recipe.lr_of(name), []).append(parameter)
    return [{"params": p, "weight_decay": recipe.weight_decay, "peak": lr, "recipe": recipe} for lr, p in by_rate.items()]


def optimiser_of(models: Sequence[nn.Module], recipes: Sequence[Recipe]) -> torch.optim.Optimizer:
    """One optimiser for the models of a stack: their recipes share the kind, each group has its own rate and decay."""
    mine = [g for model, recipe in zip(models, recipes, strict=True) for g in groups(model.named_parameters(), recipe)]
    first = recipes[0]
    if first.optimiser == "sgd":
        return torch.optim.SGD(mine, lr=first.lr, momentum=first.momentum, fused=True)
    kind = torch.optim.AdamW if first.optimiser == "adamw" else torch.optim.Adam
    return kind(mine, lr=first.lr, eps=first.eps, fused=True)


def set_rates(optimiser: torch.optim.Optimizer, epoch: int) -> None:
    """Every group's learning rate for this epoch."""
    for group in optimiser.param_groups:
        group["lr"] = group["recipe"].rate(epoch, group["peak"])
