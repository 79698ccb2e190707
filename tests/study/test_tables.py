"""Tables as files: the digits and signs that were given, in every format, and where they come from."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from dearlib.params.reading import load_params, params_hash
from dearlib.study import tables

ROOT = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    numbers = pd.DataFrame({"n": [1, 2], "share_of": [51.5, 1 / 3]})
    shown = pd.DataFrame({"n": [1, 2], "share_of": ["51.50", "−0.33 ± 5 %"]})
    tables.write(numbers, shown, tmp_path / "t", {"why": "test"})
    return tmp_path / "t"


def test_what_is_printed_keeps_its_digits(files: Path) -> None:
    assert pd.read_csv(files.with_suffix(".csv"))["share_of"].tolist() == [51.5, 0.3333]
    assert [line.split("|")[2].strip() for line in files.with_suffix(".md").read_text().splitlines()[2:]] == ["51.50", "−0.33 ± 5 %"]
    assert json.loads(files.with_suffix(".json").read_text()) == {"why": "test"}


def test_latex_is_escaped_and_has_rules_of_booktabs(files: Path) -> None:
    latex = files.with_suffix(".tex").read_text()
    assert r"n & share\_of \\" in latex
    assert r"2 & $-$0.33 $\pm$ 5 \% \\" in latex
    assert all(rule in latex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


def test_origin_names_notebook_and_parameters_and_is_the_same_for_every_commit() -> None:
    params = load_params("12_paper_audit", ROOT / "params" / "mini" / "12_paper_audit.yaml")
    origin = tables.origin("12_paper_audit", params, records=["a"], weights=None)
    assert (origin["notebook"], origin["records"], origin["weights"]) == ("12_paper_audit", ["a"], None)
    assert origin["parameters_sha256"] == params_hash(params)
    assert "commit" not in origin, "a table drawn again from the same records by a later commit is the same table"


def test_no_commit_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert subprocess.run(["git", "rev-parse"], capture_output=True, check=False).returncode != 0
    assert tables.commit() == "unknown"


def test_digests_are_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    assert tables.digests([tmp_path / "a"]) == {"a": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}


def test_latex_says_what_markdown_says(tmp_path) -> None:
    shown = pd.DataFrame({"Method": ["CE + λ_reg"], "HM": ["**51.50 ± 0.25**"], "n": [3]})
    tables.write(pd.DataFrame({"hm": [51.5]}), shown, tmp_path / "t", {"notebook": "x"})
    latex = (tmp_path / "t.tex").read_text(encoding="utf-8")
    assert r"CE + $\lambda$\_reg" in latex
    assert r"\textbf{51.50 $\pm$ 0.25} & 3" in latex
    assert r"\toprule" in latex
    assert "**51.50 ± 0.25**" in (tmp_path / "t.md").read_text(encoding="utf-8")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "hm\n51.5000\n"
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8")) == {"notebook": "x"}
