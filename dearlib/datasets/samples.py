"""The few-shot sample and the base and novel halves, as CoOp and Dassl draw them, to the last draw: numbers compare with published ones."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from dearlib.datasets.splits import PARTS, Item, Split
from dearlib.errors import InputError


def few_shot(split: Split, shots: int, seed: int) -> Split:
    """`shots` training images of every class, and min(shots, 4) validation images; the test part stays whole.

    CoOp's algorithm: after `random.seed(seed)`, `random.sample` for each label in order of first appearance, training
    part first and the validation part from the same stream. A private generator gives that stream and leaves the
    global one alone. A class with too few validation images gives all it has, as there.

    Raises `InputError` if a class has fewer than `shots` training images, one that only val or test has included, or if there
    are no validation images at all.
    """
    if shots < 1:
        raise InputError(f"shots: expected 1 or more, got {shots}")
    if seed < 0:  # Python draws the same from -1 and 1
        raise InputError(f"seed: expected 0 or more, got {seed}")
    if not split.val:
        raise InputError(f"{split.name}: expected validation images, got none in part 'val'; move some of 'train' there")
    stream = random.Random(seed)
    groups = _by_label(split.train)
    for part in PARTS:
        for item in getattr(split, part):
            if (found := len(groups.get(item.label, ()))) < shots:
                got = f"{found} of class '{item.classname}' of part '{part}'"
                how = "lower shots" if found else "take the class out, or give it training images"
                raise InputError(f"{split.name}: expected at least {shots} training images a class, got {got}; {how}")
    return replace(split, train=_sample(split.train, shots, stream), val=_sample(split.val, min(shots, 4), stream))


def _by_label(items: Iterable[Item]) -> dict[int, list[Item]]:
    """Items of each label; labels in order of first appearance."""
    groups: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.label].append(item)
    return groups


def _sample(items: Sequence[Item], count: int, stream: random.Random) -> tuple[Item, ...]:
    groups = _by_label(items).values()
    return tuple(item for group in groups for item in (stream.sample(group, count) if len(group) >= count else group))


def half(split: Split, which: Literal["base", "novel", "all"]) -> Split:
    """The first ceil(n / 2) labels in sorted order (base), the others (novel), or all; relabelled from 0.

    Raises `InputError` if there is one class: it has no novel half.
    """
    labels = sorted({item.label for item in split.items})
    middle = (len(labels) + 1) // 2
    halves = {"base": labels[:middle], "novel": labels[middle:], "all": labels}
    if which not in halves:
        raise InputError(f"half: expected one of {list(halves)}, got '{which}'")
    if not halves[which]:
        raise InputError(f"{split.name}: expected two classes or more to have a {which} half, got {len(labels)}; train on 'all' classes")
    new = {label: i for i, label in enumerate(halves[which])}
    train, val, test = (
        tuple(replace(item, label=new[item.label]) for item in items if item.label in new) for items in (split.train, split.val, split.test)
    )
    return Split(split.name, train, val, test)
