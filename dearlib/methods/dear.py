"""DeAR: attribute tokens and text tokens from layer J on, role masks, fused logits and the three losses.

Nothing of CLIP is trained. What is trained: the attribute tokens, the text tokens, one projection for the attribute
features and the fusion weights. Shapes: A attributes, T = A · tokens_per_attribute tokens, K text tokens.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dearlib.clip.attention import additive
from dearlib.clip.loading import FrozenClip, TextStates, check_cut
from dearlib.errors import InputError
from dearlib.files import read_tensors, write_tensors
from dearlib.methods import suffix
from dearlib.methods.masks import layer_mask
from dearlib.roles.rolefile import HeadRoles


@dataclass(frozen=True)
class Settings:
    """What the paper calls hyper-parameters of the model.

    `first_layer`: J. `text_tokens`: K. `beta`: β in [0, 1]; 1 puts the raw token into every layer, 0 lets it evolve.
    `alpha_cls`: the class feature's share of the fused logits at the start, in (0, 1); the attributes share the
    rest evenly [ours].
    """

    first_layer: int = 9
    text_tokens: int = 5
    tokens_per_attribute: int = 1
    beta: float = 0.5
    alpha_cls: float = 0.5


@dataclass(frozen=True)
class ImageFeatures:
    """f_cls and the f_a of a batch, before normalisation; of several runs' batches with an axis `run` in front."""

    cls: Float[Tensor, "*run batch d_embed"]
    attribute: Float[Tensor, "*run batch attribute d_embed"]


class DeAR(nn.Module):
    """The trainable part of DeAR around a frozen CLIP (Sections 3.3.1–3.3.4).

    Raises:
        InputError: J beyond the layers, or a role file that was made for other weights or another J.
    """

    def __init__(self, clip: FrozenClip, roles: HeadRoles, settings: Settings, seed: int = 0) -> None:
        super().__init__()
        check_cut(clip, settings.first_layer)
        roles.for_weights(clip.weights_sha256)
        if settings.first_layer < roles.first_layer:
            raise InputError(f"first_layer: expected {roles.first_layer} or more, where the role file starts, got {settings.first_layer}")
        self.clip, self.roles, self.settings = clip, roles, settings
        n_attributes = len(roles.attributes)
        draw = torch.Generator().manual_seed(seed)
        tokens = n_attributes * settings.tokens_per_attribute
        self.attribute_tokens = nn.Parameter(0.02 * torch.randn(tokens, clip.d_model, generator=draw))
        self.text_tokens = nn.Parameter(0.02 * torch.randn(settings.text_tokens, clip.d_text, generator=draw))
        self.projection = nn.Parameter(clip.visual.proj.detach().clone())  # type: ignore[union-attr,operator]
        share = torch.tensor([settings.alpha_cls] + [(1 - settings.alpha_cls) / n_attributes] * n_attributes)
        self.fusion = nn.Parameter(share.log())
        n_original = clip.patches + 1
        for layer in range(settings.first_layer, clip.layers + 1):
            mask = layer_mask(roles, layer, n_original, settings.tokens_per_attribute)
            self.register_buffer(f"may_attend_{layer}", mask, persistent=False)

    @property
    def masks(self) -> list[Bool[Tensor, "head query key"]]:
        """`may_attend` of layers J … L."""
        return [getattr(self, f"may_attend_{layer}") for layer in range(self.settings.first_layer, self.clip.layers + 1)]

    @property
    def alpha(self) -> Float[Tensor, "feature"]:
        """Fusion weights α = softmax(w): the class feature's first, then one per attribute; they sum to 1."""
        return torch.softmax(self.fusion, dim=0)

    def image_features(self, states: Float[Tensor, "batch token d_model"]) -> ImageFeatures:
        """f_cls and f_a from the states entering layer J (Eq. 5, 7–11).

        Into layer J go the raw tokens; into later layers β·raw + (1−β)·(their output of the layer before).
        """
        raw = self.attribute_tokens.expand(len(states), -1, -1)
        biases = [additive(mask[None], states.dtype) for mask in self.masks]
        read = suffix.image_states(self.clip, states, raw, biases, self.settings.beta)
        return read_out(self.clip, read, self.projection, len(self.roles.attributes))

    def text_features(self, text: TextStates) -> Float[Tensor, "class_ d_embed"]:
        """f_t from prompts on the verge of layer J (Eq. 6): the K tokens go in after the start token, causally."""
        return suffix.text_features(self.clip, text, self.text_tokens[None], self.settings.first_layer, self.settings.beta)[0]

    def similarities(self, image: ImageFeatures, text: Float[Tensor, "class_ d_embed"]) -> Float[Tensor, "batch feature class_"]:
        """s_cls and the s_a: τ times the cosine of every feature with every class (Eq. 17, 18)."""
        return similarities(image, text, self.clip.scale)

    def fuse(self, similarities: Float[Tensor, "batch feature class_"]) -> Float[Tensor, "batch class_"]:
        """ŷ: the α-weighted sum of the similarities (Eq. 19)."""
        return torch.einsum("f,bfc->bc", self.alpha, similarities)

    def save(self, path: Path) -> None:
        """The trained part in one safetensors file, with what it belongs to."""
        notes = {"weights_sha256": self.clip.weights_sha256, "roles_sha256": self.roles.sha256, "settings": asdict(self.settings)}
        write_tensors(path, dict(self.state_dict()), notes)

    @classmethod
    def load(cls, path: Path, clip: FrozenClip, roles: HeadRoles) -> "DeAR":
        """Restores a saved model; refuses other CLIP weights or another role file."""
        tensors, notes = read_tensors(path)
        for name, ours in (("weights_sha256", clip.weights_sha256), ("roles_sha256", roles.sha256)):
            if notes.get(name) != ours:
                got = str(notes.get(name))
                raise InputError(f"{path.name}: expected {name} {ours[:12]}…, got {got[:12]}…; load it with what it was trained on")
        model = cls(clip, roles, Settings(**notes["settings"]))
        model.load_state_dict(tensors)
        return model


def read_out(
    clip: FrozenClip,
    read: Float[Tensor, "*run batch read d_model"],
    projection: Float[Tensor, "*run d_model d_embed"],
    attributes: int,
) -> ImageFeatures:
    """f_cls by CLIP's own projection, f_a by the trained one, averaged over an attribute's tokens (Eq. 10, 11)."""
    x = clip.visual.ln_post(read)  # type: ignore[operator]
    own = (x[..., 1:, :] @ projection.unsqueeze(-3)).unflatten(-2, (attributes, -1)).mean(dim=-2)
    return ImageFeatures(x[..., 0, :] @ clip.visual.proj, own)  # type: ignore[operator]


def similarities(
    image: ImageFeatures, text: Float[Tensor, "*run class_ d_embed"], scale: float
) -> Float[Tensor, "*run batch feature class_"]:
    """s_cls and the s_a: `scale` (τ) times the cosine of every feature with every class (Eq. 17, 18).

    Never in half precision: times τ = 100, eight bits of a cosine would be whole units of a logit.
    """
    with torch.autocast(text.device.type, enabled=False):
        features = torch.cat([image.cls.unsqueeze(-2), image.attribute], dim=-2)
        return scale * F.normalize(_full(features), dim=-1) @ F.normalize(_full(text), dim=-1).mT.unsqueeze(-3)


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@dataclass(frozen=True)
class Losses:
    """The terms of Eq. 12 for one batch, unweighted; of several runs' batches, one of each a run."""

    cross_entropy: Float[Tensor, "*run"]
    regularisation: Float[Tensor, "*run"]
    fusion: Float[Tensor, "*run"]


def losses(
    model: DeAR,
    image: ImageFeatures,
    text: Float[Tensor, "class_ d_embed"],
    frozen_image: Float[Tensor, "batch d_embed"],
    frozen_text: Float[Tensor, "class_ d_embed"],
    labels: Int[Tensor, "batch"],
) -> Losses:
    """Eq. 12–16: cross-entropy of ŷ; 1 − cos to the frozen features of the same view and of the prompts; −log α_cls."""
    return terms(model.alpha, model.clip.scale, image, text, frozen_image, frozen_text, labels)


def terms(
    alpha: Float[Tensor, "*run feature"],
    scale: float,
    image: ImageFeatures,
    text: Float[Tensor, "*run class_ d_embed"],
    frozen_image: Float[Tensor, "*run batch d_embed"],
    frozen_text: Float[Tensor, "class_ d_embed"],
    labels: Int[Tensor, "*run batch"],
) -> Losses:
    """`losses` of one run or of several, from their fusion weights and features; means are taken within a run."""
    with torch.autocast(text.device.type, enabled=False):
        fused_logits = torch.einsum("...f,...bfc->...bc", alpha, similarities(image, text, scale))
        each = F.cross_entropy(fused_logits.flatten(0, -2), labels.flatten(), reduction="none").view_as(labels)
        away_image = (1 - F.cosine_similarity(_full(image.cls), frozen_image, dim=-1)).mean(dim=-1)
        away_text = (1 - F.cosine_similarity(_full(text), frozen_text, dim=-1)).mean(dim=-1)
        return Losses(each.mean(dim=-1), away_image + away_text, -alpha[..., 0].log())
