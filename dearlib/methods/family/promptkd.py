"""PromptKD: image tokens that learn a tuned teacher's answers on unlabelled pictures (Li et al., CVPR 2024).

*Transductive*: it sees the unlabelled training pictures of all classes, novel ones too, so it stands apart from the other methods.
The student has PromptSRC's image tokens and a projector into the teacher's space, d → d_teacher → batch norm → ReLU → d_teacher; its
classes are the teacher's text features. Loss: w · KL(teacher ‖ student) / (pictures · classes), T = 1, over base and novel names
together.

Authors' recipe (zhengli97/PromptKD): teacher ViT-L/14 tuned by PromptSRC on the 16-shot base classes; student ViT-B/16, SGD 5e-3,
batch 8, 20 epochs, one at 1e-5, crops of (0.08, 1), w = 1000 (Aircraft, Flowers, DTD 200). They keep the epoch that is best on the
base *test* pictures; here the last counts [ours]. DeAR-Mini has no larger sister: the mini profile's teacher is a PromptSRC-tuned
DeAR-Mini of the same size [ours], so what is distilled there is the tuning, not the size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dearlib.clip.cut import check_cut
from dearlib.clip.loading import FrozenClip
from dearlib.clip.prefix import Source
from dearlib.methods.family.promptsrc import PromptSRC, image_prompts
from dearlib.methods.fusion import cosine_logits
from dearlib.methods.interface import Batch, Classes, Entry, Needs, Pictures, Split
from dearlib.methods.recipe import Recipe
from dearlib.methods.tokens import picture_features
from dearlib.methods.words import drawn
from dearlib.params.types import Count, NonNegative

RECIPE = Recipe(epochs=20, batch=8, lr=5e-3, optimiser="sgd")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`weight`: w."""

    tokens: Count = 4
    depth: Count = 9
    init_std: NonNegative = 0.02
    weight: NonNegative = 1000.0


class PromptKD(nn.Module):
    """Image tokens and the projector; `teacher` is a trained PromptSRC, of any CLIP."""

    title: ClassVar = "PromptKD"
    wants: ClassVar = ("teacher",)

    def __init__(self, clip: FrozenClip, classes: Classes, settings: Settings, seed: int, teacher: PromptSRC) -> None:
        super().__init__()
        check_cut(clip, settings.depth, "depth")
        self.clip, self.settings = clip, settings
        self._teacher = (teacher,)  # in a tuple: its parameters are not this module's
        draw = torch.Generator().manual_seed(seed)
        self.image_tokens = nn.Parameter(settings.init_std * torch.randn(settings.depth, settings.tokens, clip.d_model, generator=draw))
        wide = teacher.clip.d_embed
        with drawn(seed):
            first, last = nn.Linear(clip.d_embed, wide), nn.Linear(wide, wide)
            self.projector = nn.Sequential(first, nn.BatchNorm1d(wide), nn.ReLU(), last)
        self.weights: Mapping[str, float] = {"distillation": settings.weight}
        self.needs = Needs(image_from=1, text_from=clip.layers + 1, teacher="tuned", unlabelled=True, stacks=False)
        self.enters = (
            Entry(modality="image", layers=(1, 1), rule="insert", source="parameter", count=settings.tokens),
            Entry(modality="image", layers=(2, settings.depth), rule="replace", source="parameter", count=settings.tokens),
            Entry(modality="image", layers=(clip.layers + 1, clip.layers + 1), rule="project", source="parameter"),
        )

    @property
    def teacher(self) -> PromptSRC:
        """Whose answers are learned."""
        return self._teacher[0]

    @torch.no_grad()
    def prepare(self, classes: Classes) -> Float[Tensor, "class_ d_embed"]:
        """The teacher's classes."""
        return self.teacher.encode(self.teacher.prepare(classes))

    def losses(self, batch: Batch, text: Float[Tensor, "class_ d_embed"]) -> dict[str, Tensor]:
        """The distance from the teacher's answers; labels are not looked at."""
        student = self.logits(batch, text, "base").log_softmax(dim=1)
        teacher = cosine_logits(batch.features, text, self.teacher.clip.scale).softmax(dim=1)
        return {"distillation": F.kl_div(student, teacher, reduction="sum") / student.numel()}

    def encode(self, text: Float[Tensor, "class_ d_embed"]) -> Float[Tensor, "class_ d_embed"]:
        """As they are."""
        return text

    def logits(self, pictures: Pictures, encoded: Float[Tensor, "class_ d_embed"], split: Split) -> Float[Tensor, "picture class_"]:
        """τ · cos of the projected class feature, the same for every split."""
        image = picture_features(self.clip, pictures.states, image_prompts(self.clip, self.image_tokens))
        return cosine_logits(self.projector(image), encoded, self.clip.scale)


@torch.no_grad()
def teacher_features(teacher: PromptSRC, source: Source, batch: int = 256) -> Float[Tensor, "picture d_embed"]:
    """The teacher's image features of pictures on the verge of layer 1 of *its* CLIP: what `harness.taught` is to be given."""
    place = teacher.image_tokens
    states = (s.to(place.device, place.dtype) for s in source.chunks(batch))
    return torch.cat([teacher.image_features(Pictures(s, s.new_empty(len(s), teacher.clip.d_embed))).cpu() for s in states])


METHOD = PromptKD
