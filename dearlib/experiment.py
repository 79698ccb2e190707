"""One training run in one call: the steps of notebook 05, for notebooks and searches that need many runs.

Everything below the role file's first layer is computed once per data set and shared by all runs; a run with a later J
starts from the same kept states and puts them through the frozen layers between.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric
from sklearn.linear_model import LogisticRegression

from dearlib import prefix
from dearlib.clip import FrozenClip, text_prefix
from dearlib.datasets import Item
from dearlib.evaluation import accuracy
from dearlib.model import DeAR, Settings
from dearlib.params import Training, Variant
from dearlib.prefix import Prefix
from dearlib.rolemaps import rethresholded, shuffled_roles, uniform_roles
from dearlib.roles import HeadRoles
from dearlib.training import Curve, Schedule, TrainingSet, fit


def plain(clip: FrozenClip, roles: HeadRoles, p: Training, items: Sequence[Item]) -> Prefix:
    """Plain pictures on the verge of layer J = `p.first_layer`."""
    return prefix.deepened(clip, prefix.of_items(p.cache_root, clip, roles.first_layer, items), roles.first_layer, p.first_layer)


def training_set(clip: FrozenClip, roles: HeadRoles, p: Training, items: Sequence[Item], seed: int) -> TrainingSet:
    """`p.views` augmented views of every picture on the verge of layer J, with their labels."""
    kept = prefix.of_views(p.cache_root, clip, roles.first_layer, items, seed, p.views, p.crop_scale, p.flip)
    deep = prefix.deepened(clip, kept, roles.first_layer, p.first_layer)
    cut = (p.views, len(items))
    return TrainingSet(deep.states.unflatten(0, cut), deep.features.unflatten(0, cut), labels(items))


def labels(items: Sequence[Item]) -> torch.Tensor:
    """The pictures' labels as one tensor."""
    return torch.tensor([item.label for item in items])


def settings(p: Training) -> Settings:
    """What the model is built with."""
    return Settings(p.first_layer, p.text_tokens, p.tokens_per_attribute, p.beta, p.alpha_cls)


def schedule(p: Training) -> Schedule:
    """How it is trained."""
    return Schedule(p.epochs, p.batch, p.lr, p.warmup_epochs, p.warmup_lr, p.weight_decay, p.lambda_reg, p.lambda_fusion)


def train(
    clip: FrozenClip,
    roles: HeadRoles,
    p: Training,
    items: Sequence[Item],
    texts: Sequence[str],
    seed: int,
    fabric: Fabric,
    checkpoint: Path | None = None,
    each_epoch: Callable[[DeAR], dict[str, float]] = lambda model: {},
) -> tuple[DeAR, Curve]:
    """DeAR trained on `items`, whose classes are prompted by `texts`, and its curve."""
    model = DeAR(clip, roles, settings(p), seed).to(fabric.device)
    data = training_set(clip, roles, p, items, seed)
    states, frozen = text_prefix(clip, texts, p.first_layer), clip.encode_text(texts)
    return model, fit(model, data, states, frozen, schedule(p), seed, fabric, checkpoint, each_epoch)


def role_map(found: HeadRoles, v: Variant, seed: int) -> HeadRoles:
    """The role map that a variant asks for; a shuffled one is dealt anew for each seed."""
    if v.thresholds is not None:
        found = rethresholded(found, *v.thresholds)
    if v.role_map == "all_generalization":
        return uniform_roles("generalization", found)
    if v.role_map == "all_mixed":
        return uniform_roles("mixed", found)
    return shuffled_roles(found, seed) if v.role_map == "shuffled" else found


PROBE_STRENGTHS = tuple(10.0**e for e in range(-2, 4))


def linear_probe(train_set: tuple[torch.Tensor, torch.Tensor], val: tuple[torch.Tensor, torch.Tensor], test: torch.Tensor) -> torch.Tensor:
    """Logits of a logistic regression on normalised frozen features, its strength chosen on the validation pictures.

    Args: (features, labels) of the few shots and of the validation sample; features to be classified. Of equally good
    inverse strengths C the smallest is taken, the most regularised one.
    """
    x, y = (torch.nn.functional.normalize(train_set[0], dim=-1).double().numpy(), train_set[1].numpy())
    val_x = torch.nn.functional.normalize(val[0], dim=-1).double().numpy()
    probes = [LogisticRegression(C=c, max_iter=2000).fit(x, y) for c in PROBE_STRENGTHS]
    scores = [accuracy(_logits(probe, val_x), val[1]) for probe in probes]
    return _logits(probes[scores.index(max(scores))], torch.nn.functional.normalize(test, dim=-1).double().numpy())


def _logits(probe: LogisticRegression, x: "object") -> torch.Tensor:
    decided = torch.as_tensor(probe.decision_function(x))
    return torch.stack([-decided, decided], dim=1) if decided.ndim == 1 else decided
