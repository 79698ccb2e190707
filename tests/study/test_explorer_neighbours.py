"""The explorer's neighbours in a file of their own: joined to the page's file, or left out where they belong to other roles."""

from pathlib import Path

import pytest
import torch
from explorer_example import example, square

from dearlib.errors import InputError
from dearlib.study.explorer import Explorer
from dearlib.study.explorer_parts import neighbours, with_neighbours
from dearlib.study.neighbours import mapped


@pytest.fixture(scope="module")
def bare() -> Explorer:
    return example(factors=False)


NEAR = {("printed", "color"): torch.tensor([[1, 2], [0, 2], [0, 1]]), ("exclusive", "color"): torch.tensor([[2, 1], [2, 0], [1, 0]])}
LABELS = {"color": torch.tensor([0, 0, 1])}


def test_neighbours_from_a_file_are_those_put_in_by_hand(bare: Explorer, tmp_path: Path) -> None:
    neighbours(NEAR, [0, 1], LABELS, square, bare.roles).save(tmp_path / "11_neighbours.json")
    joined = bare.with_found(tmp_path / "11_neighbours.json")
    assert joined == with_neighbours(bare, NEAR, [0, 1], LABELS, square)
    first = joined.neighbours[0]
    assert [joined.pictures[i].name for i in (first.query, *first.found)] == ["drawn/0", "drawn/1", "drawn/2"]
    assert first.shared == (True, False)
    assert joined.pictures[: len(bare.pictures)] == bare.pictures
    assert [h.most for h in joined.heads] == [h.most for h in bare.heads]


def test_neighbours_of_other_roles_are_left_out(bare: Explorer, tmp_path: Path) -> None:
    found = neighbours(NEAR, [0], LABELS, square, bare.roles)
    found.model_copy(update={"roles_sha256": "0" * 64}).save(tmp_path / "11_neighbours.json")
    assert bare.with_found(tmp_path / "11_neighbours.json") == bare
    assert bare.with_found(tmp_path / "none.json") == bare


def test_a_damaged_file_is_refused_in_one_line(bare: Explorer, tmp_path: Path) -> None:
    (tmp_path / "11_neighbours.json").write_text("{}")
    with pytest.raises(InputError, match="run 11_attribute_retrieval anew") as refused:
        bare.with_found(tmp_path / "11_neighbours.json")
    assert "\n" not in str(refused.value)


def test_a_map_shows_pictures_of_all_classes() -> None:
    """The gallery lies by class: its first pictures would be of a few classes alone."""
    assert mapped(10, 4).tolist() == [0, 3, 6, 9]
    assert mapped(3, 5).tolist() == [0, 1, 2]
