"""DeAR: attribute tokens and text tokens from layer J on, role masks, fused logits and the three losses.

Nothing of CLIP is trained. What is trained: the attribute tokens, the text tokens, one projection for the attribute
features and the fusion weights. Shapes: A attributes, T = A · tokens_per_attribute tokens, K text tokens.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dearlib.clip.attention import additive
from dearlib.clip.cut import TextStates, check_cut
from dearlib.clip.loading import FrozenClip
from dearlib.errors import InputError
from dearlib.files import read_tensors, write_tensors
from dearlib.methods.fusion import ImageFeatures, read_out, similarities
from dearlib.methods.masks import Routing, layer_mask
from dearlib.methods.tokens import image_states, text_features
from dearlib.roles.rolefile import HeadRoles

PARTS = ("attribute_tokens", "text_tokens", "projection", "fusion")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the paper calls hyper-parameters of the model.

    `first_layer`: J. `text_tokens`: K. `beta`: β in [0, 1]; 1 puts the raw token into every layer, 0 lets it evolve.
    `alpha_cls`: the class feature's share of the fused logits at the start, in (0, 1); the attributes share the
    rest evenly [ours]. `init_std`: standard deviation of the tokens at the start. `routing`: see `masks.head_mask`.
    `trained`: the parts that are; the others stay as they start, a control [ours].
    """

    first_layer: int = 9
    text_tokens: int = 5
    tokens_per_attribute: int = 1
    beta: float = 0.7
    alpha_cls: float = 0.5
    init_std: float = 0.02
    routing: Routing = "printed"
    trained: tuple[str, ...] = PARTS


class DeAR(nn.Module):
    """The trainable part of DeAR around a frozen CLIP (Sections 3.3.1–3.3.4).

    Raises:
        InputError: J beyond the layers, or a role file that was made for other weights or another J.
    """

    def __init__(self, clip: FrozenClip, roles: HeadRoles, settings: Settings, seed: int = 0) -> None:
        super().__init__()
        check_cut(clip, settings.first_layer)
        roles.for_weights(clip.weights_sha256).for_identity(clip.identity)
        if unknown := set(settings.trained) - set(PARTS):
            raise InputError(f"trained: expected some of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}; correct the names")
        if settings.first_layer < roles.first_layer:
            raise InputError(f"first_layer: expected {roles.first_layer} or more, where the role file starts, got {settings.first_layer}")
        self.clip, self.roles, self.settings = clip, roles, settings
        n_attributes = len(roles.attributes)
        draw = torch.Generator().manual_seed(seed)
        tokens = n_attributes * settings.tokens_per_attribute
        self.attribute_tokens = nn.Parameter(settings.init_std * torch.randn(tokens, clip.d_model, generator=draw))
        self.text_tokens = nn.Parameter(settings.init_std * torch.randn(settings.text_tokens, clip.d_text, generator=draw))
        self.projection = nn.Parameter(clip.visual.proj.detach().clone())
        share = torch.tensor([settings.alpha_cls] + [(1 - settings.alpha_cls) / n_attributes] * n_attributes)
        self.fusion = nn.Parameter(share.log())
        for name in PARTS:
            getattr(self, name).requires_grad_(name in settings.trained)
        n_original = clip.patches + 1
        for layer in range(settings.first_layer, clip.layers + 1):
            mask = layer_mask(roles, layer, n_original, settings.tokens_per_attribute, settings.routing)
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
        read = image_states(self.clip, states, [raw] * len(biases), biases, self.settings.beta)
        return read_out(self.clip, read, self.projection, len(self.roles.attributes))

    def text_features(self, text: TextStates) -> Float[Tensor, "class_ d_embed"]:
        """f_t from prompts on the verge of layer J (Eq. 6): the K tokens go in after the start token, causally."""
        return text_features(self.clip, text, self.text_tokens[None], self.settings.first_layer, self.settings.beta)[0]

    def similarities(self, image: ImageFeatures, text: Float[Tensor, "class_ d_embed"]) -> Float[Tensor, "batch feature class_"]:
        """s_cls and the s_a: τ times the cosine of every feature with every class (Eq. 17, 18)."""
        return similarities(image, text, self.clip.scale)

    def fuse(self, similarities: Float[Tensor, "batch feature class_"]) -> Float[Tensor, "batch class_"]:
        """ŷ: the α-weighted sum of the similarities (Eq. 19)."""
        return torch.einsum("f,bfc->bc", self.alpha, similarities)

    def save(self, path: Path) -> None:
        """The trained part in one safetensors file, with what it belongs to."""
        notes = {"weights_sha256": self.clip.weights_sha256, "identity": self.clip.identity, "roles_sha256": self.roles.sha256}
        write_tensors(path, dict(self.state_dict()), {**notes, "settings": asdict(self.settings)})

    @classmethod
    def load(cls, path: Path, clip: FrozenClip, roles: HeadRoles) -> "DeAR":
        """Restores a saved model; refuses other CLIP weights or another role file."""
        tensors, notes = read_tensors(path)
        belongs = {"weights_sha256": clip.weights_sha256, "identity": clip.identity, "roles_sha256": roles.sha256}
        for name, ours in belongs.items():
            if notes.get(name) != ours:
                got = str(notes.get(name))
                raise InputError(f"{path.name}: expected {name} {ours[:12]}…, got {got[:12]}…; load it with what it was trained on")
        try:
            told = notes["settings"]
            model = cls(clip, roles, Settings(**{**told, "trained": tuple(told.get("trained", PARTS))}))
            model.load_state_dict(tensors)
        except (KeyError, TypeError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{path.name}: expected the trained part of a DeAR, got something else ({reason}); train it anew") from error
        return model
