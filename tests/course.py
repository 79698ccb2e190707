"""One small assignment, built once, for the tests of the course: what the harness does with it does not depend on what is asked."""

from pathlib import Path

import nbformat
import pytest

pytest.importorskip("otter", reason="the extra `teach` (otter-grader) is not installed")

from dearlib.teach.build import build
from dearlib.teach.session import can_keep_apart

SMALL = Path(__file__).parent / "teach" / "small.py"


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


def write_notebook(path: Path, cells: list[str], assignment: str = "small") -> None:
    """A submission with these code cells."""
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    node.metadata["otter"] = {"assignment_name": assignment}
    nbformat.write(node, path)
