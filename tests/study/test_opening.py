"""A lesson opened alone: pictures are rendered where they are missing, committed results stand in for runs."""

from pathlib import Path

import pytest
from role_maps import make_roles

from dearlib.clip.loading import FrozenClip
from dearlib.datasets.world.writing import is_complete
from dearlib.errors import InputError
from dearlib.study import opening


def test_missing_pictures_are_rendered_and_others_left_alone(tmp_path: Path) -> None:
    opening.pictures(tmp_path, "digits", "imagenet")
    assert is_complete(tmp_path, "digits")
    assert [p.name for p in tmp_path.iterdir()] == ["digits"]
    stamp = (tmp_path / "digits" / "split.json").stat().st_mtime_ns
    opening.pictures(tmp_path, "digits")
    assert (tmp_path / "digits" / "split.json").stat().st_mtime_ns == stamp


def test_the_committed_role_file_stands_in_for_one_that_was_not_made(clip: FrozenClip, tmp_path: Path) -> None:
    committed, own = make_roles(clip), make_roles(clip).with_role(9, 0, "mixed")
    committed.save(tmp_path / "figures" / "records" / "roles.json")
    found = opening.role_file(tmp_path / "runs" / "roles.json", tmp_path / "figures", clip)
    assert found == committed
    own.save(tmp_path / "runs" / "roles.json")
    assert opening.role_file(tmp_path / "runs" / "roles.json", tmp_path / "figures", clip) == own


def test_a_role_file_of_other_weights_stands_in_for_none(clip: FrozenClip, tmp_path: Path) -> None:
    other = make_roles(clip).model_copy(update={"weights_sha256": "0" * 64})
    other.save(tmp_path / "figures" / "records" / "roles.json")
    with pytest.raises(InputError, match="run notebook 02_head_roles"):
        opening.role_file(tmp_path / "runs" / "roles.json", tmp_path / "figures", clip)
    other.save(tmp_path / "runs" / "roles.json")
    with pytest.raises(InputError, match="expected a file for weights"):
        opening.role_file(tmp_path / "runs" / "roles.json", tmp_path / "figures", clip)
