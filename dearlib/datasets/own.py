"""Data sets of a user's own: one file, `params/data_sets.yaml`, gives each a name, a prompt template and where it lies.

    my_flowers:
      template: a photo of a {}, a type of flower.
      folder: my_flowers        # under the data root; the name itself if left out
      images: images            # the folder that the split file's paths start in
      split_file: split.json    # {"train": [[path, label, classname], …], "val": …, "test": …}

From then on the name stands wherever a parameter file takes the name of a data set. See docs/own-data.md.
"""

from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from dearlib.errors import InputError
from dearlib.params.mistakes import line_of
from dearlib.params.reading import repository
from dearlib.params.types import Template
from dearlib.params.yaml12 import read_yaml

FILE = Path("params") / "data_sets.yaml"


class OwnDataSet(BaseModel):
    """What the file says of one data set."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    template: Template
    folder: str | None = None
    images: str = "images"
    split_file: str = "split.json"

    @field_validator("folder", "images", "split_file")
    @classmethod
    def below(cls, path: str | None) -> str | None:
        if path is not None and (PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts):
            raise PydanticCustomError("below", "a path below the data root")
        return path


def own_data_sets() -> dict[str, OwnDataSet]:
    """What `params/data_sets.yaml` of this repository names; nothing where there is no such file."""
    path = repository(Path.cwd()) / FILE
    return {name: _one(path, name, said) for name, said in read_yaml(path).items()} if path.is_file() else {}


def _one(path: Path, name: str, said: object) -> OwnDataSet:
    try:
        return OwnDataSet.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        told = line_of(first, OwnDataSet)
        raise InputError(f"{path}: {name}{'.' if first['loc'] else ': '}{told}; see docs/own-data.md") from None
