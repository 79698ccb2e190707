"""Accuracy, the harmonic mean, and one evaluation of a trained DeAR."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dearlib.clip.cut import TextStates, check_layer, run_layers
from dearlib.clip.finite import check_finite
from dearlib.clip.prefix import Source, together
from dearlib.methods.dear import DeAR


def accuracy(logits: Float[Tensor, "picture class_"], labels: Int[Tensor, "picture"]) -> float:
    """Top-1 accuracy in percent. Raises `InputError` for logits that are no finite numbers: the largest of NaN is the first."""
    check_finite("logits [picture, class]", logits)
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


def evaluate(
    model: DeAR,
    states: Float[Tensor, "picture token d_model"],
    text: TextStates,
    labels: Int[Tensor, "picture"],
    batch: int | None = None,
) -> Accuracies:
    """Accuracy over pictures given as states on the verge of the model's own J; `batch` None: as many at once as go fastest."""
    (found,) = _accuracies(
        [model], states.split(batch or together(model.clip)), model.settings.first_layer, {model.settings.first_layer: text}, labels
    )
    return found


def evaluate_together(
    models: Sequence[DeAR], source: Source, texts: Mapping[int, TextStates], labels: Int[Tensor, "picture"]
) -> list[Accuracies]:
    """Accuracy of several models of one CLIP; the pictures stream past once.

    Args:
        source: the pictures on the verge of a layer at or below every model's J; the frozen layers between are run once for
            all models of one J.
        texts: the prompts on the verge of each J that occurs.
        labels: of all pictures, in the source's order.

    Raises:
        InputError: the states are beyond a model's J.
    """
    for model in models:
        if model.settings.first_layer < source.first_layer:
            check_layer(source.first_layer, model.settings.first_layer)
    return _accuracies(models, source.chunks(together(models[0].clip)), source.first_layer, texts, labels)


@torch.no_grad()
def _accuracies(
    models: Sequence[DeAR],
    chunks: Iterable[Float[Tensor, "_ token d_model"]],
    start: int,
    texts: Mapping[int, TextStates],
    labels: Int[Tensor, "picture"],
) -> list[Accuracies]:
    """Of states entering layer `start`, piece by piece; nothing else of the pictures is kept."""
    device = models[0].fusion.device
    features = [m.text_features(texts[m.settings.first_layer]) for m in models]
    right = torch.zeros(len(models), 2, dtype=torch.long, device=device)
    seen, labels = 0, labels.to(device)
    for chunk in chunks:
        own, states = labels[seen : seen + len(chunk)], chunk.to(device, features[0].dtype)
        seen += len(chunk)
        entering = {j: run_layers(models[0].clip.visual.transformer, states, start, j - 1) for j in texts}
        for i, (model, text) in enumerate(zip(models, features, strict=True)):
            similarity = model.similarities(model.image_features(entering[model.settings.first_layer]), text)
            answers = torch.stack([similarity[:, 0], model.fuse(similarity)])
            check_finite("logits [class feature and fused, picture, class]", answers)
            right[i] += (answers.argmax(dim=-1) == own).sum(dim=-1)
    return [Accuracies(100 * cls / seen, 100 * fused / seen) for cls, fused in right.tolist()]


@torch.no_grad()
def mean_similarities(
    model: DeAR, chunks: Iterable[Float[Tensor, "_ token d_model"]], text: Float[Tensor, "class_ d_embed"]
) -> Float[Tensor, "attribute class_"]:
    """The mean over pictures of every s_a: all that attribute features say of a class without looking at the picture.

    The pictures are the plain training pictures [ours]: the answer to a test picture may not depend on the other test pictures.
    """
    total, seen = torch.zeros(len(model.roles.attributes), len(text)).to(text), 0
    for chunk in chunks:
        total += model.similarities(model.image_features(chunk.to(text)), text)[:, 1:].sum(dim=0)
        seen += len(chunk)
    return total / seen


@torch.no_grad()
def constant_attribute_logits(
    model: DeAR,
    chunks: Iterable[Float[Tensor, "_ token d_model"]],
    text: TextStates,
    training: Iterable[Float[Tensor, "_ token d_model"]],
) -> Float[Tensor, "picture class_"]:
    """ŷ with every s_a replaced by its mean over the `training` pictures: a control [ours].

    What this keeps of the gain over the class feature is bias towards classes; what it loses had to do with the picture.
    """
    features = model.text_features(text)
    instead = torch.einsum("a,ac->c", model.alpha[1:], mean_similarities(model, training, features))
    each = [model.similarities(model.image_features(c.to(features)), features)[:, 0] for c in chunks]
    return model.alpha[0] * torch.cat(each) + instead
