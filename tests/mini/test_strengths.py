"""The search for each target's strength: what it tries, and that it runs on the old weights alone."""

from pathlib import Path

import pytest

from dearlib.clip.loading import random_clip
from dearlib.datasets.world.targets import TARGETS, strongest
from dearlib.errors import InputError
from dearlib.mini import strengths


@pytest.mark.parametrize("limit", range(11))
def test_the_search_finds_the_strongest_that_suffices(limit: int) -> None:
    """Accuracy falls with strength and reaches 65 up to `limit` tenths."""

    def measure(strength: float) -> float:
        return 65 + 2 * (limit - 10 * strength)

    found = strengths.search(measure, 65)
    assert len(found) <= 5
    if limit == 0:
        assert max(found.values()) < 65, "none suffices, and the rule refuses it"
    else:
        assert strongest(found, 65) == limit / 10


def test_zero_shot_is_measured_on_every_class_of_the_family() -> None:
    accuracy = strengths.zero_shot(random_clip(), TARGETS["numbers_night"], 1.0, each=1)
    assert 0 <= accuracy <= 100
    assert accuracy % 10 == pytest.approx(0)  # ten classes, one picture each


def test_other_weights_than_the_named_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strengths, "CALIBRATED_ON", "0" * 64)
    with pytest.raises(InputError, match="expected weights with SHA-256 000000000000"):
        strengths.write(tmp_path / "strengths.csv")
    assert not list(tmp_path.iterdir())
