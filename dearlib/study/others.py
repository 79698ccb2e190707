"""Runs of the methods other than DeAR: the same pictures, splits and evaluation, trained by `dearlib.methods.harness`.

Everything that a method does not change is read from the cache: pictures on the verge of the first layer that it runs, or their
features alone where it runs none; features of the plain pictures, or a tuned teacher's, where it learns from those.
"""

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from dearlib.clip import cache as kept
from dearlib.clip import prefix
from dearlib.clip.cut import check_prompts
from dearlib.clip.loading import FrozenClip, load
from dearlib.clip.prefix import Prefix, Streamed
from dearlib.datasets import Item, Split, classnames, entry
from dearlib.errors import InputError
from dearlib.files import read_tensors, write_tensors
from dearlib.methods import catalogue, harness
from dearlib.methods.family.promptkd import teacher_features
from dearlib.methods.harness import Run
from dearlib.methods.interface import Classes, Method, Needs
from dearlib.methods.interface import Split as Answers
from dearlib.methods.loop import Curve
from dearlib.methods.training import TrainingSet
from dearlib.params.methods import MethodRun
from dearlib.params.reading import params_hash
from dearlib.roles.rolefile import HeadRoles
from dearlib.study.costs import Meter
from dearlib.study.ground import Ground, Part
from dearlib.study.trials import cache, labels
from dearlib.texts import read_text


@dataclass(frozen=True)
class Other:
    """One run to be made: its settings, its labelled training pictures, and the seed.

    `everything`: the training pictures of all classes, for a method that learns without labels.
    """

    p: MethodRun
    items: Sequence[Item]
    seed: int
    everything: Sequence[Item]

    def seen(self, needs: Needs) -> Sequence[Item]:
        """The pictures that it trains on."""
        return self.everything if needs.unlabelled else self.items

    def views(self, needs: Needs) -> int:
        """Views of a picture that it trains on: `p.views`, or as many as its epochs come to."""
        return min(self.p.views, needs.views * catalogue.recipe(self.p.method, self.p.recipe).epochs)

    def depends(self, roles: HeadRoles) -> list[str]:
        """What its numbers depend on, beside what its group shares: a method's own file is among it."""
        files = [self.p.method, *([self.p.teacher.method] if self.p.teacher else [])]
        code = [Path(inspect.getfile(catalogue.module(name))).read_text(encoding="utf-8") for name in files]
        return [params_hash(self.p), roles.sha256, kept.contents(self.items), str(self.seed), *code]


def depends(batch: Sequence[Other], roles: HeadRoles) -> list[str]:
    """What the numbers of a batch depend on, beside what its group shares.

    All classes' training pictures are told by their sizes, once: the group's split file names them, and to read them all (ImageNet's are
    1.28 million) would take longer than many a training.
    """
    first = batch[0]
    unlabelled = [kept.sizes(first.everything)] if "teacher" in catalogue.module(first.p.method).METHOD.wants else []
    return [*(part for one in batch for part in one.depends(roles)), *unlabelled]


@dataclass(frozen=True)
class Trained:
    """A trained method, its curve, and what it took."""

    method: Method
    curve: Curve
    steps: int
    pictures: int
    seconds_per_step: float | None
    memory_gb: float | None

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for p in self.method.parameters())


def check(p: MethodRun, halves: bool, targets: Sequence[str], where: str) -> None:
    """Raises `InputError` in one line for a run that cannot be, before anything is computed.

    An unknown method or setting, a recipe that cannot be, something wanted that is not given, or a table that the method cannot have.
    """
    try:
        found = catalogue.module(p.method)
        catalogue.checked(p.method, found.Settings, p.settings)
        catalogue.recipe(p.method, p.recipe)
        if "teacher" in found.METHOD.wants and p.teacher is None:
            raise InputError(f"{p.method}: expected a teacher, got none; {found.METHOD.title} cannot be trained without")
        if p.teacher is not None:
            if not hasattr(catalogue.module(p.teacher.method).METHOD, "image_features"):
                raise InputError(f"{p.method}: expected a teacher with image features, such as promptsrc, got {p.teacher.method}")
            catalogue.recipe(p.teacher.method, p.teacher.recipe)
        if "teacher" in found.METHOD.wants and (targets or not halves):
            expected = "a table from base to novel classes for a method that learns from all classes' pictures"
            raise InputError(f"{p.method}: expected {expected}, got another; {found.METHOD.title} cannot stand there")
        _check_warm_up(p)
        for path in p.descriptions.values():
            _sentences(path)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _check_warm_up(p: MethodRun) -> None:
    """Refuses what a recipe's own class does not: more warm-up than there are epochs."""
    recipe = catalogue.recipe(p.method, p.recipe)
    if recipe.warmup_epochs >= recipe.epochs:
        raise InputError(f"{p.method}: recipe.warmup_epochs: expected less than epochs = {recipe.epochs}, got {recipe.warmup_epochs}")


def classes_of(p: MethodRun, dataset: str, part: Split) -> Classes:
    """The classes of a part of a data set as the method is told of them.

    Raises:
        InputError: the data set's file of descriptions has no sentence for one of them.
    """
    names = classnames(part)
    template = p.templates.get(dataset, entry(dataset).template)
    said = _descriptions(p.descriptions[dataset], names) if dataset in p.descriptions else None
    return Classes(names=tuple(name.replace("_", " ") for name in names), template=template, descriptions=said)


def _sentences(path: Path) -> dict[str, Any]:
    """What a file of descriptions says of each class."""
    try:
        told = json.loads(read_text(path))
    except OSError as error:
        raise InputError(
            f"descriptions: expected sentences for every class in {path}, got '{error.strerror}'; write it, or leave the key out"
        ) from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: expected a list of sentences for every class, got no whole JSON; correct the file") from None
    if not isinstance(told, dict):
        raise InputError(f"{path}: expected a list of sentences for every class, got none for every class; write it")
    return told


def _descriptions(path: Path, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    told = _sentences(path)
    if missing := [n for n in names if not _are_sentences(told.get(n))]:
        raise InputError(f"{path}: expected a list of sentences for every class, got none for {missing[0]}; write it")
    return tuple(tuple(told[name]) for name in names)


def _are_sentences(said: object) -> bool:
    return isinstance(said, list) and bool(said) and all(isinstance(one, str) and one.strip() for one in said)


def pictures(
    clip: FrozenClip, roles: HeadRoles, p: MethodRun, needs: Needs, items: Sequence[Item], drawn: tuple[int, int] | None = None
) -> Prefix | Streamed:
    """Pictures on the verge of the first layer that the method runs; features alone are kept where it runs none.

    `drawn`: a seed and how many views of each picture it draws; None: the plain pictures.
    """
    at, store = needs.image_from, cache(p)
    if at > clip.layers:
        at, store = roles.first_layer, replace(store, gigabytes=0.0)
    start = min(at, roles.first_layer)
    if drawn is None:
        source = kept.of_items(store, clip, start, items)
    else:
        source = kept.of_views(store, clip, start, items, *drawn, p.crop_scale, p.flip)
    return prefix.deepened(source, clip, at) if needs.image_from <= clip.layers else source


def training_set(ground: Ground, other: Other, method: Method) -> TrainingSet:
    """The pictures that a method trains on, with the teacher's features that it wants."""
    clip, roles, p, needs = ground.clip, ground.roles, other.p, method.needs
    items, drawn = other.seen(needs), (other.seed, other.views(needs))
    source = pictures(clip, roles, p, needs, items, drawn)
    data = TrainingSet(source, labels(items), prefix.MOST if isinstance(source, Streamed) else 1)
    if needs.teacher == "plain":
        return harness.taught(data, pictures(clip, roles, p, replace(needs, image_from=clip.layers + 1), items).features)
    if needs.teacher == "tuned":
        teacher: Any = method.teacher  # type: ignore[attr-defined]
        views = pictures(teacher.clip, roles, p, replace(needs, image_from=teacher.needs.image_from), items, drawn)
        return harness.taught(data, teacher_features(teacher, views))
    return data


def train(ground: Ground, batch: Sequence[Other], home: Part, fabric: Fabric, checkpoint: Path) -> list[Trained]:
    """Runs of one method with equal settings, trained as one batch where its runs stack, else one after the other.

    `home`: the data set and half whose classes they learn. `checkpoint`: a name for the files that an unfinished training goes on from;
    `finished` deletes them.
    """
    methods = [_built(ground, other, home, fabric, checkpoint) for other in batch]
    if methods[0].needs.unlabelled and home[1] != "base":
        raise InputError(f"{batch[0].p.method}: expected base and novel classes, got {home[1]} of {home[0]}; it cannot stand in this table")
    p = batch[0].p
    recipe = catalogue.recipe(p.method, p.recipe)
    text = methods[0].prepare(_learned(ground, p, home, methods[0].needs))
    runs = [Run(m, training_set(ground, o, m), recipe, o.seed) for m, o in zip(methods, batch, strict=True)]
    together = [runs] if methods[0].needs.stacks else [[run] for run in runs]
    return [one for i, some in enumerate(together) for one in _trained(some, text, fabric, _part(checkpoint, i))]


def _trained(runs: Sequence[Run], text: Any, fabric: Fabric, checkpoint: Path) -> list[Trained]:
    with Meter(fabric.device) as meter:
        curves = harness.train(runs, text, fabric, checkpoint, lambda _: meter.epoch())
    first = runs[0]
    trains = bool(curves[0])
    order = first.order(0) if trains else []
    seen = first.recipe.epochs * sum(len(b) for b in order) * first.method.needs.views
    step = meter.seconds_per_epoch(len(runs))
    each = step / len(order) / len(runs) if step is not None and order else None
    steps = first.recipe.epochs * len(order)
    return [Trained(r.method, curve, steps, seen, each, meter.peak_gb) for r, curve in zip(runs, curves, strict=True)]


def finished(checkpoint: Path) -> None:
    """Deletes what an unfinished training would have gone on from."""
    for path in checkpoint.parent.glob(f"{checkpoint.stem}*{checkpoint.suffix}"):
        path.unlink(missing_ok=True)  # another process that makes the same may have done so


def _part(checkpoint: Path, i: int) -> Path:
    return checkpoint.with_stem(f"{checkpoint.stem}-{i}")


def _learned(ground: Ground, p: MethodRun, home: Part, needs: Needs) -> Classes:
    """The classes that a method is trained on: base and novel ones together where it learns without labels."""
    own = classes_of(p, home[0], ground.tests[home])
    if not needs.unlabelled:
        return own
    new = classes_of(p, home[0], ground.tests[home[0], "novel"])
    said = own.descriptions + new.descriptions if own.descriptions and new.descriptions else None
    return replace(own, names=own.names + new.names, descriptions=said)


def _built(ground: Ground, other: Other, home: Part, fabric: Fabric, checkpoint: Path) -> Method:
    p = other.p
    teacher = tuned(ground, other, home, fabric, checkpoint.parent) if p.teacher else None
    classes = classes_of(p, home[0], ground.tests[home])
    made: Any = catalogue.build(p.method, ground.clip, classes, p.settings, other.seed, roles=ground.roles, teacher=teacher)
    return made.to(fabric.device)


def tuned(ground: Ground, other: Other, home: Part, fabric: Fabric, folder: Path) -> Method:
    """The teacher of a run, trained on the same labelled pictures with the same seed; kept beside the run's batch."""
    told = other.p.teacher
    assert told is not None
    clip = load(told.clip) if told.clip else ground.clip
    clip.model.to(fabric.device)
    p = other.p.model_copy(update={"method": told.method, "recipe": told.recipe, "settings": told.settings, "teacher": None})
    own = replace(other, p=p)
    made: Any = catalogue.build(p.method, clip, classes_of(p, home[0], ground.tests[home]), p.settings, other.seed, roles=ground.roles)
    made.to(fabric.device)
    path = folder / f"teacher-{kept.digest([clip.identity, *home, *ground.sha256s, *own.depends(ground.roles)])}.safetensors"
    if path.exists():
        made.load_state_dict(read_tensors(path)[0])
        return made.eval()
    there = replace(ground, clip=clip)
    run = Run(made, training_set(there, own, made), catalogue.recipe(p.method, p.recipe), other.seed)
    _trained([run], made.prepare(classes_of(p, home[0], ground.tests[home])), fabric, _part(path.with_stem(f"checkpoint-{path.stem}"), 0))
    write_tensors(path, dict(made.state_dict()))
    finished(path.with_stem(f"checkpoint-{path.stem}"))
    return made


def accuracy_on(ground: Ground, done: Trained, p: MethodRun, part: Part, home: Part) -> float:
    """Top-1 accuracy in percent on the test pictures of a part, answered as the method answers classes of that kind."""
    items = ground.tests[part].test
    source = pictures(ground.clip, ground.roles, p, done.method.needs, items)
    classes = classes_of(p, part[0], ground.tests[part])
    check_prompts(ground.clip, classes.prompts)
    text = done.method.prepare(classes)
    return harness.accuracy(done.method, source, labels(items), text, answers_of(part, home))


def answers_of(part: Part, home: Part) -> Answers:
    """How a method is to answer: as for classes that it was trained on, for new ones of the same data set, or for another data set."""
    if part == home:
        return "base"
    return "novel" if part[0] == home[0] else "transferred"
