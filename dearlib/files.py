"""Tensors on disk: safetensors and JSON alone, written whole or not at all."""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dearlib.errors import InputError


def _partial(path: Path) -> Path:
    """A name beside `path` that no other writer has, not even one with the same process number on another node."""
    return path.with_name(f".{path.name}.{uuid4().hex}.partial")


def write_text(path: Path, text: str) -> None:
    """See `write_bytes`. A file that holds this text already stays, time stamp and all: nothing that was made from it is out of date."""
    content = text.encode()
    with suppress(OSError):
        if path.is_file() and path.read_bytes() == content:
            return
    write_bytes(path, content)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes beside `path` and renames over it, so that a reader sees the old file or the new one."""
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        _discard(partial)
        raise InputError(f"{path}: could not be written ({error.strerror}); make room or choose another folder") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any] | None = None) -> None:
    """One safetensors file; `notes` (JSON-able) travel in its header, with a hash of them and of all numbers."""
    partial = _partial(path)
    held, said = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, json.dumps(notes or {})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # one key: safetensors writes several in an order of its own, and the same numbers should be the same bytes
        save_file(held, partial, {"notes": json.dumps({"sha256": _sha256(held, said), "notes": said})})
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        _discard(partial)
        raise InputError(f"{path}: could not be written ({error}); make room or choose another folder") from error


_CODES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.uint8: "U8"}
_NO_SUM = "0" * 16
_STALE = 3600  # seconds


@contextmanager
def filled_tensors(
    path: Path, shapes: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], notes: Mapping[str, Any]
) -> Iterator[dict[str, Tensor]]:
    """A safetensors file to be filled in place, for tensors that need not fit into memory.

    Gives the tensors as mapped memory; when the block ends they stand under `path`, with a sum over header and bytes in
    the header, or not at all. Space is taken before anything is computed, so a full disk is noticed at the start. The header is
    written here because safetensors writes only what is in memory, and .npy, which can be mapped, holds one array, no notes
    and no bfloat16.
    """
    header: dict[str, Any] = {"__metadata__": {"sum": _NO_SUM, "notes": json.dumps(notes)}}
    end = 0
    for name, (dtype, shape) in shapes.items():
        start, end = end, end + int(np.prod(shape)) * dtype.itemsize
        header[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "w+b") as file:
            _hold(file.fileno())
            file.write(len(text).to_bytes(8, "little") + text)
            _allocate(file.fileno(), 8 + len(text), end)
            file.flush()
            mapped = np.memmap(partial, np.uint8, "r+", offset=8 + len(text), shape=(end,))
            yield {
                name: torch.from_numpy(mapped[slice(*header[name]["data_offsets"])]).view(dtype).view(shape)
                for name, (dtype, shape) in shapes.items()
            }
            total = _sum(text, mapped)
            mapped.flush()
            file.seek(8)
            file.write(text.replace(_NO_SUM.encode(), total.encode(), 1))
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: could not be written ({error}); make room or choose another folder") from error
    finally:
        _discard(partial)


@contextmanager
def filled_folder(path: Path, is_whole: Callable[[], bool]) -> Iterator[Path]:
    """A folder to be filled; when the block ends it stands under `path` in place of what was there, or not at all.

    `is_whole`: whether what stands under `path` is what the block makes. Then it stays: another process has been quicker.
    Raises OSError.
    """
    sweep(path.parent)
    partial, old = _partial(path), _partial(path)
    try:
        partial.mkdir(parents=True)
        with _held(partial):
            yield partial
            if is_whole():
                return
            with suppress(FileNotFoundError):
                os.rename(path, old)
            try:
                os.rename(partial, path)
            except OSError:
                if not is_whole():
                    raise
    finally:
        _discard(partial)
        _discard(old)


@contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Only one process at a time for this folder; free again however it ends. Raises `InputError`, naming `what`, for the second."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{folder}: expected no other {what}, got one still running; wait for it or end it") from None
        yield
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Deletes what killed processes left half written in `folder`, files and folders: unlocked, and untouched for an hour.

    The hour is for file systems whose locks do not reach other machines.
    """
    for partial in folder.glob(".*.partial"):
        with suppress(OSError), _held(partial, wait=False) as descriptor:  # gone, or locked by its living writer
            if time.time() - os.fstat(descriptor).st_mtime > _STALE:
                _discard(partial)


@contextmanager
def _held(path: Path, wait: bool = True) -> Iterator[int]:
    """A file or folder, locked; free again however the process ends. `wait` False: OSError if it is not free."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if wait:
            _hold(descriptor)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def _hold(descriptor: int) -> None:
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _discard(partial: Path) -> None:
    with suppress(OSError):  # a folder that cannot be written has nothing to discard
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _allocate(descriptor: int, start: int, size: int) -> None:
    """Takes the space: a mapped file that runs out of disk later would end the process without a word."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, size)
    else:
        zeros = bytes(1 << 20)
        for done in range(0, size, len(zeros)):
            os.pwrite(descriptor, zeros[: size - done], start + done)


def _sum(header: bytes, data: np.ndarray) -> str:
    """The bytes as 64-bit words, added up without carry, in 16 hex digits: notices what a disk loses, at memory's speed.

    `header` is a multiple of eight bytes long and has `_NO_SUM` where the sum will stand.
    """
    whole = len(data) // 8 * 8
    words = (np.frombuffer(header, np.uint64), data[:whole].view(np.uint64), data[whole:])
    return f"{sum(int(np.add.reduce(w, dtype=np.uint64)) for w in words) % 2**64:016x}"


def mapped_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (as mapped memory) and notes of a file made by `filled_tensors`, its sum checked."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        with open(path, "rb") as raw:
            header = raw.read(int.from_bytes(raw.read(8), "little"))
        told = metadata.get("sum", "")
        whole = told == _sum(header.replace(told.encode(), _NO_SUM.encode(), 1), np.memmap(path, np.uint8, "r", offset=8 + len(header)))
        tensors, notes = load_file(path), json.loads(metadata.get("notes", "{}"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a safetensors file, got {error}; delete it to make it anew") from error
    if not whole:
        raise InputError(f"{path}: expected bytes that add up to the sum in its header, got others; delete it to make it anew")
    return tensors, notes


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and notes of a file made by `write_tensors`, their hash checked."""
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {})["notes"])
        tensors, said, digest = load_file(path), metadata["notes"], metadata["sha256"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: expected a safetensors file of this program, got {error}; delete it to make it anew") from error
    if digest != _sha256(tensors, said):
        raise InputError(f"{path}: expected numbers and notes with the hash in its header, got others; delete it to make it anew")
    return tensors, json.loads(said)


def _sha256(tensors: Mapping[str, Tensor], notes: str) -> str:
    hasher = hashlib.sha256(notes.encode())
    for name, tensor in sorted(tensors.items()):
        hasher.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        hasher.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()


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
