"""A whole step on bad input: one line, status 2, and neither a record nor half an entry of the cache."""

from pathlib import Path

import pytest
from public_layout import build
from role_maps import make_roles

from dearlib.clip.loading import load
from dearlib.commands import main
from dearlib.datasets import PUBLIC

ROOT = Path(__file__).parents[1]


def test_a_truncated_picture_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """DeAR-Mini on a public data set's layout, one test picture cut short."""
    build(tmp_path / "data", "dtd")
    make_roles(load("DeAR-Mini")).save(tmp_path / "roles.json")
    broken = tmp_path / "data" / "dtd" / PUBLIC["dtd"].images / "zigzagged" / "zigzagged_0006.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    small = {"shots": 2, "seeds": "[1]", "epochs": 2, "views": 1}
    where = {
        "data_root": tmp_path / "data",
        "roles": tmp_path / "roles.json",
        "cache_root": tmp_path / "cache",
        "runs_root": tmp_path / "runs",
    }
    given = [word for key, value in (small | where).items() for word in ("-p", f"{key}={value}")]
    monkeypatch.chdir(ROOT)
    assert main(["run", "mini", "base_to_novel", "dtd", *given]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert f"{broken}: expected a whole image, got" in told[0]
    assert list(tmp_path.rglob("record.json")) == []
    kept = list((tmp_path / "cache").iterdir())
    assert all(p.suffix == ".safetensors" and not p.name.startswith(".") for p in kept)
    assert len(kept) == 1, "the base half's pictures are whole and stay"
