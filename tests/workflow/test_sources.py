"""The modules a file stands on."""

import subprocess
import sys
from pathlib import Path

from dearlib.workflow.sources import PACKAGE, sources


def names(path: Path) -> set[str]:
    return {str(p.relative_to(PACKAGE)) for p in sources(path)}


def test_direct_and_transitive_imports_of_every_form(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("import os\nimport dearlib.workflow.compare\n")
    assert {"__init__.py", "workflow/compare.py", "errors.py", "params/yaml12.py"} <= names(file)
    file.write_text("def later():\n    from dearlib import errors as e\n")
    assert names(file) == {"__init__.py", "errors.py"}
    file.write_text("from dearlib.datasets.world import vocabulary\n")
    assert {"datasets/__init__.py", "datasets/world/__init__.py", "datasets/world/vocabulary.py"} <= names(file)
    file.write_text("import numpy\n")
    assert names(file) == set()


def test_nothing_that_python_loads_is_missed(tmp_path: Path) -> None:
    """Independent form: what an interpreter has loaded after the import."""
    file = tmp_path / "x.py"
    modules = "m for n, m in sys.modules.items() if n.split('.')[0] == 'dearlib'"
    file.write_text(
        f"import dearlib.workflow.reproduce, dearlib.workflow.compare, sys\nprint(*(m.__file__ for m in [{modules}]), sep='\\n')\n"
    )
    loaded = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True).stdout.splitlines()
    assert {str(Path(f).relative_to(PACKAGE)) for f in loaded} <= names(file)
