"""`fit`: DeAR's training loop over cached prefixes, with Lightning Fabric; several runs at once, as one batch.

The order of the pictures in epoch e is a pure function of (seed, e), and a checkpoint after each epoch holds the
models, the optimiser and the curves: a run that was killed goes on to the same result. Under torchrun (`dearlib.workflow.processes`)
each process takes its share of every batch, and process 0 alone evaluates and writes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from dearlib.clip.cut import TextStates, check_layer
from dearlib.clip.prefix import Source
from dearlib.errors import InputError
from dearlib.files import load_optimiser, optimiser_tensors, read_tensors, write_tensors
from dearlib.methods.dear import DeAR
from dearlib.methods.stack import Stack


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
    """Views of labelled pictures on the verge of layer J: `source` has first view 0 of all pictures, then view 1, …

    Epoch e trains on view e mod V. `block`: how many pictures to ask for at once, more than a batch where `source` computes
    them when asked.
    """

    source: Source
    labels: Int[Tensor, "picture"]
    block: int = 1

    @property
    def views(self) -> int:
        """V."""
        return len(self.source.features) // len(self.labels)

    def rows(self, view: int, chosen: Int[Tensor, "batch"]) -> tuple[Float[Tensor, "batch token d_model"], Float[Tensor, "batch d_embed"]]:
        """The states of view `view` of the `chosen` pictures, and their frozen features."""
        return self.source.rows(view * len(self.labels) + chosen)


@dataclass(frozen=True)
class TrainingRun:
    """One model to be trained: on what, how, and the seed that orders its pictures.

    Raises `InputError` if the pictures' states enter another layer than the model's J.
    """

    model: DeAR
    data: TrainingSet
    schedule: Schedule
    seed: int

    def __post_init__(self) -> None:
        check_layer(self.data.source.first_layer, self.model.settings.first_layer)

    def order(self, epoch: int) -> Int[Tensor, "picture"]:
        """The pictures of one epoch, whole batches alone (all of them if there is not one)."""
        shuffled = torch.randperm(len(self.data.labels), generator=torch.Generator().manual_seed(1000 * self.seed + epoch))
        whole = len(shuffled) // self.schedule.batch * self.schedule.batch
        return shuffled[:whole] if whole else shuffled


Curve = list[dict[str, float]]
TERMS = ("cross_entropy", "regularisation", "fusion")


def fit(
    runs: Sequence[TrainingRun],
    text: TextStates,
    frozen_text: Float[Tensor, "class_ d_embed"],
    fabric: Fabric,
    checkpoint: Path | None = None,
    each_epoch: Callable[[list[DeAR]], list[dict[str, float]]] | None = None,
) -> list[Curve]:
    """Trains the models of all `runs` in place, as one batch; returns of each run a row per epoch.

    A row has the mean losses, α_cls and what `each_epoch` reports of its model. The result of a run does not depend, to
    rounding, on which others it is trained with, nor on how many processes share the batches. `checkpoint`: a file written
    after every epoch and read at the start if it is there.

    Raises:
        InputError: the runs differ in epochs, batch or number of pictures, or their models in shape; there are more
            processes than pictures in a batch.
    """
    stack, models = Stack([r.model for r in runs]), [r.model for r in runs]
    epochs, batch = _common(runs, fabric.world_size)
    groups = [{"params": list(r.model.parameters()), "weight_decay": r.schedule.weight_decay} for r in runs]
    optimiser = torch.optim.AdamW(groups, lr=runs[0].schedule.lr, fused=True)
    curves = _resume(checkpoint, models, optimiser)
    fabric.barrier()  # nobody goes on, and in the end deletes the checkpoint, before all have read it
    stepper = fabric.setup_optimizers(optimiser)  # in half precision it takes the loss scale out again
    weight = fabric.to_device(torch.tensor([[1.0, r.schedule.lambda_reg, r.schedule.lambda_fusion] for r in runs]))  # [run, term]
    for model in models:
        model.train()
    for epoch in tqdm(range(len(curves[0]), epochs), desc="epochs", leave=False):
        for group, run in zip(optimiser.param_groups, runs, strict=True):
            group["lr"] = run.schedule.rate(epoch)
        totals, steps = torch.zeros(len(runs), len(TERMS), device=weight.device), 0
        for share, states, frozen, labels in _batches(runs, epoch, batch, fabric):
            with fabric.autocast():
                found = stack.losses(states, text, frozen, frozen_text, labels)
            # Shares add up to 1 over the processes: so do the means over pictures, and the terms that have none.
            each = share * torch.stack([found.cross_entropy, found.regularisation, found.fusion], dim=1)
            optimiser.zero_grad()
            fabric.backward((weight * each).sum())
            _add_up_gradients(models, fabric)
            stepper.step()
            totals += each.detach()
            steps += 1
        means = (fabric.all_reduce(totals, reduce_op="sum") / steps).tolist()
        told = each_epoch(models) if each_epoch and fabric.is_global_zero else [{} for _ in runs]
        for curve, model, mean, more in zip(curves, models, means, fabric.broadcast(told), strict=True):
            curve.append({"epoch": float(epoch), **dict(zip(TERMS, mean, strict=True)), "alpha_cls": model.alpha[0].item(), **more})
        if checkpoint and fabric.is_global_zero:
            weights = {f"model{i}.{k}": v for i, m in enumerate(models) for k, v in m.state_dict().items()}
            write_tensors(checkpoint, weights | optimiser_tensors(optimiser, "adamw"), {"curves": curves})
    for model in models:
        model.eval()
    return curves


def _common(runs: Sequence[TrainingRun], processes: int) -> tuple[int, int]:
    """Epochs and batch of all runs, or the reason why they cannot be trained as one, or by so many processes."""
    alike = {(r.schedule.epochs, r.schedule.batch, len(r.data.labels)) for r in runs}
    if len(alike) != 1:
        raise InputError(f"fit: expected runs of the same epochs, batch and pictures, got {sorted(alike)}; train them apart")
    epochs, batch, pictures = alike.pop()
    if min(batch, pictures) < processes:
        raise InputError(f"fit: expected at most {min(batch, pictures)} processes, one per picture of a batch, got {processes}; use fewer")
    return epochs, batch


def _batches(runs: Sequence[TrainingRun], epoch: int, batch: int, fabric: Fabric) -> Iterator[tuple[float, Tensor, Tensor, Tensor]]:
    """Of every step of an epoch: this process's share of the batch; states, frozen features and labels of it, [run, picture, …] each.

    Pictures are asked for a block of batches at a time and handed on in batches.
    """
    orders = [r.order(epoch).split(batch) for r in runs]
    whole = len(orders[0][0])
    own = [[b.tensor_split(fabric.world_size)[fabric.global_rank] for b in order] for order in orders]
    size = len(own[0][0])
    block = max(1, runs[0].data.block // batch)
    for start in range(0, len(own[0]), block):
        parts = []
        for run, order in zip(runs, own, strict=True):
            chosen = torch.cat(order[start : start + block])
            parts.append((*run.data.rows(epoch % run.data.views, chosen), run.data.labels[chosen]))
        states, frozen, labels = (fabric.to_device(torch.stack(p)) for p in zip(*parts, strict=True))
        for first in range(0, labels.shape[1], size):
            here = slice(first, first + size)
            yield size / whole, states[:, here], frozen[:, here], labels[:, here]


def _add_up_gradients(models: Sequence[DeAR], fabric: Fabric) -> None:
    """Gradients summed over the processes, in one message; nothing where there is one process."""
    if fabric.world_size == 1:
        return
    gradients = [p.grad for m in models for p in m.parameters() if p.grad is not None]
    total = fabric.all_reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="sum")
    for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _resume(checkpoint: Path | None, models: Sequence[DeAR], optimiser: torch.optim.Optimizer) -> list[Curve]:
    if checkpoint is None or not checkpoint.exists():
        return [[] for _ in models]
    tensors, notes = read_tensors(checkpoint)
    try:
        for i, model in enumerate(models):
            model.load_state_dict({k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(f"model{i}.")})
        load_optimiser(optimiser, "adamw", tensors)
        curves = [list(curve) for curve in notes["curves"]]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{checkpoint}: expected this run's checkpoint, got something else ({reason}); delete it") from error
    if len(curves) != len(models):
        raise InputError(f"{checkpoint}: expected a checkpoint of {len(models)} runs, got one of {len(curves)}; delete it")
    return curves
