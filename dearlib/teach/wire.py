"""What goes over the pipe between the grader and a submission: plain values and tensors, never a program.

A message is two lengths, a JSON tree and the tensors of that tree as safetensors. Whatever has no such form (a model, a
function) stays where it is and is named by a number, a `Reference`. Nothing is unpickled, so a hostile answer is at worst
a wrong value. torch takes seconds to import, so this module does not, unless a tensor comes.
"""

import json
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.numpy import load, save

LENGTHS = struct.Struct("<QQ")
MOST = 64 << 20  # bytes of one message; a longer one is refused


@dataclass(frozen=True)
class Reference:
    """An object on the other side: its number there, its type, and whether it can be called."""

    number: int
    kind: str
    callable: bool = False


def pack(value: Any, keep: Callable[[Any], Reference] | None = None) -> bytes:
    """The bytes of `value`. `keep` gives a reference to what cannot be sent; without it that is a TypeError."""
    tensors: dict[str, np.ndarray] = {}
    tree = json.dumps(_tree(value, tensors, keep)).encode()
    body = save(tensors) if tensors else b""
    return LENGTHS.pack(len(tree), len(body)) + tree + body


def unpack(tree: bytes, body: bytes, resolve: Callable[[Reference], Any] | None = None) -> Any:
    """The value of a message's two parts. `resolve` turns references into what stands for them here."""
    return _value(json.loads(tree), load(body) if body else {}, resolve or (lambda reference: reference))


def _tree(value: Any, tensors: dict[str, np.ndarray], keep: Callable[[Any], Reference] | None) -> Any:
    """`value` as JSON; tensors are put into `tensors` and named."""
    match value:
        case None | bool() | str():
            return value if value is None else {"plain": value}
        case int() | float() | np.integer() | np.floating() | np.bool_():
            return {"plain": value.item() if isinstance(value, np.generic) else value}
        case np.ndarray() if value.dtype.kind in "biuf":
            return {"array": _named(value, tensors)}
        case _ if (array := _array(value)) is not None:
            return {"tensor": _named(array, tensors)}
        case list():
            return {"list": [_tree(v, tensors, keep) for v in value]}
        case tuple():
            return {"tuple": [_tree(v, tensors, keep) for v in value]}
        case set() | frozenset():
            return {"set": [_tree(v, tensors, keep) for v in value]}
        case dict():
            return {"dict": [[_tree(k, tensors, keep), _tree(v, tensors, keep)] for k, v in value.items()]}
        case Reference():
            return {"reference": [value.number, value.kind, value.callable]}
    if keep is None:
        raise TypeError(f"expected numbers, strings, tensors, lists or dicts, got {type(value).__name__}")
    return _tree(keep(value), tensors, keep)


def _named(array: np.ndarray, tensors: dict[str, np.ndarray]) -> str:
    name = str(len(tensors))
    tensors[name] = np.array(array, order="C")
    return name


def _array(value: Any) -> np.ndarray | None:
    """A torch tensor as an array; None for anything else, and for tensors that NumPy has no type for."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor) or value.is_complex():
        return None
    try:
        return value.detach().cpu().numpy()
    except (RuntimeError, TypeError, NotImplementedError):
        return None


def _value(tree: Any, tensors: dict[str, np.ndarray], resolve: Callable[[Reference], Any]) -> Any:
    if tree is None:
        return None
    ((kind, content),) = tree.items()
    match kind:
        case "plain":
            return content
        case "tensor":
            import torch

            return torch.from_numpy(tensors[content])
        case "array":
            return tensors[content]
        case "list" | "tuple" | "set":
            return {"list": list, "tuple": tuple, "set": set}[kind](_value(v, tensors, resolve) for v in content)
        case "dict":
            return {_value(k, tensors, resolve): _value(v, tensors, resolve) for k, v in content}
        case "reference":
            return resolve(Reference(int(content[0]), str(content[1]), bool(content[2])))
    raise ValueError(f"expected a known kind of value, got {kind!r}")
