"""What the head explorer shows: every head's evidence, pictures and neighbours as one JSON file, which one page reads.

A role file says what a head says. This file adds what is known beside it: chance, causes, pictures. Whatever was not measured
is absent (null), never zero: the paper's profile knows no factors, so there no head has a causal effect.
`dearlib.study.explorer_parts` fills it, `dearlib.plots.explorer` makes the page. Layers count from 1, heads from 0.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.roles.rolefile import HeadRoles
from dearlib.texts import read_text

Routing = Literal["printed", "exclusive"]


class Part(BaseModel):
    """A part of the file: nothing unknown in it, and it does not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Picture(Part):
    """A small picture: its `name` identifies it, `caption` says what it shows, `image` is a data URI."""

    name: str = Field(min_length=1)
    caption: str
    image: str = Field(pattern=r"^data:image/(webp|png);base64,")


class Null(Part):
    """Chance for one head: the 5 % and 50 % quantiles of the Concept Entropy of as many phrases drawn blindly, in bits."""

    q05: float = Field(ge=0)
    q50: float = Field(ge=0)


class Effect(Part):
    """What is lost of one factor when one head is mean-ablated, with a 95 % interval; positive: the head was needed.

    What is counted, and in which unit, says `Facts.loss`.
    """

    loss: float
    low: float
    high: float


class HeadPage(Part):
    """What is known of one head beside its role.

    `concepts` is the concept of each of its phrases (Eq. 2), `shares` the share of the head's variance that each of them
    accounts for; `most` and `least` are numbers of pictures, the strongest first.
    """

    layer: int = Field(ge=1)
    head: int = Field(ge=0)
    concepts: tuple[str, ...]
    shares: tuple[float, ...] | None = None
    null: Null | None = None
    effects: dict[str, Effect] | None = None
    most: tuple[int, ...] = ()
    least: tuple[int, ...] = ()


class Neighbours(Part):
    """A query's nearest pictures by one token's feature, best first; `shared` says which have the token's factor in common with
    it (None where that is not known)."""

    routing: Routing
    token: str
    query: int = Field(ge=0)
    found: tuple[int, ...]
    shared: tuple[bool | None, ...]


class Facts(Part):
    """Where all this was measured.

    `patches` are the image's tokens beside [CLS]; `sample` says in words which pictures were seen; `generated` is the note of a
    data root whose pictures stand in for real ones (`dearlib.datasets.generated`), and then the page says so. `loss` says what an
    `Effect` counts, with its unit: "fall of the zero-shot margin, logits".
    """

    dataset: str
    sample: str
    patches: int = Field(ge=1)
    d_head: int = Field(ge=1)
    tokens_per_attribute: int = Field(default=1, ge=1)
    loss: str | None = None
    generated: str | None = None


class Found(Part):
    """The neighbours as a file of their own, which notebook 11 writes: those of models with the roles `roles_sha256`."""

    roles_sha256: str
    pictures: tuple[Picture, ...]
    neighbours: tuple[Neighbours, ...]

    def save(self, path: Path) -> None:
        """Writes the JSON file whole or not at all."""
        write_text(path, self.model_dump_json(indent=0) + "\n")


class Explorer(Part):
    """The whole file. The page starts from `roles.settings`: their `rule`, `low` and `high`."""

    version: Literal[1] = 1
    facts: Facts
    roles: HeadRoles
    heads: tuple[HeadPage, ...]
    pictures: tuple[Picture, ...] = ()
    neighbours: tuple[Neighbours, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "Explorer":
        """Heads as in the role file, a concept (and share) for each phrase, numbers of pictures that exist, names that are unique."""
        if [(e.layer, e.head) for e in self.heads] != [(e.layer, e.head) for e in self.roles.entries]:
            raise ValueError("heads: expected those of the role file, in its order")
        for entry, known in zip(self.roles.entries, self.heads, strict=True):
            where = f"L{known.layer} H{known.head}"
            if len(known.concepts) != len(entry.phrases) or len(known.shares or entry.phrases) != len(entry.phrases):
                raise ValueError(f"{where}: expected a concept and a share for each of {len(entry.phrases)} phrases")
            if unknown := set(known.concepts) - set(self.roles.concepts):
                raise ValueError(f"{where}: expected concepts of the role file, got '{min(unknown)}'")
        used = [i for e in self.heads for i in (*e.most, *e.least)] + [i for n in self.neighbours for i in (n.query, *n.found)]
        if used and not 0 <= min(used) <= max(used) < len(self.pictures):
            raise ValueError(f"pictures: expected numbers 0 to {len(self.pictures) - 1}, got {min(used)} to {max(used)}")
        if self.facts.loss is None and any(head.effects for head in self.heads):
            raise ValueError("facts.loss: expected what the effects count and in which unit, got nothing")
        if len({picture.name for picture in self.pictures}) != len(self.pictures):
            raise ValueError("pictures: expected every name once")
        if any(len(n.found) != len(n.shared) for n in self.neighbours):
            raise ValueError("neighbours: expected an answer for each picture that was found")
        return self

    def save(self, path: Path) -> None:
        """Writes the JSON file whole or not at all."""
        write_text(path, self.model_dump_json(indent=0, exclude_none=True) + "\n")

    def with_found(self, path: Path) -> "Explorer":
        """A copy with the neighbours in the file at `path`, if it is there and for these very roles; else itself.

        Raises `InputError` where the file is damaged.
        """
        if not path.is_file():
            return self
        try:
            found = Found.model_validate_json(read_text(path))
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            raise InputError(
                f"{path}: expected neighbours for the explorer, got something else; run 11_attribute_retrieval anew"
            ) from error
        return self.joined(found) if found.roles_sha256 == self.roles.sha256 else self

    def joined(self, found: Found) -> "Explorer":
        """With the pictures of `found` behind its own, those of one name once, and its neighbours numbered by them."""
        names = {picture.name: i for i, picture in enumerate(self.pictures)}
        new = [picture for picture in found.pictures if picture.name not in names]
        names |= {picture.name: len(self.pictures) + i for i, picture in enumerate(new)}
        at = [names[picture.name] for picture in found.pictures]
        rows = [n.model_copy(update={"query": at[n.query], "found": tuple(at[i] for i in n.found)}) for n in found.neighbours]
        return Explorer.model_validate(self.model_dump() | {"pictures": (*self.pictures, *new), "neighbours": tuple(rows)})

    @classmethod
    def load(cls, path: Path) -> "Explorer":
        """Reads the file. Raises `InputError` in one line if it is missing, damaged or inconsistent."""
        try:
            return cls.model_validate_json(read_text(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: expected an explorer file, got none that can be read; run notebook 02_head_roles") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(key) for key in first["loc"]) or "content"
            raise InputError(f"{path}: expected an explorer file, got {where}: {first['msg']}; run notebook 02_head_roles anew") from error
