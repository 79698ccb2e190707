"""The explorer's file filled from tensors: which pictures a head responds to, what is lost without it, whom a token finds."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from dearlib.datasets import Item, open_image
from dearlib.errors import InputError
from dearlib.roles.rolefile import HeadRoles
from dearlib.study.explorer import Effect, Explorer, Facts, Found, HeadPage, Neighbours, Null, Picture, Routing


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


def picture_of(item: Item) -> Picture:
    """A data set's picture, by its file's and its class's name."""
    return Picture(name=f"{item.path.parent.name}/{item.path.name}", caption=item.classname, image=thumbnail(open_image(item.path)))


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
        effects: factor → what is lost of it without each head, low end, high end, as `facts.loss` says; None where no factor is known.
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
            HeadPage(
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


def neighbours(
    found: Mapping[tuple[Routing, str], Int[Tensor, "gallery k"]],
    queries: Sequence[int],
    labels: Mapping[str, Int[Tensor, "gallery"]],
    picture: Callable[[int], Picture],
    roles: HeadRoles,
) -> Found:
    """The neighbours of some pictures by each token's feature, of models with these roles.

    Args:
        found: (routing, token) → the neighbours of every picture of the gallery (`dearlib.methods.retrieval.nearest`); of pictures
            that are no query the rows are not read.
        queries: the pictures of the gallery that can be asked.
        labels: token → the value of that token's factor for every picture, −1 where a picture has none. Tokens without labels
            get no verdict.
        picture: makes the picture of a number of the gallery.
    """
    album = _Album()
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
    return Found(roles_sha256=roles.sha256, pictures=album.pictures, neighbours=tuple(rows))


def with_neighbours(
    explorer: Explorer,
    found: Mapping[tuple[Routing, str], Int[Tensor, "gallery k"]],
    queries: Sequence[int],
    labels: Mapping[str, Int[Tensor, "gallery"]],
    picture: Callable[[int], Picture],
) -> Explorer:
    """A copy with these `neighbours` in place of those it had."""
    return explorer.joined(neighbours(found, queries, labels, picture, explorer.roles))


class _Album:
    """Pictures without repetition, each by its name."""

    def __init__(self) -> None:
        self._by_name: dict[str, tuple[int, Picture]] = {}
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
    loss, low, high = row.tolist()
    return Effect(loss=loss, low=low, high=high)


def _shared(labels: Int[Tensor, "gallery"] | None, query: int, others: Sequence[int]) -> tuple[bool | None, ...]:
    """Which of `others` have the query's label; None where either has none."""
    if labels is None or labels[query] < 0:
        return (None,) * len(others)
    return tuple(None if labels[i] < 0 else bool(labels[i] == labels[query]) for i in others)
