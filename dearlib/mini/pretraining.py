"""Contrastive pre-training of DeAR-Mini on the Attribute World: `notebooks/00_pretrain_mini` in functions.

The batch of step t is a pure function of (seed, t), and a checkpoint holds weights, both optimisers and t, so a run
that was killed resumes to the same weights.
"""

import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from numpy.lib.format import open_memmap
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from dearlib.datasets.world import scene, vocabulary
from dearlib.datasets.world.vocabulary import Factors
from dearlib.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """What pre-training does.

    In the first `masked_steps` each picture shows a random `keep` of its patches, which costs about that share of
    the time (Li et al., FLIP, CVPR 2023); `full_steps` on whole pictures follow. `images` pictures are rendered once
    and seen over and over, `batch` at a time.
    """

    seed: int
    images: int
    batch: int
    keep: float
    masked_steps: int
    full_steps: int
    warmup_steps: int
    lr_matrices: float
    lr_others: float
    weight_decay: float

    @property
    def steps(self) -> int:
        return self.masked_steps + self.full_steps

    def rate(self, step: int) -> float:
        """Learning-rate factor: linear warm-up, constant, then linear to zero over the last 40 % of the steps."""
        return min(1.0, (step + 1) / self.warmup_steps, (self.steps - step) / (0.4 * self.steps))


def render_pool(folder: Path, images: int, seed: int) -> tuple[np.ndarray, list[Factors]]:
    """The training pictures [images, 64, 64, 3], rendered once into `folder` and memory-mapped, and their factors.

    The file's name carries the first picture's checksum, so that a changed renderer never meets its old pictures.
    """
    probe = zlib.crc32(scene.scene("pretrain", seed, 0)[0].tobytes())
    path = folder / f"pool-{images}-{seed}-{probe:08x}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        out = open_memmap(partial, mode="w+", dtype=np.uint8, shape=(images, scene.SIDE, scene.SIDE, 3))
        for i in tqdm(range(images), desc="render", mininterval=5):
            out[i] = scene.scene("pretrain", seed, i)[0]
        out.flush()
        os.replace(partial, path)
    pool = np.load(path, mmap_mode="r")
    if len(pool) != images:
        raise InputError(f"{path.name}: expected {images} pictures, got {len(pool)}; delete it to render it anew")
    return pool, [scene.draw_factors(scene.generator("pretrain", seed, i)) for i in range(images)]


def kept_patches(recipe: Recipe, step: int, patches: int) -> Int[Tensor, "batch kept"] | None:
    """Which patches each picture of a masked step keeps, a pure function of (seed, step); None in a full step."""
    if step >= recipe.masked_steps:
        return None
    draw = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    return torch.rand(recipe.batch, patches, generator=draw).argsort(dim=1)[:, : round(recipe.keep * patches)]


def encode_image(
    visual: nn.Module, images: Float[Tensor, "batch 3 side side"], kept: Int[Tensor, "batch kept"] | None = None
) -> Float[Tensor, "batch d_embed"]:
    """open_clip's image encoder, over the `kept` patches alone (all of them where it is None)."""
    x = visual.conv1(images).flatten(2).transpose(1, 2) + visual.positional_embedding[1:]
    if kept is not None:
        x = x.gather(1, kept[..., None].expand(-1, -1, x.shape[-1]))
    cls = (visual.class_embedding + visual.positional_embedding[0]).expand(len(x), 1, -1)
    x = visual.transformer(visual.ln_pre(torch.cat([cls, x], dim=1)))
    return visual.ln_post(x[:, 0]) @ visual.proj


def encode_text(model: nn.Module, tokens: Int[Tensor, "batch token"]) -> Float[Tensor, "batch d_embed"]:
    """open_clip's text encoder, cut after the batch's longest end of text (exact: attention is causal)."""
    end = tokens.argmax(dim=1)
    length = int(end.max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    return model.ln_final(x[torch.arange(len(x)), end]) @ model.text_projection


def contrastive_loss(
    image: Float[Tensor, "batch d_embed"],
    captions: list[str],
    text: Float[Tensor, "unique d_embed"],
    unique: list[str],
    scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE in which identical captions are positives of each other.

    `text` holds each distinct caption once. A picture's target is its own caption; a caption's target is spread
    evenly over all pictures that carry it. Softmaxes run over pictures × captions as they occur in the batch.
    """
    column = {c: i for i, c in enumerate(unique)}
    target = torch.tensor([column[c] for c in captions], device=image.device)
    logits = scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    count = torch.bincount(target, minlength=len(unique)).to(logits.dtype)
    to_text = F.cross_entropy(logits + count.log(), target) + count[target].log().mean()
    own = F.log_softmax(logits, dim=0)[torch.arange(len(target)), target]
    return (to_text - own.mean()) / 2


def optimisers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for everything else (embeddings, norms, biases, projections)."""
    named = list(model.named_parameters())
    matrices = [p for n, p in named if "resblocks" in n and p.ndim == 2]
    others = [p for n, p in named if not ("resblocks" in n and p.ndim == 2)]
    return [
        torch.optim.Muon(matrices, lr=recipe.lr_matrices, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.lr_others, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def batch(pool: np.ndarray, factors: list[Factors], recipe: Recipe, step: int) -> tuple[Tensor, list[str], list[str]]:
    """Pictures [batch, 3, 64, 64] and two captions each (one factor; several factors) of one step.

    Pictures come in the order of a fresh permutation per epoch.
    """
    per_epoch = recipe.images // recipe.batch
    epoch, at = divmod(step, per_epoch)
    order = np.random.default_rng([recipe.seed, 1, epoch]).permutation(recipe.images)
    chosen = np.sort(order[at * recipe.batch : (at + 1) * recipe.batch])
    rng = np.random.default_rng([recipe.seed, 2, step])
    single = [vocabulary.single_caption(factors[i], rng) for i in chosen]
    several = [vocabulary.scene_caption(factors[i], rng) for i in chosen]
    return to_input(pool[chosen]), single, several


def to_input(pictures: UInt8[np.ndarray, "batch side side 3"]) -> Float[Tensor, "batch 3 side side"]:
    """Bytes to CLIP's normalised input."""
    x = torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    return (x - mean) / std


def pretrain(
    model: nn.Module, recipe: Recipe, folder: Path, device: torch.device | str = "cpu", every: int = 100
) -> list[dict[str, float]]:
    """Trains `model` in place by `recipe`; checkpoints every `every` steps in `folder`; returns the loss curve."""
    pool, factors = render_pool(folder, recipe.images, recipe.seed)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    model.to(device).train()
    steppers = optimisers(model, recipe)
    curve: list[dict[str, float]] = []
    start = _resume(folder, model, steppers, curve, recipe)
    bar = tqdm(range(start, recipe.steps), initial=start, total=recipe.steps, desc="pretrain", mininterval=10)
    for step in bar:
        for stepper, base in zip(steppers, (recipe.lr_matrices, recipe.lr_others), strict=True):
            for group in stepper.param_groups:
                group["lr"] = base * recipe.rate(step)
        images, *caption_sets = batch(pool, factors, recipe, step)
        kept = kept_patches(recipe, step, len(model.visual.positional_embedding) - 1)
        unique = [sorted(set(c)) for c in caption_sets]
        text = encode_text(model, tokenizer([c for u in unique for c in u]).to(device)).split([len(u) for u in unique])
        image = encode_image(model.visual, images.to(device), None if kept is None else kept.to(device))
        scale = model.logit_scale.exp().clamp(max=100)
        losses = [contrastive_loss(image, c, t, u, scale) for c, t, u in zip(caption_sets, text, unique, strict=True)]
        loss = torch.stack(losses).sum()
        for stepper in steppers:
            stepper.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
        curve.append({"step": step, "single": losses[0].item(), "several": losses[1].item()})
        bar.set_postfix(single=f"{losses[0].item():.3f}", several=f"{losses[1].item():.3f}")
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            _checkpoint(folder, model, steppers, curve, recipe)
    model.eval()
    return curve


def _checkpoint(
    folder: Path, model: nn.Module, steppers: list[torch.optim.Optimizer], curve: list[dict[str, float]], recipe: Recipe
) -> None:
    """One safetensors file, written beside the old one and renamed over it."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for i, stepper in enumerate(steppers):
        for j, state in stepper.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{j}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors["curve"] = torch.tensor([[c["step"], c["single"], c["several"]] for c in curve], dtype=torch.float64)
    partial = folder / "checkpoint.partial"
    save_file({k: v.contiguous() for k, v in tensors.items()}, partial, {"recipe": repr(recipe)})
    os.replace(partial, folder / "checkpoint.safetensors")


def _resume(folder: Path, model: nn.Module, steppers: list[torch.optim.Optimizer], curve: list[dict[str, float]], recipe: Recipe) -> int:
    """Loads the checkpoint, if there is one, and returns the step to go on from. Refuses one of another recipe."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        made_by = (file.metadata() or {}).get("recipe", repr(recipe))
    if made_by != repr(recipe):
        raise InputError(f"{path}: expected a checkpoint of {recipe}, got one of {made_by}; choose another cache_root or delete it")
    tensors = load_file(path)
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    for i, stepper in enumerate(steppers):
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"optimiser.{i}."):
                _, _, j, name = key.split(".", 3)
                state.setdefault(int(j), {})[name] = value
        stepper.load_state_dict({**stepper.state_dict(), "state": state})
    curve += [{"step": s, "single": a, "several": b} for s, a, b in tensors["curve"].tolist()]
    return len(curve)


def export(model: nn.Module, path: Path) -> str:
    """Writes the weights in half precision, as open_clip reads them, and returns the file's SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({k: v.detach().cpu().half().contiguous() for k, v in model.state_dict().items()}, partial)
    os.replace(partial, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
