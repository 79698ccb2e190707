"""Table 2 by hand, and records that are whole or refused."""

import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dearlib.errors import InputError
from dearlib.params.schemas import FromRecords
from dearlib.study import tables
from dearlib.study.averages import AVERAGE, accuracies, base_to_novel, by_shots, methods_by_datasets, presentable
from dearlib.study.records import Metric, RunRecord, origin, provenance, tidy, together


def record(dataset: str, metrics: list[tuple[str, str, int | None, float]], **changes: object) -> RunRecord:
    """`metrics`: (split, method, seed, accuracy), all of the test part."""
    values = {
        "profile": "x",
        "group": "halved",
        "dataset": dataset,
        "runs": {"DeAR": {}},
        "parameters_sha256": "p",
        "weights_sha256": "w" * 64,
        "identity": "i" * 64,
        "roles_sha256": "r" * 64,
        "split_sha256": {dataset: "s" * 64},
        "wall_seconds": 1.0,
        "last": {"DeAR, seed 1": {"loss": 0.5}},
        "metrics": tuple(
            Metric(dataset=dataset, split=s, part="test", method=m, seed=seed, accuracy=a)  # type: ignore[arg-type]
            for s, m, seed, a in metrics
        ),
        **provenance(),
    }
    return RunRecord(**{**values, **changes})


@pytest.fixture
def records() -> list[RunRecord]:
    one = [("base", "CLIP", None, 50.0), ("novel", "CLIP", None, 60.0)]
    one += [("base", "DeAR", 1, 80.0), ("novel", "DeAR", 1, 60.0), ("base", "DeAR", 2, 84.0), ("novel", "DeAR", 2, 62.0)]
    two = [("base", "CLIP", None, 70.0), ("novel", "CLIP", None, 40.0)]
    two += [("base", "DeAR", 1, 90.0), ("novel", "DeAR", 1, 50.0), ("base", "DeAR", 2, 92.0), ("novel", "DeAR", 2, 54.0)]
    return [record("cups", one), record("keys", two)]


def test_table_by_hand(records) -> None:
    table = base_to_novel(tidy(records), ["cups", "keys"], ["CLIP", "DeAR"]).set_index(["dataset", "method"])
    cups = table.loc[("cups", "DeAR")]
    assert (cups["base"], cups["novel"], cups["n"]) == (82, 61, 2)
    assert cups["hm"] == pytest.approx(2 * 82 * 61 / 143)  # of the means, not the mean of 68.57 and 71.34
    assert cups["base_sd"] == pytest.approx(math.sqrt(8))  # ddof = 1
    average = table.loc[("average", "DeAR")]
    assert (average["base"], average["novel"]) == (86.5, 56.5)
    assert average["base_sd"] == pytest.approx(math.sqrt(4.5))  # of 85 and 88, the seeds' averages
    assert average["hm"] == pytest.approx(2 * 86.5 * 56.5 / 143)
    clip = table.loc[("average", "CLIP")]
    assert (clip["base"], clip["novel"], clip["n"]) == (60, 50, 1)
    assert math.isnan(clip["base_sd"])


def test_validation_never_enters_the_table(records) -> None:
    metrics = tidy(records)
    before = base_to_novel(metrics, ["cups", "keys"], ["DeAR"])
    metrics.loc[len(metrics)] = ["cups", "base", "val", "DeAR", 1, 0.0, None, None]
    pd.testing.assert_frame_equal(base_to_novel(metrics, ["cups", "keys"], ["DeAR"]), before)


@pytest.mark.parametrize("lost", ["dataset", "half", "seed"])
def test_a_gap_is_an_error_not_a_smaller_mean(records, lost) -> None:
    metrics = tidy(records)
    keys = (metrics.dataset == "keys") & (metrics.method == "DeAR")
    gap = {"dataset": keys, "half": keys & (metrics.split == "novel"), "seed": keys & (metrics.seed == 2)}[lost]
    with pytest.raises(InputError, match="table 2"):
        base_to_novel(metrics[~gap], ["cups", "keys"], ["DeAR"])


def test_a_data_set_that_is_asked_for_twice_is_no_second_one(records) -> None:
    """It would count twice in the average."""
    with pytest.raises(InputError, match="table 2: expected distinct data sets, got cups, keys, cups"):
        base_to_novel(tidy(records), ["cups", "keys", "cups"], ["DeAR"])


def test_files(records, tmp_path) -> None:
    table = base_to_novel(tidy(records), ["cups", "keys"], ["CLIP", "DeAR"])
    tables.write(table, presentable(table), tmp_path / "table2", {"why": "test"})
    back = pd.read_csv(tmp_path / "table2.csv")
    pd.testing.assert_frame_equal(back, table.round(4), check_dtype=False)
    assert "82.00 ± 2.83" in (tmp_path / "table2.md").read_text()
    assert r"82.00 $\pm$ 2.83" in (tmp_path / "table2.tex").read_text()
    assert presentable(table)["Base"].tolist()[0] == "50.00"
    assert {p.name for p in tmp_path.iterdir()} == {f"table2.{kind}" for kind in ("csv", "md", "tex", "json")}


def test_records_round_trip(records, tmp_path) -> None:
    for r in records:
        r.save(tmp_path / f"{r.dataset}.json")
    assert [RunRecord.load(p) for p in sorted(tmp_path.iterdir())] == records


def test_records_that_do_not_belong_together(records) -> None:
    changed = {"weights_sha256": "v" * 64, "identity": "j" * 64, "roles_sha256": "q" * 64, "split_sha256": {"cups": "t" * 64}}
    for name, value in changed.items():
        with pytest.raises(InputError, match="records: expected one"):
            together([records[0], records[1].model_copy(update={name: value})])


@pytest.mark.parametrize("content", [None, "", "{}", '{"profile": '])
def test_a_bad_record_is_one_line(tmp_path, content) -> None:
    path = tmp_path / "record.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="expected a run record") as caught:
        RunRecord.load(path)
    assert "\n" not in str(caught.value)


def transfer(*rows: tuple[str, str, int | None, float, str | None]) -> pd.DataFrame:
    """Metrics on all classes: data set, method, seed, accuracy, what it was trained on."""
    return pd.DataFrame(
        [
            Metric(dataset=d, split="all", part="test", method=m, seed=s, accuracy=a, trained_on=t).model_dump()  # type: ignore[arg-type]
            for d, m, s, a, t in rows
        ]
    )


AWAY = transfer(
    ("cups", "CLIP", None, 50.0, None), ("keys", "CLIP", None, 60.0, None),
    ("cups", "DeAR", 1, 54.0, "source"), ("keys", "DeAR", 1, 60.0, "source"),
    ("cups", "DeAR", 2, 56.0, "source"), ("keys", "DeAR", 2, 64.0, "source"),
    ("cups", "DeAR", 1, 99.0, None), ("cups", "DeAR", 2, 99.0, None), ("keys", "DeAR", 1, 99.0, None), ("keys", "DeAR", 2, 99.0, None),
)  # fmt: skip


def test_transfer_by_hand() -> None:
    """The average is over data sets first; runs trained on a target itself are another table's."""
    table = accuracies(AWAY, ["cups", "keys"], ["CLIP", "DeAR"], trained_on="source").set_index(["dataset", "method"])
    assert table.loc[("cups", "DeAR"), "accuracy"] == 55
    assert table.loc[(AVERAGE, "DeAR"), "accuracy"] == 58.5
    assert table.loc[(AVERAGE, "DeAR"), "accuracy_sd"] == pytest.approx(math.sqrt(4.5))  # of 57 and 60
    assert table.loc[(AVERAGE, "CLIP"), "accuracy"] == 55
    assert math.isnan(table.loc[(AVERAGE, "CLIP"), "accuracy_sd"])


def test_wide_tables_print_the_best_in_bold() -> None:
    wide = methods_by_datasets(accuracies(AWAY, ["cups", "keys"], ["CLIP", "DeAR"], "source"), [AVERAGE, "cups"])
    assert wide.to_numpy().tolist() == [["CLIP", 1, "55.00", "50.00"], ["DeAR", 2, "**58.50 ± 2.12**", "**55.00 ± 1.41**"]]
    alone = methods_by_datasets(accuracies(AWAY, ["cups", "keys"], ["DeAR"], "source"), ["cups"])
    assert alone["cups"].tolist() == ["55.00 ± 1.41"]  # best of one is no merit


@pytest.mark.parametrize("gap", [("cups", 1), ("cups", None)])
def test_a_gap_in_transfer_is_an_error(gap) -> None:
    kept = AWAY[~((AWAY.dataset == gap[0]) & (AWAY.trained_on == "source") & ((AWAY.seed == gap[1]) | (gap[1] is None)))]
    with pytest.raises(InputError, match="table: expected"):
        accuracies(kept, ["cups", "keys"], ["DeAR"], "source")


def test_records_of_different_roles_do_not_stand_together(records) -> None:
    other = records[1].model_copy(update={"roles_sha256": "q" * 64})
    with pytest.raises(InputError, match="expected one roles_sha256, got qqq"):
        together([records[0], other])


def test_the_sidecar_names_its_records(records) -> None:
    told = origin("06_base_to_novel", FromRecords(profile="x", runs_root=Path("r"), figures_root=Path("f")), records)
    assert [r["dataset"] for r in told["records"]] == ["cups", "keys"]
    assert told["weights_sha256"] == records[0].weights_sha256


def few(*rows: tuple[str, str, int | None, float, int | None]) -> pd.DataFrame:
    """Metrics on all classes: data set, method, seed, accuracy, shots."""
    return pd.DataFrame(
        [Metric(dataset=d, split="all", part="test", method=m, seed=s, accuracy=a, shots=k).model_dump() for d, m, s, a, k in rows]
    )


FEW = few(*[(d, "DeAR", s, v + s + 10 * k, k) for d, v in (("cups", 40.0), ("keys", 50.0)) for s in (1, 2) for k in (1, 4)])


def test_few_shots_by_hand() -> None:
    table = by_shots(FEW, ["cups", "keys"], ["DeAR"], [1, 4]).set_index(["dataset", "shots"])
    assert table.loc[("cups", 4), "mean"] == 81.5
    assert table.loc[(AVERAGE, 1), "mean"] == 56.5
    assert table.loc[(AVERAGE, 1), "sd"] == pytest.approx(math.sqrt(0.5))  # of the seeds' averages 56 and 57
    assert list(table.reset_index().columns) == ["dataset", "shots", "method", "mean", "sd", "n"]


def test_a_seed_that_few_shots_lack_is_an_error_not_a_smaller_mean() -> None:
    lost = FEW[~((FEW.dataset == "keys") & (FEW.seed == 2) & (FEW.shots == 4))]
    with pytest.raises(InputError, match="same seeds on every data set, got cups 1, 2; keys 1"):
        by_shots(lost, ["cups", "keys"], ["DeAR"], [1, 4])
    with pytest.raises(InputError, match="as many seeds of DeAR at every number of shots"):
        by_shots(FEW[~((FEW.seed == 2) & (FEW.shots == 4))], ["cups", "keys"], ["DeAR"], [1, 4])


def test_rows_that_contradict_each_other_are_no_table(records) -> None:
    """Whichever comes first: order decides nothing."""
    metrics = tidy(records)
    other = metrics[(metrics.method == "DeAR") & (metrics.dataset == "keys")].assign(accuracy=lambda m: m.accuracy + 1)
    for rows in ([metrics, other], [other, metrics]):
        with pytest.raises(InputError, match="table 2: DeAR: expected one value for base of keys, seed 1"):
            base_to_novel(pd.concat(rows, ignore_index=True), ["cups", "keys"], ["DeAR"])
    twice = pd.concat([AWAY, AWAY[AWAY.trained_on.notna()].assign(accuracy=1.0)], ignore_index=True)
    with pytest.raises(InputError, match="expected one value for all of cups, seed 1"):
        accuracies(twice, ["cups", "keys"], ["DeAR"], "source")


def test_metrics_of_different_splits_are_refused(records) -> None:
    other = records[0].model_copy(update={"split_sha256": {"cups": "t" * 64}})
    with pytest.raises(InputError, match="expected one split file of cups"):
        tidy([*records, other])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_record_is_a_record_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "record.json"
    record("cups", [("base", "DeAR", 1, 50.0)]).save(path)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.one_of(st.just(len(damaged)), st.integers(0, len(damaged))))])
    try:
        told = repr(type(RunRecord.load(path)))
    except InputError as error:
        told = str(error)
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("accuracy", [float("nan"), float("inf"), -1.0, 100.1])
def test_an_accuracy_that_is_no_percentage_is_never_recorded(accuracy: float) -> None:
    with pytest.raises(ValidationError):
        record("cups", [("base", "DeAR", 1, accuracy)])
