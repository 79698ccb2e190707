"""Eq. 7–9, read off small masks: True = may look. Two originals (o), then one or two tokens per attribute."""

import torch
from role_maps import ATTRIBUTES, make_roles

from dearlib.methods.masks import head_mask, layer_mask
from dearlib.roles.rolefile import HeadRole


def _mask(role: str, concept: str, tokens: int = 1, routing: str = "printed") -> list[str]:
    entry = HeadRole(layer=9, head=0, role=role, concept=concept, entropy=1.0, interval=(1.0, 1.0), distribution={concept: 1.0}, phrases=())
    mask = head_mask(entry, ("color", "shape", "texture"), n_original=2, tokens_per_attribute=tokens, routing=routing)
    return ["".join("x" if allowed else "." for allowed in row) for row in mask.tolist()]


def test_generalization_and_other_keep_the_two_worlds_apart() -> None:
    expected = ["xx...", "xx...", "..xxx", "..xxx", "..xxx"]
    assert _mask("generalization", "color") == expected
    assert _mask("other", "number") == expected


def test_attribute_head_shows_its_own_token_alone() -> None:
    assert _mask("attribute", "shape") == ["xx.x."] * 5
    assert _mask("attribute", "shape", tokens=2) == ["xx..xx.."] * 8


def test_exclusive_routing_keeps_other_attributes_tokens_from_reading_the_picture() -> None:
    """Only the head's own tokens and the originals look around; the rest see themselves, so that a softmax has one key."""
    assert _mask("attribute", "shape", routing="exclusive") == ["xx.x.", "xx.x.", "..x..", "xx.x.", "....x"]
    assert _mask("attribute", "color", tokens=2, routing="exclusive") == [
        *["xxxx...."] * 4,
        *("." * i + "x" + "." * (7 - i) for i in range(4, 8)),
    ]


def test_routing_is_about_attribute_heads_alone() -> None:
    for role in ("generalization", "other", "mixed"):
        assert _mask(role, "color", routing="exclusive") == _mask(role, "color")


def test_mixed_head_shows_everything() -> None:
    assert _mask("mixed", "color") == ["xxxxx"] * 5


def test_every_query_may_look_somewhere(clip, roles) -> None:
    """Otherwise a softmax has nothing to sum over."""
    for layer in range(9, 13):
        for routing in ("printed", "exclusive"):
            mask = layer_mask(roles, layer, 65, 2, routing)
            assert mask.shape == (clip.heads, 75, 75)
            assert mask.any(dim=-1).all()


def test_layer_mask_stacks_the_heads_in_order(clip) -> None:
    roles = make_roles(clip).with_role(11, 7, "mixed")
    mask = layer_mask(roles, 11, 65)
    for head in range(clip.heads):
        assert torch.equal(mask[head], head_mask(roles.at(11, head), ATTRIBUTES, 65))
    assert mask[7].all()
