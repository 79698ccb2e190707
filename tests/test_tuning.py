"""The search for hyper-parameters: what it tries, how it ranks, what it refuses."""

from pathlib import Path

import pandas as pd
import pytest

from dearlib.errors import InputError
from dearlib.params import Training, load_params
from dearlib.tuning import Plan, read_plan, settings_of, summary

MINI = Path(__file__).parents[1] / "params" / "mini"


def start() -> Training:
    params = load_params("05_training", MINI / "05_training.yaml")
    assert isinstance(params, Training)
    return params


def test_one_key_changes_at_a_time() -> None:
    plan = Plan(datasets=["objects"], seeds=[1], alternatives={"beta": [start().beta, 0.11, 0.22], "lambda_reg": [0.033]})
    tried = list(settings_of(start(), plan))
    assert tried[0] == start()
    assert [(p.beta, p.lambda_reg) for p in tried[1:]] == [
        (0.11, start().lambda_reg),
        (0.22, start().lambda_reg),
        (start().beta, 0.033),
    ]


def test_the_best_setting_has_the_best_harmonic_mean_of_means() -> None:
    rows = pd.DataFrame(
        {"beta": [0.1, 0.1, 0.2, 0.2], "base": [90.0, 70.0, 60.0, 60.0], "novel": [20.0, 40.0, 60.0, 50.0]},
    )
    table = summary(rows, ["beta"])
    assert list(table.index) == [0.2, 0.1]
    assert table.loc[0.1, "hm"] == pytest.approx(2 * 80 * 30 / 110)


def test_the_committed_plan_is_valid_and_a_wrong_one_is_one_line(tmp_path) -> None:
    assert read_plan(MINI / "tuning.yaml").alternatives
    (tmp_path / "plan.yaml").write_text("datasets: [a]\nseeds: [1]\nalternatives: {bet: [1]}\n")
    with pytest.raises(InputError, match=r"plan.yaml: alternatives: .*'bet'") as caught:
        read_plan(tmp_path / "plan.yaml")
    assert "\n" not in str(caught.value)
