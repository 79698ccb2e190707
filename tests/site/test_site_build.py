"""Where a site may be written, and what an incomplete installation says."""

from pathlib import Path

import pytest

from dearlib.commands import main
from dearlib.errors import InputError
from dearlib.files import alone
from dearlib.site import build


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="got a folder with other files"):
        build.build(tmp_path, tmp_path, tmp_path / "work")
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_mathjax_comes_from_a_package() -> None:
    pytest.importorskip("sphinx", reason="no Sphinx: pip install 'dearlib[site]'")
    assert build.mathjax().name == "tex-svg.js"


def test_without_the_package_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MATHJAX", "a-package-that-is-not-there")
    with pytest.raises(InputError, match=r"pip install 'dearlib\[site\]'"):
        build.mathjax()


def test_a_users_mistake_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").write_text("x")
    assert main(["site", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_two_builds_at_once_are_refused(tmp_path: Path) -> None:
    """Each would take the other's half-built pages away."""
    with alone(tmp_path / "work", "test"), pytest.raises(InputError, match="work: expected no other `make site` here, got one still"):
        build.build(tmp_path, tmp_path / "site", tmp_path / "work")
