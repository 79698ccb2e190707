"""`fit`: DeAR's training loop over cached prefixes, with Lightning Fabric.

The order of the pictures in epoch e is a pure function of (seed, e), and a checkpoint after each epoch holds the
model, the optimiser and the curve: a run that was killed goes on to the same result.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from dearlib.checkpoint import load_optimiser, optimiser_tensors, read_tensors, write_tensors
from dearlib.clip import TextStates
from dearlib.model import DeAR, losses


@dataclass(frozen=True)
class Schedule:
    """How DeAR is trained. `lr`, `warmup_lr`: AdamW's rates; `lambda_reg`, `lambda_fusion`: weights in Eq. 12."""

    epochs: int = 10
    batch: int = 4
    lr: float = 1e-3
    warmup_epochs: int = 1
    warmup_lr: float = 1e-5
    weight_decay: float = 5e-4
    lambda_reg: float = 1.0
    lambda_fusion: float = 0.1

    def rate(self, epoch: int) -> float:
        """`warmup_lr` during warm-up, then lr · (1 + cos(π (epoch − warm-up) / epochs)) / 2, constant within an epoch.

        The warm-up does not shorten the cosine, so the rate never reaches 0. Source: CoOp's trainer.
        """
        if epoch < self.warmup_epochs:
            return self.warmup_lr
        return self.lr * (1 + math.cos(math.pi * (epoch - self.warmup_epochs) / self.epochs)) / 2


@dataclass(frozen=True)
class TrainingSet:
    """Views on the verge of layer J.

    `states` [view, picture, token, D_v] and `frozen` [view, picture, d_embed], with one view of every picture used
    per epoch (view e mod V); `labels` [picture].
    """

    states: Float[Tensor, "view picture token d_model"]
    frozen: Float[Tensor, "view picture d_embed"]
    labels: Int[Tensor, "picture"]


Curve = list[dict[str, float]]


def fit(
    model: DeAR,
    data: TrainingSet,
    text: TextStates,
    frozen_text: Float[Tensor, "class_ d_embed"],
    schedule: Schedule,
    seed: int,
    fabric: Fabric,
    checkpoint: Path | None = None,
    each_epoch: Callable[[DeAR], dict[str, float]] = lambda model: {},
) -> Curve:
    """Trains `model` in place and returns one row per epoch: mean losses, α_cls and what `each_epoch` reports.

    `checkpoint`: a file written after every epoch and read at the start if it is there.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay)
    curve = _resume(checkpoint, model, optimiser)
    stepper = fabric.setup_optimizers(optimiser)  # in half precision it takes the loss scale out again
    model.train()
    for epoch in tqdm(range(len(curve), schedule.epochs), desc="epochs", leave=False):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(epoch)
        view = epoch % len(data.states)
        totals = torch.zeros(3)
        order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        batches = [b for b in order.split(schedule.batch) if len(b) == schedule.batch] or [order]
        for chosen in batches:
            states, frozen, labels = (fabric.to_device(t[chosen]) for t in (data.states[view], data.frozen[view], data.labels))
            with fabric.autocast():
                terms = losses(model, model.image_features(states), model.text_features(text), frozen, frozen_text, labels)
                loss = terms.cross_entropy + schedule.lambda_reg * terms.regularisation + schedule.lambda_fusion * terms.fusion
            optimiser.zero_grad()
            fabric.backward(loss)
            stepper.step()
            totals += torch.stack([terms.cross_entropy, terms.regularisation, terms.fusion]).detach().cpu() / len(batches)
        names = ("cross_entropy", "regularisation", "fusion")
        row = {"epoch": float(epoch), **dict(zip(names, totals.tolist(), strict=True)), "alpha_cls": model.alpha[0].item()}
        curve.append(row | each_epoch(model))
        if checkpoint:
            weights = {f"model.{k}": v for k, v in model.state_dict().items()}
            write_tensors(checkpoint, weights | optimiser_tensors(optimiser, "adamw"), {"curve": curve})
    model.eval()
    return curve


def _resume(checkpoint: Path | None, model: DeAR, optimiser: torch.optim.Optimizer) -> Curve:
    if checkpoint is None or not checkpoint.exists():
        return []
    tensors, notes = read_tensors(checkpoint)
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    load_optimiser(optimiser, "adamw", tensors)
    return list(notes["curve"])
