"""What one pre-training step sees: pictures, captions, prompts. All pure functions of (seed, step)."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from tqdm import tqdm

from dearlib.datasets.world import scene, vocabulary
from dearlib.datasets.world.vocabulary import Factors
from dearlib.errors import InputError
from dearlib.files import filled_tensors, mapped_tensors, sweep


def render_pool(folder: Path, images: int, seed: int) -> tuple[np.ndarray, list[Factors]]:
    """The training pictures [images, 64, 64, 3], rendered once into `folder` and memory-mapped, and their factors.

    The file's name carries the first picture's checksum, so that a changed renderer never meets its old pictures.
    """
    probe = zlib.crc32(scene.scene("pretrain", seed, 0)[0].tobytes())
    path = folder / f"pool-{images}-{seed}-{probe:08x}.safetensors"
    if not path.exists():
        sweep(folder)
        shapes = {"pictures": (torch.uint8, (images, scene.SIDE, scene.SIDE, 3))}
        with filled_tensors(path, shapes, {}) as tensors:
            for i in tqdm(range(images), desc="render", mininterval=5):
                tensors["pictures"][i] = torch.from_numpy(scene.scene("pretrain", seed, i)[0])
    pool = mapped_tensors(path)[0]["pictures"].numpy()
    if len(pool) != images:
        raise InputError(f"{path.name}: expected {images} pictures, got {len(pool)}; delete it to render it anew")
    return pool, [scene.draw_factors(scene.generator("pretrain", seed, i)) for i in range(images)]


@dataclass(frozen=True)
class Batch:
    """One step's pictures [batch, 3, 64, 64], their captions, and every factor's values as prompts.

    `single` names one factor of a picture, by one of `prompts`; `several` the subject and perhaps more. `labels`: of every factor
    each picture's value, −1 where it shows none.
    """

    images: Float[Tensor, "batch 3 side side"]
    single: list[str]
    several: list[str]
    prompts: dict[str, list[str]]
    labels: dict[str, Int[Tensor, "batch"]]


def batch(pool: np.ndarray, factors: list[Factors], images: int, size: int, seed: int, step: int) -> Batch:
    """Step `step`'s batch, a pure function of (seed, step); pictures come in the order of a fresh permutation per epoch.

    Of every factor one template is drawn for the step: what one head or the whole feature says of a value is then compared with
    the same text.
    """
    per_epoch = images // size
    epoch, at = divmod(step, per_epoch)
    order = np.random.default_rng([seed, 1, epoch]).permutation(images)
    chosen = np.sort(order[at * size : (at + 1) * size])
    rng = np.random.default_rng([seed, 2, step])
    prompts = vocabulary.value_prompts(rng)
    shown = [factors[i] for i in chosen]
    named = [vocabulary.named_factor(f, rng) for f in shown]
    single = [prompts[name][vocabulary.FACTORS[name].index(str(f.value(name)))] for name, f in zip(named, shown, strict=True)]
    several = [vocabulary.scene_caption(f, rng) for f in shown]
    labels = {n: torch.tensor(vocabulary.labels(shown, n)) for n in vocabulary.FACTORS}
    return Batch(to_input(pool[chosen]), single, several, prompts, labels)


def kept_patches(seed: int, step: int, batch: int, patches: int, keep: float) -> Int[Tensor, "batch kept"]:
    """Which `keep` of the patches each picture of a masked step shows."""
    draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
    return torch.rand(batch, patches, generator=draw).argsort(dim=1)[:, : round(keep * patches)]


def askers(seed: int, step: int, batch: int, width: int) -> Float[Tensor, "batch 1 d_model"]:
    """A random token for each picture, for its planted heads to answer; each number has standard deviation 1."""
    return torch.randn(batch, 1, width, generator=torch.Generator().manual_seed(seed * 1_000_003 + step))


def to_input(pictures: UInt8[np.ndarray, "batch side side 3"]) -> Float[Tensor, "batch 3 side side"]:
    """Bytes to CLIP's normalised input."""
    x = torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    return (x - mean) / std
