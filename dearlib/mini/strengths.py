"""How strongly each target's style is laid on: how strengths.csv was measured.

The rule stands in `dearlib.datasets.world.targets`; only the weights that it names are taken, and those are not this
package's any more: `write` measures anew on the commits that have them. So no command does it.
"""

import csv
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from dearlib.clip.loading import MINI, FrozenClip, load
from dearlib.datasets.catalogue import prompts
from dearlib.datasets.world.families import CLASSES
from dearlib.datasets.world.scene import scene
from dearlib.datasets.world.targets import CALIBRATED_ON, LEAST, TARGETS, Target
from dearlib.files import write_text
from dearlib.methods import evaluation

SEED = 0
EACH = 15  # pictures a class


def zero_shot(clip: FrozenClip, target: Target, strength: float, each: int = EACH) -> float:
    """Accuracy in percent among all classes of the family, on pictures of a split that no data set holds."""
    classes = CLASSES[target.family]
    pixels = [
        scene(f"{target.name}/strength", SEED, label * each + i, target.style, strength, **pinned)[0]
        for label, (_, pinned) in enumerate(classes)
        for i in range(each)
    ]
    image = clip.encode_image(torch.stack([clip.preprocess(Image.fromarray(p)) for p in pixels]))
    text = clip.encode_text(prompts(target.name, [name for name, _ in classes]))
    return evaluation.zero_shot(image, text, torch.arange(len(classes)).repeat_interleave(each))


def search(measure: Callable[[float], float], least: float) -> dict[float, float]:
    """Strength → accuracy, for the strengths tried on the way to the strongest of 0.1 … 1 that still reaches `least`.

    1 is tried first; if it falls short, the tenths below are halved again and again, taking accuracy to fall with strength.
    """
    found = {1.0: measure(1.0)}
    enough, short = 0, 10  # tenths
    while found[1.0] < least and short - enough > 1:
        middle = (enough + short) // 2
        found[middle / 10] = measure(middle / 10)
        enough, short = (middle, short) if found[middle / 10] >= least else (enough, middle)
    return found


def write(out: Path) -> None:
    """Measures strengths.csv anew, into `out`. Raises `InputError` for other weights than the named ones."""
    write_text(out, table(load(MINI, sha256=CALIBRATED_ON)))


def table(clip: FrozenClip) -> str:
    """strengths.csv: a row for each strength that the search tried, per target from weak to strong."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["target", "strength", "zero_shot"])
    for name, target in tqdm(TARGETS.items(), desc="strengths"):
        found = search(partial(zero_shot, clip, target), LEAST)
        rows.writerows([name, strength, f"{found[strength]:.2f}"] for strength in sorted(found))
    return out.getvalue()
