"""A folder of submissions: one entry a student, a notebook, otter's export as a zip, or a folder that holds one of the two."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nbformat

from dearlib.errors import InputError
from dearlib.texts import read_bytes, regular

_MOST = 32 << 20  # bytes of a notebook


@dataclass(frozen=True)
class Submission:
    """A student's notebook: code cells in order, and the assignment that it says it is. `fault`: why there is none."""

    name: str
    cells: tuple[str, ...] = ()
    assignment: str | None = None
    fault: str = ""


def collect(folder: Path) -> list[Submission]:
    """All submissions, by name. Raises `InputError` if there is no folder, or nothing in it."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of submissions, got none; check the path")
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if not entries:
        raise InputError(f"{folder}: expected submissions (.ipynb, .zip or folders), got an empty folder")
    return [_read(path) for path in entries]


def _read(path: Path) -> Submission:
    name = path.name if path.is_dir() else path.stem
    try:
        text = _text(path)
        node = nbformat.reads(text, as_version=4)
        cells = tuple(str(c.source) for c in node.cells if c.cell_type == "code")
        told = node.metadata.get("otter", {}).get("assignment_name")
    except _Unreadable as error:
        return Submission(name, fault=str(error))
    except (OSError, zipfile.BadZipFile) as error:
        return Submission(name, fault=f"the file cannot be read ({type(error).__name__})")
    except Exception as error:  # nbformat raises whatever a broken notebook leads it to
        return Submission(name, fault=f"the file is no Jupyter notebook ({type(error).__name__})")
    return Submission(name, cells, told if isinstance(told, str) else None)


class _Unreadable(Exception):
    """An entry without a notebook; the message says why."""


def _text(path: Path) -> str:
    if path.is_symlink():
        raise _Unreadable("the entry is a link, not a file")
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.suffix in (".ipynb", ".zip") and ".ipynb_checkpoints" not in p.parts)
        if len(inside) != 1:
            raise _Unreadable(f"the folder holds {len(inside)} notebooks, expected one")
        return _text(inside[0])
    if path.suffix == ".zip":
        return _zipped(path)
    if path.suffix != ".ipynb":
        raise _Unreadable(f"the file is a {path.suffix or 'nameless kind'}, expected .ipynb or .zip")
    with regular(path).open("rb") as file:
        return _decoded(file.read(_MOST + 1))


def _zipped(path: Path) -> str:
    with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
        inside = [i for i in archive.infolist() if i.filename.endswith(".ipynb") and "__MACOSX" not in i.filename]
        if len(inside) != 1:
            raise _Unreadable(f"the zip holds {len(inside)} notebooks, expected one")
        with archive.open(inside[0]) as file:
            return _decoded(file.read(_MOST + 1))


def _decoded(content: bytes) -> str:
    if len(content) > _MOST:
        raise _Unreadable(f"the notebook is larger than {_MOST >> 20} MB")
    return content.decode("utf-8")
