"""The paper's reported tables: transcribed faithfully, and what recomputing them finds."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dearlib.errors import InputError
from dearlib.methods import evaluation
from dearlib.paper import audit
from dearlib.paper.reported import FOLDER, TABLES, all_reported, reported, reported_claims

PAPER = next((f for folder in Path(__file__).resolve().parents if (f := folder / "shared" / "paper" / "dear_paper.txt").exists()), None)
LABELS = {"ATPrompt (CoOp)": "ATPrompt _{C_oOp}", "CE": r"\mathcal{L}_{CE}", "CE + reg": r"$\mathcal{L}_{CE} + \mathcal{L}_{reg}$"}
FULL = r"$\mathcal{L}_{CE} + \mathcal{L}_{reg} + \mathcal{L}_{fusion}$"
HEADINGS = {"average": "Average", "FGVCAircraft": "FGVC Aircraft"}
HEADINGS |= {"ImageNet-V2": "-V2", "ImageNet-Sketch": "-S", "ImageNet-A": "-A", "ImageNet-R": "-R"}


@pytest.fixture(scope="module")
def tables() -> pd.DataFrame:
    return all_reported()


@pytest.fixture(scope="module")
def checked(tables) -> pd.DataFrame:
    return audit.checks(tables, reported_claims())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "reported", ignore=shutil.ignore_patterns("__pycache__")))


def failing(checked: pd.DataFrame, check: str) -> set[tuple[str, ...]]:
    return set(
        audit.mismatches(checked).query("check == @check")[["table", "method", "dataset", "metric"]].itertuples(index=False, name=None)
    )


# What was transcribed


def test_every_cell_is_there(tables) -> None:
    shape = tables.groupby("table").agg(methods=("method", "nunique"), datasets=("dataset", "nunique"), metrics=("metric", "nunique"))
    assert shape.values.tolist() == [[13, 12, 3], [6, 12, 1], [6, 6, 1], [3, 1, 3], [3, 1, 3]]
    assert tables.groupby("table").size().tolist() == shape.prod(axis=1).tolist()


def test_every_number_stands_in_the_paper_in_its_row_and_column(tables) -> None:
    """Independent of how the files were made; and nothing of the paper's tables is left out."""
    if PAPER is None:
        pytest.skip("the paper's text is not here")
    printed = paper(PAPER.read_text(encoding="utf-8"))
    for (number, method, dataset), cells in tables.groupby(["table", "method", "dataset"], sort=False):
        label = FULL if (number, method) == (6, "DeAR") else LABELS.get(method, method)
        headings = [HEADINGS.get(dataset, dataset)] if number < 5 else ["Base", "Novel", "HM"]
        found = [x for heading in headings for x in printed.pop((number, label, heading))]
        assert found == [f"{v:.2f}" for v in cells["value"]], (number, method, dataset)
    assert not printed


OCR = """Table 4. Robustness.
\tSource\tTarget
\tImageNet\t-V2\t-S
CLIP (2021)\t66.73\t60.83\t46.15
Ours\t70.01\t61.00\t47.00
Table 6. Losses.
Loss Function\tBase\tNovel\tHM
CE + reg\t80.01\t70.02\t74.68
"""


def test_lines_of_the_papers_kind_are_read_by_table_row_and_heading() -> None:
    """For who has not the paper's text: a page of our own in its form, made-up numbers."""
    rows = {"CLIP": "66.73 60.83 46.15", "Ours": "70.01 61.00 47.00"}
    heads = ("ImageNet", "-V2", "-S")
    expected = {(4, label, h): [v] for label, line in rows.items() for h, v in zip(heads, line.split(), strict=True)}
    expected |= {(6, "CE + reg", h): [v] for h, v in (("Base", "80.01"), ("Novel", "70.02"), ("HM", "74.68"))}
    assert paper(OCR) == expected


def paper(text: str) -> dict[tuple[int, str, str], list[str]]:
    """(table, label of a row without its year, heading) → the numbers under that heading, from lines cut at tabs."""
    found, number, headings = {}, 0, []
    for line in text.splitlines():
        caption = re.match(r"Table (\d)\.", line)
        number, headings = (int(caption[1]), []) if caption else (number, headings)
        label, *cells = line.split("\t")
        values = [c for c in cells if re.fullmatch(r"\d+\.\d+", c)]
        if values and headings:
            each = len(values) // len(headings)
            label = re.sub(r" \([^)]*\)$", "", label)
            found |= {(number, label, heading): values[i * each : (i + 1) * each] for i, heading in enumerate(headings)}
        elif (cells and number > 1 and cells[0] not in ("Base", "Source")) or label in ("Mask Strategy", "Loss Function"):
            headings = [c.replace("-Aircraft", " Aircraft") for c in cells if c]
    return found


def test_all_numbers_have_two_decimals_so_half_a_unit_is_known() -> None:
    for number in TABLES:
        values = pd.read_csv(FOLDER / f"table{number}.csv", dtype=str)["value"]
        assert values.str.fullmatch(r"\d\d\.\d\d").all()
    assert pytest.approx(0.01 / 2) == audit.HALF


# What recomputing finds


def test_the_harmonic_means_that_do_not_follow(checked) -> None:
    rows = {("DeAR", d) for d in ("Caltech101", "OxfordPets", "StanfordCars", "Food101", "DTD")}
    rows |= {("CLIP", "OxfordPets"), ("MMRL", "DTD"), ("MaPLe", "ImageNet"), ("ProVP", "SUN397"), ("ProVP", "UCF101")}
    assert failing(checked, "hm") == {("2", method, dataset, "hm") for method, dataset in rows}


def test_the_averages_that_do_not_follow(checked) -> None:
    assert failing(checked, "mean") == {("2", m, "average", x) for m, x in (("CLIP", "novel"), ("ProVP", "base"), ("ProVP", "novel"))}
    assert failing(checked, "hm of means") == {("2", m, "average", "hm") for m in ("CLIP", "ProVP")}
    assert failing(checked, "repeat") == set()


def test_the_claims_that_do_not_follow(checked) -> None:
    whats = set(audit.mismatches(checked).query("check not in @audit.WHAT")["what"])
    claims = reported_claims().set_index("id")["claim"]
    assert whats == set(claims[["b2n-gain", "b2n-previous", "mask-open-base"]])


def test_which_cell_is_suspect(tables) -> None:
    suspects = audit.suspects(tables)
    agreeing = suspects[suspects.averages_agree].groupby(["method", "dataset"])["cell"].agg(list)
    sure = {key: cells[0] for key, cells in agreeing.items() if len(cells) == 1}
    own = {("DeAR", d): "hm" for d in ("Caltech101", "OxfordPets", "Food101", "DTD")}
    assert sure == {**own, ("CLIP", "OxfordPets"): "novel"}
    clip = suspects[(suspects.method == "CLIP") & (suspects.cell == "novel")].iloc[0]
    assert clip.implied == pytest.approx(97.26, abs=0.02)  # the value that other papers print for zero-shot CLIP


def test_the_checks_are_all_there(checked, tables) -> None:
    counts = checked.groupby("check").size()
    hms = (tables["metric"] == "hm").sum()
    assert counts["hm"] == hms == 13 * 12 + 6
    assert counts["mean"] == 13 * 2 + 6 + 6
    assert counts["hm of means"] == 13
    assert counts["repeat"] == 6 + 3 + 3  # ImageNet in Table 4, DeAR in Tables 5 and 6
    assert counts.drop(list(audit.WHAT)).sum() == len(reported_claims())


def test_recomputed_is_the_packages_own_harmonic_mean(checked, tables) -> None:
    wide = tables.pivot(index=["table", "dataset", "method"], columns="metric", values="value")
    for row in checked[checked.check == "hm"].itertuples():
        cells = wide.loc[(int(row.table), row.dataset, row.method)]
        assert row.recomputed == pytest.approx(evaluation.harmonic_mean(cells.base, cells.novel))


def test_times_best_counts_ties_for_each() -> None:
    rows = [(2, d, "target", m, "base", v) for d, m, v in (("a", "x", 1.0), ("a", "y", 2.0), ("b", "x", 3.0), ("b", "y", 3.0))]
    best = audit.times_best(pd.DataFrame(rows, columns=["table", "dataset", "role", "method", "metric", "value"]))
    assert best[["method", "best", "of"]].values.tolist() == [["x", 1, 2], ["y", 2, 2]]


# Nothing is typed by hand


@pytest.mark.parametrize(
    ("file", "old", "new", "check", "key"),
    [
        ("table2", "EuroSAT,target,DeAR,base,97.00", "97.10", "hm", ("2", "DeAR", "EuroSAT", "hm")),
        ("table2", "SUN397,target,TAC,novel,80.03", "80.53", "mean", ("2", "TAC", "average", "novel")),
        ("table2", "SUN397,target,TAC,novel,80.03", "80.53", "hm of means", ("2", "TAC", "average", "hm")),
        ("table3", "DTD,target,CoOp,accuracy,41.92", "49.12", "mean", ("3", "CoOp", "average", "accuracy")),
        ("table4", "ImageNet,source,TAC,accuracy,72.77", "72.78", "repeat", ("4", "TAC", "ImageNet", "accuracy")),
        ("table4", "ImageNet-A,target,TAC,accuracy,51.73", "51.93", "rank", ("4", "DeAR", "ImageNet-A", "accuracy")),
        ("table6", "CE,novel,74.21", "74.23", "difference", ("6", "CE + reg", "average", "novel")),
        ("claims", "average,accuracy,DeAR,,,67.60", "67.61", "value", ("3", "DeAR", "average", "accuracy")),
    ],
)
def test_one_changed_number_changes_the_audit(copy: Path, checked, file: str, old: str, new: str, check: str, key) -> None:
    path = copy / f"{file}.csv"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, old.rpartition(",")[0] + "," + new))
    assert key not in failing(checked, check)
    assert key in failing(audit.checks(all_reported(copy), reported_claims(copy)), check)


def test_a_mended_cell_is_no_longer_found(copy: Path) -> None:
    text = (copy / "table2.csv").read_text()
    (copy / "table2.csv").write_text(text.replace("2,OxfordPets,target,CLIP,novel,97.96", "2,OxfordPets,target,CLIP,novel,97.26"))
    failed = audit.mismatches(audit.checks(all_reported(copy), reported_claims(copy)))
    assert "CLIP" not in set(failed["method"])


# Rounding


def table(cells: list[tuple[str, str, float, float, float]]) -> pd.DataFrame:
    """`cells`: data set, role, base, novel, HM of one method."""
    rows = [(2, d, role, "x", m, v) for d, role, *values in cells for m, v in zip(("base", "novel", "hm"), values, strict=True)]
    return pd.DataFrame(rows, columns=["table", "dataset", "role", "method", "metric", "value"])


@pytest.mark.parametrize(
    ("base", "novel", "hm", "beyond"),
    [
        (60.0, 90.0, 72.0, 0.0),  # 2 · 60 · 90 / 150
        (60.0, 90.0, 72.01, 0.0),  # 60.005 and 90.005 give 72.0052, 72.01 may stand for 72.005
        (60.0, 90.0, 72.02, 0.0098),  # 72.015 − 72.0052
        (99.0, 95.8, 96.95, 0.4137),
        (0.0, 50.0, 0.0, 0.0),
    ],
)
def test_harmonic_means_by_hand(base: float, novel: float, hm: float, beyond: float) -> None:
    found = audit.harmonic_means(table([("a", "target", base, novel, hm)]))
    assert found["beyond"].item() == pytest.approx(beyond, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 100, allow_subnormal=False)] * 2), min_size=1, max_size=12))
def test_rounding_alone_is_never_a_mismatch(pairs: list[tuple[float, float]]) -> None:
    means = [sum(x) / len(pairs) for x in zip(*pairs, strict=True)]
    exact = [(str(i), "target", *pair) for i, pair in enumerate(pairs)] + [("average", "average", *means)]
    printed = [(d, role, round(b, 2), round(n, 2), round(evaluation.harmonic_mean(b, n), 2)) for d, role, b, n in exact]
    shown = table(printed)
    none = reported_claims().iloc[:0]
    assert len(audit.mismatches(audit.checks(shown, none))) == 0


@settings(max_examples=30, deadline=None)
@given(st.floats(1, 99), st.floats(1, 99), st.floats(0.05, 5))
def test_a_slip_larger_than_rounding_is_always_found(base: float, novel: float, slip: float) -> None:
    hm = round(evaluation.harmonic_mean(base, novel) + slip, 2)
    assert len(audit.mismatches(audit.harmonic_means(table([("a", "target", round(base, 2), round(novel, 2), hm)])))) == 1


# Bad input


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda t: t.replace("metric,value", "metric,percent"), "expected columns table, dataset, role, method, metric, value, got"),
        (lambda t: t.replace(",81.25", ",81.2S"), "expected a number in value, got '81.2S'"),
        (lambda t: t.replace(",81.25", ",812.5"), "expected percentages, got values outside 0–100"),
        (lambda t: t.replace("average,average", "average,mean"), "got others in role"),
        (lambda t: t.replace("5,average", "6,average"), "got others in table"),
        (lambda t: t + t.splitlines()[-1] + "\n", "expected every cell once, got ('average', 'average', 'DeAR', 'hm') twice"),
        (lambda t: "", "expected a CSV file, got EmptyDataError"),
    ],
)
def test_a_bad_table_is_one_line(copy: Path, edit, line: str) -> None:
    path = copy / "table5.csv"
    path.write_text(edit(path.read_text()))
    with pytest.raises(InputError, match=re.escape(line)) as caught:
        reported(5, copy)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("DeAR,MMRL,,1.83", "DeAR,MMLR,,1.83", "claims.csv: b2n-gain: expected a method of table 2, average, novel, got MMLR"),
        ("gained over MMRL,difference", "gained over MMRL,ratio", "claims.csv: b2n-gain: expected kind value, difference,"),
    ],
)
def test_a_claim_about_nothing_is_one_line(copy: Path, tables, old: str, new: str, line: str) -> None:
    path = copy / "claims.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=re.escape(line)):
        audit.checks(tables, reported_claims(copy))


def test_a_claim_twice_and_a_missing_table(copy: Path) -> None:
    path = copy / "claims.csv"
    path.write_text(path.read_text().replace("xd-best", "xd-average"))
    with pytest.raises(InputError, match="expected every id once, got xd-average twice"):
        reported_claims(copy)
    (copy / "table3.csv").unlink()
    with pytest.raises(InputError, match=r"table3\.csv: expected a CSV file, got FileNotFoundError"):
        reported(3, copy)
