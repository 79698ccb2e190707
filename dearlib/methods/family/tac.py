"""TAC: PromptSRC-like tokens beside five that stand for groups of classes (Hao et al., CVPR 2025).

The classes' descriptions, encoded by frozen CLIP, averaged and normalised, are grouped into five by k-means; the centres, normalised
and frozen, go through one learned linear map for each encoder, and in at every layer. Beside them five learned tokens in each encoder,
new ones at every layer. All are *inserted*: text [start] clusters, tokens, words (which move on by ten positions); image [CLS],
patches, clusters, tokens, before `ln_pre`, without positions; patches may not look at clusters. In training the image feature
passes a dropout of 0.3, and so does the teacher's. Loss: CE + 20 · mean|t − t̄| + 25 · mean|v − v₀|, t̄ the descriptions' mean, v₀ the
frozen feature of the picture as it is, the same for the four views of a step. Parameters are averaged over all epochs.

Authors' recipe (FushengHao/TAC): SGD 2.5e-3, batch 8 with 4 views of crops (0.4, 1), 20 epochs, one at 1e-5; text tokens start from
"a photo of a" and the end of text. The code has 5 tokens, the paper says 4: the code's are here. New classes meet the clusters of
the base classes. Their pictures are squashed to a square for v₀, here v₀ is of the test view [ours]: the same where pictures are
square. K-means is scikit-learn's on
unit vectors, ten starts, where theirs is a plain one by cosines [ours]; fewer classes than five make as many clusters [ours];
classes without descriptions are described by `templates` [ours].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from sklearn.cluster import KMeans
from torch import Tensor, nn

from dearlib.clip.cut import TextStates, check_cut, text_layers, text_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.methods.family.promptsrc import image_prompts
from dearlib.methods.fusion import cosine_logits
from dearlib.methods.interface import Batch, Classes, Entry, Needs, Pictures, Split
from dearlib.methods.recipe import Recipe
from dearlib.methods.tokens import class_features, picture_features, pieces
from dearlib.methods.words import drawn, word_vectors
from dearlib.params.types import Count, Fraction, NonNegative, Template

RECIPE = Recipe(epochs=20, batch=8, lr=2.5e-3, optimiser="sgd", average="uniform")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`tokens`: in each encoder. `depth`: the last layer with tokens. `views`: of a picture in one step."""

    tokens: Count = 5
    depth: Count = 12
    clusters: Count = 5
    views: Count = 4
    dropout: Fraction = 0.3
    init: str = "a photo of a"
    init_std: NonNegative = 0.02
    templates: Annotated[tuple[Template, ...], Field(min_length=1)] = ("a photo of a {}.",)
    text_weight: NonNegative = 20.0
    image_weight: NonNegative = 25.0


@dataclass(frozen=True)
class Text:
    """The prompts with room for what goes in, and the descriptions' mean, normalised."""

    states: TextStates
    frozen: Float[Tensor, "class_ d_embed"]


class TAC(nn.Module):
    """Tokens of every layer in both encoders, and the two maps of the clusters."""

    title: ClassVar = "TAC"
    wants: ClassVar = ()
    clusters: Float[Tensor, "cluster d_embed"]

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int) -> None:
        super().__init__()
        check_cut(clip, settings.depth, "depth")
        self.clip, self.settings = clip, settings
        s, draw = settings, torch.Generator().manual_seed(seed)
        self.ctx = nn.Parameter(word_vectors(clip, s.init, s.tokens))
        self.deep = nn.Parameter(s.init_std * torch.randn(s.depth - 1, s.tokens, clip.d_text, generator=draw))
        self.image_tokens = nn.Parameter(s.init_std * torch.randn(s.depth, s.tokens, clip.d_model, generator=draw))
        with drawn(seed):
            self.to_text = nn.Linear(clip.d_embed, clip.d_text)
            self.to_image = nn.Linear(clip.d_embed, clip.d_model)
        self.register_buffer("clusters", centres(described(clip, classes, s.templates), s.clusters))
        self.weights: Mapping[str, float] = {"cross_entropy": 1.0, "text": s.text_weight, "image": s.image_weight}
        self.needs = Needs(image_from=1, text_from=1, teacher="plain", views=s.views, stacks=False)
        self.enters = tuple(
            Entry(modality=modality, layers=layers, rule=rule, source=source, count=count)  # type: ignore[arg-type]
            for modality in ("image", "text")
            for layers, rule in (((1, 1), "insert"), ((2, s.depth), "replace"))
            for source, count in (("clusters", len(self.clusters)), ("parameter", s.tokens))
        )

    def prepare(self, classes: Classes) -> Text:
        """See `Text`; of new classes too the descriptions are taken, though only training looks at them."""
        room = len(self.clusters) + self.settings.tokens
        prompts = text_prefix(self.clip, [f"{self.settings.init} {name}." for name in classes.names], 1, gap=room)
        return Text(prompts, described(self.clip, classes, self.settings.templates))

    def losses(self, batch: Batch, text: Text) -> dict[str, Tensor]:
        """Cross-entropy, and the distances from the descriptions and from the plain pictures, of what dropout leaves."""
        v, t = self.image_features(batch), self.encode(text)
        v = F.normalize(v * self.kept(batch, len(v)), dim=-1)
        plain = self.kept(batch, len(v) // self.settings.views).repeat(self.settings.views, 1)
        return {
            "cross_entropy": F.cross_entropy(cosine_logits(v, t, self.clip.scale), batch.labels),
            "text": F.l1_loss(F.normalize(t, dim=-1), text.frozen),
            "image": F.l1_loss(v, F.normalize(batch.features * plain, dim=-1)),
        }

    def kept(self, batch: Batch, count: int) -> Float[Tensor, "count d_embed"]:
        """Dropout's mask: 0 or 1, for what is normalised afterwards."""
        drawn_numbers = torch.rand(count, self.clip.d_embed, generator=batch.chance)
        return (drawn_numbers >= self.settings.dropout).to(batch.features)

    def encode(self, text: Text) -> Float[Tensor, "class_ d_embed"]:
        """The classes' features with clusters and tokens after the start token."""
        groups = self.to_text(self.clusters)
        layers = [torch.cat([groups, tokens])[None] for tokens in (self.ctx, *self.deep)]
        layers[0] = layers[0] + self.clip.model.positional_embedding[1 : 1 + layers[0].shape[1]]
        rest = [None] * (text_layers(self.clip) - len(layers))
        return class_features(self.clip, *pieces(text.states), [*layers, *rest])[0]

    def image_features(self, pictures: Pictures) -> Float[Tensor, "picture d_embed"]:
        """The class feature with clusters and tokens."""
        groups = self.to_image(self.clusters).expand(self.settings.depth, -1, -1)
        tokens = image_prompts(self.clip, torch.cat([groups, self.image_tokens], dim=1))
        return picture_features(self.clip, pictures.states, tokens, may_attend=self.may_attend(pictures.states.shape[1]))

    def may_attend(self, n_original: int) -> Bool[Tensor, "query key"]:
        """Patches look at everything but clusters."""
        clusters = len(self.clusters)
        mask = torch.ones(2 * [n_original + clusters + self.settings.tokens], dtype=torch.bool, device=self.clusters.device)
        mask[1:n_original, n_original : n_original + clusters] = False
        return mask

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos, the same for every split."""
        return cosine_logits(self.image_features(pictures), encoded, self.clip.scale)


def described(clip: FrozenClip, classes: Classes, templates: tuple[str, ...]) -> Float[Tensor, "class_ d_embed"]:
    """The mean of each class's descriptions, taken before normalisation, normalised."""
    each = classes.descriptions or [tuple(t.format(name) for t in templates) for name in classes.names]
    return F.normalize(torch.stack([clip.encode_text(sentences).mean(dim=0) for sentences in each]), dim=-1)


def centres(features: Float[Tensor, "class_ d_embed"], count: int) -> Float[Tensor, "cluster d_embed"]:
    """Normalised centres of at most `count` groups of unit vectors."""
    points = features.detach().cpu().double().numpy()
    found = KMeans(min(count, len(points)), n_init=10, random_state=0).fit(points).cluster_centers_
    return F.normalize(torch.as_tensor(found), dim=-1).to(features)


METHOD = TAC
