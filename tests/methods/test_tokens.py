"""Truncated, shared, pruned and stacked: equal to the form that does none of it, forward and backward, in float64.

Real shapes (tokens, heads, width, layers) with random weights. The lower layers are left out: what enters layer J is drawn.
"""

from functools import cache

import open_clip
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from role_maps import ATTRIBUTES

from dearlib.clip.attention import reference
from dearlib.clip.cut import TextStates
from dearlib.clip.loading import FrozenClip, random_clip
from dearlib.datasets.transforms import Preprocessing
from dearlib.methods.dear import DeAR, Settings
from dearlib.methods.stack import Stack
from dearlib.roles.rolefile import HeadRole, HeadRoles

PLAIN = Preprocessing((64, 64), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bicubic", "shortest")
SHAPES = ("ViT-B-16", "ViT-B-32", "ViT-L-14", "DeAR-Mini")
DEPTH = 3  # layers that a shape keeps: the real width and tokens, fewer repetitions


@cache
def shallow(name: str) -> FrozenClip:
    """A model of the shape, its last layers alone, in float64."""
    random_clip()  # registers DeAR-Mini
    config = open_clip.get_model_config(name)
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = DEPTH
    config["text_cfg"]["vocab_size"] = 8
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CLIP(**config).double().eval().requires_grad_(False)
    return FrozenClip(name, model, PLAIN, torch.nn.Identity(), "0" * 64)


@st.composite
def role_maps(draw: st.DrawFn, clip: FrozenClip, first_layer: int) -> HeadRoles:
    kinds = st.sampled_from([("attribute", a) for a in ATTRIBUTES] + [("other", "number"), ("generalization", "color"), ("mixed", "shape")])
    places = [(layer, head) for layer in range(first_layer, DEPTH + 1) for head in range(clip.heads)]
    told = {"entropy": 1.0, "interval": (1.0, 1.0), "distribution": {}, "phrases": ()}
    chosen = draw(st.lists(kinds, min_size=len(places), max_size=len(places)))
    entries = tuple(HeadRole(layer=n, head=h, role=r, concept=c, **told) for (n, h), (r, c) in zip(places, chosen, strict=True))
    shape = {"first_layer": first_layer, "layers": DEPTH, "heads": clip.heads}
    names = {"attributes": ATTRIBUTES, "concepts": (*ATTRIBUTES, "number")}
    return HeadRoles(
        model=clip.name,
        weights_sha256="0" * 64,
        identity=clip.identity,
        pool_sha256="0" * 64,
        settings={},
        entries=entries,
        **shape,
        **names,
    )


def plain_image(model: DeAR, states: torch.Tensor) -> torch.Tensor:
    """Every token of every layer by the definition of attention: class feature and attribute features, [row, 1 + A, d]."""
    clip, s, n = model.clip, model.settings, states.shape[1]
    raw = tokens = model.attribute_tokens.expand(len(states), -1, -1)
    x = states
    for layer, mask in zip(range(s.first_layer, DEPTH + 1), model.masks, strict=True):
        tokens = raw if layer == s.first_layer else s.beta * raw + (1 - s.beta) * x[:, n:]
        x = torch.cat([x[:, :n], tokens], dim=1)
        block = clip.visual.transformer.resblocks[layer - 1]
        parts = (block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, dim=-1)
        query, key, value = (t.unflatten(-1, (clip.heads, -1)).transpose(1, 2) for t in parts)
        x = x + block.attn.out_proj(reference(query, key, value, mask[None]).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.ln_2(x))
    x = clip.visual.ln_post(x)
    own = (x[:, n:] @ model.projection).unflatten(1, (len(ATTRIBUTES), -1)).mean(dim=2)
    return torch.cat([x[:, :1] @ clip.visual.proj, own], dim=1)


def plain_text(model: DeAR, columns: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """All columns of every class through every layer of open_clip's own."""
    encoder, s, k = model.clip.model, model.settings, model.settings.text_tokens
    raw = model.text_tokens.expand(len(columns), -1, -1)
    causal = torch.full((columns.shape[1] + k,) * 2, -torch.inf, dtype=columns.dtype).triu(1)
    x = torch.cat([columns[:, :1], raw, columns[:, 1:]], dim=1)
    for layer in range(s.first_layer, DEPTH + 1):
        if layer > s.first_layer:
            x = torch.cat([x[:, :1], s.beta * raw + (1 - s.beta) * x[:, 1 : 1 + k], x[:, 1 + k :]], dim=1)
        x = encoder.transformer.resblocks[layer - 1](x, attn_mask=causal)
    return encoder.ln_final(x[torch.arange(len(x)), end + k]) @ encoder.text_projection


def same(fast: torch.Tensor, plain: torch.Tensor, model: DeAR, weights: torch.Tensor) -> None:
    """Equal to 1e-10, and so are the gradients of a random functional of both."""
    torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)
    parameters = list(model.parameters())
    grads = [
        torch.autograd.grad((t * weights).sum(), parameters, allow_unused=True, materialize_grads=True, retain_graph=True)
        for t in (fast, plain)
    ]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 * (1 + float(theirs.abs().sum())))


RELAXED = settings(
    max_examples=3,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", SHAPES)
@RELAXED
@given(data=st.data())
def test_image_suffix_equals_the_plain_form(name: str, data: st.DataObject) -> None:
    clip = shallow(name)
    first_layer = data.draw(st.integers(1, DEPTH), label="J")
    roles = data.draw(role_maps(clip, first_layer))
    beta, per = data.draw(st.sampled_from([0.0, 0.3, 1.0])), data.draw(st.integers(1, 2))
    routing = data.draw(st.sampled_from(["printed", "exclusive"]))
    model = DeAR(
        clip, roles, Settings(first_layer=first_layer, text_tokens=1, tokens_per_attribute=per, beta=beta, routing=routing), seed=1
    ).double()
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    states = torch.randn(2, clip.patches + 1, clip.d_model, dtype=torch.float64, generator=generator)
    found = model.image_features(states)
    fast = torch.cat([found.cls[:, None], found.attribute], dim=1)
    same(fast, plain_image(model, states), model, torch.randn(fast.shape, dtype=torch.float64, generator=generator))


@pytest.mark.parametrize("name", SHAPES)
@RELAXED
@given(data=st.data())
def test_text_suffix_equals_the_plain_form(name: str, data: st.DataObject) -> None:
    """Prompts whose first columns agree, of different lengths, with rubbish behind the end of text."""
    clip = shallow(name)
    first_layer, k = data.draw(st.integers(1, DEPTH), label="J"), data.draw(st.integers(0, 4), label="K")
    shared, classes = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    end = torch.tensor(data.draw(st.lists(st.integers(shared, 12), min_size=classes, max_size=classes)))
    model = DeAR(clip, data.draw(role_maps(clip, first_layer)), Settings(first_layer=first_layer, text_tokens=k, beta=0.4), seed=1).double()
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    columns = torch.randn(classes, 20, clip.d_text, dtype=torch.float64, generator=generator)
    columns[:, :shared] = columns[:1, :shared]
    fast = model.text_features(TextStates(columns[:, : int(end.max()) + 1], end, shared, first_layer))
    same(fast, plain_text(model, columns, end), model, torch.randn(fast.shape, dtype=torch.float64, generator=generator))


@RELAXED
@given(data=st.data())
def test_a_stack_equals_its_models(data: st.DataObject) -> None:
    """Roles, β and tokens of each its own; features and gradients are those of the model alone."""
    clip = shallow("DeAR-Mini")
    maps = [data.draw(role_maps(clip, 2)) for _ in range(3)]
    each = zip(maps, (0.0, 0.5, 0.9), ("printed", "exclusive", "exclusive"), strict=True)
    told = [Settings(first_layer=2, text_tokens=3, beta=b, routing=r) for _, b, r in each]
    models = [DeAR(clip, m, s, seed=i).double() for i, (m, s) in enumerate(zip(maps, told, strict=True))]
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(3, 2, clip.patches + 1, clip.d_model, dtype=torch.float64, generator=generator)
    columns = torch.randn(2, 7, clip.d_text, dtype=torch.float64, generator=generator)
    columns[:, :2] = columns[:1, :2]
    text = TextStates(columns, torch.tensor([4, 6]), 2, 2)
    stack = Stack(models)
    image, features = stack.image_features(states), stack.text_features(text)
    for i, model in enumerate(models):
        alone = model.image_features(states[i])
        weights = torch.randn(alone.attribute.shape, dtype=torch.float64, generator=generator)
        same(image.attribute[i], alone.attribute, model, weights)
        same(image.cls[i], alone.cls, model, weights[:, 0])
        same(features[i], model.text_features(text), model, weights[:, 0])
