"""The roles of attention heads (DeAR, Section 3.2) as a file: what masks are built from.

Masks are built from the saved file, never from a re-run: a re-run on another machine may round differently.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.texts import read_text

RESIDUAL = "none"  # the concept of phrases that lie far from every concept; no head is specialised in it
Role = Literal["attribute", "other", "generalization", "mixed"]


class HeadRole(BaseModel):
    """One head: its role and what the role was read from. Layers count from 1, heads from 0.

    `concept` is the name of the most frequent concept of its `phrases` (best first); `distribution` counts concepts by label
    ('texture 2' where clusters of one name are kept apart). `entropy` is its Concept Entropy in bits with
    `interval` a 95 % bootstrap interval over images (both ends equal where none was computed).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: int = Field(ge=1)
    head: int = Field(ge=0)
    role: Role
    concept: str
    entropy: float = Field(ge=0)
    interval: tuple[float, float]
    distribution: dict[str, float]
    phrases: tuple[str, ...]


class HeadRoles(BaseModel):
    """The roles of all heads of the layers `first_layer` (J) … `layers`, for one model's weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    weights_sha256: str
    identity: str  # of the frozen model: name, activation, preprocessing and weights
    pool_sha256: str
    first_layer: int = Field(ge=1)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    attributes: tuple[str, ...]
    concepts: tuple[str, ...]
    settings: dict[str, Any]
    entries: tuple[HeadRole, ...]

    @model_validator(mode="after")
    def _complete(self) -> "HeadRoles":
        """Every head once, in order; an attribute head's concept is an attribute, an other head's is not."""
        expected = [(layer, head) for layer in range(self.first_layer, self.layers + 1) for head in range(self.heads)]
        if [(e.layer, e.head) for e in self.entries] != expected:
            every = f"heads 0 to {self.heads - 1} of layers {self.first_layer} to {self.layers}"
            raise ValueError(f"entries: expected {every}, once and in order")
        for e in self.entries:
            if e.role in ("attribute", "other") and (e.concept in self.attributes) != (e.role == "attribute"):
                raise ValueError(f"L{e.layer} H{e.head}: role '{e.role}' does not go with concept '{e.concept}'")
        return self

    def save(self, path: Path) -> None:
        """Writes the JSON file whole or not at all."""
        write_text(path, json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "HeadRoles":
        """Reads a role file. Raises `InputError` in one line if it is missing, damaged or inconsistent."""
        try:
            return cls.model_validate_json(read_text(path))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise InputError(f"{path}: expected a role file, got none ({reason}); run notebook 02_head_roles to make it") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(key) for key in first["loc"]) or "content"
            raise InputError(f"{path}: expected a role file, got {where}: {first['msg']}; run notebook 02_head_roles anew") from error

    def at(self, layer: int, head: int) -> HeadRole:
        """The entry of one head. Raises `InputError` outside J … L."""
        if not (self.first_layer <= layer <= self.layers and 0 <= head < self.heads):
            expected = f"layer {self.first_layer} to {self.layers} and head 0 to {self.heads - 1}"
            raise InputError(f"roles: expected {expected}, got L{layer} H{head}")
        return self.entries[(layer - self.first_layer) * self.heads + head]

    @property
    def sha256(self) -> str:
        """Identifies the content: the SHA-256 of the roles as JSON."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def for_weights(self, sha256: str) -> "HeadRoles":
        """Itself, if it was made for these weights; otherwise raises `InputError`."""
        if sha256 != self.weights_sha256:
            made, got = self.weights_sha256[:12], sha256[:12]
            raise InputError(
                f"roles: expected a file for weights {got}…, got one for {made}… ({self.model}); run notebook 02_head_roles on these"
            )
        return self

    def for_identity(self, identity: str) -> "HeadRoles":
        """Itself, if it was made for this very model; otherwise raises `InputError`: one file of weights can be read as several."""
        if identity != self.identity:
            made, got = self.identity[:12], identity[:12]
            raise InputError(
                f"roles: expected a file for the model {got}…, got one for {made}… ({self.model}), the same weights with another "
                "activation or preprocessing; run notebook 02_head_roles on this one"
            )
        return self

    def with_role(self, layer: int, head: int, role: Role, concept: str | None = None) -> "HeadRoles":
        """A copy with one head's role (and its concept, where given) set by hand."""
        old = self.at(layer, head)
        new = HeadRole(**old.model_dump() | {"role": role, "concept": old.concept if concept is None else concept})
        return self.replaced({(layer, head): new})

    def replaced(self, new: Mapping[tuple[int, int], HeadRole]) -> "HeadRoles":
        """A copy with other entries for some (layer, head). Raises `InputError` where role and concept do not go together."""
        entries = [new.get((e.layer, e.head), e) for e in self.entries]
        try:
            return HeadRoles.model_validate(self.model_dump() | {"entries": [e.model_dump() for e in entries]})
        except ValidationError as error:
            raise InputError(f"roles: {error.errors()[0]['msg']}; choose another role or concept") from error


def named(label: str) -> str:
    """The name in a concept's label: 'texture' for 'texture' and for 'texture 2'."""
    return re.sub(r" \d+$", "", label)


def pool_sha256(phrases: Sequence[str]) -> str:
    """Identifies a phrase pool: the SHA-256 of its lines."""
    return hashlib.sha256("\n".join(phrases).encode()).hexdigest()
