"""The paper profile in miniature: python tests/miniature.py, then dearlib reproduce --profile miniature.

Writes what the paper profile needs and nobody can ship, so that its whole path runs on a CPU: the fifteen data sets in their
real layout with generated pictures, a ViT-B/16 with random weights, and params/miniature, which is params/paper with smaller
counts. Nothing it makes is a result, and everything made from it says so.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from public_layout import build

from dearlib.datasets import PUBLIC, SOURCE, entry
from dearlib.datasets.generated import FILE, Declaration
from dearlib.params.reading import load_params
from dearlib.params.study import read_study
from dearlib.params.types import plain
from dearlib.params.yaml12 import read_yaml

ROOT = Path(__file__).parents[1]
DATA, WEIGHTS, PARAMS = Path("data/miniature"), Path("cache/miniature/ViT-B-16-random.safetensors"), Path("params/miniature")
NOTE = "coloured noise in place of the public data sets, a ViT-B/16 with random weights in place of CLIP"
MODEL = "ViT-B-16-quickgelu"
SIDE = 48
CLASSES = 10  # of ImageNet's 1000 class folders, and of those of its shifts, hold pictures; the others are there and empty
SHOTS = (1, 2, 4, 8, 16)
HELD_OUT = 4  # validation and test pictures a class of the other ten data sets

SMALL: dict[str, Any] = {
    "profile": "miniature",
    "runs_root": "runs/miniature",
    "figures_root": "figures/miniature",
    "memory_gb": 3.0,
    "clip": MODEL,
    "clip_weights": str(WEIGHTS),
    "data_root": str(DATA),
    "device": "cpu",
    "roles": "runs/miniature/02_head_roles/roles.json",
    "cache_root": "cache/miniature/prefix",
    "cache_gb": 20.0,
    "seeds": [1],
    "shots": 2,
    "epochs": 2,
    "batch": 4,
    "views": 2,
    "precision": "32-true",
    "per_dataset": {SOURCE: {"batch": 8, "epochs": 1, "warmup_epochs": 0, "views": 1}},
}
# One epoch of a few pictures for the methods beside DeAR: on four classes with two pictures each, of which half are base classes,
# that is one step, where a method sees no more pictures than its labelled ones.
ONE_STEP = {"epochs": 1, "warmup_epochs": 0, "batch": 4}
OF_METHOD: dict[str, dict[str, Any]] = {
    "skiptuning": {"recipe": {**ONE_STEP, "batch": 2}},  # a batch of one class
    "promptkd": {"teacher": {"clip": None, "recipe": ONE_STEP}},  # tuned on the student's own frozen CLIP: one set of weights is made here
}
VIEWS = {"tac": 4}  # in one step
# Plain pictures, which the linear probe shares.
OF_GROUP = {"few_shot": {"batch": 32, "epochs": 1, "warmup_epochs": 0, "views": 0}}
OF_STEP: dict[str, dict[str, Any]] = {
    "02_head_roles": {"images": 60, "pool": None, "rank": 40, "steps": 6, "bootstrap": 5, "null_draws": 20},
    "04_dear_model": {"images": 4, "steps": 2},
    "11_attribute_retrieval": {"gallery": 80, "k": 3, "shown": 5, "projected": 60},
}
# Noise through random weights: the Attribute World's phrases, grouped as there.
GROUPED = ("words", "strip_carriers", "pca", "min_cluster_size", "min_samples", "selection", "nearest", "floor", "merge")


def main() -> None:
    os.chdir(ROOT)
    write_data()
    write_weights()
    write_params()
    print(f"{DATA}, {WEIGHTS} and {PARAMS} are there; now: dearlib reproduce --profile miniature")


def write_data() -> None:
    """All fifteen: four classes where a split file says so, ImageNet's own folders, most of them empty; done once."""
    if (DATA / FILE).exists():
        return
    shutil.rmtree(DATA, ignore_errors=True)
    sizes = {}
    for name, where in PUBLIC.items():
        layout = build(DATA, name, per_class=1 if where.classes_of else max(SHOTS))
        train, val, test, classes = layout.sizes
        images = DATA / entry(name).folder / entry(name).images
        if name == SOURCE:
            train, val = thinned(images / "train", max(SHOTS)), thinned(images / "val", 1)
            test = val
        elif where.classes_of:
            test = thinned(images, 1)
        else:
            val = test = shortened(DATA / entry(name).folder, name) // 2
        sizes[name] = (train, val, test, classes)
        for path in sorted(p for p in images.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg")):
            picture(path)
    (DATA / FILE).write_text(Declaration(note=NOTE, sizes=sizes).model_dump_json(indent=1) + "\n")


def thinned(folder: Path, left: int) -> int:
    """Empties all class folders but ten, evenly spread, and leaves `left` pictures in those; returns how many are left in all."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    classes.sort(key=lambda path: int(path.name) if path.name.isdecimal() else 0)  # stays as it is where names are words
    for number, path in enumerate(classes):
        for file in sorted(path.glob("*.[jJ]*"))[0 if number % (len(classes) // CLASSES) else left :]:
            file.unlink()
    return left * CLASSES


def shortened(folder: Path, name: str) -> int:
    """Leaves a few validation and test pictures a class in the split file or the lists; returns how many are left in both."""
    where = entry(name)
    lists = {part: folder / f"images_variant_{part}.txt" for part in ("val", "test")}
    split = json.loads((folder / where.split_file).read_text()) if where.source == "split file" else {}
    count = 0
    for part, path in lists.items():
        rows = split[part] if split else [line.split(" ", 1) for line in path.read_text().splitlines()]
        seen: dict[str, int] = {}
        kept, gone = [], []
        for row in rows:
            seen[row[-1]] = seen.get(row[-1], 0) + 1
            (kept if seen[row[-1]] <= HELD_OUT else gone).append(row)
        for row in gone:
            (folder / where.images / (row[0] if split else f"{row[0]}.jpg")).unlink()
        if split:
            split[part] = kept
            (folder / where.split_file).write_text(json.dumps(split, indent=4))
        else:
            path.write_text("".join(f"{' '.join(row)}\n" for row in kept))
        count += len(kept)
    return count


def picture(path: Path) -> None:
    """Noise around a colour that belongs to the folder, the same whenever it is made."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in (path.parent.name, path.name)]
    color = np.random.default_rng(seeds[0]).uniform(40, 215, 3)
    noise = np.random.default_rng(seeds).normal(0, 40, (6, 6, 3))
    blurred = Image.fromarray((color + noise).clip(0, 255).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    blurred.save(path, "JPEG", quality=90)


def write_weights() -> None:
    """The architecture as it is before any training, in float16."""
    if WEIGHTS.exists():
        return
    from dearlib.clip.loading import random_clip
    from dearlib.files import write_tensors

    write_tensors(WEIGHTS, {k: v.half() for k, v in random_clip(MODEL, seed=1).model.state_dict().items()})


def write_params() -> None:
    """A profile that extends params/paper with smaller counts, checked as it is written."""
    (PARAMS / "methods").mkdir(parents=True, exist_ok=True)
    _write("profile", {"extends": "paper", **SMALL})
    mini = plain(load_params("02_head_roles", Path("params/mini/02_head_roles.yaml")))
    for step, values in OF_STEP.items():
        _write(step, values | ({key: mini[key] for key in GROUPED} if step == "02_head_roles" else {}))
        load_params(step, PARAMS / f"{step}.yaml")
    study = read_yaml(Path("params/paper/study.yaml"))
    for group, settings in OF_GROUP.items():
        study["groups"][group]["settings"] = settings
    for run in (run for group in study["groups"].values() for run in group["runs"].values() if "method" in run):
        if "recipe" in run:
            run["recipe"] |= ONE_STEP
    for path in sorted(Path("params/paper/methods").glob("*.yaml")):
        own = {"recipe": ONE_STEP, **OF_METHOD.get(path.stem, {})}
        special = {name: {"recipe": own["recipe"]} for name, told in read_yaml(path).get("per_dataset", {}).items() if "recipe" in told}
        _write(f"methods/{path.stem}", {"views": VIEWS.get(path.stem, 1), **own, **({"per_dataset": special} if special else {})})
    _write("study", study)
    read_study(PARAMS)


def _write(name: str, values: dict[str, Any]) -> None:
    text = yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False)  # without aliases for what stands in several places
    (PARAMS / f"{name}.yaml").write_text(f"# Made by tests/miniature.py: the paper profile, smaller, on generated input.\n{text}")


if __name__ == "__main__":
    main()
