"""Fresh figures beside committed ones: what is held to a tolerance, and what is refused."""

from pathlib import Path

import pandas as pd
import pytest

from dearlib.commands import main
from dearlib.workflow import compare

NAN = float("nan")
TOLERANCE = "roles: 0.3\nzero_shot: 0.3\ntrained_average: 1.0\nclaims: 0.5\n"


def table(kind: compare.Kind) -> pd.DataFrame:
    """Rows of one zero-shot and one trained method, on one data set and on average."""
    rows = []
    for dataset in ("objects", compare.AVERAGE):
        for method, spread in (("CLIP", NAN), ("DeAR", 1.0)):
            names = {"dataset": dataset, "method": method, "feature": method, "factor": "color", "shots": 4}
            rows.append({k: names[k] for k in kind.keys} | dict.fromkeys(kind.values, 60.0) | {kind.spread: spread})
    return pd.DataFrame(rows).drop_duplicates(list(kind.keys), ignore_index=True)


ROLES = pd.DataFrame({"layer": [9, 9, 10], "head": [0, 1, 0], "role": "mixed", "concept": "color", "entropy": 1.0})
CLAIMS = pd.DataFrame(
    {
        "place": "Table 5",
        "claim": "it helps",
        "contrast": ["x − y, HM", "x − z, HM"],
        "on": "cups keys",
        "estimand": "these data sets",
        "difference": 1.0,
        "low": [0.2, -float("inf")],
        "high": [1.8, float("inf")],
        "effect": [0.6, NAN],
        "verdict": ["holds", "undecided"],
    }
)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for folder in (tmp_path / "old", tmp_path / "new"):
        folder.mkdir()
        ROLES.to_csv(folder / compare.ROLES, index=False)
        CLAIMS.to_csv(folder / compare.CLAIMS, index=False)
        for name, kind in compare.FILES.items():
            table(kind).to_csv(folder / name, index=False)
    (tmp_path / "tolerance.yaml").write_text(TOLERANCE)
    return tmp_path / "old", tmp_path / "new"


def status(folders: tuple[Path, Path]) -> int:
    return main(["compare", *map(str, folders), "--tolerance", str(folders[0].parent / "tolerance.yaml")])


def test_equal_folders_agree(folders) -> None:
    assert status(folders) == 0


@pytest.mark.parametrize("name", compare.FILES)
@pytest.mark.parametrize(("by", "expected"), [(0.29, 0), (-0.31, 1)])
def test_what_is_not_trained_is_held_everywhere(folders, capsys, name, by, expected) -> None:
    kind = compare.FILES[name]
    changed = table(kind)
    first = changed[kind.spread].isna().idxmax()
    changed.loc[first, kind.values[-1]] += by
    changed.to_csv(folders[1] / name, index=False)
    assert status(folders) == expected
    assert (f"beyond tolerance: {name}" in capsys.readouterr().out) == bool(expected)


@pytest.mark.parametrize("name", ["table2.csv", "table3.csv", "figure4.csv"])
@pytest.mark.parametrize(("dataset", "by", "expected"), [("objects", 9.0, 0), ("average", 0.99, 0), ("average", -1.01, 1)])
def test_of_trained_methods_averages_are_held(folders, name, dataset, by, expected) -> None:
    kind = compare.FILES[name]
    changed = table(kind)
    changed.loc[(changed["dataset"] == dataset) & (changed["method"] == "DeAR"), kind.values[0]] += by
    changed.to_csv(folders[1] / name, index=False)
    assert status(folders) == expected


def test_every_row_of_table_5_is_an_average(folders) -> None:
    changed = table(compare.FILES["table5.csv"])
    changed.loc[changed["method"] == "DeAR", "novel"] += 1.5
    changed.to_csv(folders[1] / "table5.csv", index=False)
    assert status(folders) == 1


@pytest.mark.parametrize("column", ["role", "concept"])
def test_one_head_that_changed_is_too_many(folders, column) -> None:
    changed = ROLES.copy()
    changed.loc[1, column] = "other"
    changed.to_csv(folders[1] / compare.ROLES, index=False)
    assert status(folders) == 1


@pytest.mark.parametrize(
    ("row", "column", "value", "expected"),
    [
        (0, "difference", 1.29, 0),
        (0, "difference", 1.31, 1),  # more than half of the reported 0.6
        (1, "difference", 1.49, 0),
        (1, "difference", 0.49, 1),  # nothing is reported: the tolerance itself
        (0, "low", -0.15, 1),
        (0, "high", 2.2, 1),
        (1, "high", 9.0, 1),
        (0, "effect", 0.7, 1),
        (0, "verdict", "undecided", 1),
        (1, "verdict", "does not hold", 1),
    ],
)
def test_claims_are_held_below_their_effects_and_verdicts_to_the_word(folders, capsys, row, column, value, expected) -> None:
    changed = CLAIMS.copy()
    changed.loc[row, column] = value
    changed.to_csv(folders[1] / compare.CLAIMS, index=False)
    assert status(folders) == expected
    assert ("beyond tolerance: claims.csv" in capsys.readouterr().out) == bool(expected)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("table2.csv", lambda t: t.iloc[1:], "expected the same rows"),
        ("table2.csv", lambda t: t.drop(columns="base"), "got without ['base']"),
        ("table2.csv", lambda t: t.assign(base=NAN), "expected a number for base"),
        ("roles.csv", lambda t: t.iloc[1:], "expected the same heads"),
        ("claims.csv", lambda t: t.iloc[1:], "expected the same rows"),
        ("claims.csv", lambda t: t.assign(difference=NAN), "expected difference of"),
        ("claims.csv", lambda t: pd.concat([t, t.iloc[:1].assign(difference=3.0)]), "expected every row once"),
    ],
)
def test_wrong_input_is_one_line(folders, capsys, name, change, message) -> None:
    change(pd.read_csv(folders[1] / name)).to_csv(folders[1] / name, index=False)
    assert status(folders) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_missing_file_and_a_bad_tolerance_are_one_line(folders, capsys) -> None:
    (folders[1] / "table6.csv").unlink()
    assert status(folders) == 2
    assert "expected a table, got nothing" in capsys.readouterr().err
    (folders[0].parent / "tolerance.yaml").write_text("zero_shot: 0.3\n")
    assert status(folders) == 2
    assert "expected roles, zero_shot, trained_average, claims" in capsys.readouterr().err


def test_the_committed_tolerance_is_valid() -> None:
    committed = compare.read_tolerance(Path(__file__).parents[2] / "params" / "mini" / "tolerance.yaml")
    assert max(committed.roles, committed.zero_shot) <= 0.3
    assert committed.claims <= 0.5 < 1.11  # the least effect of Tables 5 and 6 on the harmonic mean
