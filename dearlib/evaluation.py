"""Accuracy, the harmonic mean, and one evaluation of a trained DeAR."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.clip import TextStates
from dearlib.model import DeAR


def accuracy(logits: Float[Tensor, "picture class_"], labels: Int[Tensor, "picture"]) -> float:
    """Top-1 accuracy in percent."""
    return 100 * int((logits.argmax(dim=1) == labels).sum()) / len(labels)


def harmonic_mean(base: float, novel: float) -> float:
    """HM = 2BN / (B + N) in the unit of its arguments; 0 where both are 0."""
    return 2 * base * novel / (base + novel) if base + novel > 0 else 0.0


def zero_shot(images: Float[Tensor, "picture d_embed"], text: Float[Tensor, "class_ d_embed"], labels: Int[Tensor, "picture"]) -> float:
    """Accuracy of the frozen features' cosine similarities."""
    similarity = torch.nn.functional.normalize(images, dim=-1) @ torch.nn.functional.normalize(text, dim=-1).T
    return accuracy(similarity, labels)


@dataclass(frozen=True)
class Accuracies:
    """Percent correct with the class feature alone and with the fused logits."""

    class_feature: float
    fused: float


@torch.no_grad()
def evaluate(
    model: DeAR,
    states: Float[Tensor, "picture token d_model"],
    text: TextStates,
    labels: Int[Tensor, "picture"],
    batch: int = 256,
) -> Accuracies:
    """Accuracy over pictures given as states on the verge of layer J."""
    features = model.text_features(text)
    device = model.fusion.device
    similarity = torch.cat([model.similarities(model.image_features(s.to(device)), features) for s in states.split(batch)])
    labels = labels.to(device)
    return Accuracies(accuracy(similarity[:, 0], labels), accuracy(model.fuse(similarity), labels))
