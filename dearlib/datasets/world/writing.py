"""How the data sets of the Attribute World get to disk: whole or not at all, by one process or several.

What is written does not depend on the number of processes: a picture is a pure function of its plan, and one process
alone writes, in order.
"""

import errno
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from dearlib.datasets.catalogue import entry
from dearlib.datasets.splits import PARTS, read_split
from dearlib.datasets.world import sets
from dearlib.datasets.world.families import CLASSES
from dearlib.datasets.world.scene import VERSION, scene
from dearlib.datasets.world.sets import Each
from dearlib.errors import InputError
from dearlib.files import filled_folder

_CHUNK = 64  # pictures that a process draws at a time


def write_all(root: Path, names: Sequence[str], processes: int = 1) -> int:
    """Writes the data sets that are not there yet, with a bar of progress; says how many they were.

    Raises `InputError` for a name or a number that makes no sense, a full disk, a folder that cannot be written.
    """
    unknown = [name for name in names if name not in sets.NAMES]
    if unknown:
        raise InputError(f"data sets: expected names among {', '.join(sets.NAMES)}, got '{unknown[0]}'")
    if processes < 1:
        raise InputError(f"processes: expected a whole number from 1, got {processes}")
    missing = [name for name in names if not is_complete(root, name)]
    total = sum(map(sets.count, missing))
    with (
        tqdm(total=total, desc="world", unit="image", mininterval=1, disable=not missing) as bar,
        _several(min(processes, len(missing))) as each,
    ):
        for name in missing:
            bar.set_postfix_str(name)
            write(root, name, each, bar.update)
    return len(missing)


@contextmanager
def _several(processes: int) -> Iterator[Each]:
    """`map`, spread over processes that start afresh, as they do on every system."""
    if processes <= 1:
        yield map
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        try:
            yield partial(pool.map, chunksize=_CHUNK)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def write(root: Path, name: str, each: Each = map, progress: Callable[[], object] = lambda: None) -> bool:
    """Writes a data set under `root` unless it is there already; says whether it did. Calls `progress` for each image.

    The set is made beside its place and renamed into it, so it is there whole or not at all, however many processes make it at once.

    Raises `InputError` if the disk is full or the folder cannot be written.
    """
    if is_complete(root, name):
        return False
    place = root / entry(name).folder
    try:
        with filled_folder(place, lambda: is_complete(root, name)) as fresh:
            _write_files(fresh, name, each, progress)
    except OSError as error:
        raise InputError(_no_room(place, error)) from error
    return True


def _write_files(folder: Path, name: str, each: Each, progress: Callable[[], object]) -> None:
    split: dict[str, list[tuple[str, int, str]]] = {part: [] for part in PARTS}
    factors: dict[str, dict[str, str]] = {}
    images = folder / entry(name).images
    for picture in sets.pictures(name, each):
        path = f"{picture.classname.replace(' ', '_')}/{picture.part}_{len(split[picture.part]):05d}.png"
        split[picture.part].append((path, picture.label, picture.classname))
        if picture.factors is not None:
            factors[path] = asdict(picture.factors)
        (images / path).parent.mkdir(parents=True, exist_ok=True)
        (images / path).write_bytes(picture.png)
        progress()
    for file, content in ((entry(name).split_file, split), ("factors.json", factors), ("world.json", stamp(name))):
        if content:
            (folder / file).write_text(json.dumps(content, indent=1), encoding="utf-8")


def stamp(name: str) -> dict[str, str | int]:
    """What a data set on disk was made from: the world's version, and a hash of its settings and first test image."""
    if name == sets.DIGITS:
        settings: object = [sets.SEED, sets.DIGITS_TRAIN, sets.DIGITS_VAL]
        probe = b""
    else:
        how = sets.SETS[name]
        settings = [sets.SEED, asdict(how), CLASSES[how.classes]]
        probe = scene(f"{name}/test", sets.SEED, 0, how.style, how.strength, **CLASSES[how.classes][0][1])[0].tobytes()
    return {"version": VERSION, "sha256": hashlib.sha256(json.dumps(settings).encode() + probe).hexdigest()}


def is_complete(root: Path, name: str) -> bool:
    """Whether the data set lies under `root`, whole and made from what would make it now."""
    try:
        made_from = json.loads((root / entry(name).folder / "world.json").read_text(encoding="utf-8"))
        read_split(root, name)
    except (OSError, ValueError, RecursionError):
        return False
    return bool(made_from == stamp(name))


def _no_room(place: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{place}: expected room for about {sets.count(place.name) * 16 // 1024 + 1} MB, got a full disk; free some and run again"
    return f"{place}: expected a folder that can be written, got '{error.strerror}'; choose another or change its permissions"
