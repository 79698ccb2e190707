"""What a split file or an official list may call a picture: a path below the images' folder, the same on every machine."""

from pathlib import PurePosixPath


def unusable(name: str) -> str | None:
    """Why a path of a split file or list is none, None for a good one: what leaves the images' folder differs from machine to machine."""
    path = PurePosixPath(name)
    if path.is_absolute():
        return "an absolute one"
    if ".." in path.parts:
        return "one that leaves it by '..'"
    if not encodable(name):
        return "letters that no file name can have"
    return "none" if "\0" in name or not path.parts else None


def encodable(text: str) -> bool:
    """Not so for half a pair of UTF-16, which JSON can spell."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
