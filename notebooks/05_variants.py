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
# # 05 · Many runs on one prefix
#
# **Question.** An ablation asks the same training run again with one thing changed. What can such runs share, and what does
# each change do on this data set?
#
# | | |
# |---|---|
# | Paper | Section 4.2 (ablations), Figure 4 (shots); the runs behind notebooks 07–11 |
# | You will see | which settings a variant changes, what all of them share, base and novel accuracy of each |
# | Reads | a data set, the role file of notebook 02 |
# | Writes | `record.json` and the trained tokens of each variant and seed to `runs/<profile>/<group>-<dataset>/` |
# | Takes | a few seconds per variant and seed for DeAR-Mini on one core |
#
# The same notebook makes every group of runs: its parameter file says which (`params/mini/05_variants*.yaml`).

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
epochs: int = 10  # half of Table 2's: many runs; DeAR itself is among them, as "role masks"
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
group: str = "ablations"  # the runs go to <group>-<dataset>
classes: str = "halves"  # train on the base half and test both; or "all"
variants: dict = {
    "role masks": {},
    "All-Generalization": {"role_map": "all_generalization"},
    "All-Mixed": {"role_map": "all_mixed"},
    "shuffled roles": {"role_map": "shuffled"},
    "roles by loss": {"roles": "runs/mini/02_head_roles/roles_by_loss.json"},
    "CE": {"lambda_reg": 0.0, "lambda_fusion": 0.0},
    "CE + reg": {"lambda_fusion": 0.0},
}
targets: list = []  # other data sets to test on
linear_probe: bool = False

# %%
import time

import pandas as pd
from tqdm.auto import tqdm

from dearlib import plots
from dearlib.clip import cache as kept_states
from dearlib.clip.cut import check_cut, text_prefix
from dearlib.clip.loading import load
from dearlib.datasets import classnames, few_shot, half, prompts, read_split, split_sha256
from dearlib.methods.evaluation import accuracy, evaluate_together, zero_shot
from dearlib.params.reading import params_hash, validated
from dearlib.params.schemas import plain
from dearlib.roles.controls import shielded
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import experiment
from dearlib.study.records import Metric, RunRecord, provenance
from dearlib.workflow import processes as ranks

began = time.monotonic()
p = validated("05_variants", globals())
fabric = ranks.fabric(p.device, p.precision)
frozen = load(p.clip, p.clip_weights)
check_cut(frozen, p.first_layer)
frozen.model.to(fabric.device)
found = HeadRoles.load(p.roles).for_weights(frozen.weights_sha256)
run_folder = p.runs_root / f"{p.group}-{p.dataset}"
print(f"{frozen.name} {frozen.weights_sha256[:8]} · roles {found.sha256[:8]} · {p.group} on {p.dataset} · parameters {params_hash(p)}")

# %% [markdown]
# ## 1. What varies
#
# A variant is a name and the settings it changes; everything else is as in the first rows of the parameters above. Nothing
# here was chosen for this notebook: the settings that are not varied are those that the validation pictures chose.

# %%
variants = {name: p.variant(name) for name in p.variants}
pd.DataFrame(
    {
        "changes": {n: ", ".join(f"{k} = {x}" for k, x in changed.items()) or "nothing" for n, changed in p.variants.items()},
        "shielded heads": {n: shielded(experiment.role_map(HeadRoles.load(v.roles), v, p.seeds[0])) for n, v in variants.items()},
    }
)

# %% [markdown]
# ## 2. What they share
#
# Role map, losses, β, tokens: all of it acts from layer $J$ on. So the states on the verge of layer $J$, the frozen
# features and the prompts' states are the same for all variants, and each picture goes through the lower layers once, not
# once per run. A variant with a later $J$ starts from the same states and lets the frozen layers between run once more.

# %%
split = read_split(p.data_root, p.dataset)
halves = {name: half(split, name) for name in (("base", "novel") if p.classes == "halves" else ("all",))}
learned = "base" if p.classes == "halves" else "all"  # the classes that are trained on
tests = {(p.dataset, name): part for name, part in halves.items()}
tests |= {(target, "all"): half(read_split(p.data_root, target), "all") for target in p.targets}
texts = {key: prompts(key[0], classnames(part)) for key, part in tests.items()}
start = time.monotonic()
cache = experiment.cache(p)
with fabric.rank_zero_first():  # of several processes the others find it in the cache
    shared = {key: kept_states.of_items(cache, frozen, found.first_layer, part.test) for key, part in tests.items()}
size = sum(len(s.features) for s in shared.values())
gigabytes = size * (frozen.patches + 1) * frozen.d_model * cache.dtype.itemsize / 1e9
print(f"{size:,} test pictures through layers 1 to {found.first_layer - 1}: {gigabytes:.2f} GB of states")

# %% [markdown]
# ## 3. The runs

# %%
metrics = []


def note(key, part, method, s, value, shots=None):
    dataset, name = key
    source = p.dataset if dataset != p.dataset and s is not None else None  # zero-shot is trained nowhere
    metrics.append(
        Metric(dataset=dataset, split=name, part=part, method=method, seed=s, accuracy=value, shots=shots, trained_on=source)
    )


label = {key: experiment.labels(part.test) for key, part in tests.items()}
for key in tests:
    note(key, "test", "CLIP", None, zero_shot(shared[key].features, frozen.encode_text(texts[key]).cpu(), label[key]))


# %% [markdown]
# Runs of one shape (the same $J$, $K$, tokens, epochs and number of pictures) are trained as one batch, whatever their seeds, role
# maps, β and λ: the frozen layers, nearly all of the work, are the same for all of them. The test pictures then stream past once
# for all runs.

# %%
trials = {}
for name, v in variants.items():
    given = HeadRoles.load(v.roles).for_weights(frozen.weights_sha256)
    for s in p.seeds:
        items = half(few_shot(split, v.shots, s), learned).train
        trials[name, s] = experiment.Trial(v, experiment.role_map(given, v, s), items, s)
groups = experiment.of_one_shape(trials, p.together)
print(f"{len(trials)} runs in {len(groups)} batches of {', '.join(str(len(g)) for g in groups)} runs")

# %%
trained = {}
for group in tqdm(groups, desc="batches of runs", mininterval=5):
    own = [trials[key] for key in group]
    depends = [part for t in own for part in (params_hash(t.p), t.roles.sha256, kept_states.contents(t.items), str(t.seed))]
    checkpoint = run_folder / f"checkpoint-{kept_states.digest([frozen.identity, *depends])}.safetensors"
    models, _ = experiment.train(frozen, own, texts[p.dataset, learned], fabric, checkpoint)
    trained |= dict(zip(group, models, strict=True))

# %%
for where in tests:
    prompted = {j: text_prefix(frozen, texts[where], j) for j in {v.first_layer for v in variants.values()}}
    results = evaluate_together(list(trained.values()), shared[where], prompted, label[where])
    for (name, s), result in zip(trained, results, strict=True):
        method = name.partition(", ")[0]  # a method's name ends at the comma
        note(where, "test", method, s, result.fused, variants[name].shots)
        note(where, "test", f"{method} (class feature)", s, result.class_feature, variants[name].shots)

# %% [markdown]
# A linear probe, where the parameters ask for one, is the plain way to use a few labelled pictures: a logistic regression on
# the frozen features, its strength chosen on the few validation pictures. It knows nothing of class names.

# %%
if p.linear_probe:
    home = (p.dataset, learned)
    for shots in sorted({v.shots for v in variants.values()}):
        for s in p.seeds:
            few = half(few_shot(split, shots, s), learned)
            sets = [
                (kept_states.of_items(cache, frozen, found.first_layer, i).features, experiment.labels(i)) for i in (few.train, few.val)
            ]
            logits = experiment.linear_probe(*sets, shared[home].features)
            note(home, "test", "linear probe", s, accuracy(logits, label[home]), shots)

# %%
tidy = pd.DataFrame([m.model_dump() for m in metrics])
tidy["tested on"] = tidy.dataset + ", " + tidy.split
summary = tidy.groupby(["method", "shots", "tested on"], dropna=False, sort=False).accuracy.agg(["mean", "std", "count"]).round(2)
summary

# %% [markdown]
# ## 4. The picture
#
# Change against zero-shot CLIP, a dot per seed: one data set and a few seeds are not enough to rank variants that lie close to
# each other. The table notebooks pool data sets and seeds.

# %%
clip_at = tidy[tidy.method == "CLIP"].set_index("tested on").accuracy
shown = tidy[tidy.seed.notna() & ~tidy.method.str.contains("class feature")].assign(gain=lambda t: t.accuracy - t["tested on"].map(clip_at))
fig, ax = plots.figure(size=(7.2, 0.5 + 0.3 * shown.method.nunique() + 0.8))
plots.gain_dots(ax, shown, "method", "tested on", "gain", "points against zero-shot CLIP")
_ = plots.save(fig, run_folder, "gains")

# %%
gains = shown.groupby(["method", "tested on"]).gain.mean()
best, worst = gains.idxmax(), gains.idxmin()
print(f"largest mean gain {gains.max():+.1f} points ({best[0]}, {best[1]}), smallest {gains.min():+.1f} ({worst[0]}, {worst[1]})")
print(f"{len(trained)} runs in {time.monotonic() - start:.0f} s, {(time.monotonic() - start) / len(trained):.1f} s each with tests")

# %% [markdown]
# ## 5. The record

# %%
record = RunRecord(
    notebook="05_variants",
    parameters=plain(p),
    parameters_sha256=params_hash(p),
    weights_sha256=frozen.weights_sha256,
    identity=frozen.identity,
    roles_sha256=found.sha256,
    split_sha256={name: split_sha256(p.data_root, name) for name in (p.dataset, *p.targets)},
    wall_seconds=time.monotonic() - began,
    metrics=tuple(metrics),
    **provenance(p.data_root),
)
if fabric.is_global_zero:  # of several processes one writes
    for (name, s), model in trained.items():
        model.save(run_folder / f"tokens-{name.replace(' ', '_').replace('/', '_')}-seed{s}.safetensors")
    record.save(run_folder / "record.json")
    for checkpoint in run_folder.glob("checkpoint-*.safetensors"):
        checkpoint.unlink()
fabric.barrier()

# %% [markdown]
# ## What to take away
#
# - Runs that differ only above layer $J$ share everything below it: the more variants, the smaller the share of the frozen part.
# - A difference between two variants means something only against the spread over seeds and data sets.
#
# **Exercises.** (a) Add a variant with `beta: 0` and one with `beta: 1`. (b) Add one with `first_layer: 12`: what is left to
# learn? (c) Which variant has the largest gap between its fused and its class-feature accuracy on novel classes, and why?
