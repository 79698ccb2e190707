"""What is no number is refused where it comes up: NaN has no largest logit, so it would end as class 0 in a table."""

import torch
from torch import Tensor

from dearlib.errors import InputError


def check_finite(what: str, values: Tensor) -> None:
    """Raises `InputError`, naming the first place, if there is a NaN or an infinity in `values` (any shape)."""
    if torch.isfinite(values).all():
        return
    place = (~torch.isfinite(values)).nonzero()[0].tolist()
    raise InputError(f"{what}: expected finite numbers, got {values[tuple(place)].item()} at {place}; check weights and pictures")
