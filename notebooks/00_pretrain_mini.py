# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · Pre-training DeAR-Mini
#
# **Question.** Can a CLIP small enough for a laptop, with the paper's 12 layers × 12 heads, learn a world in which the truth
# about every picture is known?
#
# | | |
# |---|---|
# | Paper | Section 3.1 (CLIP); the recipe is ours, the paper starts from published weights |
# | You will see | pictures with captions, the recipe, the loss curve, zero-shot accuracy per factor on pictures never trained on |
# | Reads | this parameter file alone |
# | Writes | weights and `00_*.svg`, `.png`; rendered pictures and checkpoints in `cache_root` |
# | Takes | hours on two CPU cores, minutes on a GPU; 4 GB of memory, 1 GB of disk |
#
# The result ships in the package, so this is not a step of `make reproduce`. A run that is killed resumes from its last checkpoint.

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"
clip: str = "DeAR-Mini"
cache_root: str = "cache/pretrain"
seed: int = 0
device: str = "auto"
images: int = 80000  # rendered once
batch: int = 128
keep: float = 0.5  # share of the patches in the masked steps
masked_steps: int = 3000
full_steps: int = 400
warmup_steps: int = 100
lr_matrices: float = 3e-3  # Muon: matrices inside the layers
lr_others: float = 1.5e-3  # AdamW: embeddings, norms, biases, projections
weight_decay: float = 0.05
checkpoint_every: int = 100
held_out: int = 4000  # pictures of the zero-shot check

# %%
from dataclasses import fields

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm import tqdm

from dearlib import plots
from dearlib.clip.loading import load, random_clip
from dearlib.datasets.world import scene, vocabulary
from dearlib.mini import pretraining
from dearlib.params.reading import params_hash, validated

p = validated("00_pretrain_mini", globals())
recipe = pretraining.Recipe(**{f.name: getattr(p, f.name) for f in fields(pretraining.Recipe)})
where = torch.device(p.device if p.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
print(f"{p.clip} on {where.type}, seed {p.seed}, parameters {params_hash(p)}")

# %% [markdown]
# ## 1 The Attribute World
#
# A scene has one subject (an object, a shape, a digit or a letter) with a colour and a texture, in a place, small or large,
# in dim or bright light. Each picture is a pure function of (version, split, seed, index), so the training set is a number, not a
# download; and the factors that were drawn are the truth that later notebooks compare with.

# %%
pool, factors = pretraining.render_pool(p.cache_root, p.images, p.seed)
print(f"{len(pool):,} pictures of {pool.shape[1]}×{pool.shape[2]} pixels")

# %% [markdown]
# A caption names a random subset of the factors. Each picture of a batch gets two: one that names **one** factor, the way a class
# name in a prompt does, and one that names the subject and perhaps more.

# %%
rng = np.random.default_rng(p.seed)
fig, axes = plots.figure(2, 4, size=(9, 5))
for ax, i in zip(axes.flat, rng.choice(len(pool), 8, replace=len(pool) < 8), strict=True):
    single, several = vocabulary.single_caption(factors[i], rng), vocabulary.scene_caption(factors[i], rng)
    plots.picture(ax, pool[i] / np.float32(255), f"{single}\n{several}")
    ax.title.set(fontsize=6, fontweight="normal", wrap=True)
_ = plots.save(fig, p.figures_root, "00_pictures")

# %% [markdown]
# ## 2 The loss
#
# CLIP's symmetric cross-entropy between the pictures and the captions of a batch. With few factors, captions repeat: two pictures
# captioned "something red" are both right for it. Treated as negatives, they would teach the model that red is not red. So
# identical captions are positives of each other: the target is spread evenly over them.
#
# By hand, with three pictures of which two share a caption, in view and against `dearlib`:

# %%
captions, unique = ["red", "red", "cup"], ["cup", "red"]
draw = torch.Generator().manual_seed(p.seed)
image, text = torch.randn(3, 4, generator=draw), torch.randn(2, 4, generator=draw)
each = text[[unique.index(c) for c in captions]]
logits = F.normalize(image, dim=-1) @ F.normalize(each, dim=-1).T
target = torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
by_hand = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
torch.testing.assert_close(pretraining.contrastive_loss(image, captions, text, unique, torch.tensor(1.0)), by_hand)
print(f"{by_hand:.4f}")

# %% [markdown]
# ## 3 The recipe
#
# - Most steps show a random share of each picture's patches, `keep`: fewer tokens, cheaper steps. The last steps show all of them.
# - Matrices inside the layers are stepped by Muon (orthogonalised momentum), everything else by AdamW.
# - The rate rises linearly, stays, and falls linearly to zero over the last 40 % of the steps.
# - The text encoder runs on distinct captions alone, cut after the longest of them.

# %%
fig, ax = plots.figure(size=(5, 2))
ax.plot([recipe.rate(s) for s in range(recipe.steps)])
ax.axvline(recipe.masked_steps, color="black", linestyle="--", linewidth=1)
_ = ax.set(xlabel="step (dashed: from here all patches)", ylabel="share of the rate")

# %% [markdown]
# ## 4 Training
#
# Goes on from the last checkpoint in `cache_root` if there is one, and does nothing if the last step is done.

# %%
model = random_clip(p.clip, seed=p.seed).model.requires_grad_(True)
curve = pd.DataFrame(pretraining.pretrain(model, recipe, p.cache_root, where, p.checkpoint_every))
weights = p.runs_root / "00_pretrain_mini" / f"{p.clip}.safetensors"
digest = pretraining.export(model, weights)
seen = recipe.steps * recipe.batch
print(
    f"{seen:,} pictures seen ({seen / recipe.images:.1f} times each), weights {weights.stat().st_size / 1e6:.1f} MB, SHA-256 {digest[:12]}"
)

# %%
fig, ax = plots.figure(size=(6, 2.8))
width = max(1, len(curve) // 50)
for (name, label), color in zip({"single": "one factor named", "several": "several named"}.items(), plots.LINE_COLORS, strict=False):
    ax.plot(curve.step, curve[name], color=color, alpha=0.25, linewidth=0.6)
    ax.plot(curve.step, curve[name].rolling(width, min_periods=1).mean(), color=color, label=label)
ax.set(xlabel="step", ylabel="contrastive loss")
ax.legend()
_ = plots.save(fig, p.figures_root, "00_loss")

# %%
ends = curve[["single", "several"]].iloc[[*range(width), *range(-width, 0)]].groupby(np.repeat([0, 1], width)).mean()
print(f"one factor named: {ends.single[0]:.2f} → {ends.single[1]:.2f}; several named: {ends.several[0]:.2f} → {ends.several[1]:.2f}")

# %% [markdown]
# ## 5 Zero-shot on pictures never trained on
#
# New pictures of the same style, drawn from another stream. For each factor, the pictures that have it are classified among its
# values by cosine with the values' prompts, one template a factor; beside it the mean of all of the factor's templates. What is
# judged is the file as exported, in half precision.

# %%
frozen = load(p.clip, weights, sha256=digest)
rendered = [scene.scene("held-out", p.seed, i) for i in tqdm(range(p.held_out), desc="render", mininterval=5)]
truth = [f for _, f in rendered]
batches = (np.stack([picture for picture, _ in rendered[i : i + 128]]) for i in range(0, p.held_out, 128))
features = F.normalize(torch.cat([frozen.encode_image(pretraining.to_input(b)) for b in batches]), dim=-1)


# %%
def zero_shot(factor, templates):
    """Accuracy in percent and number of pictures, classes written out with `templates` and averaged."""
    values = vocabulary.FACTORS[factor]
    has = [i for i, f in enumerate(truth) if f.value(factor) is not None]
    label = torch.tensor([values.index(str(truth[i].value(factor))) for i in has])
    text = sum(F.normalize(frozen.encode_text([t(v) for v in values]), dim=-1) for t in templates)
    return 100 * (features[has] @ F.normalize(text, dim=-1).T).argmax(1).eq(label).double().mean().item(), len(has)


# %%
targets = {"object": 80, "shape": 80, "color": 95, "location": 95, "texture": 85, "number": None, "letter": None}
# which of a factor's templates: "a photo of …", as the data sets say it
one_prompt = {"object": 0, "shape": 0, "color": 2, "location": 3, "texture": 3, "number": 1, "letter": 1}
rows = []
for factor, target in targets.items():
    templates = vocabulary.PHRASE_TEMPLATES[factor]
    accuracy, n = zero_shot(factor, [templates[one_prompt[factor]]])
    verdict = "no target" if target is None else "reached" if accuracy >= target else "not reached"
    rows.append(
        {
            "factor": factor,
            "classes": len(vocabulary.FACTORS[factor]),
            "n": n,
            "one prompt": accuracy,
            "all templates": zero_shot(factor, templates)[0],
            "target": target,
            "": verdict,
        }
    )
table = pd.DataFrame(rows).set_index("factor").round(1)
table

# %%
judged = table[table.target.notna()]
missed = list(judged.index[judged[""] != "reached"])
print(f"{len(judged) - len(missed)} of {len(judged)} targets reached" + (f"; not reached: {', '.join(missed)}" if missed else ""))

# %% [markdown]
# ## What to take away
#
# - A CLIP with the paper's shape can be had in hours on two cores when the world is small, most steps see half of the patches and
#   repeated captions are not punished.
# - The table above is what the frozen model knows. Later notebooks measure what DeAR adds, on styles that were not in training.
#
# To ship new weights, copy the exported file over `dearlib/mini/assets/`; every record and role file made with other weights is then
# refused.
#
# **Exercises.** (a) Which two values of a factor are confused most often? (b) Count equal captions in a batch of 128: what would the loss
# be at best if they were negatives? (c) Move `masked_steps` to `full_steps`: what does masking cost, and what does it save?
