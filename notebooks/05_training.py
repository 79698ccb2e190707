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
# **Question.** What do a few hundred thousand trained numbers around a frozen CLIP gain, on the classes they were trained
# on and on classes they never saw?
#
# **In the paper.** Section 3.3.4 (Eq. 12–16, the loss), Section 4.1 (base-to-novel protocol).
#
# **What you will see.** The few-shot sample, what the frozen layers allow us to compute once, the learning-rate schedule,
# three training curves, and base and novel accuracy of zero-shot CLIP and of DeAR.
#
# **Time and memory.** DeAR-Mini, three seeds: about a minute on one laptop core, under 2 GB. ViT-B/16: minutes on one GPU.
#
# **Reads** a data set in the community's layout and the role file of notebook 02. **Writes** `record.json` and one file of
# trained tokens per seed to the run's folder, and frozen states to a cache that may be deleted at any time.

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"
clip: str = "DeAR-Mini"
clip_weights = None  # type: str|None  a weights file; None: those in the package
data_root: str = "data/mini"
seed: int = 1
device: str = "cpu"
dataset: str = "objects"
roles: str = "runs/mini/02_head_roles/roles.json"
first_layer: int = 9  # J
text_tokens: int = 5  # K
tokens_per_attribute: int = 1
beta: float = 0.7  # share of the raw token at the entrance of the layers after J
alpha_cls: float = 0.5  # α_cls before training
lambda_reg: float = 1.0
lambda_fusion: float = 0.1
cache_root: str = "cache/prefix"
cache_dtype: str = "float32"
cache_gb: float = 20.0  # beyond it, states are computed whenever they are needed
together: int = 24  # runs that are trained as one batch, at most
shots: int = 16  # pictures per class
seeds: list = [1, 2, 3]
epochs: int = 20
batch: int = 4
lr: float = 1e-3
warmup_epochs: int = 1
warmup_lr: float = 1e-5
weight_decay: float = 5e-4
views: int = 4  # augmented views kept per picture
crop_scale: list = [0.5, 1.0]
flip: bool = False
precision: str = "32-true"
per_dataset: dict = {}  # values that one data set has in place of these

# %%
import time
from collections import Counter

import pandas as pd
import torch

from dearlib import plots
from dearlib.clip import cache as kept_states
from dearlib.clip.cut import check_cut, text_prefix
from dearlib.clip.loading import load
from dearlib.datasets import classnames, few_shot, half, prompts, read_split, split_sha256
from dearlib.methods.dear import DeAR, Settings
from dearlib.methods.evaluation import evaluate, evaluate_together, harmonic_mean, zero_shot
from dearlib.methods.stack import Stack
from dearlib.methods.training import Schedule, TrainingRun, TrainingSet, fit
from dearlib.params.reading import params_hash, validated
from dearlib.params.schemas import plain
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import experiment
from dearlib.study.records import Metric, RunRecord, provenance
from dearlib.workflow import processes as ranks

began = time.monotonic()
p = validated("05_training", globals())
fabric = ranks.fabric(p.device, p.precision)
frozen = load(p.clip, p.clip_weights)
check_cut(frozen, p.first_layer)
frozen.model.to(fabric.device)
head_roles = HeadRoles.load(p.roles).for_weights(frozen.weights_sha256)
run_folder = p.runs_root / f"05_training-{p.dataset}"
print(f"{frozen.name} {frozen.weights_sha256[:8]} · roles {head_roles.sha256[:8]} · {p.dataset} · parameters {params_hash(p)}")

# %% [markdown]
# ## 1. Base and novel classes
#
# **Claim.** A few-shot learner can win on the classes it saw by forgetting what CLIP knew about all the others. So the
# classes are cut in two: labels in sorted order, the first ⌈n/2⌉ are *base*, the rest *novel*. Training sees pictures and
# names of base classes only; each half is then tested among its own names.
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
# ## 2. What is frozen is computed once
#
# **Claim.** Below layer $J$ nothing is trained, so the states that enter layer $J$ are constants of a picture. We keep them:
# test pictures once for all seeds, training pictures once per augmented view. An epoch then only pays for layers
# $J \dots L$. Text is the same: the prompts' states on the verge of layer $J$ never change, only what follows does.
#
# Augmentation is drawn *before* training as a list of crops, so that a view has a name under which it can be kept.
# Epoch $e$ sees view $e \bmod V$ of every picture.


# %%
cache = experiment.cache(p)


def kept(items):
    """States on the verge of layer J and frozen features of plain pictures."""
    with fabric.rank_zero_first():  # of several processes the others find it in the cache
        return kept_states.of_items(cache, frozen, p.first_layer, items)


test = {"base": kept(base.test), "novel": kept(novel.test)}
labels = {name: torch.tensor([i.label for i in part.test]) for name, part in (("base", base), ("novel", novel))}
text = {name: prompts(p.dataset, classnames(part)) for name, part in (("base", base), ("novel", novel))}
text_states = {name: text_prefix(frozen, t, p.first_layer) for name, t in text.items()}
text_frozen = {name: frozen.encode_text(t) for name, t in text.items()}
print(text["base"][0], "·", len(test["base"].features), "base and", len(test["novel"].features), "novel test pictures")


# %% [markdown]
# The cut must not change anything: layers $J \dots L$ on the kept states give the very feature that the whole encoder gives, up to the
# rounding of the states, which half precision (`cache_dtype`) makes coarser.

# %%
from dearlib.clip.cut import image_suffix
from dearlib.datasets import open_image

some = torch.stack([frozen.preprocess(open_image(item.path)) for item in base.test[:4]]).to(fabric.device)
whole = frozen.encode_image(some)
resumed = image_suffix(frozen.visual, test["base"].rows(torch.arange(4))[0].to(fabric.device), p.first_layer)
apart = ((resumed - whole).norm(dim=-1) / whole.norm(dim=-1)).max().item()
assert apart < {"float32": 1e-4, "float16": 1e-2, "bfloat16": 3e-2}[p.cache_dtype]
print(f"largest distance: {apart:.0e} of a feature's length")

# %% [markdown]
# ## 3. Zero-shot CLIP
#
# The frozen features answer by cosine similarity with the prompts' features. Nothing is random here, so there is one number
# per half.

# %%
metrics = []


def note(half_name, part, method, s, value):
    metrics.append(Metric(dataset=p.dataset, split=half_name, part=part, method=method, seed=s, accuracy=value))


for name in ("base", "novel"):
    accuracy = zero_shot(test[name].features, text_frozen[name].cpu(), labels[name])
    note(name, "test", "CLIP", None, accuracy)
    print(f"zero-shot CLIP, {name}: {accuracy:.2f} %  (chance {100 / len(text[name]):.1f} %)")

# %% [markdown]
# ## 4. The schedule
#
# AdamW; the first epoch at a small constant rate, then a cosine that starts at the full rate. The warm-up does not shorten the
# cosine, so the rate ends above zero. The rate moves once per epoch.

# %%
schedule = Schedule(
    epochs=p.epochs,
    batch=p.batch,
    lr=p.lr,
    warmup_epochs=p.warmup_epochs,
    warmup_lr=p.warmup_lr,
    weight_decay=p.weight_decay,
    lambda_reg=p.lambda_reg,
    lambda_fusion=p.lambda_fusion,
)
fig, ax = plots.figure(size=(4.6, 2.2))
ax.step(range(1, p.epochs + 1), [schedule.rate(e) for e in range(p.epochs)], where="mid")
_ = ax.set(xlabel="epoch", ylabel="learning rate")

# %% [markdown]
# ## 5. Training
#
# Per seed: a new few-shot sample, new views, new tokens. `fit` minimises Eq. 12 and writes a checkpoint after each epoch,
# named after everything the result depends on; a run that is killed goes on from there to the same numbers.
# After each epoch we look at the few validation pictures. They are for choosing hyper-parameters; the test pictures are
# looked at once, after training.
#
# The seeds differ in their tokens and pictures, not in the frozen layers, which are nearly all of the work. So they are trained
# *as one batch*: the rows of a batch belong to different runs, and each row brings its own tokens.


# %%
def views_of(sample, s):
    """The training set of one seed: `views` views of every picture, on the verge of layer J."""
    with fabric.rank_zero_first():
        kept_views = kept_states.of_views(cache, frozen, p.first_layer, sample.train, s, p.views, p.crop_scale, p.flip)
    return TrainingSet(kept_views, torch.tensor([item.label for item in sample.train]))


settings = Settings(
    first_layer=p.first_layer, text_tokens=p.text_tokens, tokens_per_attribute=p.tokens_per_attribute, beta=p.beta, alpha_cls=p.alpha_cls
)
runs = [TrainingRun(DeAR(frozen, head_roles, settings, seed=s).to(fabric.device), views_of(few[s], s), schedule, s) for s in p.seeds]

# %% [markdown]
# Stacking may change nothing: the features of every run in the stack are those that its model gives alone.

# %%
states = torch.stack([r.data.rows(0, torch.arange(2))[0] for r in runs])  # [run, picture, token, D_v]
with torch.no_grad():
    together = Stack([r.model for r in runs]).image_features(states.to(fabric.device))
    for i, run in enumerate(runs):
        alone = run.model.image_features(states[i].to(fabric.device))
        torch.testing.assert_close(together.cls[i], alone.cls, rtol=1e-4, atol=1e-5)
tokens = f"{states.shape[2]} + {len(runs[0].model.attribute_tokens)}"
print(f"{len(runs)} runs × {p.batch} pictures: a step has {len(runs) * p.batch} rows of {tokens} tokens")

# %%
split_file = split_sha256(p.data_root, p.dataset)
sampled = [kept_states.contents(few[s].train + few[s].val) for s in p.seeds]  # nothing else is looked at while training
key = kept_states.digest([params_hash(p), frozen.identity, head_roles.sha256, split_file, *sampled])
validation = [(kept(few[s].val), torch.tensor([item.label for item in few[s].val])) for s in p.seeds]


def validate(models):
    """Accuracy of each run on its own validation pictures."""
    each = zip(models, validation, strict=True)
    return [{"val_accuracy": evaluate(m, v.rows(torch.arange(len(y)))[0], text_states["base"], y).fused} for m, (v, y) in each]


curves = fit(runs, text_states["base"], text_frozen["base"], fabric, run_folder / f"checkpoint-{key}.safetensors", validate)
trained = {r.seed: r.model for r in runs}

# %%
for s, curve in zip(p.seeds, curves, strict=True):
    note("base", "val", "DeAR", s, curve[-1]["val_accuracy"])
size = sum(t.numel() for t in runs[0].model.parameters())
print(f"{size:,} trained numbers beside {sum(t.numel() for t in frozen.model.parameters()):,} frozen ones")

# %%
fig, axes = plots.figure(1, 4, size=(11, 2.4))
shown = {"cross_entropy": "cross-entropy", "regularisation": "distance from CLIP", "alpha_cls": "α of the class feature"}
for ax, (name, label), color in zip(axes, shown.items(), plots.LINE_COLORS, strict=False):
    plots.loss_curve(ax, curves, name, label, color).set(xlabel="epoch")
_ = plots.loss_curve(axes[3], curves, "val_accuracy", "validation accuracy (%)", plots.LINE_COLORS[3]).set(xlabel="epoch")

# %%
first, last = (pd.DataFrame([c[i] for c in curves]).mean() for i in (0, -1))
print(f"cross-entropy {first.cross_entropy:.3f} → {last.cross_entropy:.3f}; distance from CLIP {first.regularisation:.3f} → ", end="")
print(f"{last.regularisation:.3f}; α of the class feature {first.alpha_cls:.3f} → {last.alpha_cls:.3f}")

# %% [markdown]
# ## 6. Base and novel accuracy
#
# The same tokens meet the novel classes' names and pictures. *Fused* is the α-weighted sum over class and attribute
# features (Eq. 19), with the weights that the base classes found; *class feature* leaves the attribute features out.

# %%
for name in ("base", "novel"):
    prompted = {p.first_layer: text_states[name]}
    results = evaluate_together(list(trained.values()), test[name], prompted, labels[name])
    for s, result in zip(trained, results, strict=True):
        note(name, "test", "DeAR", s, result.fused)
        note(name, "test", "DeAR (class feature)", s, result.class_feature)

tidy = pd.DataFrame([m.model_dump() for m in metrics])
on_test = tidy[tidy.part == "test"]
summary = on_test.groupby(["method", "split"]).accuracy.agg(["mean", "std", "count"]).unstack("split").round(2)
summary

# %%
mean = on_test.groupby(["method", "split"]).accuracy.mean().unstack()
hm = {method: harmonic_mean(row["base"], row["novel"]) for method, row in mean.iterrows()}
for name in ("base", "novel"):
    change = mean.loc["DeAR", name] - mean.loc["CLIP", name]
    print(f"{name}: DeAR {mean.loc['DeAR', name]:.2f} %, {change:+.2f} points against zero-shot CLIP (n = {len(p.seeds)} seeds)")
print(f"harmonic mean: {hm['CLIP']:.2f} → {hm['DeAR']:.2f} ({hm['DeAR'] - hm['CLIP']:+.2f} points)")

# %% [markdown]
# ## 7. The record
#
# One JSON file says what was run, on what, and what came out; it is written whole or not at all, after the tokens. Tables are
# made of records alone. With the record on disk the checkpoints have done their work.

# %%
record = RunRecord(
    notebook="05_training",
    parameters=plain(p),
    parameters_sha256=params_hash(p),
    weights_sha256=frozen.weights_sha256,
    identity=frozen.identity,
    roles_sha256=head_roles.sha256,
    split_sha256={p.dataset: split_file},
    wall_seconds=time.monotonic() - began,
    metrics=tuple(metrics),
    curves={f"seed {r.seed}": curve for r, curve in zip(runs, curves, strict=True)},
    **provenance(p.data_root),
)
if fabric.is_global_zero:  # of several processes one writes
    for s, model in trained.items():
        model.save(run_folder / f"tokens-seed{s}.safetensors")
    record.save(run_folder / "record.json")
    for checkpoint in run_folder.glob("checkpoint-*.safetensors"):
        checkpoint.unlink()
fabric.barrier()
RunRecord.load(run_folder / "record.json").metrics[0]

# %% [markdown]
# ## What to take away
#
# - What is frozen is a constant: caching the prefix leaves only the last layers to pay for, and changes no number.
# - Regularisation towards the frozen features and a fusion weight that prefers the class feature are what protects the
#   novel classes; the curves above show both at work.
# - Validation pictures choose, test pictures judge, and the record keeps the two apart.
#
# **Exercises.** (a) Set `lambda_reg` to 0: which half suffers, base or novel? (b) Set `views` to 1: does training without
# augmentation overfit? (c) Train with a role file of `uniform_roles("mixed", …)`: what do the role masks contribute here?
