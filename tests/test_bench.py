"""What the benchmark times: two ways to the same losses, operations counted, a ceiling that is a rate."""

import pytest
import torch

from dearlib import bench
from dearlib.clip import MINI


def test_the_two_ways_are_the_same_training() -> None:
    assert bench.same_losses(MINI, batch=3, classes=4, steps=3) < 1e-4


def test_the_fast_way_needs_fewer_operations() -> None:
    made = bench.build(MINI, batch=3, classes=4)
    plain, fast = (bench.count(lambda way=way: bench.step(getattr(made, way), made.model)) for way in ("straightforward", "fast"))  # type: ignore[misc]
    assert 0 < fast < plain / 2


def test_every_way_is_timed_in_turn() -> None:
    order: list[str] = []
    seconds = bench.interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=2)
    assert order == ["a", "b"] * 3
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}


def test_operations_of_a_product_by_hand() -> None:
    a, b = torch.ones(20, 30), torch.ones(30, 50)
    assert bench.count(lambda: a @ b) == pytest.approx(2 * 20 * 30 * 50 / 1e9)
