"""What all runs of a group on one data set stand on: the frozen model, the role map, and the parts that are tested on."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lightning_fabric import Fabric
from torch import Tensor

from dearlib.clip import cache as kept
from dearlib.clip.cut import check_cut, check_prompts
from dearlib.clip.loading import FrozenClip, load
from dearlib.clip.prefix import Prefix, Streamed
from dearlib.datasets import Split, classnames, few_shot, half, prompts, read_split, split_sha256
from dearlib.errors import InputError
from dearlib.params.methods import MethodRun
from dearlib.params.schemas import Variant
from dearlib.params.study import Group
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import trials
from dearlib.study.records import Metric

Half = Literal["base", "novel", "all"]
Part = tuple[str, Half]  # a data set and the classes of it
Key = tuple[str, int]  # a run's name and its seed


@dataclass(frozen=True)
class Ground:
    """What all runs of a group on one data set stand on.

    `tests`: the parts that are tested on, by (data set, half); all of them are read from layer J of the role file on.
    """

    clip: FrozenClip
    roles: HeadRoles
    p: Variant | MethodRun
    split: Split
    trained: Half
    tests: Mapping[Part, Split]

    @cached_property
    def prompts(self) -> dict[Part, list[str]]:
        """The prompts of every part. Raises `InputError` if two of a part become the same tokens, or one is too long."""
        made = {key: prompts(key[0], classnames(part)) for key, part in self.tests.items()}
        for texts in made.values():
            check_prompts(self.clip, texts)
        return made

    @cached_property
    def sha256s(self) -> list[str]:
        """Hashes of what every run's numbers stand on: the model, and of each part the split file and the test pictures."""
        parts = [h for part, each in self._tested.items() for h in (split_sha256(self.p.data_root, part[0]), kept.combined(each))]
        return [self.clip.weights_sha256, self.clip.identity, *parts]

    def seen(self, samples: Collection[tuple[int, int]]) -> str | None:
        """A line on test pictures that are, byte for byte, in one of the few-shot samples, each of so many shots and by a seed.

        Some public data sets were published with a few, so it is no fault.
        """
        trained = {item for shots, seed in samples for item in half(few_shot(self.split, shots, seed), self.trained).train}
        known = set(kept.hashes(trained))
        tested = [pair for key, part in self.tests.items() for pair in zip(part.test, self._tested[key], strict=True)]
        again = [item.path for item, sha256 in tested if sha256 in known]
        return f"{len(again)} of {len(tested)} test pictures are, byte for byte, trained on as well, first {again[0]}" if again else None

    @cached_property
    def _tested(self) -> dict[Part, list[bytes]]:
        """Hashes of the test pictures of every part."""
        return {key: kept.hashes(part.test) for key, part in self.tests.items()}

    @cached_property
    def labels(self) -> dict[Part, Tensor]:
        """The test pictures' labels of every part."""
        return {key: trials.labels(part.test) for key, part in self.tests.items()}

    @cached_property
    def pictures(self) -> dict[Part, Prefix | Streamed]:
        """The test pictures of every part, on the verge of the role file's first layer."""
        store = trials.cache(self.p)
        return {key: kept.of_items(store, self.clip, self.roles.first_layer, part.test) for key, part in self.tests.items()}


def stand(group: Group, dataset: str, p: Variant | MethodRun, fabric: Fabric) -> Ground:
    """Loads and checks what a group stands on."""
    clip = load(p.clip, p.clip_weights)
    roles = HeadRoles.load(p.roles).for_weights(clip.weights_sha256).for_identity(clip.identity)
    check_cut(clip, p.first_layer if isinstance(p, Variant) else roles.first_layer)
    clip.model.to(fabric.device)
    split = read_split(p.data_root, dataset)
    names: tuple[Half, ...] = ("base", "novel") if group.classes == "halves" else ("all",)
    tests: dict[Part, Split] = {(dataset, which): half(split, which) for which in names}
    tests |= {(target, "all"): half(read_split(p.data_root, target), "all") for target in group.targets}
    for (data, which), part in tests.items():
        if (found := len(classnames(part))) < 2:  # every answer would be right
            got = f"{found} among {which} classes"
            raise InputError(f"{data}: expected two classes or more to tell apart, got {got}; add classes, or take the data set out")
    ground = Ground(clip, roles, p, split, names[0], tests)
    with fabric.rank_zero_first():  # of several processes the others find them in the cache
        _ = ground.pictures
    return ground


def metric(ground: Ground, key: Part, method: str, seed: int | None, value: float, shots: int | None = None) -> Metric:
    """The accuracy of a method on the test pictures of a part, in percent."""
    dataset, which = key
    source = ground.p.dataset if dataset != ground.p.dataset and seed is not None else None  # zero-shot is trained nowhere
    return Metric(dataset=dataset, split=which, part="test", method=method, seed=seed, accuracy=value, shots=shots, trained_on=source)
