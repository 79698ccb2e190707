"""A table in three forms and a note of where it comes from."""

import json

import pandas as pd

from dearlib import tables


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


def test_trailing_zeros_survive(tmp_path) -> None:
    tables.write(pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": ["1.00"]}), tmp_path / "t", {})
    assert "1.00" in (tmp_path / "t.md").read_text(encoding="utf-8")
