"""A linear probe: the plain way to use a few labelled pictures. It knows nothing of class names."""

import torch
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from dearlib.errors import InputError
from dearlib.methods.evaluation import accuracy

STRENGTHS = tuple(10.0**e for e in range(-2, 4))


def linear_probe(
    train_set: tuple[Float[Tensor, "picture d_embed"], Int[Tensor, "picture"]],
    val: tuple[Float[Tensor, "held d_embed"], Int[Tensor, "held"]],
    test: Float[Tensor, "tested d_embed"],
) -> Float[Tensor, "tested class_"]:
    """Logits of a logistic regression on normalised frozen features, its strength chosen on the validation pictures.

    Args: (features, labels) of the few shots and of the validation sample; features to be classified. Of equally good
    inverse strengths C the smallest is taken, the most regularised one.

    Raises `InputError` for pictures of one class: there is nothing to tell apart.
    """
    if len(train_set[1].unique()) < 2:
        raise InputError("linear probe: expected pictures of two classes or more, got those of one; leave linear_probe out of the group")
    x, y = (torch.nn.functional.normalize(train_set[0], dim=-1).double().numpy(), train_set[1].numpy())
    val_x = torch.nn.functional.normalize(val[0], dim=-1).double().numpy()
    probes = [LogisticRegression(C=c, max_iter=2000).fit(x, y) for c in STRENGTHS]
    scores = [accuracy(_logits(probe, val_x), val[1]) for probe in probes]
    return _logits(probes[scores.index(max(scores))], torch.nn.functional.normalize(test, dim=-1).double().numpy())


def _logits(probe: LogisticRegression, x: object) -> torch.Tensor:
    decided = torch.as_tensor(probe.decision_function(x))
    return torch.stack([-decided, decided], dim=1) if decided.ndim == 1 else decided
