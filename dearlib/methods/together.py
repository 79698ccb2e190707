"""Several runs of one method as one batch: `torch.func.vmap` over their parameters and pictures.

A step of few-shot training is small, and most of its time goes into starting operations, not into them. Runs that differ in
seed alone do the same operations, so they are done once for all; each run keeps its own parameters and gradients.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from dearlib.errors import InputError
from dearlib.methods.interface import Batch, Method


class Together:
    """Methods of one kind, with equal settings, on one frozen CLIP.

    Raises:
        InputError: they are not, or this method cannot be trained so.
    """

    def __init__(self, methods: Sequence[Method]) -> None:
        first = methods[0]
        if any(type(m) is not type(first) or m.settings != first.settings or m.clip is not first.clip for m in methods):
            raise InputError("training: expected runs of one method with equal settings on one frozen CLIP; train them apart")
        buffers = [dict(cast(nn.Module, m).named_buffers()) for m in methods]
        if any(not torch.equal(b[name], value) for b in buffers for name, value in buffers[0].items()):
            raise InputError("training: expected runs with the same masks and other fixed tensors; train them apart")
        if not first.needs.stacks:
            raise InputError(f"training: expected a method whose runs stack, got {first.title}; train its runs one by one")
        self.shell = _Losses(cast(nn.Module, first), list(first.weights))
        self.parameters = [{f"method.{k}": p for k, p in cast(nn.Module, m).named_parameters()} for m in methods]

    def losses(self, batches: Sequence[Batch], text: Any) -> Float[Tensor, "run term"]:
        """The terms of every run on its own batch."""
        stacked = {name: torch.stack([p[name] for p in self.parameters]) for name in self.parameters[0]}

        def one(parameters: dict[str, Tensor], states: Tensor, features: Tensor, labels: Tensor) -> Tensor:
            return functional_call(self.shell, parameters, (Batch(states, features, labels, batches[0].chance), text))

        states, features, labels = (torch.stack([getattr(b, name) for b in batches]) for name in ("states", "features", "labels"))
        return vmap(one)(stacked, states, features, labels)


class _Losses(nn.Module):
    """A method's losses as a module's forward pass, which is what `functional_call` calls."""

    def __init__(self, method: nn.Module, terms: list[str]) -> None:
        super().__init__()
        self.method, self.terms = method, terms

    def forward(self, batch: Batch, text: Any) -> Float[Tensor, "term"]:
        found = cast(Method, self.method).losses(batch, text)
        return torch.stack([found[name] for name in self.terms])
