"""Contrastive pre-training of DeAR-Mini on the Attribute World: `notebooks/00_pretrain_mini` in functions.

The batch of step t is a pure function of (seed, t), and a checkpoint holds weights, both optimisers and the curve, so a run
that was killed resumes to the same weights.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from dearlib.clip.loading import FrozenClip, random_clip
from dearlib.clip.modules import ClipModel
from dearlib.datasets.world import scene, vocabulary
from dearlib.errors import InputError
from dearlib.files import load_optimiser, optimiser_tensors, read_tensors, write_bytes, write_tensors, write_text
from dearlib.mini.batches import Batch, askers, batch, kept_patches, render_pool, to_input
from dearlib.mini.encoders import encode_parts, encode_text
from dearlib.mini.planting import Demands, plant, planting_loss
from dearlib.mini.premises import stream_deviations, write_planted
from dearlib.params.schemas import PretrainMini
from dearlib.roles.truth import planted_file
from dearlib.study.records import provenance

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Recipe:
    """What pre-training does.

    In the first `masked_steps` each picture shows a random `keep` of its patches, which costs about that share of
    the time (Li et al., FLIP, CVPR 2023); `full_steps` on whole pictures follow. `images` pictures are rendered once
    and seen over and over, `batch` at a time. `planted`: factor → how many heads of layers `first_layer` … L speak of it
    (`dearlib.mini.planting`), with the weights of what these heads are asked for. In the end both residual streams are
    scaled to a standard deviation of `stream` where they enter `first_layer`; `token` is that of the tokens which planted heads are
    asked by, on the same scale. `bfloat16`: the encoders' products in that precision, weights and losses in single.
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
    first_layer: int
    planted: Mapping[str, int]
    demands: Demands
    weight_answers: float
    weight_demands: float
    stream: float
    token: float
    bfloat16: bool

    @property
    def steps(self) -> int:
        return self.masked_steps + self.full_steps

    def rate(self, step: int) -> float:
        """Learning-rate factor: linear warm-up, constant, then linear to zero over the last 40 % of the steps."""
        return min(1.0, (step + 1) / self.warmup_steps, (self.steps - step) / (0.4 * self.steps))


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


def optimisers(model: ClipModel, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for everything else (embeddings, norms, biases, projections)."""
    named = list(model.named_parameters())
    matrices = [p for n, p in named if "resblocks" in n and p.ndim == 2]
    others = [p for n, p in named if not ("resblocks" in n and p.ndim == 2)]
    return [
        torch.optim.Muon(matrices, lr=recipe.lr_matrices, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.lr_others, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def recipe(p: PretrainMini) -> Recipe:
    """The recipe that parameters ask for."""
    demands = Demands(late=p.demand_late, purity=p.demand_purity, owned=p.demand_owned, silence=p.demand_silence)
    told = {f.name: getattr(p, f.name) for f in fields(Recipe) if f.name != "demands"}
    return Recipe(**told, demands=demands)


def step_losses(
    model: ClipModel,
    tokenizer: Callable[[list[str]], Tensor],
    made: Batch,
    kept: Int[Tensor, "batch kept"] | None,
    asker: Float[Tensor, "batch 1 d_model"],
    planted: Mapping[str, list[int]],
    recipe: Recipe,
) -> dict[str, Float[Tensor, ""]]:
    """The terms of one step's loss, unweighted: both captions' contrast, and what the planted heads still lack."""
    device = model.logit_scale.device
    unique, named = sorted(set(made.several)), sorted(set(made.single))
    prompts = [p for own in made.prompts.values() for p in own]
    # attention in plain products: for heads of 12 dimensions the fused kernel's backward pass takes five times as long in bfloat16
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16), sdpa_kernel(SDPBackend.MATH):
        short = encode_text(model, tokenizer(prompts).to(device)).float()
        long = encode_text(model, tokenizer(unique).to(device)).float()
        whole, parts = encode_parts(
            model.visual, made.images.to(device), None if kept is None else kept.to(device), recipe.first_layer, asker.to(device)
        )
    whole = whole.float()
    heads, asked = parts.float().unbind(dim=1)
    text = dict(zip(made.prompts, short.split([len(own) for own in made.prompts.values()]), strict=True))
    scale = model.logit_scale.exp().clamp(max=100)
    labels = {name: own.to(device) for name, own in made.labels.items()}
    return {
        "single": contrastive_loss(whole, made.single, short[[prompts.index(p) for p in named]], named, scale),
        "several": contrastive_loss(whole, made.several, long, unique, scale),
        **planting_loss(whole - heads.sum(dim=1), heads, asked, planted, text, labels, recipe.demands),
    }


def pretrain(
    model: ClipModel, recipe: Recipe, folder: Path, device: torch.device | str = "cpu", every: int = 100
) -> list[dict[str, float]]:
    """Trains `model` in place by `recipe`; checkpoints every `every` steps in `folder`; returns the loss curve."""
    pool, factors = render_pool(folder, recipe.images, recipe.seed)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    model.to(device).train()
    steppers = optimisers(model, recipe)
    curve = _resume(folder / CHECKPOINT, model, steppers, recipe)
    planted = planted_heads(model, recipe)
    patches = len(model.visual.positional_embedding) - 1
    bar = tqdm(range(len(curve), recipe.steps), initial=len(curve), total=recipe.steps, desc="pretrain", mininterval=10)
    for step in bar:
        for stepper, base in zip(steppers, (recipe.lr_matrices, recipe.lr_others), strict=True):
            for group in stepper.param_groups:
                group["lr"] = base * recipe.rate(step)
            stepper.zero_grad()
        made = batch(pool, factors, recipe.images, recipe.batch, recipe.seed, step)
        kept = kept_patches(recipe.seed, step, recipe.batch, patches, recipe.keep) if step < recipe.masked_steps else None
        asker = recipe.token / recipe.stream * askers(recipe.seed, step, recipe.batch, model.visual.class_embedding.shape[0])
        terms = step_losses(model, tokenizer, made, kept, asker, planted, recipe)
        lacking = terms["late"] + terms["purity"] + terms["owned"] + terms["silence"]
        loss = terms["single"] + terms["several"] + recipe.weight_answers * terms["answers"] + recipe.weight_demands * lacking
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
        curve.append({"step": step, **{name: value.item() for name, value in terms.items()}})
        bar.set_postfix({name: f"{value:.3f}" for name, value in curve[-1].items() if name != "step"})
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            states = [optimiser_tensors(stepper, f"optimiser{i}") for i, stepper in enumerate(steppers)]
            weights = {f"model.{k}": v for k, v in model.state_dict().items()}
            write_tensors(folder / CHECKPOINT, weights | states[0] | states[1], {"recipe": asdict(recipe), "curve": curve})
    model.eval()
    return curve


def planted_heads(model: ClipModel, recipe: Recipe) -> dict[str, list[int]]:
    """Which of the late heads the recipe gives which factor, counted layer by layer from `first_layer`."""
    blocks = model.visual.transformer.resblocks
    return plant(recipe.planted, len(blocks) - recipe.first_layer + 1, blocks[0].attn.num_heads, recipe.seed)


def _resume(path: Path, model: ClipModel, steppers: list[torch.optim.Optimizer], recipe: Recipe) -> list[dict[str, float]]:
    """Loads the checkpoint, if there is one, and returns the curve so far. Refuses one of another recipe."""
    if not path.exists():
        return []
    tensors, notes = read_tensors(path)
    if notes["recipe"] != asdict(recipe):
        raise InputError(f"{path}: expected a checkpoint of {recipe}, got one of {notes['recipe']}; choose another cache_root or delete it")
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    for i, stepper in enumerate(steppers):
        load_optimiser(stepper, f"optimiser{i}", tensors)
    return list(notes["curve"])


@torch.no_grad()
def rescale(model: ClipModel, tower: Literal["image", "text"], factor: float) -> None:
    """Multiplies everything that writes to one tower's residual stream by `factor`, in place.

    Every reader of the stream is a LayerNorm, which takes the scale out again: features change by no more than its ε.
    """
    if tower == "image":
        writers: list[Tensor] = [model.visual.ln_pre.weight, model.visual.ln_pre.bias]
        blocks = model.visual.transformer.resblocks
    else:
        writers = [model.token_embedding.weight, model.positional_embedding]
        blocks = model.transformer.resblocks
    for block in blocks:
        writers += [*block.attn.out_proj.parameters(), *block.mlp.c_proj.parameters()]
    for parameter in writers:
        parameter.mul_(factor)


def make_weights(name: str, recipe: Recipe, cache: Path, out: Path, device: torch.device, every: int) -> dict[str, Any]:
    """Pre-trains, rescales and exports a CLIP into `out`, and says how it went: a dict that JSON can hold, also written to `out`.

    Beside the weights lies which heads were planted.
    """
    began = time.monotonic()
    clip = random_clip(name, seed=recipe.seed)
    model = clip.model.requires_grad_(True)
    curve = pretrain(model, recipe, cache, device, every)
    model.cpu().eval()
    rescale_streams(clip, recipe)
    digest = export(model, out / f"{name}.safetensors")
    heads = model.visual.transformer.resblocks[0].attn.num_heads
    write_planted(planted_file(name, out / f"{name}.safetensors"), digest, recipe.first_layer, heads, planted_heads(model, recipe))
    thinned = [{k: round(v, 4) for k, v in row.items()} for row in curve[:: max(1, len(curve) // 200)]]
    told = {
        "weights_sha256": digest,
        "recipe": asdict(recipe),
        "steps": recipe.steps,
        "pictures_seen": recipe.steps * recipe.batch,
        "hours": round((time.monotonic() - began) / 3600, 2),
        "curve": thinned,
        **provenance(),
    }
    write_text(out / "pretraining.json", json.dumps(told, indent=1) + "\n")
    return told


def rescale_streams(clip: FrozenClip, recipe: Recipe) -> None:
    """Brings both residual streams to the recipe's standard deviation where they enter its first late layer."""
    drawn = [scene.scene("rescale", recipe.seed, i) for i in range(256)]
    rng = np.random.default_rng(recipe.seed)
    images = to_input(np.stack([picture for picture, _ in drawn]))
    deviations = stream_deviations(clip, images, sorted({vocabulary.scene_caption(f, rng) for _, f in drawn}), recipe.first_layer)
    rescale(clip.model, "image", recipe.stream / deviations[0])
    rescale(clip.model, "text", recipe.stream / deviations[1])


def export(model: ClipModel, path: Path) -> str:
    """Writes the weights in half precision, as open_clip reads them, and returns the file's SHA-256."""
    content = save({k: v.detach().cpu().half().contiguous() for k, v in model.state_dict().items()})
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()
