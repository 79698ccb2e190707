"""A small assignment and submissions to it: plain helpers of the course's tests."""

from pathlib import Path

import nbformat

SMALL = Path(__file__).parent / "teach" / "small.py"


def write_notebook(path: Path, cells: list[str], assignment: str = "small") -> None:
    """A submission with these code cells."""
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    node.metadata["otter"] = {"assignment_name": assignment}
    nbformat.write(node, path)
