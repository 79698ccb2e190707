"""Any table as files: CSV with its numbers, Markdown and LaTeX as people read it, and a JSON file that says where it comes from."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from dearlib.files import write_text
from dearlib.params.reading import params_hash
from dearlib.params.types import Run

GENERATED = "Generated input, no result"
# A character that LaTeX reads as a command → what sets it.
LATEX = str.maketrans({"±": r"$\pm$", "−": r"$-$", "λ": r"$\lambda$", "β": r"$\beta$", "α": r"$\alpha$", **{c: f"\\{c}" for c in "_%&#$"}})


def write(numbers: pd.DataFrame, shown: pd.DataFrame, stem: Path, sidecar: dict[str, Any]) -> None:
    """`stem`.csv from `numbers`; `stem`.md and .tex (booktabs) from `shown`, text as printed with bold as **…**; `stem`.json.

    A table made from generated pictures (its `sidecar` says so) has a line above it that says so.
    """
    marked = f"{GENERATED}: {said}" if (said := sidecar.get("generated")) else ""
    write_text(stem.with_suffix(".csv"), numbers.to_csv(index=False, float_format="%.4f"))
    texts = [i for i, c in enumerate(shown) if not pd.api.types.is_numeric_dtype(shown[c])]  # else 51.50 loses its last digit
    text = shown.to_markdown(index=False, disable_numparse=texts) + "\n"
    write_text(stem.with_suffix(".md"), f"**{marked}**\n\n{text}" if marked else text)
    latex = shown.rename(columns=_latex).map(_latex)
    above = f"\\textbf{{{_latex(marked)}}}\\par\n" if marked else ""
    write_text(stem.with_suffix(".tex"), above + latex.to_latex(index=False, escape=False))
    write_sidecar(stem, sidecar)


def write_sidecar(stem: Path, content: dict[str, Any]) -> None:
    """`stem`.json: what a table or figure was made from."""
    write_text(stem.with_suffix(".json"), json.dumps(content, indent=1, sort_keys=True) + "\n")


def origin(notebook: str, params: Run, generated: str | None = None, **more: Any) -> dict[str, Any]:
    """The sidecar of a table: the notebook that made it, and its parameters' hash; `more` names records, weights, files.

    No commit: drawn again from the same records by a later one, it is the same table. The records say theirs.

    `generated`: the note of a data root whose pictures stand in for real ones (`dearlib.datasets.generated`).
    """
    marked = {"generated": generated} if generated else {}
    return {"notebook": notebook, "parameters_sha256": params_hash(params), **marked, **more}


def commit() -> str:
    """The commit of the folder this process runs in; 'unknown' outside a git checkout."""
    git = shutil.which("git")
    found = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip() if git else ""
    return found or "unknown"


def digests(files: Iterable[Path]) -> dict[str, str]:
    """File name → SHA-256 of its bytes."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(files)}


def _latex(cell: Any) -> Any:
    return re.sub(r"\*\*(.*?)\*\*", r"\\textbf{\1}", cell.translate(LATEX)) if isinstance(cell, str) else cell
