"""What every method of the tables tells the harness: how little of CLIP it must run anew, and what it learns and answers.

A method is a `torch.nn.Module` whose parameters are what it trains; the frozen CLIP stands beside it, not in it. Below
`image_from` and `text_from` nothing is learned, so the harness reads pictures and prompts from the cache there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dearlib.clip.loading import FrozenClip

Split = Literal["base", "novel", "transferred"]


@dataclass(frozen=True, kw_only=True)
class Classes:
    """A set of classes as a method is told of them. `template`: the data set's prompt, with {} for the name.

    `descriptions`: of each class sentences that describe it, None where nobody wrote any.
    """

    names: tuple[str, ...]
    template: str = "a photo of a {}."
    descriptions: tuple[tuple[str, ...], ...] | None = None

    @property
    def prompts(self) -> list[str]:
        """The data set's prompt for every class."""
        return [self.template.format(name) for name in self.names]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One place where something learned acts on the frozen CLIP: a mark in the chart of layer × modality × rule.

    `layers`: first and last, 1-based; 0 is the words, L + 1 what comes after the last layer. `count`: tokens, where there are
    any.
    """

    modality: Literal["image", "text"]
    layers: tuple[int, int]
    rule: Literal["insert", "replace", "blend", "words", "project", "unfreeze"]
    source: Literal["parameter", "per class", "per picture", "projected", "clusters"]
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the harness must have ready, and what it need not run.

    Attributes:
        image_from, text_from: the first layer that sees something learned (1-based); L + 1: none does. Pictures and prompts
            are constants on its verge.
        teacher: whose image features a batch brings: the frozen model's of the same 'view' or of the 'plain' picture, or those
            of the method's own 'tuned' teacher, of the same view.
        views: views of a picture in one step.
        one_class: a batch's pictures are all of one class.
        stacks: its runs can be trained as one batch (`together`); not where a step draws by chance, selects by what it sees, or
            takes gradients itself.
        unlabelled: trained on pictures of all classes, novel ones among them, without labels (transductive).
    """

    image_from: int
    text_from: int
    teacher: Literal["view", "plain", "tuned"] = "view"
    views: int = 1
    one_class: bool = False
    stacks: bool = True
    unlabelled: bool = False


@dataclass(frozen=True)
class Pictures:
    """Pictures on the verge of `image_from`, and their teacher's features before normalisation; no states where L + 1."""

    states: Float[Tensor, "picture token d_model"]
    features: Float[Tensor, "picture d_embed"]


@dataclass(frozen=True)
class Batch(Pictures):
    """Pictures to learn from: with several views, first the first view of all, then the second, …

    `chance`: what a method draws in a step comes from here, so that an epoch is a function of (seed, epoch).
    """

    labels: Int[Tensor, "picture"]
    chance: torch.Generator


@runtime_checkable
class Method(Protocol):
    """What a class in `dearlib.methods.family` has; `title` is its name in tables, `wants` what `build` must be given for it.

    `Text` is the method's own: whatever it keeps of a set of classes. `weights`: of the terms of its loss.
    """

    title: ClassVar[str]
    wants: ClassVar[tuple[str, ...]]
    clip: FrozenClip
    settings: Any
    needs: Needs
    enters: tuple[Entry, ...]
    weights: Mapping[str, float]

    def prepare(self, classes: Classes) -> Any:
        """All that is frozen of these classes, computed once for all steps, seeds and settings; depends on no parameter."""

    def losses(self, batch: Batch, text: Any) -> dict[str, Tensor]:
        """The terms of the loss, unweighted."""

    def encode(self, text: Any) -> Any:
        """What of the classes does not depend on the picture, with the parameters as they are."""

    def logits(self, pictures: Pictures, encoded: Any, split: Split) -> Float[Tensor, "picture class_"]:
        """Answers to pictures of classes it was trained on, of new classes of the same data set, or of another data set."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained."""
