"""The two ways to make a training step of DeAR: the straightforward loop, and from the kept prefix. Weights are random."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.clip.attention import masked_layer
from dearlib.clip.cut import TextStates, frozen_features, frozen_text_features, image_prefix, run_layers, text_prefix
from dearlib.clip.loading import FrozenClip, random_clip
from dearlib.methods.dear import DeAR, Settings
from dearlib.methods.fusion import ImageFeatures
from dearlib.methods.losses import Losses, losses
from dearlib.methods.stack import Stack
from dearlib.roles.rolefile import HeadRole, HeadRoles, Role

ATTRIBUTES = ("color", "shape", "texture", "object", "location")
J = 9


def example_roles(clip: FrozenClip, first_layer: int = 9) -> HeadRoles:
    """Roles dealt out in turn: with random weights there is none to find, and timing asks for no other."""
    kinds: tuple[Role, ...] = ("attribute", "generalization", "mixed", "generalization")
    places = [(layer, head) for layer in range(first_layer, clip.layers + 1) for head in range(clip.heads)]
    told = {"entropy": 1.0, "interval": (1.0, 1.0), "distribution": {}, "phrases": ()}
    entries = [
        HeadRole(layer=n, head=h, role=kinds[(n + h) % 4], concept=ATTRIBUTES[(n + h) % len(ATTRIBUTES)], **told)  # type: ignore[arg-type]
        for n, h in places
    ]
    shape = {"first_layer": first_layer, "layers": clip.layers, "heads": clip.heads}
    names = {"attributes": ATTRIBUTES, "concepts": ATTRIBUTES, "settings": {}, "pool_sha256": "0" * 64, "identity": clip.identity}
    return HeadRoles(model=clip.name, weights_sha256=clip.weights_sha256, entries=tuple(entries), **shape, **names)  # type: ignore[arg-type]


class Straightforward:
    """DeAR's step as a plain loop writes it: nothing kept, nothing shared, nothing left out.

    Pictures pass through all layers every time, and once more through the frozen teacher; prompts keep all 77 columns; the
    last layer computes every token. The losses are those of `model` to rounding.
    """

    def __init__(self, model: DeAR, texts: Sequence[str], frozen_text: Float[Tensor, "class_ d_embed"]) -> None:
        self.model = model
        self.tokens = model.clip.tokenize(texts)
        self.frozen_text = frozen_text

    def losses(self, images: Float[Tensor, "batch 3 side side"], labels: Int[Tensor, "batch"]) -> Losses:
        """The three losses of one batch of pictures."""
        teacher = self.model.clip.encode_image(images)
        return losses(self.model, self.image_features(images), self.text_features(), teacher, self.frozen_text, labels)

    def image_features(self, images: Float[Tensor, "batch 3 side side"]) -> ImageFeatures:
        """f_cls and f_a, every token in every layer."""
        model, visual = self.model, self.model.clip.visual
        s = model.settings
        with torch.no_grad():
            x = image_prefix(visual, images, s.first_layer)
        n_original, raw = x.shape[1], model.attribute_tokens.expand(len(x), -1, -1)
        own = raw
        for layer in range(s.first_layer, model.clip.layers + 1):
            own = raw if layer == s.first_layer else s.beta * raw + (1 - s.beta) * own
            may_attend: Tensor = getattr(model, f"may_attend_{layer}")[None]
            out = masked_layer(visual.transformer.resblocks[layer - 1], torch.cat([x, own], dim=1), may_attend)
            x, own = out[:, :n_original], out[:, n_original:]
        own = visual.ln_post(own) @ model.projection
        per_attribute = own.unflatten(1, (len(model.roles.attributes), -1)).mean(dim=2)
        return ImageFeatures(visual.ln_post(x[:, 0]) @ visual.proj, per_attribute)

    def text_features(self) -> Float[Tensor, "class_ d_embed"]:
        """f_t over all columns of the context."""
        model, text = self.model, self.model.clip.model
        s, k = model.settings, model.settings.text_tokens
        with torch.no_grad():
            x = text.token_embedding(self.tokens) + text.positional_embedding
            x = run_layers(text.transformer, x, 1, s.first_layer - 1, text.attn_mask)
        raw = model.text_tokens.expand(len(x), -1, -1)
        size = x.shape[1] + k
        causal = torch.full((size, size), float("-inf")).triu(1)
        start, own, rest = x[:, :1], raw, x[:, 1:]
        for layer in range(s.first_layer, len(text.transformer.resblocks) + 1):
            own = raw if layer == s.first_layer else s.beta * raw + (1 - s.beta) * own
            x = text.transformer.resblocks[layer - 1](torch.cat([start, own, rest], dim=1), attn_mask=causal)
            start, own, rest = x[:, :1], x[:, 1 : 1 + k], x[:, 1 + k :]
        end = self.tokens.argmax(dim=1) + k
        return text.ln_final(x[torch.arange(len(x)), end]) @ text.text_projection


@dataclass(frozen=True)
class Bench:
    """A batch of pictures and the two ways to make a training step of it. `stack` holds all runs, `model` is the first."""

    stack: Stack
    plain: Straightforward
    images: Tensor
    labels: Tensor
    states: Tensor
    features: Tensor
    text: TextStates

    @property
    def model(self) -> DeAR:
        """The first run's."""
        return self.stack.models[0]

    def fast(self) -> Losses:
        """A step's losses from the kept prefix, of every run."""
        states, features, labels = (t[None].expand(len(self.stack.models), *t.shape) for t in (self.states, self.features, self.labels))
        return self.stack.losses(states, self.text, features, self.plain.frozen_text, labels)

    def straightforward(self) -> Losses:
        """The same of the first run, from the pictures."""
        return self.plain.losses(self.images, self.labels)


def build(name: str, batch: int, classes: int, k: int = 5, first_layer: int = J, runs: int = 1, device: str = "cpu") -> Bench:
    """A batch of random pictures and `classes` prompts of the usual length."""
    clip = random_clip(name)
    clip.model.to(device)
    side = clip.visual.image_size[0]
    images = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():
        states = image_prefix(clip.visual, images, first_layer)
        features = frozen_features(clip.visual, states, first_layer)
    return assembled(clip, images, states, features, classes, k, first_layer, runs)


def assembled(
    clip: FrozenClip, images: Tensor, states: Tensor, features: Tensor, classes: int, k: int = 5, first_layer: int = J, runs: int = 1
) -> Bench:
    """The same around a kept prefix: `states` and `features` of the `images`."""
    settings = Settings(first_layer=first_layer, text_tokens=k)
    models = [DeAR(clip, example_roles(clip, first_layer), settings, seed=i).to(images.device) for i in range(runs)]
    texts = [f"a photo of a {word} {i}." for i, word in zip(range(classes), _words(classes), strict=True)]
    labels = torch.randint(classes, (len(images),), generator=torch.Generator().manual_seed(0)).to(images.device)
    text = text_prefix(clip, texts, first_layer)
    plain = Straightforward(models[0], texts, frozen_text_features(clip, text, first_layer))
    return Bench(Stack(models), plain, images, labels, states, features, text)


def _words(count: int) -> list[str]:
    some = ("cup", "old lighthouse", "fire truck", "bird", "maple tree", "violin", "mountain bike", "harbour seal")
    return [some[i % len(some)] for i in range(count)]


def total(terms: Losses) -> Tensor:
    """Eq. 12 with weights of one, of all runs."""
    return (terms.cross_entropy + terms.regularisation + terms.fusion).sum()


def step(way: Callable[[], Losses], stack: Stack, optimiser: torch.optim.Optimizer | None = None) -> float:
    """Forward, backward and the optimiser's step; returns the loss."""
    for model in stack.models:
        model.zero_grad()
    loss = total(way())
    loss.backward()
    if optimiser:
        optimiser.step()
    return loss.item()


def same_losses(name: str, batch: int, classes: int, steps: int = 20) -> float:
    """Largest difference of the two ways' losses along `steps` steps of training from one start."""
    curves = []
    for way in ("fast", "straightforward"):
        bench = build(name, batch, classes)
        optimiser = torch.optim.AdamW(bench.model.parameters(), lr=1e-3)
        curves.append([step(getattr(bench, way), bench.stack, optimiser) for _ in range(steps)])
    return max(abs(a - b) for a, b in zip(*curves, strict=True))
