"""One small assignment, built once, for the tests of the course: what the harness does with it does not depend on what is asked."""

from pathlib import Path

import pytest
from small_course import SMALL

from dearlib.teach.build import build
from dearlib.teach.session import can_keep_apart


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("course") / "built"
    build([SMALL], out)
    return out


@pytest.fixture(scope="session")
def apart() -> bool:
    if not can_keep_apart():
        pytest.skip("this machine has no namespaces to keep submissions apart")
    return True
