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
# # 14 · What will it cost?
#
# **Question.** Before a week of GPU time is asked for: how many operations, hours and gigabytes does every table of the paper take, and
# how far can such a prediction be trusted?
#
# | | |
# |---|---|
# | Before this | [13 · Where every operation goes](13_performance.ipynb) |
# | Paper | none of it: the paper gives no cost |
# | You will see | operations from parameter files · prediction beside measurement for the mini profile · hours and disk of the paper's |
# | Reads | parameter files, `bench.csv` of `make bench`, run records |
# | Writes | `14_*.svg` and `.png` beside `bench.csv` |
# | Takes | half a minute |
# | After this | [12 · Do the paper's tables add up?](12_paper_audit.ipynb) |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"
data_root: str = "data/mini"
clip: str = "DeAR-Mini"
predicted: str = "paper"  # the profile whose cost is predicted; that of mini is held against its records
bench: str = "figures"  # bench.csv of each hardware lies in a folder of this one
assumed_tflops: float = 150.0  # of a GPU that nobody here has measured
repeats: int = 5

# %%
from dataclasses import replace
from pathlib import Path
from statistics import median

import pandas as pd
import torch

from dearlib import plots
from dearlib.bench import meters, ways
from dearlib.bench.cost import BYTES, Shape, Sizes, Work, group_work, layers_gflop
from dearlib.clip.cut import frozen_features, image_prefix
from dearlib.clip.loading import load
from dearlib.datasets import classnames, entry, read_split
from dearlib.datasets.world import sets
from dearlib.datasets.world.families import CLASSES
from dearlib.errors import InputError
from dearlib.params.reading import validated
from dearlib.params.study import dear_settings, read_study
from dearlib.study import opening
from dearlib.study.plan import TABLE2
from dearlib.study.records import RunRecord

p = validated("14_cost", globals())
files = sorted(p.bench.glob("*/bench.csv"))
if not files:
    raise InputError(f"{p.bench}: expected a folder with bench.csv in it, got none; run `make bench` first")
measured = {f.parent.name: pd.read_csv(f) for f in files}
hardware = next((n for n in measured if n.startswith("nvidia")), next(iter(measured)))
rates = measured[hardware]
out = p.bench / hardware
print(f"rates of {hardware}, torch {rates.torch.iloc[0]}, {rates.model.iloc[0]}")

# %% [markdown]
# ## 1. Operations of a job
#
# A job makes prefixes (every view and every test picture once through all layers), trains (steps × what a step costs) and tests
# (every picture through layers $J \dots L$ for every run). Prompts are taken to have 16 columns, five of them shared; class names
# differ, but text is the smaller part. By hand for one job, and by `dearlib.bench.cost`:

# %%
vit = Shape(layers=12, tokens=197, width=768, text_layers=12, text_width=512)
path = Path("params") / p.predicted
study = read_study(path)
one = dear_settings(path, study.groups[TABLE2], "DeAR", "dtd")
dtd = Sizes(test=entry("dtd").sizes[2], classes=entry("dtd").sizes[3])
base = (dtd.classes + 1) // 2
pictures = len(one.seeds) * one.views * base * one.shots + dtd.test
steps = len(one.seeds) * one.epochs * (base * one.shots // one.batch)
work = group_work(vit, {"DeAR": one}, "halves", dtd, {}, kept=False)
assert abs(work.prefix - pictures * layers_gflop(12, 1, 197, 768)) < 1e-6 * work.prefix
assert abs(work.training - steps * vit.step(one, base)) < 1e-6 * work.training
print(f"DTD, {len(one.seeds)} seeds: {pictures:,} pictures to encode, {steps:,} steps of {vit.step(one, base):.0f} GFLOP; "
      f"prefix {work.prefix / 1e3:.0f}, training {work.training / 1e3:.0f}, tests {work.evaluation / 1e3:.0f} TFLOP, "
      f"{work.disk_gb:.1f} GB of states")  # fmt: skip

# %% [markdown]
# The formula beside what the counter counted while a step ran (notebook 13):

# %%
step = rates[(rates.part == "training step") & (rates.way == "fast")].set_index("batch")
for batch, row in step.iterrows():
    settings = one.model_copy(update={"batch": int(batch)})
    prompts = ways.build(p.clip, 1, int(row.classes)).text  # the benchmark's own prompts
    ours = replace(vit, text_length=prompts.states.shape[1], text_shared=prompts.shared).step(settings, int(row.classes))
    print(f"batch {batch}, {int(row.classes)} classes: predicted {ours:.1f} GFLOP, counted {row.gflop:.1f} ({ours / row.gflop:.3f})")


# %% [markdown]
# ## 2. All jobs of a profile


# %%
def sizes_of(dataset, root):
    """Test pictures and classes: the published numbers, or those of the split file."""
    if entry(dataset).sizes:
        return Sizes(entry(dataset).sizes[2], entry(dataset).sizes[3])
    if dataset in sets.SETS:  # rendered: known without a picture
        how = sets.SETS[dataset]
        return Sizes(how.test * len(CLASSES[how.classes]), len(CLASSES[how.classes]))
    opening.pictures(root, dataset)
    split = read_split(root, dataset)
    return Sizes(len(split.test), len(classnames(split)))


def jobs(folder, root, shape):
    """The work of every group on every data set, as the study says."""
    found = {}
    for name, group in read_study(folder).groups.items():
        for dataset in group.datasets:
            settings = {run: dear_settings(folder, group, run, dataset) for run in group.dear}
            targets = {t: sizes_of(t, root) for t in group.targets}
            kept = group.classes == "halves" and name != TABLE2  # their prefixes are those of Table 2's runs
            found[name, dataset] = group_work(shape, settings, group.classes, sizes_of(dataset, root), targets, kept)
    return found


def by_group(found):
    """Summed over data sets."""
    total = {}
    for (group, _), w in found.items():
        total[group] = total.get(group, Work()) + w
    return total


# %% [markdown]
# ## 3. Prediction beside measurement: the mini profile
#
# The rates of DeAR-Mini are measured here, with one thread as its jobs run: encoding, and a step of as many runs as are trained together.
# Predicted is the time of the three parts alone; measured is a job's whole time, which also starts Python, reads pictures and draws.

# %%
mini = load(p.clip)
small = Shape.of(mini, text_length=8, text_shared=5)
threads = torch.get_num_threads()
torch.set_num_threads(1)
images = torch.randn(64, 3, *mini.visual.image_size)
with torch.no_grad():
    timed = meters.interleaved({"encode": lambda: frozen_features(mini.visual, image_prefix(mini.visual, images, 9), 9)}, p.repeats)
encoding = 64 * small.encode() / median(timed["encode"])
mini_study = read_study(Path("params/mini"))
settings = dear_settings(Path("params/mini"), mini_study.groups[TABLE2], "DeAR", mini_study.groups[TABLE2].datasets[0])
training = {}
for runs in (3, 12):
    made = ways.build(p.clip, settings.batch, 8, runs=runs)
    seconds = meters.interleaved({"step": lambda made=made: ways.step(made.fast, made.stack)}, p.repeats)["step"]
    training[runs] = runs * small.step(settings, 8) / median(seconds)
torch.set_num_threads(threads)
told = ", ".join(f"{n} runs {r:.0f}" for n, r in training.items())
print(f"DeAR-Mini on one thread: encoding {encoding:.0f} GFLOP/s; training {told} GFLOP/s")

# %%
expected = jobs(Path("params/mini"), p.data_root, small)
rows = []
for (group, name), w in expected.items():
    record = p.figures_root / "records" / f"{group}-{name}.json"
    if record.exists():
        rate = training[3] if w.runs <= 6 else training[12]
        seconds = w.prefix / encoding + w.training / rate + w.evaluation / encoding
        rows.append({"group": group, "data set": name, "predicted": seconds, "measured": RunRecord.load(record).wall_seconds})
jobs_timed = pd.DataFrame(rows, columns=["group", "data set", "predicted", "measured"])
summed = jobs_timed.groupby("group", sort=False)[["predicted", "measured"]].sum()
summed["measured / predicted"] = summed.measured / summed.predicted
summed.round(2)

# %%
if len(jobs_timed):
    fig, ax = plots.figure(size=(5.2, 3.6))
    plots.predicted_measured(ax, jobs_timed.predicted, jobs_timed.measured, jobs_timed.group, "seconds")
    plots.save(fig, out, "14_mini")

# %%
if len(jobs_timed):
    ratios = jobs_timed.measured / jobs_timed.predicted
    print(f"{len(jobs_timed)} jobs: measured {jobs_timed.measured.sum() / 60:.0f} minutes, predicted {jobs_timed.predicted.sum() / 60:.0f}")
    print(f"a job takes {ratios.min():.1f} to {ratios.max():.1f} times what its products take")
else:
    print("No run records at hand: `make reproduce` makes them, and this section holds the prediction against them.")

# %% [markdown]
# ## 4. The profile to be run

# %%
planned = by_group(jobs(path, p.data_root, vit))
total = sum(planned.values(), Work())
by = rates[rates.part == "image encoding"].set_index("way")
rate_encode = by.gflop_per_second["prefix and teacher"]
rate_train = step.gflop_per_second[4]


def hours(w, encode, train):
    """Hours at rates in GFLOP/s."""
    return (w.prefix / encode + w.training / train + w.evaluation / encode) / 3600


assumed = 1e3 * p.assumed_tflops
guess = f"GPU-hours at an assumed {p.assumed_tflops:.0f} TFLOP/s"
lines = []
for group, w in {**planned, "all": total}.items():
    everything = w.prefix + w.training + w.evaluation
    row = {"group": group, "runs": w.runs, "PFLOP": everything / 1e6, "of it prefix": f"{w.prefix / everything:.0%}"}
    row |= {"states, GB": w.disk_gb, f"hours on {hardware}": hours(w, rate_encode, rate_train), guess: hours(w, assumed, assumed)}
    lines.append(row)
pd.DataFrame(lines).round(1)

# %%
print(f"{p.predicted}: {total.runs} runs, {everything / 1e6:.0f} PFLOP; {hours(total, rate_encode, rate_train):.0f} hours by the rates "
      f"measured on {hardware}; {hours(total, assumed, assumed):.0f} GPU-hours if a GPU kept up {p.assumed_tflops:.0f} TFLOP/s (assumed, "
      f"not measured); up to {total.disk_gb:.0f} GB of states, of which the budget `cache_gb` keeps what fits.")  # fmt: skip

# %% [markdown]
# What the prediction leaves out: reading and decoding pictures, which on a GPU can be the larger part. Small steps (batch 4) do not fill
# a GPU; runs trained together do, up to `together`.
#
# ## 5. ImageNet's size
#
# A thousand class names in every step, 16,000 training pictures, 50,000 test pictures. Test pictures stream: nothing of them is kept but
# their features. States beyond the budget are computed a block of pictures at a time. So memory does not grow with pictures:

# %%
large = rates[rates.part == "ImageNet size"]
views, test = 5 * 16_000, 50_000
states_gb = (views + test) * 197 * 768 * BYTES["float16"] / 1e9
features_gb = (views + test) * 512 * 4 / 1e9
if len(large):
    row = large.iloc[0]
    print(f"measured with {int(row.classes):,} classes, batch {int(row.batch)}: peak {row.peak_gb:.1f} GB, {row.seconds:.1f} s a step")
    print(f"whole: {features_gb:.2f} GB of features more, and that is all that grows; its states would be {states_gb:.0f} GB of disk")
    assert row.peak_gb + features_gb < 24

# %% [markdown]
# ## What to take away
#
# - Operations are known exactly before anything runs; rates must be measured, and a ratio of measured to predicted time says what
#   products do not explain.
# - A prefix is paid once: the more runs share it, the smaller its part.
#
# **Exercises.** (a) What does a fourth seed add to Table 2? (b) Which $J$ halves the training, and what does it do to the prefix's size on
# disk? (c) Put in the rate of a GPU that you know: which group would you run first?
