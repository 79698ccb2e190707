"""What SLURM is asked for: from the profile's file and from `device`."""

from pathlib import Path

import pytest

from dearlib.errors import InputError
from dearlib.workflow.resources import Needs, gpus, load_resources

ROOT = Path(__file__).parents[2]


def test_each_profile_has_bounds_for_every_rule() -> None:
    rules = set((ROOT / "Snakefile").read_text(encoding="utf-8").replace(":", " ").split())
    for path in (ROOT / "params").glob("*/resources.yaml"):
        assert set(load_resources(path)) - {"default"} <= rules


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "resources.yaml"
    path.write_text("default: {memory_mb: 1, minutes: 2}\n")
    assert load_resources(path) == {"default": Needs(memory_mb=1, minutes=2)}
    for text, told in (
        ("training: {memory_mb: 1, minutes: 2}", "expected an entry `default` beside those of single rules, got training"),
        ("default: {memory_mb: 0, minutes: 2}", "default.memory_mb: expected memory_mb and minutes, whole numbers from 1, got 0"),
        ("default: {memory_mb: 1, minutes: 2, gpu: 1}", "default.gpu: expected memory_mb and minutes"),
        ("default: 7", "default: expected memory_mb and minutes, whole numbers from 1, got 7"),
    ):
        path.write_text(text + "\n")
        with pytest.raises(InputError, match=f"^{path}: ") as error:
            load_resources(path)
        assert told in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("device", "count"), [("device: cuda", 1), ("device: cpu", 0), ("device: auto", 0), ("datasets: [a]", 0)])
def test_gpus_follow_from_the_device(tmp_path: Path, device: str, count: int) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(device + "\n")
    assert gpus(path) == count
