"""The paper profile in miniature: python tests/miniature.py, then python -m dearlib.reproduce --profile miniature.

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
from PIL import Image
from public_layout import build

from dearlib.datasets import PUBLIC, SOURCE, entry
from dearlib.datasets.generated import FILE, Declaration
from dearlib.params import load_params, plain

ROOT = Path(__file__).parents[1]
DATA, WEIGHTS, PARAMS = Path("data/miniature"), Path("cache/miniature/ViT-B-16-random.safetensors"), Path("params/miniature")
NOTE = "coloured noise in place of the public data sets, a ViT-B/16 with random weights in place of CLIP"
MODEL = "ViT-B-16-quickgelu"
SIDE = 48
EVERY = 10  # of ImageNet's 1000 classes and of its two shifts with as many, every tenth has test pictures

SMALL: dict[str, Any] = {
    "profile": "miniature",
    "runs_root": "runs/miniature",
    "figures_root": "figures/miniature",
    "clip": MODEL,
    "clip_weights": str(WEIGHTS),
    "data_root": str(DATA),
    "device": "cpu",
    "roles": "runs/miniature/02_head_roles/roles.json",
    "cache_dtype": "float32",
    "cache_gb": 20.0,
    "seeds": [1],
    "shots": 2,
    "epochs": 2,
    "batch": 4,
    "views": 2,
    "precision": "32-true",
    "gallery": 80,
    "k": 3,
    "shown": 5,
    "projected": 60,
}
# A step at 1000 class names costs as much as hundreds of pictures: few of them, and plain pictures, which the probe shares.
IMAGENET = {"shots": 1, "epochs": 1, "warmup_epochs": 0, "batch": 500, "views": 0, "together": 6}
OF_STEP: dict[str, dict[str, Any]] = {
    # Noise through random weights: as many phrases as the Attribute World has, grouped as there.
    "02_head_roles": {"images": 60, "pool": None, "rank": 40, "steps": 6, "high": 0.7, "min_cluster_size": 6, "min_samples": 3}
    | {"selection": "eom", "names": {"light": "object"}, "bootstrap": 5, "null_draws": 20},
    "04_dear_model": {"images": 4, "steps": 2},
    "05_training": {"per_dataset": {SOURCE: IMAGENET}},
    "05_variants": {"per_dataset": {SOURCE: IMAGENET}},
    "05_variants-sweeps": {"per_dataset": {}},
    "05_variants-few_shot": {
        "per_dataset": {SOURCE: {k: v for k, v in IMAGENET.items() if k != "shots"}},
        "variants": {"DeAR, 1 shot": {"shots": 1}, "DeAR, 2 shots": {"shots": 2}},
    },
    "05_variants-source": IMAGENET,
}


def main() -> None:
    os.chdir(ROOT)
    write_data()
    write_weights()
    write_params()
    print(f"{DATA}, {WEIGHTS} and {PARAMS} are there; now: python -m dearlib.reproduce --profile miniature")


def write_data() -> None:
    """All fifteen, four classes each where a split file says so, ImageNet's own 1000 and 200; done once."""
    if (DATA / FILE).exists():
        return
    shutil.rmtree(DATA, ignore_errors=True)
    sizes = {}
    for name, where in PUBLIC.items():
        layout = build(DATA, name, per_class=1 if where.classes_of else 2 if name == SOURCE else 4)
        train, val, test, classes = layout.sizes
        images = DATA / entry(name).folder / entry(name).images
        if classes == 1000:
            test = thinned(images / "val" if name == SOURCE else images)
            val = test if name == SOURCE else 0
        sizes[name] = (train, val, test, classes)
        for path in sorted(p for p in images.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg")):
            picture(path)
    (DATA / FILE).write_text(Declaration(note=NOTE, sizes=sizes).model_dump_json(indent=1) + "\n")


def thinned(folder: Path) -> int:
    """Empties all class folders but every tenth, and leaves one picture in those; returns how many are left."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    for number, path in enumerate(classes):
        for file in sorted(path.glob("*.[jJ]*"))[0 if number % EVERY else 1 :]:
            file.unlink()
    return len(classes[::EVERY])


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
    from dearlib.checkpoint import write_tensors
    from dearlib.clip import random_clip

    write_tensors(WEIGHTS, {k: v.half() for k, v in random_clip(MODEL, seed=1).model.state_dict().items()})


def write_params() -> None:
    """params/paper with smaller counts, every file checked before it is written."""
    PARAMS.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path("params/paper").glob("[0-9]*.yaml")):
        notebook = path.stem.partition("-")[0]
        values = plain(load_params(notebook, path))
        values |= {key: value for key, value in SMALL.items() if key in values} | OF_STEP.get(path.stem, {})
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())
        target = PARAMS / path.name
        target.write_text(f"# Made by tests/miniature.py from {path}: smaller counts, generated input.\n{text}")
        load_params(notebook, target)
    shutil.copy("params/paper/resources.yaml", PARAMS)


if __name__ == "__main__":
    main()
