"""Role maps for tests, dealt out by a pattern."""

from dearlib.clip.loading import FrozenClip
from dearlib.roles.rolefile import HeadRole, HeadRoles

ATTRIBUTES = ("color", "shape", "texture", "object", "location")


def make_roles(clip: FrozenClip, pattern: str = "aogm") -> HeadRoles:
    """Roles dealt out in turn: a(ttribute), o(ther), g(eneralization), m(ixed); attributes in turn as well."""
    names = {"a": "attribute", "o": "other", "g": "generalization", "m": "mixed"}
    entries = []
    for i, (layer, head) in enumerate((layer, head) for layer in range(9, 13) for head in range(clip.heads)):
        role = names[pattern[(i + layer) % len(pattern)]]
        concept = "number" if role == "other" else ATTRIBUTES[i % len(ATTRIBUTES)]
        entries.append(
            HeadRole(
                layer=layer,
                head=head,
                role=role,
                concept=concept,
                entropy=1.0,
                interval=(0.9, 1.1),
                distribution={concept: 1.0},
                phrases=("a phrase",),
            )
        )
    return HeadRoles(
        model=clip.name,
        weights_sha256=clip.weights_sha256,
        identity=clip.identity,
        pool_sha256="0" * 64,
        first_layer=9,
        layers=12,
        heads=clip.heads,
        attributes=ATTRIBUTES,
        concepts=(*ATTRIBUTES, "number"),
        settings={},
        entries=tuple(entries),
    )
