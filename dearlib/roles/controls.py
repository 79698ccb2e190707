"""Role maps other than the one that was found: what the ablations compare it with.

All-Generalization and All-Mixed are the paper's (Table 5). The others are [ours]: shuffled roles keep how many heads have
each role but not which; another rule cuts the same entropies elsewhere; roles by truth ask not what a head says but what
the model loses without it.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dearlib.errors import InputError
from dearlib.roles.entropy import concept_entropy
from dearlib.roles.rolefile import HeadRole, HeadRoles
from dearlib.roles.rules import AgainstChance, RoleRule, Thresholds, assign_role


def uniform_roles(role: Literal["generalization", "mixed"], like: HeadRoles) -> HeadRoles:
    """All heads of `like` with one role: the ablations All-Generalization and All-Mixed."""
    return like.replaced({(e.layer, e.head): _copy(e, role=role) for e in like.entries})


def shuffled_roles(like: HeadRoles, seed: int) -> HeadRoles:
    """The roles of `like`, each with its concept, dealt out anew among all its heads.

    As many heads are shielded and as many listen to each attribute as before, but not the heads that were found: what is
    lost against `like` is what finding them was worth.
    """
    order = torch.randperm(len(like.entries), generator=torch.Generator().manual_seed(seed)).tolist()
    dealt = zip(like.entries, (like.entries[i] for i in order), strict=True)
    return like.replaced({(e.layer, e.head): _copy(e, role=from_.role, concept=from_.concept) for e, from_ in dealt})


def rethresholded(like: HeadRoles, low: float, high: float) -> HeadRoles:
    """The same entropies under the rule `thresholds`, cut at these fractions of log2 k, whatever rule the file was made by."""
    return _by(Thresholds(low, high, len(like.concepts)), like)


def against_recorded_chance(like: HeadRoles) -> HeadRoles:
    """The same entropies under the rule `null`, by the quantiles that the file records.

    Raises `InputError` if it records none, or none for a head's number of phrases.
    """
    recorded = like.settings.get("null_quantiles")
    if not isinstance(recorded, dict):
        raise InputError("roles: expected null_quantiles among the file's settings, got none; run notebook 02_head_roles anew")
    return _by(AgainstChance({int(n): (float(below), float(middle)) for n, (below, middle) in recorded.items()}), like)


def _by(rule: RoleRule, like: HeadRoles) -> HeadRoles:
    new = {}
    for e in like.entries:
        role = rule.role(e.entropy, e.concept, max(e.distribution.values()), len(e.phrases), like.attributes)
        new[e.layer, e.head] = _copy(e, role=role)
    return like.model_copy(update={"settings": {**like.settings, **rule.settings()}}).replaced(new)


def roles_by_loss(like: HeadRoles, loss: Float[Tensor, "head attribute"], low: float, high: float) -> HeadRoles:
    """Roles by what the model loses without a head, in place of what the head says.

    Args:
        like: says which heads there are.
        loss: for each head, in order of `like.entries`, how much worse each of `like.attributes` is read with that head
            mean-ablated (a rise of cross-entropy, in nats). What gets better counts as nothing.
        low, high: thresholds on the entropy of the shares, fractions of log2 of the number of attributes. A head that
            nothing needs has no share and is Mixed: it may as well listen to everything.
    """
    if loss.shape != (len(like.entries), len(like.attributes)):
        raise InputError(f"loss: expected [{len(like.entries)}, {len(like.attributes)}] (heads, attributes), got {list(loss.shape)}")
    harm = loss.double().clamp(min=0)
    total = harm.sum(dim=1, keepdim=True)
    share = harm / total.where(total > 0, 1.0)
    entropy = concept_entropy(share)
    new = {}
    for e, p, bits, needed in zip(like.entries, share.tolist(), entropy.tolist(), (total > 0).flatten().tolist(), strict=True):
        top = like.attributes[max(range(len(p)), key=p.__getitem__)]
        role = assign_role(bits, top, len(like.attributes), low, high, like.attributes) if needed else "mixed"
        distribution = dict(zip(like.attributes, p, strict=True))
        new[e.layer, e.head] = _copy(e, role=role, concept=top, entropy=bits, interval=(bits, bits), distribution=distribution)
    return like.model_copy(update={"concepts": like.attributes}).replaced(new)


def one_attribute(like: HeadRoles, name: str = "any") -> HeadRoles:
    """The same heads with one attribute in place of five: every attribute head listens to the one token there is.

    What is lost against `like` is what telling attributes apart is worth, not what attribute heads are.
    """
    entries = tuple(_copy(e, concept=name) if e.role == "attribute" else e for e in like.entries)
    changes = {"attributes": (name,), "concepts": (*like.concepts, name), "entries": [e.model_dump() for e in entries]}
    return HeadRoles.model_validate(like.model_dump() | changes)


def shielded(roles: HeadRoles) -> int:
    """How many heads never see an attribute token from an original one: Generalization and other-specialised."""
    return sum(e.role in ("generalization", "other") for e in roles.entries)


def _copy(entry: HeadRole, **changes: object) -> HeadRole:
    return HeadRole.model_validate(entry.model_dump() | changes)


def role_counts(roles: HeadRoles) -> dict[str, int]:
    """Heads per role; attribute heads per attribute."""
    names: Sequence[str] = [f"attribute ({e.concept})" if e.role == "attribute" else e.role for e in roles.entries]
    return {name: names.count(name) for name in sorted(set(names))}
