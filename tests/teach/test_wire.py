"""Messages: what is sent arrives; what is no plain value is named, not sent; nothing is run."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dearlib.teach import wire

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


def there_and_back(value: Any) -> Any:
    message = wire.pack(value)
    tree, body = wire.LENGTHS.unpack(message[: wire.LENGTHS.size])
    rest = message[wire.LENGTHS.size :]
    assert len(rest) == tree + body
    return wire.unpack(rest[:tree], rest[tree:])


@given(PLAIN)
def test_plain_values_arrive(value: Any) -> None:
    assert there_and_back(value) == value


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool, torch.float16])
def test_tensors_arrive_with_type_and_shape(dtype: torch.dtype) -> None:
    sent = torch.arange(2 * 3 * 5).view(2, 3, 5).to(dtype).transpose(0, 2)
    got = there_and_back({"x": (sent, torch.tensor(7))})["x"]
    assert got[0].dtype == dtype
    assert torch.equal(got[0], sent)
    assert got[1].shape == ()


def test_arrays_sets_and_numbers_of_numpy() -> None:
    array, number, few = there_and_back([np.arange(7.0)[::2], np.float32(0.5), {"a", "b"}])
    assert array.tolist() == [0, 2, 4, 6]
    assert number == 0.5
    assert few == {"a", "b"}


def test_what_has_no_plain_form_is_named_by_a_number() -> None:
    kept: list[object] = []

    def keep(value: object) -> wire.Reference:
        kept.append(value)
        return wire.Reference(len(kept) - 1, type(value).__name__, callable(value))

    message = wire.pack([print, torch.nn.Linear(2, 3)], keep)
    (tree, _), start = wire.LENGTHS.unpack(message[:16]), 16
    first, second = wire.unpack(message[start : start + tree], b"")
    assert (first.number, first.callable) == (0, True)
    assert (second.kind, kept[second.number]) == ("Linear", kept[1])
    with pytest.raises(TypeError, match="expected numbers"):
        wire.pack(object())


@pytest.mark.parametrize("tree", [b"", b"{", b'{"program": 1}', b'{"tensor": "0"}', b'{"list": 3}', b'{"plain": 1, "list": []}', b"[1]"])
def test_what_is_no_message_raises(tree: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        wire.unpack(tree, b"")
