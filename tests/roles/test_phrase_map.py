"""A map of phrases is drawn from what is kept of these very embeddings, and from nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dearlib.errors import InputError
from dearlib.roles.phrase_map import phrase_map

PHRASES = [f"phrase {i}" for i in range(12)]


def vectors(seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(12, 8, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_a_kept_map_is_taken_for_the_same_embeddings_up_to_rounding(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    drawn = phrase_map(vectors(), PHRASES, path, 0)
    before = path.read_bytes()
    assert np.array_equal(phrase_map(vectors() + 1e-6, PHRASES, path, 0), drawn)
    assert path.read_bytes() == before


@pytest.mark.parametrize("other", [(vectors(1), PHRASES), (vectors(), ["another", *PHRASES[1:]])], ids=["vectors", "phrases"])
def test_another_map_is_computed_for_other_embeddings(tmp_path: Path, other: tuple[torch.Tensor, list[str]]) -> None:
    path = tmp_path / "map.csv"
    phrase_map(vectors(), PHRASES, path, 0)
    before = path.read_bytes()
    phrase_map(*other, path, 0)
    assert path.read_bytes() != before


def test_a_file_that_is_no_map_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"map\.csv: expected the columns") as caught:
        phrase_map(vectors(), PHRASES, path, 0)
    assert "\n" not in str(caught.value)
