"""Files read as bytes and text, without what tensors need."""

import errno
from pathlib import Path


def regular(path: Path) -> Path:
    """`path` itself. Raises `OSError` for a name that no file can have, and for a pipe or a device: to open one could take for ever."""
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a NUL in its name", str(path))
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "a pipe or a device, no file", str(path))
    return path


def read_bytes(path: Path) -> bytes:
    """All of a file. Raises `OSError`, see `regular`."""
    return regular(path).read_bytes()


def read_text(path: Path) -> str:
    """The text of a file, in UTF-8 with or without a byte-order mark. Raises as `read_bytes`, and `UnicodeDecodeError`."""
    return read_bytes(path).decode("utf-8-sig")
