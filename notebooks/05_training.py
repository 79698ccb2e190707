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
# # 05 · Training DeAR on one data set
#
# **Question.** What does DeAR's training minimise, step by step, and what do the numbers that it trains (notebook 04 counts them) gain or
# lose, on the classes they were trained on and on classes they never saw?
#
# | | |
# |---|---|
# | Before this | [04 · DeAR, forward and backward](04_dear_model.ipynb) |
# | Paper | Section 3.3.4, Eq. 12–16; Section 4.1, the base-to-novel protocol |
# | You will see | the few-shot sample, schedule and losses as formula and code, a step of AdamW by hand, curves, base and novel accuracy |
# | Reads | one data set (rendered if missing), the role file of notebook 02 (or the committed one) |
# | Writes | `05_numbers.csv`, `05_*.svg` and `.png`; runs to `runs/scratch` and frozen states to a cache, both to be deleted at any time |
# | Takes | 135 seconds and 1.7 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [06 · From base to novel classes](06_base_to_novel.ipynb); [13 · Where every operation goes](13_performance.ipynb) |
#
# The study itself is not trained here: `dearlib.study.run` does that, by the parameter files. The end of this notebook asserts that
# it computes what the cells in view compute.

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"
clip: str = "DeAR-Mini"
clip_weights = None  # type: str|None  a weights file; None: those in the package
data_root: str = "data/mini"
seed: int = 1
device: str = "cpu"
dataset: str = "textures_night"
roles: str = "runs/mini/02_head_roles/roles.json"
first_layer: int = 9  # J
text_tokens: int = 5  # K
tokens_per_attribute: int = 1
beta: float = 0.7  # share of the raw token at the entrance of the layers after J
alpha_cls: float = 0.5  # α_cls before training
init_std: float = 0.02  # of the tokens before training
routing: str = "printed"  # or "exclusive", see notebook 03
lambda_reg: float = 0.3
lambda_fusion: float = 0.1
processes: int = 1
cache_root: str = "cache/prefix"
cache_dtype: str = "float32"
cache_gb: float = 20.0  # beyond it, states are computed whenever they are needed
together: int = 24  # runs that are trained as one batch, at most
shots: int = 16  # pictures per class
seeds: list = [1, 2, 3]
epochs: int = 10
batch: int = 4
lr: float = 1e-3
lr_tokens = None  # type: float|None  None: lr
lr_fusion = None  # type: float|None
warmup_epochs: int = 1
warmup_lr: float = 1e-5
weight_decay: float = 5e-4
views: int = 4  # augmented views kept per picture
crop_scale: list = [0.5, 1.0]
flip: bool = False
precision: str = "32-true"
per_dataset: dict = {}  # values that one data set has in place of these

# %%
import math
from collections import Counter
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

from dearlib import plots
from dearlib.clip import cache as kept_states
from dearlib.clip.cut import image_suffix, text_prefix
from dearlib.clip.loading import load
from dearlib.datasets import classnames, few_shot, half, open_image, prompts, read_split
from dearlib.files import read_tensors
from dearlib.methods.dear import DeAR
from dearlib.methods.evaluation import evaluate_together, harmonic_mean, zero_shot
from dearlib.methods.losses import losses
from dearlib.params.reading import params_hash, validated
from dearlib.params.study import Group
from dearlib.params.types import plain
from dearlib.study import opening, run, trials
from dearlib.study.inference import difference
from dearlib.study.takeaways import from_numbers, write_numbers
from dearlib.workflow import processes as ranks

# %%
p = validated("05_training", globals())
opening.pictures(p.data_root, p.dataset)
frozen = load(p.clip, p.clip_weights)
fabric = ranks.fabric(p.device, p.precision)
frozen.model.to(fabric.device)
head_roles = opening.role_file(p.roles, p.figures_root, frozen)
print(f"{frozen.name} {frozen.weights_sha256[:8]} · roles {head_roles.sha256[:8]} · {p.dataset} · parameters {params_hash(p)}")

# %% [markdown]
# ## 1 Base and novel classes
#
# A few-shot learner can win on the classes it saw by forgetting what CLIP knew about all the others. So the
# classes are cut in two: labels in sorted order, the first ⌈n/2⌉ are *base*, the rest *novel*. Training sees pictures and
# names of base classes only; each half is then tested among its own names. *Novel* is new to the adaptation, not to CLIP.
#
# The few-shot sample is the community's: `random.seed(s)`, then `random.sample` for every class in the order in which the
# split file first names it.

# %%
split = read_split(p.data_root, p.dataset)
base, novel = half(split, "base"), half(split, "novel")
few = {s: half(few_shot(split, p.shots, s), "base") for s in p.seeds}
print("base: ", ", ".join(classnames(base)))
print("novel:", ", ".join(classnames(novel)))
assert not set(classnames(base)) & set(classnames(novel))
for s, sample in few.items():
    assert set(Counter(item.label for item in sample.train).values()) == {p.shots}
    print(f"seed {s}: {len(sample.train)} training and {len(sample.val)} validation pictures, first {sample.train[0].path.name}")

# %% [markdown]
# ## 2 What is frozen is computed once
#
# Below layer $J$ nothing is trained, so the states that enter layer $J$ are constants of a picture. We keep them:
# test pictures once for all seeds, training pictures once per augmented view. An epoch then only pays for layers
# $J \dots L$. Text is the same: the prompts' states on the verge of layer $J$ never change, only what follows does.
#
# Augmentation is drawn *before* training as a list of crops, so that a view has a name under which it can be kept.
# Epoch $e$ sees view $e \bmod V$ of every picture.

# %%
parts = {"base": base, "novel": novel}
cache = trials.cache(p)
test = {name: kept_states.of_items(cache, frozen, p.first_layer, part.test) for name, part in parts.items()}
labels = {name: trials.labels(part.test) for name, part in parts.items()}
texts = {name: prompts(p.dataset, classnames(part)) for name, part in parts.items()}
text_states = {name: text_prefix(frozen, t, p.first_layer) for name, t in texts.items()}
text_frozen = {name: frozen.encode_text(t) for name, t in texts.items()}

# %% [markdown]
# The cut must not change anything: layers $J \dots L$ on the kept states give the very feature that the whole encoder gives, up to the
# rounding of the states, which half precision (`cache_dtype`) makes coarser.

# %%
some = torch.stack([frozen.preprocess(open_image(item.path)) for item in base.test[:4]]).to(fabric.device)
whole = frozen.encode_image(some)
resumed = image_suffix(frozen.visual, test["base"].rows(torch.arange(4))[0].to(fabric.device), p.first_layer)
apart = ((resumed - whole).norm(dim=-1) / whole.norm(dim=-1)).max().item()
assert apart < {"float32": 1e-4, "float16": 1e-2, "bfloat16": 3e-2}[p.cache_dtype]
print(f"largest distance: {apart:.0e} of a feature's length")

# %% [markdown]
# Before any training, zero-shot CLIP: the frozen features answer by cosine similarity with the prompts' features. Nothing is random
# here, so there is one number per half.

# %%
clip_accuracy = {name: zero_shot(test[name].features, text_frozen[name].cpu(), labels[name]) for name in parts}
for name, value in clip_accuracy.items():
    print(f"zero-shot CLIP, {name}: {value:.2f} % of {len(labels[name])} test pictures (chance {100 / len(texts[name]):.1f} %)")

# %% [markdown]
# ## 3 What is minimised
#
# $$\mathcal L_\text{total} = \mathcal L_\text{CE} + \lambda_\text{reg}\, \mathcal L_\text{reg} + \lambda_\text{fusion}\, \mathcal
# L_\text{fusion} \qquad (12)$$
#
# $\mathcal L_\text{CE}$ is the cross-entropy of the fused logits $\hat{\mathbf y}$ (notebook 04) with the label: it pulls towards the
# task. The
# regularisation pulls both encoders back to what CLIP knew:
#
# $$\mathcal L_\text{reg} = \mathcal L_\text{reg}^V + \mathcal L_\text{reg}^T \qquad (13)$$
#
# $$\mathcal L_\text{reg}^V = 1 - \cos(\mathbf f_\text{cls}, \mathbf f_\text{cls}^\text{orig}) \qquad (14)$$
#
# $$\mathcal L_\text{reg}^T = 1 - \cos(\mathbf f_t, \mathbf f_t^\text{orig}) \qquad (15)$$
#
# and the last term keeps the class feature in charge:
#
# $$\mathcal L_\text{fusion} = -\log(\alpha_\text{cls}) \qquad (16)$$
#
# **How we read it.** Eq. 14 is averaged over the batch, and its $\mathbf f_\text{cls}^\text{orig}$ is of the *same augmented view*; Eq.
# 15 is averaged
# over the classes *[ours]*. Under roles that shield every head Eq. 14 is 0 whatever is trained.
#
# One batch by hand, of the first seed's model before training:

# %%
s = p.seeds[0]
model = DeAR(frozen, head_roles, trials.settings(p), seed=s).to(fabric.device)
data = trials.training_set(frozen, head_roles, p, few[s].train, s)
order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(1000 * s))  # of epoch 0
first = order[: p.batch]
states, original = (t.to(fabric.device) for t in data.rows(0, first))
y = data.labels[first].to(fabric.device)

# %%
image, f_t = model.image_features(states), model.text_features(text_states["base"])
unit = [F.normalize(t, dim=-1) for t in (image.cls, original, f_t, text_frozen["base"])]
logits = model.fuse(model.similarities(image, f_t))
ce = -(logits - logits.logsumexp(dim=1, keepdim=True))[torch.arange(len(y)), y].mean()
reg = (1 - (unit[0] * unit[1]).sum(-1)).mean() + (1 - (unit[2] * unit[3]).sum(-1)).mean()
fusion = -model.alpha[0].log()
total = ce + p.lambda_reg * reg + p.lambda_fusion * fusion
terms = losses(model, image, f_t, original, text_frozen["base"], y)
for by_hand, kernel in ((ce, terms.cross_entropy), (reg, terms.regularisation), (fusion, terms.fusion)):
    torch.testing.assert_close(by_hand, kernel, rtol=1e-4, atol=1e-5)
print(f"cross-entropy {ce:.3f} (uniform guessing {math.log(len(f_t)):.3f}) · regularisation {reg:.4f} · fusion {fusion:.3f}")

# %% [markdown]
# ## 4 The schedule
#
# AdamW. The learning rate is constant within an epoch. With $E$ epochs, $W$ of them warm-up:
#
# $$\eta_e = \begin{cases} \eta_\text{warm} & e < W \\ \tfrac12\, \eta\, \bigl(1 + \cos(\pi\, (e - W) / E)\bigr) & e \ge W \end{cases}$$
#
# for $e = 0 … E-1$. The warm-up does not shorten the cosine, so the rate ends above zero. The paper gives the rate alone; the rest is the
# habit of the methods it compares with *[ours]*.


# %%
def rate(epoch: int) -> float:
    """η of an epoch, counted from 0."""
    if epoch < p.warmup_epochs:
        return p.warmup_lr
    return p.lr * (1 + math.cos(math.pi * (epoch - p.warmup_epochs) / p.epochs)) / 2


assert all(math.isclose(rate(e), trials.schedule(p).rate(e)) for e in range(p.epochs))
fig, ax = plots.figure(size=(4.6, 2.2))
ax.bar(range(1, p.epochs + 1), [rate(e) for e in range(p.epochs)], color=plots.LINE_COLORS[0], width=0.8)
ax.set(xlabel="epoch", ylabel="learning rate", xticks=range(1, p.epochs + 1))
plots.save(fig, p.figures_root, "05_schedule")

# %% [markdown]
# ## 5 One step of AdamW, by hand
#
# With gradient $g$, decay $\lambda$, step $t$ (from 1), $\beta_1 = 0.9$, $\beta_2 = 0.999$, $\epsilon = 10^{-8}$:
#
# $$m \leftarrow \beta_1 m + (1-\beta_1)\, g, \qquad v \leftarrow \beta_2 v + (1-\beta_2)\, g^2, \qquad
# \theta \leftarrow (1 - \eta\lambda)\,\theta - \eta\, \frac{m / (1-\beta_1^t)}{\sqrt{v / (1-\beta_2^t)} + \epsilon}$$
#
# The decay is not a part of the gradient, which is what the W stands for. At $t = 1$ the fraction is the gradient's *sign*: however small a
# gradient is, the first step is as long as the rate.


# %%
def adamw(theta, gradient, m, v, t, eta):
    """One step; returns θ, m and v."""
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    step = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return (1 - eta * p.weight_decay) * theta - eta * step, m, v


def rate_of(name: str, epoch: int) -> float:
    """Tokens and fusion weights may have a rate of their own."""
    peak = {"attribute_tokens": p.lr_tokens, "text_tokens": p.lr_tokens, "fusion": p.lr_fusion}.get(name) or p.lr
    return rate(epoch) if epoch < p.warmup_epochs else rate(epoch) * peak / p.lr


def stepped(model, loss, memory: dict, epoch: int) -> None:
    """Moves the model's parameters by one step down the gradient of `loss`."""
    named = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, list(named.values()))
    for (name, theta), gradient in zip(named.items(), gradients, strict=True):
        m, v, t = memory.get(name, (torch.zeros_like(theta), torch.zeros_like(theta), 0))
        with torch.no_grad():
            new, m, v = adamw(theta, gradient, m, v, t + 1, rate_of(name, epoch))
            theta.copy_(new)
        memory[name] = m, v, t + 1


# %%
twin = DeAR(frozen, head_roles, trials.settings(p), seed=s).to(fabric.device)
optimiser = torch.optim.AdamW(twin.parameters(), lr=rate(0), weight_decay=p.weight_decay)
found = losses(twin, twin.image_features(states), twin.text_features(text_states["base"]), original, text_frozen["base"], y)
(found.cross_entropy + p.lambda_reg * found.regularisation + p.lambda_fusion * found.fusion).backward()
optimiser.step()
stepped(model, total, memory := {}, epoch=0)
for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-7)
print(f"one step at rate {rate(0):g}: our update is torch's; {sum(t.numel() for t in model.parameters()):,} numbers moved")

# %% [markdown]
# ## 6 The whole training
#
# The same step, again and again: epoch $e$ takes the pictures in an order drawn from (seed, $e$), in whole batches, each in view
# $e \bmod V$.
# After each epoch we look at the few validation pictures. They are for choosing hyper-parameters; the test pictures are
# looked at once, after training.

# %%
plain_val = kept_states.of_items(cache, frozen, p.first_layer, few[s].val)
val_labels = trials.labels(few[s].val)


def epoch_of(model, memory: dict, epoch: int) -> dict[str, float]:
    """One epoch; its mean losses, and what the validation pictures say after it."""
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(1000 * s + epoch))
    rows = []
    for chosen in order[: len(order) // p.batch * p.batch].split(p.batch):
        states, original = (t.to(fabric.device) for t in data.rows(epoch % data.views, chosen))
        found = losses(model, model.image_features(states), model.text_features(text_states["base"]), original,
                       text_frozen["base"], data.labels[chosen].to(fabric.device))  # fmt: skip
        stepped(model, found.cross_entropy + p.lambda_reg * found.regularisation + p.lambda_fusion * found.fusion, memory, epoch)
        rows.append({"cross_entropy": found.cross_entropy.item(), "regularisation": found.regularisation.item()})
    (now,) = evaluate_together([model], plain_val, {p.first_layer: text_states["base"]}, val_labels)
    return {**pd.DataFrame(rows).mean().to_dict(), "alpha_cls": model.alpha[0].item(), "val_accuracy": now.fused,
            "val_class_feature": now.class_feature}  # fmt: skip


model = DeAR(frozen, head_roles, trials.settings(p), seed=s).to(fabric.device)  # as it was before the step
memory = {}
curve = [epoch_of(model, memory, epoch) for epoch in range(p.epochs)]

# %%
fig, axes = plots.figure(1, 4, size=(11, 2.3))
shown = {"cross_entropy": "cross-entropy", "regularisation": "distance from CLIP (Eq. 13)", "alpha_cls": "α of the class feature",
         "val_accuracy": "validation accuracy (%)"}  # fmt: skip
for ax, (name, label), color in zip(axes, shown.items(), plots.LINE_COLORS, strict=False):
    plots.loss_curve(ax, [curve], name, label, color).set(xlabel="epoch", xticks=range(1, p.epochs + 1))
plots.save(fig, p.figures_root, "05_curves")
start, end = curve[0], curve[-1]
for name, label in (("val_accuracy", "fused"), ("val_class_feature", "class feature alone")):
    print(f"validation accuracy of {len(val_labels)} pictures, {label}: {start[name]:.1f} → {end[name]:.1f} %")

# %% [markdown]
# One line each, of one seed. *Distance from CLIP* does not start at 0: the text tokens are drawn at random and move the text features at
# once, before any step; what training does to it is the change from there. A curve that stays flat says that this loss does little here.
#
# Cross-entropy is of the training pictures, accuracy of other pictures of the same classes, and of few: one answer is worth
# $100 / n$ points. Nothing forces the second to rise while the first falls. *Fused* and *class feature* are of the same model and the same
# text features, so what sets them apart is what the attribute features vote. That says where a loss comes from, not why: whether the
# votes prefer some classes or misread the picture. [Notebook 15](15_what_carries_the_gain.ipynb) takes them apart, on many data sets.

# %% [markdown]
# ## 7 Base and novel accuracy
#
# The same tokens meet the novel classes' names and pictures. *Fused* is Eq. 19 with the weights that the base classes found; *class
# feature* leaves the attribute features out.

# %%
mine = {}
for name in parts:
    (result,) = evaluate_together([model], test[name], {p.first_layer: text_states[name]}, labels[name])
    mine[name, "DeAR"], mine[name, "DeAR (class feature)"] = result.fused, result.class_feature
print(", ".join(f"{method}, {name}: {value:.2f} %" for (name, method), value in mine.items()))

# %% [markdown]
# ## 8 The study does the same
#
# `dearlib.study.run` makes what the tables are made of: all seeds of all variants, stacked in one batch because they share the frozen
# layers. The same settings through it, into a scratch folder; the first seed must be the run in view.

# %%
scratch = Path("runs/scratch")
head_roles.save(scratch / "05_roles.json")
told = {k: v for k, v in plain(p).items() if k not in ("profile", "per_dataset", "dataset", "seed")}
group = Group(datasets=(p.dataset,), classes="halves", runs={"DeAR": {}})
given = told | {"runs_root": str(scratch / params_hash(p)), "roles": str(scratch / "05_roles.json")}
record = run.run_group(Path("params") / p.profile, "lesson", group, p.dataset, fabric, given)
metrics = pd.DataFrame([m.model_dump() for m in record.metrics])

# %%
theirs = metrics[metrics.seed == s].set_index(["split", "method"]).accuracy
few_pictures = 100 * 3 / min(map(len, labels.values()))  # rounding may turn answers that hang in the balance
for (name, method), value in mine.items():
    assert abs(value - theirs[name, method]) <= few_pictures, (name, method, value, theirs[name, method])
saved, _ = read_tensors(scratch / params_hash(p) / f"lesson-{p.dataset}" / f"tokens-DeAR-seed{s}.safetensors")
for name, parameter in model.named_parameters():
    far = (parameter.detach().cpu() - saved[name]).norm() / saved[name].norm()
    assert far < 1e-2, f"{name}: the loop in view and the study's differ by {far:.1e}"
print("The loop in view and the study's trained the same numbers.")

# %%
summary = metrics.groupby(["method", "split"]).accuracy.agg(["mean", "std", "count"]).unstack("split").round(2)
display(Markdown(f"{p.dataset}, {len(p.seeds)} seeds, percent of the test pictures:"))
summary

# %% [markdown]
# ## What is true here
#
# One data set, a few seeds: an example, not a result. The intervals are 95 % over seeds, for this data set trained again; they say nothing
# of others. Tables 2 and 5 have the data sets, and what they say of the paper's claims stands in the
# [claims table](../figures/mini/claims.md).

# %%
found = {"dataset": p.dataset, "seeds": len(p.seeds), "seed": s, "ce_from": start["cross_entropy"], "ce_to": end["cross_entropy"],
         "away_from": start["regularisation"], "away_to": end["regularisation"], "alpha": end["alpha_cls"],
         "val": len(val_labels), "val_from": start["val_accuracy"], "val_to": end["val_accuracy"],
         "val_cls_from": start["val_class_feature"], "val_cls_to": end["val_class_feature"]}  # fmt: skip
frozen_accuracy = clip_accuracy | {"hm": harmonic_mean(clip_accuracy["base"], clip_accuracy["novel"])}
for short, method in (("gain", "DeAR"), ("cls", "DeAR (class feature)")):
    by_seed = metrics[metrics.method == method].pivot(index=["dataset", "seed"], columns="split", values="accuracy")
    by_seed["hm"] = [harmonic_mean(*row) for row in by_seed[["base", "novel"]].to_numpy()]
    for name, value in frozen_accuracy.items():
        d = difference(by_seed[name] - value, "these data sets")
        found |= {f"{name}_{short}": d.mean, f"{name}_{short}_low": d.low, f"{name}_{short}_high": d.high}
file = write_numbers(p.figures_root / "05_numbers.csv", found)

# %%
display(from_numbers(file, (
    "- On {dataset}, {seeds:.0f} seeds, DeAR is {base_gain:+.1f} points [{base_gain_low:+.1f}, {base_gain_high:+.1f}] from zero-shot CLIP "
    "on base classes, {novel_gain:+.1f} [{novel_gain_low:+.1f}, {novel_gain_high:+.1f}] on novel ones, {hm_gain:+.1f} "
    "[{hm_gain_low:+.1f}, {hm_gain_high:+.1f}] in HM."
)))
display(from_numbers(file, (
    "- Its class feature alone is {base_cls:+.1f} [{base_cls_low:+.1f}, {base_cls_high:+.1f}] and {novel_cls:+.1f} [{novel_cls_low:+.1f}, "
    "{novel_cls_high:+.1f}] points from CLIP: the rest is what attribute features vote."
)))
display(from_numbers(file, (
    "- In the run in view (seed {seed:.0f}), first epoch → last: cross-entropy {ce_from:.3f} → {ce_to:.3f}, distance from CLIP "
    "{away_from:.4f} → {away_to:.4f}; of {val:.0f} validation pictures {val_from:.1f} → {val_to:.1f} % right, {val_cls_from:.1f} → "
    "{val_cls_to:.1f} % by the class feature alone. α of the class feature ends at {alpha:.3f}."
)))

# %% [markdown]
# What protects the novel classes is not shown by one run. Whether regularisation and fusion loss do is a question for Table 6, with
# intervals, in [notebook 10](10_ablations.ipynb); what carries the gain is asked in [notebook 15](15_what_carries_the_gain.ipynb).
#
# **Misconceptions.** *"Novel classes are unseen by CLIP"*: they are unseen by the adaptation. *"One view means no augmentation"*: `views:
# 1` is one fixed random crop for each picture; `views: 0` is the plain picture.
#
# ## Exercises
#
# Each stub is checked by the cell below it. Nothing is written.
#
# **1.** Eq. 12 with Eq. 16, for one picture: the loss from logits, label, the two cosines of Eq. 14 and 15, and $\alpha_\text{cls}$.

# %% tags=["exercise"]
import math


def total_loss(logits: list[float], label: int, cos_image: float, cos_text: float, alpha_cls: float, reg: float, fusion: float) -> float:
    """`reg` and `fusion` are the two λ."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

check(total_loss, [
    (([0.0, 0.0], 0, 1.0, 1.0, 1.0, 9.0, 9.0), 0.6931, "at CLIP's features and α = 1 only the cross-entropy is left"),
    (([0.0, 0.0], 0, 0.5, 1.0, 1.0, 2.0, 0.0), 1.6931, "Eq. 14 is 1 − cos, weighed by λ_reg"),
    (([0.0, 0.0], 0, 1.0, 1.0, 0.5, 0.0, 1.0), 1.3863, "Eq. 16 is −log α, a natural logarithm"),
    (([2.0, 0.0], 1, 1.0, 0.9, 0.5, 1.0, 0.1), 2.2962, "all three together"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def total_loss(logits, label, cos_image, cos_text, alpha_cls, reg, fusion):
#     ce = math.log(sum(math.exp(x) for x in logits)) - logits[label]
#     return ce + reg * ((1 - cos_image) + (1 - cos_text)) - fusion * math.log(alpha_cls)
# ```
#
# </details>

# %% [markdown]
# **2.** The schedule: the rates of all epochs as a list.

# %% tags=["exercise"]
def rates(epochs: int, warmup: int, warmup_lr: float, lr: float) -> list[float]:
    """Of epochs 0 … epochs − 1."""
    ...


# %% tags=["check"]
check(rates, [
    ((2, 0, 0.1, 1.0), [1.0, 0.5], "half of the cosine's way after one of two epochs"),
    ((2, 1, 0.1, 1.0), [0.1, 1.0], "the cosine starts after the warm-up, at the full rate"),
    ((3, 1, 0.1, 2.0), [0.1, 2.0, 1.5], "the cosine's length is all epochs: the warm-up does not shorten it"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def rates(epochs, warmup, warmup_lr, lr):
#     cosine = [lr * (1 + math.cos(math.pi * (e - warmup) / epochs)) / 2 for e in range(warmup, epochs)]
#     return [warmup_lr] * warmup + cosine
# ```
#
# </details>
#
# **To think about.** `lambda_reg: 0` in a copy of the parameter file: which half would suffer, and what in section 3 decides that for the
# class feature of a model whose heads are all shielded?
