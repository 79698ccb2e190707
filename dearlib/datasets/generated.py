"""Pictures that were generated to stand in for a public data set: a data root says so itself, in one file.

Whatever is made from such a root carries its note: run records, and the tables and figures made from them. The doctor
then compares with the sizes that the root declares instead of the published ones.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dearlib.errors import InputError
from dearlib.texts import read_text

FILE = "GENERATED.json"


class Declaration(BaseModel):
    """`note` says in one line what the pictures are; `sizes` holds training, validation and test images and classes of each data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    note: str = Field(min_length=1, pattern=r"^[^\n]+$")
    sizes: dict[str, tuple[int, int, int, int]] = {}


def declaration(root: Path | str) -> Declaration | None:
    """What the data root says of itself; None for one that says nothing, as folders of real pictures do.

    Raises `InputError` if the file is there and cannot be read: real pictures have none, so nothing is guessed.
    """
    path = Path(root) / FILE
    if not path.exists():
        return None
    try:
        return Declaration.model_validate_json(read_text(path))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise InputError(f"{path}: expected a note on generated pictures, got '{reason}'; make the folder anew") from None


def note(root: Path | str) -> str | None:
    """The note alone."""
    said = declaration(root)
    return said.note if said else None
