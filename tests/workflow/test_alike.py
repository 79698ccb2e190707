"""Redrawn figures: the same bytes, or alike to rounding, and nothing else passes."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dearlib.commands import main
from dearlib.workflow.alike import difference


def png(shades: np.ndarray) -> bytes:
    to = io.BytesIO()
    Image.fromarray(shades.astype(np.uint8)).save(to, "PNG")
    return to.getvalue()


SHADES = np.random.default_rng(0).integers(60, 180, size=(40, 50, 3))


def moved(pixels: int, by: int) -> np.ndarray:
    other = SHADES.copy()
    other.reshape(-1, 3)[:pixels] += by
    return other


def svg(x: str, part: str = "m2c0b85eff2", shades: np.ndarray = SHADES) -> str:
    return f'<use xlink:href="#{part}" x="{x}"/>\n<image href="data:image/png;base64,{base64.b64encode(png(shades)).decode()}"/>\n'


@pytest.mark.parametrize(
    ("name", "one", "other", "why"),
    [
        ("a.csv", "L9,0.0859\n", "L9,0.0858\n", ""),
        ("a.csv", "L9,0.0859\n", "L9,0.0900\n", "has 0.0900 for 0.0859"),
        ("a.csv", "n,12\n", "n,13\n", "has 13 for 12"),
        ("a.csv", "base,78.7100\n", "base,78.8000\n", "has 78.8000 for 78.7100"),
        ("a.json", '"4799924e21ba9c56"\n', '"4799925e21ba9c56"\n', """says '"4799925e21ba9c56"' for '"4799924e21ba9c56"'"""),
        ("a.json", '"a9b3b0a4b04"\n', '"a9b3b0a4b05"\n', """says '"a9b3b0a4b05"' for '"a9b3b0a4b04"'"""),
        ("a.csv", "L9,12.0\n", "L8,12.0\n", "says 'L8,12.0' for 'L9,12.0'"),
        ("a.csv", "x,3.7e-07\n", "x,3.5e-07\n", ""),
        ("a.csv", "x,nan\n", "x,0.1\n", "says 'x,0.1' for 'x,nan'"),
        ("a.csv", "x,1.0\n", "x,1.0\ny,1.0\n", "says 'y,1.0' for ''"),
        ("a.md", "| 0.05 | -0.1 |\n", "| 0.06 | -0.1 |\n", ""),
        ("a.md", "| 0.05 | -0.1 |\n", "| 0.07 | -0.1 |\n", "has 0.07 for 0.05"),
        ("a.md", "| 0.05 | -0.1 |\n", "| 0.05 | +0.1 |\n", "has +0.1 for -0.1"),
        ("a.svg", svg("211.56305"), svg("211.563041", "m2c0b85eff3"), ""),
        ("a.svg", svg("211.56305"), svg("212.5"), "has 212.5 for 211.56305"),
        ("a.svg", svg("1.0"), svg("1.0", shades=moved(2000, 1)), ""),
        ("a.svg", svg("1.0"), svg("1.0", shades=moved(50, 60)), "a picture in it differs in 2.5% of its pixels"),
        ("a.svg", svg("1.0"), svg("1.0") + svg("1.0"), "has another number of pictures in it"),
    ],
)
def test_texts_are_alike_where_only_last_digits_differ(tmp_path: Path, name: str, one: str, other: str, why: str) -> None:
    for folder, text in (("committed", one), ("fresh", other)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text, encoding="utf-8")
    assert difference(tmp_path / "committed" / name, tmp_path / "fresh" / name) == why


@pytest.mark.parametrize(
    ("shades", "why"),
    [
        (moved(2000, 32), ""),
        (moved(4, 60), ""),
        (moved(5, 60), "differs in 0.2% of its pixels"),
        (SHADES[:20], "is 50 × 20 pixels, not 50 × 40"),
    ],
)
def test_pictures_are_alike_where_few_pixels_differ_much(tmp_path: Path, shades: np.ndarray, why: str) -> None:
    (tmp_path / "a.png").write_bytes(png(SHADES))
    (tmp_path / "b.png").write_bytes(png(shades))
    assert difference(tmp_path / "a.png", tmp_path / "b.png") == why


def test_folders_are_held_file_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, value in ((one, "0.5000"), (other, "0.5001")):
        (folder / "records").mkdir(parents=True)
        (folder / "a.csv").write_text(f"x,{value}\n", encoding="utf-8")
        (folder / "records" / "b.json").write_text("{}", encoding="utf-8")
    assert main(["compare", str(one), str(other)]) == 0
    assert capsys.readouterr().out == "1 files the same, 1 alike to rounding, 0 not\n"
    (other / "new.csv").write_text("", encoding="utf-8")
    (other / "a.csv").write_text("x,0.6\n", encoding="utf-8")
    assert main(["compare", str(one), str(other)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said == ["a.csv: has 0.6 for 0.5000", "new.csv: is in one folder alone", "1 files the same, 0 alike to rounding, 2 not"]
    assert main(["compare", str(one), str(tmp_path / "nowhere")]) == 2
    assert "expected a folder of tables and figures, got none" in capsys.readouterr().err
