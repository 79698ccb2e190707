"""Tensors on disk: safetensors and JSON alone, written whole or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dearlib.errors import InputError


def write_text(path: Path, text: str) -> None:
    """Writes beside `path` and renames over it, so that a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: could not be written ({error.strerror}); make room or choose another folder") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any] | None = None) -> None:
    """One safetensors file; `notes` (JSON-able) travel in its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, {"notes": json.dumps(notes or {})})
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: could not be written ({error}); make room or choose another folder") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and notes of a file made by `write_tensors`."""
    try:
        with safe_open(path, "pt") as file:
            notes = json.loads((file.metadata() or {}).get("notes", "{}"))
        return load_file(path), notes
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: expected a safetensors file, got {error}; delete it to make it anew") from error


def optimiser_tensors(optimiser: torch.optim.Optimizer, name: str) -> dict[str, Tensor]:
    """An optimiser's state as named tensors."""
    states = optimiser.state_dict()["state"]
    return {f"{name}.{i}.{key}": torch.as_tensor(value) for i, state in states.items() for key, value in state.items()}


def load_optimiser(optimiser: torch.optim.Optimizer, name: str, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimiser_tensors`; learning rates stay as the optimiser has them."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{name}."):
            _, index, field = key.split(".", 2)
            state.setdefault(int(index), {})[field] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
