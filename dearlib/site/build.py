"""Building the site: sources, Sphinx with warnings as errors, MathJax, the explorer, and a look at every link."""

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from dearlib.errors import InputError
from dearlib.files import alone
from dearlib.plots.explorer import write_page
from dearlib.site.links import broken_links
from dearlib.site.sources import lay_out
from dearlib.study.explorer import Explorer

MATHJAX = "sphinx-mathjax-offline"  # a Python package that carries MathJax 3, so that no build asks a network


def build(root: Path, out: Path, work: Path) -> int:
    """Builds the site of the repository `root` into `out`, which holds the old site or the whole new one; returns its bytes.

    `work` keeps Sphinx's memory, so that a second build is faster.
    Raises `InputError` if `out` is a folder of something else, if Sphinx warns, or if a link leads nowhere.
    """
    if out.exists() and any(out.iterdir()) and not (out / ".buildinfo").is_file():
        raise InputError(f"{out}: expected an older site or nothing, got a folder with other files; choose another --out")
    with alone(work, "`make site` here"):
        return _built(root, out, work)


def _built(root: Path, out: Path, work: Path) -> int:
    sources, html = work / "source", work / "html"
    lay_out(root, sources)
    shutil.rmtree(html, ignore_errors=True)
    _sphinx(root, sources, html, work / "doctrees")
    (html / "_static" / "mathjax").mkdir(parents=True)
    shutil.copy(mathjax(), html / "_static" / "mathjax")
    data = root / "figures" / "mini" / "explorer.json"
    if data.is_file():
        write_page(Explorer.load(data).with_found(data.with_name("11_neighbours.json")), html / "explorer.html", home="index.html")
    if broken := broken_links(html):
        raise InputError(f"site: expected links that lead somewhere, got {len(broken)} that do not, first: {broken[0]}")
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(html, out)
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def _sphinx(root: Path, sources: Path, html: Path, doctrees: Path) -> None:
    """Sphinx in a process of its own, from the repository's root so that it documents this tree; its words are kept for the error."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(doctrees.resolve())]
    done = subprocess.run([*command, str(sources.resolve()), str(html.resolve())], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        print("\n".join(said), file=sys.stderr)
        raise InputError(f"site: expected Sphinx to build without a warning, got {len(said)} lines above")


def mathjax() -> Path:
    """MathJax with SVG output, one script. Raises `InputError` where the package that carries it is not installed."""
    try:
        found = [file for file in files(MATHJAX) or [] if file.name == "tex-svg.js"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise InputError(f"site: expected the package {MATHJAX}, got none; pip install 'dearlib[site]'")
    return Path(str(found[0].locate()))
