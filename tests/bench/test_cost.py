"""Operations predicted from shapes are those that are counted; a profile's work follows its parameter files."""

from pathlib import Path

import pytest
import torch

from dearlib.bench import meters, ways
from dearlib.bench.cost import Shape, Sizes, Work, group_work, layers_gflop
from dearlib.clip.cut import frozen_features, image_prefix
from dearlib.clip.loading import MINI
from dearlib.params.schemas import Variant
from dearlib.params.study import read_study, run_settings

PARAMS = Path(__file__).parents[2] / "params" / "mini"


def training(**changes: object) -> Variant:
    group = read_study(PARAMS).groups["base_to_novel"]
    return run_settings(PARAMS, group, "DeAR", group.datasets[0]).model_copy(update=changes)


def test_one_layer_by_hand() -> None:
    """Two tokens of width 1: 12 weights each, 4 pairs twice; a multiplication and its addition are two operations."""
    assert layers_gflop(1, 1, 2, 1) == pytest.approx((2 * 2 * 12 + 2 * 2 * 4) / 1e9)


@pytest.mark.parametrize(("batch", "classes", "k"), [(4, 6, 5), (2, 20, 0)])
def test_a_predicted_step_is_the_one_that_is_counted(batch: int, classes: int, k: int) -> None:
    made = ways.build(MINI, batch, classes, k=k)
    shape = Shape.of(made.model.clip, made.text.states.shape[1], made.text.shared)
    counted = meters.count(lambda: ways.step(made.fast, made.stack))
    assert shape.step(training(batch=batch, text_tokens=k), classes) == pytest.approx(counted, rel=0.05)


def test_a_predicted_picture_is_the_one_that_is_counted() -> None:
    made = ways.build(MINI, 2, 2)
    visual = made.model.clip.visual
    with torch.no_grad():
        counted = meters.count(lambda: frozen_features(visual, image_prefix(visual, made.images, 9), 9))
    assert 2 * Shape.of(made.model.clip).encode() == pytest.approx(counted, rel=0.1)  # the last layer's savings are left out


def test_the_work_of_a_training_job_by_hand() -> None:
    """10 classes, 5 of them base: 5 · 16 pictures, 4 views, 3 seeds; 20 steps an epoch."""
    shape, p, sizes = Shape(12, 65, 144, 12, 96), training(), Sizes(test=600, classes=10)
    work = group_work(shape, {"DeAR": p}, "halves", sizes, {}, kept=False)
    assert work.runs == 3
    assert work.prefix == pytest.approx((3 * 4 * 80 + 600) * shape.encode())
    assert work.training == pytest.approx(3 * 20 * 20 * shape.step(p, 5))
    assert work.disk_gb == pytest.approx((3 * 4 * 80 + 600) * 65 * 144 * 4 / 1e9)
    assert (work + work).runs == 6
    assert Work() + work == work


def test_runs_on_a_kept_prefix_cost_no_prefix() -> None:
    shape, sizes = Shape(12, 65, 144, 12, 96), Sizes(test=600, classes=10)
    settings = {"one": training(), "other": training(beta=0.0)}
    kept, anew = (group_work(shape, settings, "halves", sizes, {}, kept=k) for k in (True, False))
    assert kept.runs == 2 * 3
    assert kept.prefix == kept.disk_gb == 0 < anew.prefix
    assert kept.training == anew.training
    assert Sizes(0, 37).half("base") == 19


def test_a_run_that_differs_only_after_training_costs_tests_alone() -> None:
    shape, sizes = Shape(12, 65, 144, 12, 96), Sizes(test=600, classes=10)
    one, other = (
        group_work(shape, s, "halves", sizes, {}, kept=True)
        for s in ({"a": training()}, {"a": training(), "b": training(attribute_scores="mean")})
    )
    assert other.training == one.training
    assert other.evaluation == 2 * one.evaluation
