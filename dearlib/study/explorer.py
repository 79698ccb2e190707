"""What the head explorer shows: every head's evidence, pictures and neighbours as one JSON file, which one page reads.

A role file says what a head says. This file adds what is known beside it: chance, causes, pictures. Whatever was not measured
is absent (null), never zero: the paper's profile knows no factors, so there no head has a causal effect.
`dearlib.plots.explorer` makes the page. Layers count from 1, heads from 0.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor
from torch.nn.functional import normalize

from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.roles.rolefile import HeadRoles

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
    """What mean-ablating one head does to one factor: the rise of its cross-entropy in nats, with a 95 % interval."""

    rise: float
    low: float
    high: float


class Evidence(Part):
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
    data root whose pictures stand in for real ones (`dearlib.datasets.generated`), and then the page says so.
    """

    dataset: str
    sample: str
    patches: int = Field(ge=1)
    d_head: int = Field(ge=1)
    tokens_per_attribute: int = Field(default=1, ge=1)
    generated: str | None = None


class Explorer(Part):
    """The whole file. The page starts from `roles.settings`: their `rule`, `low` and `high`."""

    version: Literal[1] = 1
    facts: Facts
    roles: HeadRoles
    heads: tuple[Evidence, ...]
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
        if len({picture.name for picture in self.pictures}) != len(self.pictures):
            raise ValueError("pictures: expected every name once")
        if any(len(n.found) != len(n.shared) for n in self.neighbours):
            raise ValueError("neighbours: expected an answer for each picture that was found")
        return self

    def save(self, path: Path) -> None:
        """Writes the JSON file whole or not at all."""
        write_text(path, self.model_dump_json(indent=0, exclude_none=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Explorer":
        """Reads the file. Raises `InputError` in one line if it is missing, damaged or inconsistent."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: expected an explorer file, got none that can be read; run notebook 02_head_roles") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(key) for key in first["loc"]) or "content"
            raise InputError(f"{path}: expected an explorer file, got {where}: {first['msg']}; run notebook 02_head_roles anew") from error


def towards(contributions: Float[Tensor, "head picture d_embed"], phrase: Float[Tensor, "head d_embed"]) -> Float[Tensor, "head picture"]:
    """How far each head pushes each picture's feature towards its own first phrase, beyond what it does on average [ours].

    `phrase` is the text feature of each head's first phrase. The pictures where this is largest are those that the head
    "responds to most"; 0 is the head's mean over the pictures.
    """
    centred = contributions - contributions.mean(dim=1, keepdim=True)
    return torch.einsum("hpd,hd->hp", centred, normalize(phrase, dim=-1))


def thumbnail(image: Image.Image, side: int = 64) -> str:
    """A picture as a data URI, WebP of at most `side` × `side` pixels."""
    small = image.convert("RGB")
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=70, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def explore(
    roles: HeadRoles,
    facts: Facts,
    concept_of: Mapping[str, str],
    *,
    shares: Float[Tensor, "head step"] | None = None,
    nulls: Float[Tensor, "head 2"] | None = None,
    effects: Mapping[str, Float[Tensor, "head 3"]] | None = None,
    response: Float[Tensor, "head picture"] | None = None,
    picture: Callable[[int], Picture] | None = None,
    shown: int = 6,
) -> Explorer:
    """The explorer file of one role file, all heads in its order.

    Args:
        concept_of: Eq. 2, the concept of every phrase that a head has.
        shares: of the head's variance, by phrase; columns behind a head's last phrase are not read.
        nulls: the 5 % and 50 % quantiles of chance, in bits; None: those that the role file records by number of phrases, if any.
        effects: factor → rise of its cross-entropy, low end, high end, in nats; None where no factor is known.
        response: how strongly a head responds to each picture (`towards`); `picture` makes the picture of a column.
        shown: pictures at either end.
    """
    given = [len(t) for t in (shares, nulls, response, *(effects or {}).values()) if t is not None]
    if any(n != len(roles.entries) for n in given):
        raise InputError(f"explorer: expected numbers for {len(roles.entries)} heads, got them for {', '.join(map(str, given))}")
    nulls = _recorded(roles) if nulls is None else nulls
    album = _Album()
    most, least = _ends(response, shown) if response is not None else (None, None)
    heads = []
    for i, entry in enumerate(roles.entries):
        heads.append(
            Evidence(
                layer=entry.layer,
                head=entry.head,
                concepts=tuple(concept_of[phrase] for phrase in entry.phrases),
                shares=None if shares is None else tuple(shares[i, : len(entry.phrases)].tolist()),
                null=None if nulls is None else Null(q05=float(nulls[i, 0]), q50=float(nulls[i, 1])),
                effects=None if effects is None else {name: _effect(rows[i]) for name, rows in effects.items()},
                most=() if most is None or picture is None else tuple(album.number(picture, j) for j in most[i].tolist()),
                least=() if least is None or picture is None else tuple(album.number(picture, j) for j in least[i].tolist()),
            )
        )
    return Explorer(facts=facts, roles=roles, heads=tuple(heads), pictures=album.pictures)


def with_neighbours(
    explorer: Explorer,
    found: Mapping[tuple[Routing, str], Int[Tensor, "gallery k"]],
    queries: Sequence[int],
    labels: Mapping[str, Int[Tensor, "gallery"]],
    picture: Callable[[int], Picture],
) -> Explorer:
    """A copy with the neighbours of some pictures by each token's feature, in place of those it had.

    Args:
        found: (routing, token) → the neighbours of every picture of the gallery (`dearlib.methods.retrieval.nearest`).
        queries: the pictures of the gallery that can be asked.
        labels: token → the value of that token's factor for every picture, −1 where a picture has none. Tokens without labels
            get no verdict.
        picture: makes the picture of a number of the gallery.
    """
    album = _Album(explorer.pictures)
    rows = []
    for (routing, token), near in found.items():
        for query in queries:
            others = near[query].tolist()
            rows.append(
                Neighbours(
                    routing=routing,
                    token=token,
                    query=album.number(picture, query),
                    found=tuple(album.number(picture, i) for i in others),
                    shared=_shared(labels.get(token), query, others),
                )
            )
    return Explorer.model_validate(explorer.model_dump() | {"pictures": album.pictures, "neighbours": tuple(rows)})


class _Album:
    """Pictures without repetition, each by its name."""

    def __init__(self, pictures: Sequence[Picture] = ()) -> None:
        self._by_name = {picture.name: (i, picture) for i, picture in enumerate(pictures)}
        self._made: dict[int, int] = {}

    def number(self, picture: Callable[[int], Picture], i: int) -> int:
        """Where the picture that `picture(i)` makes stands; made once."""
        if i not in self._made:
            made = picture(i)
            self._made[i] = self._by_name.setdefault(made.name, (len(self._by_name), made))[0]
        return self._made[i]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(picture for _, picture in self._by_name.values())


def _recorded(roles: HeadRoles) -> Float[Tensor, "head 2"] | None:
    """The quantiles that a role file of the rule `null` keeps among its settings, for each head by its number of phrases."""
    kept = roles.settings.get("null_quantiles")
    if kept is None:
        return None
    lengths = [str(len(entry.phrases)) for entry in roles.entries]
    if missing := set(lengths) - set(kept):
        raise InputError(
            f"roles: expected a null for {min(missing)} phrases, got nulls for {', '.join(kept)}; run notebook 02_head_roles anew"
        )
    return torch.tensor([kept[n] for n in lengths], dtype=torch.float64)


def _ends(response: Float[Tensor, "head picture"], shown: int) -> tuple[Int[Tensor, "head shown"], Int[Tensor, "head shown"]]:
    """The pictures of the largest and of the smallest responses."""
    if not 1 <= shown <= response.shape[1] // 2:
        raise InputError(f"shown: expected 1 to {response.shape[1] // 2} (half of the pictures), got {shown}")
    order = response.argsort(dim=1, descending=True, stable=True)
    return order[:, :shown], order[:, -shown:].flip(1)


def _effect(row: Float[Tensor, "3"]) -> Effect:
    rise, low, high = row.tolist()
    return Effect(rise=rise, low=low, high=high)


def _shared(labels: Int[Tensor, "gallery"] | None, query: int, others: Sequence[int]) -> tuple[bool | None, ...]:
    """Which of `others` have the query's label; None where either has none."""
    if labels is None or labels[query] < 0:
        return (None,) * len(others)
    return tuple(None if labels[i] < 0 else bool(labels[i] == labels[query]) for i in others)
