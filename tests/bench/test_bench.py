"""What the benchmark times: two ways to the same losses, operations counted, a ceiling that is a rate."""

from pathlib import Path

import pytest
import torch

from dearlib.bench import meters, parts, ways
from dearlib.bench.parts import growth
from dearlib.clip.cut import frozen_features, image_prefix
from dearlib.clip.loading import MINI, random_clip
from dearlib.files import write_tensors


def test_the_two_ways_are_the_same_training() -> None:
    assert ways.same_losses(MINI, batch=3, classes=4, steps=3) < 1e-4


def test_the_fast_way_needs_fewer_operations() -> None:
    made = ways.build(MINI, batch=3, classes=4)
    plain, fast = (meters.count(lambda way=way: ways.step(getattr(made, way), made.stack)) for way in ("straightforward", "fast"))  # type: ignore[misc]
    assert 0 < fast < plain / 2


def test_every_way_is_timed_in_turn() -> None:
    order: list[str] = []
    seconds = meters.interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=2)
    assert order == ["a", "b"] * 3
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}


def test_operations_of_a_product_by_hand() -> None:
    a, b = torch.ones(20, 30), torch.ones(30, 50)
    assert meters.count(lambda: a @ b) == pytest.approx(2 * 20 * 30 * 50 / 1e9)


def test_attention_counts_the_same_by_the_fused_kernel_and_by_hand() -> None:
    """Two products of [query, key, d_head] a head forward; the counter alone knows no formula for a CPU's kernel."""
    q, k, v = (torch.ones(2, 3, 5, 64) for _ in range(3))
    by_hand = meters.count(lambda: (q @ k.mT).softmax(-1) @ v)
    assert meters.count(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v)) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(2 * 2 * 2 * 3 * 5 * 5 * 64 / 1e9)


def test_plain_encoding_counts_its_attention_layers() -> None:
    """open_clip's layers in one call: 12·d² products a token a layer, and the two of attention."""
    made = ways.build(MINI, batch=2, classes=2)
    clip, d, tokens = made.model.clip, 144, 65
    layers = 12 * 2 * 2 * tokens * (12 * d * d + 2 * tokens * d)
    with torch.no_grad():
        counted = meters.count(lambda: clip.encode_image(made.images))
    assert counted == pytest.approx(layers / 1e9, rel=0.01)


def test_more_runs_cost_more_operations_in_proportion() -> None:
    m = meters.Measurer(MINI, top=1.0, repeats=1)
    (one,), (three,) = growth(m, classes=2), growth(m, classes=2, runs=3)
    assert three.runs == 3
    assert three.gflop == pytest.approx(3 * one.gflop, rel=0.01)


def test_a_whole_run_is_its_prefix_and_its_steps() -> None:
    """200 views in 50 steps: 2 classes of 10 shots, 10 epochs."""
    found = parts.whole_run(MINI, classes=2, shots=10, epochs=10, share=25).set_index("way")
    made = ways.build(MINI, batch=4, classes=2)
    fast = meters.count(lambda: ways.step(made.fast, made.stack))
    with torch.no_grad():
        views = meters.count(
            lambda: frozen_features(made.model.clip.visual, image_prefix(made.model.clip.visual, made.images, ways.J), ways.J)
        )
    assert found.gflop["fast, on a kept prefix"] == pytest.approx(50 * fast)
    assert found.gflop["fast, prefix included"] == pytest.approx(50 * (fast + views))
    assert (found.seconds > 0).all()


def test_memory_is_that_of_a_process_of_its_own(tmp_path: Path) -> None:
    """The plain loop holds 77 text columns and every layer's activations."""
    weights = tmp_path / "mini.safetensors"
    write_tensors(weights, random_clip().model.state_dict())
    fast, plain = (meters.peak_of(MINI, weights, way, 16, 50) for way in ("fast", "straightforward"))
    assert 0 < fast < plain
