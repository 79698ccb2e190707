"""Generated pictures say so, and so does everything that is made from them."""

import json
from pathlib import Path

import pandas as pd
import pytest
from public_layout import build

from dearlib import plots
from dearlib.commands import main
from dearlib.datasets import TARGETS
from dearlib.datasets.doctor import examine
from dearlib.datasets.generated import FILE, Declaration, declaration, note
from dearlib.errors import InputError
from dearlib.paper.reported import beside, reported
from dearlib.params.schemas import FromRecords
from dearlib.study import tables
from dearlib.study.records import RunRecord, origin, provenance

ELEVEN = ["imagenet", *TARGETS]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    layout = build(tmp_path, "dtd")
    (tmp_path / FILE).write_text(Declaration(note="8 pixels & no more", sizes={"dtd": layout.sizes}).model_dump_json())
    return tmp_path


def test_the_doctor_takes_the_declared_sizes_and_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(root, "dtd").state == "found"
    main(["doctor", "--data", str(root), "--needs", "table2"])
    out = capsys.readouterr().out
    assert "generated input, compared with sizes of its own: 8 pixels & no more" in out
    assert "24 of 24 images" in out
    (root / FILE).unlink()
    assert note(root) is None
    assert len(examine(root, "dtd").faults) == 4, "the published sizes"


@pytest.mark.parametrize("content", ["{", "{}", '{"note": ""}', '{"note": "two\\nlines"}', '{"note": "x", "size": 1}', "\xff"])
def test_a_damaged_declaration_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=FILE) as error:
        declaration(tmp_path)
    assert "\n" not in str(error.value)


def test_records_tables_and_figures_carry_the_note(root: Path) -> None:
    record = RunRecord(
        profile="x",
        group="base_to_novel",
        dataset="dtd",
        runs={},
        parameters_sha256="p",
        weights_sha256="w",
        identity="i",
        roles_sha256="r",
        split_sha256={},
        wall_seconds=1.0,
        metrics=(),
        last={},
        **provenance(root),
    )
    record.save(root / "record.json")
    assert RunRecord.load(root / "record.json").generated == "8 pixels & no more"
    params = FromRecords(profile="x", runs_root=Path("r"), figures_root=Path("f"))
    made_from = origin("06_base_to_novel", params, [record])
    shown = pd.DataFrame({"Method": ["DeAR"], "Base": ["50.00"]})
    tables.write(shown, shown, root / "t", made_from)
    assert (root / "t.md").read_text().startswith("**Generated input, no result: 8 pixels & no more**\n\n| Method")
    assert (root / "t.tex").read_text().startswith("\\textbf{Generated input, no result: 8 pixels \\& no more}")
    assert json.loads((root / "t.json").read_text())["generated"] == "8 pixels & no more"
    fig, _ = plots.figure()
    plots.save(fig, root, "f", made_from["generated"])
    assert "Generated input, no result: 8 pixels &amp; no more" in (root / "f.svg").read_text()
    real = record.model_copy(update={"generated": None})
    assert "generated" not in origin("06_base_to_novel", params, [real])
    assert "generated" not in provenance()


def test_reported_rows_stand_beside_ours_where_the_data_sets_are_the_papers() -> None:
    ours = pd.DataFrame({"Data set": ["dtd"], "Method": ["CLIP"], "n": [1], "Base": ["1.00"], "Novel": ["2.00"], "HM": ["1.33"]})
    both = beside(2, ours, ELEVEN)
    assert both.iloc[0].tolist() == ["dtd", "CLIP", "1", "1.00", "2.00", "1.33"]
    assert len(both) == 1 + len(reported(2)) / 3
    assert set(both["Data set"]) == {"average", *ELEVEN}
    assert both["Method"][1:].str.endswith(", *reported*").all()
    row = both[(both["Data set"] == "average") & (both["Method"] == "CLIP, *reported*")].iloc[0]
    assert row.tolist()[3:] == ["69.34", "74.22", "71.70"]
    assert "average" not in set(beside(2, ours, ["dtd"])["Data set"]), "an average over other data sets is another number"
    assert beside(2, ours, ["objects", "colors"]) is ours


def test_reported_rows_of_the_other_tables() -> None:
    wide = pd.DataFrame({"Method": ["DeAR (fused)"], "n": [3], "imagenet": ["1.00"], "average": ["2.00"], "dtd": ["3.00"]})
    coop = beside(3, wide, ELEVEN).set_index("Method").loc["CoOp, *reported*"]
    assert coop.tolist() == ["", "71.51", "63.88", "41.92"] or coop.tolist()[:3] == ["", "71.51", "63.88"]
    means = pd.DataFrame({"Method": ["All-Mixed"], "n": [3], "Base": ["1.00"], "Novel": ["2.00"], "HM": ["1.33"]})
    assert beside(5, means, ELEVEN).set_index("Method").loc["All-Generalization, *reported*"].tolist() == ["", "81.25", "80.12", "80.68"]
    assert beside(6, means, ELEVEN)["Method"].tolist() == ["All-Mixed", "CE, *reported*", "CE + reg, *reported*", "DeAR, *reported*"]
    assert beside(5, means, ELEVEN[:10]) is means
