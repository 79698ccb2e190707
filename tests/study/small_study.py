"""A profile small enough for a test: two public data sets of coloured pictures in their real layout, DeAR-Mini, two groups."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from public_layout import build
from role_maps import make_roles

from dearlib.clip.loading import load
from dearlib.datasets import read_split

PROFILE = Path(__file__).parents[2] / "params" / "mini" / "profile.yaml"
SMALL = {"profile": "tiny", "seeds": "[1, 2]", "shots": 2, "epochs": 2, "batch": 4, "views": 1, "together": 2}
STUDY = """
groups:
  halved:
    datasets: [dtd, eurosat]
    classes: halves
    runs:
      DeAR: {}
      shielded: {role_map: all_generalization}
      "late, once": {first_layer: 11, epochs: 1, warmup_epochs: 0}
  away:
    datasets: [dtd]
    classes: all
    runs:
      DeAR: {shots: 1}
    targets: [eurosat]
    linear_probe: true
"""


def make(root: Path) -> Path:
    """The profile's folder `root`/params/tiny; its data and roles lie beside it."""
    for name in ("dtd", "eurosat"):
        build(root / "data", name, per_class=3)
        for item in read_split(root / "data", name).items:
            paint(item.path, item.label)
    roles = root / "runs" / "02_head_roles" / "roles.json"
    make_roles(load("DeAR-Mini")).save(roles)
    places = {"runs_root": root / "runs", "figures_root": root / "figures", "data_root": root / "data", "cache_root": root / "cache"}
    values = {k: json.dumps(str(v)) for k, v in {**places, "roles": roles}.items()} | {k: str(v) for k, v in SMALL.items()}
    lines = [line for line in PROFILE.read_text().splitlines() if line.split(":")[0] not in values]
    folder = root / "params" / "tiny"
    folder.mkdir(parents=True)
    (folder / "profile.yaml").write_text("\n".join([*lines, *(f"{k}: {v}" for k, v in values.items())]) + "\n")
    (folder / "study.yaml").write_text(STUDY)
    return folder


def paint(path: Path, label: int) -> None:
    """A colour for each class, and noise that belongs to the picture's name."""
    rng = np.random.default_rng([label, *path.name.encode()])
    color = np.array([(220, 30, 30), (30, 200, 40), (40, 60, 220), (230, 210, 40)][label % 4])
    Image.fromarray((color + rng.normal(0, 25, (64, 64, 3))).clip(0, 255).astype(np.uint8)).save(path)
