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
# **Question.** Before a week of GPU time is asked for: how many operations, hours and gigabytes do DeAR's runs for every table of the
# paper take, and how far can such a prediction be trusted?
#
# | | |
# |---|---|
# | Before this | [13 · Where every operation goes](13_performance.ipynb) |
# | Paper | none of it: the paper gives no cost |
# | You will see | operations from parameter files · prediction beside measurement for the mini profile · hours and disk of the paper's |
# | Reads | parameter files, `bench.csv` of `make bench`, run records |
# | Writes | `14_numbers.csv`, `14_mini.svg` and `.png` beside `bench.csv` |
# | Takes | 25 seconds and 1.4 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | nothing: here the lessons end |

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
from IPython.display import display

from dearlib import plots
from dearlib.bench import meters, ways
from dearlib.bench.cost import BYTES, Shape, Sizes, Work, group_work, layers_gflop
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
from dearlib.study.takeaways import from_numbers, write_numbers

# %%
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
of_counted = {}
for batch, row in step.iterrows():
    settings = one.model_copy(update={"batch": int(batch)})
    prompts = ways.build(p.clip, 1, int(row.classes)).text  # the benchmark's own prompts
    ours = replace(vit, text_length=prompts.states.shape[1], text_shared=prompts.shared).step(settings, int(row.classes))
    of_counted[batch] = ours / row.gflop
    print(f"batch {batch}, {int(row.classes)} classes: predicted {ours:.1f} GFLOP, counted {row.gflop:.1f} ({of_counted[batch]:.3f})")


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
# ## 3. Prediction beside measurement: training in the mini profile
#
# A step's rate is measured here, with one thread as the profile's jobs run and as many runs together as they have, and held against the
# seconds a step that the records keep. A job's own clock would not do: whatever an earlier start had finished, its last one only read.
# The records were made at other hours, some on another processor, and a machine that is shared does not keep its rate: expect the hours
# of a study from operations, not its minutes.

# %%
small = Shape.of(load(p.clip), text_length=8, text_shared=5)
threads = torch.get_num_threads()
torch.set_num_threads(1)
mini = read_study(Path("params/mini"))
settings = dear_settings(Path("params/mini"), mini.groups[TABLE2], "DeAR", mini.groups[TABLE2].datasets[0])
training = {}
for runs in (3, 12):
    made = ways.build(p.clip, settings.batch, 8, runs=runs)
    seconds = meters.interleaved({"step": lambda made=made: ways.step(made.fast, made.stack)}, p.repeats)["step"]
    training[runs] = runs * small.step(settings, 8) / median(seconds)
torch.set_num_threads(threads)
print("DeAR-Mini, training on one thread: " + ", ".join(f"{n} runs together {r:.0f} GFLOP/s" for n, r in training.items()))

# %%
rows = []
for (group, name), w in jobs(Path("params/mini"), p.data_root, small).items():
    record = p.figures_root / "records" / f"{group}-{name}.json"
    if record.exists():
        own = [cost for run, cost in RunRecord.load(record).costs.items() if run in mini.groups[group].dear and cost.seconds_per_step]
        seeds = w.runs / len(mini.groups[group].dear)
        rows.append({"group": group, "data set": name, "predicted": w.training / training[3 if w.runs <= 6 else 12],
                     "measured": seeds * sum(c.steps * c.seconds_per_step for c in own)})  # fmt: skip
jobs_timed = pd.DataFrame(rows, columns=["group", "data set", "predicted", "measured"])
jobs_timed = jobs_timed[jobs_timed.measured > 0]
summed = jobs_timed.groupby("group", sort=False)[["predicted", "measured"]].sum()
summed["measured / predicted"] = summed.measured / summed.predicted
summed.round(2)

# %%
if len(jobs_timed):
    fig, ax = plots.figure(size=(5.2, 3.6))
    plots.predicted_measured(ax, jobs_timed.predicted, jobs_timed.measured, jobs_timed.group, "seconds of training")
    plots.save(fig, out, "14_mini")

# %%
if len(jobs_timed):
    ratios = jobs_timed.measured / jobs_timed.predicted
    print(f"{len(jobs_timed)} jobs: measured {jobs_timed.measured.sum() / 60:.0f} minutes, predicted {jobs_timed.predicted.sum() / 60:.0f}")
    print(f"a job took {ratios.min():.1f} to {ratios.max():.1f} times as long as predicted")
else:
    print("No run records at hand: `make reproduce` makes them, and this section holds the prediction against them.")

# %% [markdown]
# ## 4. The profile to be run
#
# DeAR's runs alone; what the other methods of a table take, notebook 06 says where they were run.

# %%
planned = by_group(jobs(path, p.data_root, vit))
total = sum(planned.values(), Work())
by = rates[rates.part == "image encoding"].set_index("way")
rate_encode = by.gflop_per_second["prefix and teacher"]
rate_train = step.gflop_per_second[4]


def operations(w):
    """All of them, in GFLOP."""
    return w.prefix + w.training + w.evaluation


def hours(w, encode, train):
    """Hours at rates in GFLOP/s."""
    return (w.prefix / encode + w.training / train + w.evaluation / encode) / 3600


assumed = 1e3 * p.assumed_tflops
guess = f"GPU-hours at an assumed {p.assumed_tflops:.0f} TFLOP/s"
lines = []
for group, w in {**planned, "all": total}.items():
    row = {"group": group, "runs": w.runs, "PFLOP": operations(w) / 1e6, "of it prefix": f"{w.prefix / operations(w):.0%}"}
    row |= {"states, GB": w.disk_gb, f"hours on {hardware}": hours(w, rate_encode, rate_train), guess: hours(w, assumed, assumed)}
    lines.append(row)
pd.DataFrame(lines).round(1)

# %% [markdown]
# What the prediction leaves out: reading and decoding pictures, which on a GPU can be the larger part, and whatever else keeps a step of
# batch 4 from filling one. States beyond the budget `cache_gb` are computed whenever they are needed.
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
# ## What is true here
#
# Predictions, but for what is called measured. None of this is a claim of the paper, so none of it is in the
# [claims table](../figures/mini/claims.md).

# %%
largest = max(planned, key=lambda group: operations(planned[group]))
found = {"profile": p.predicted, "hardware": hardware, "runs": total.runs, "pflop": operations(total) / 1e6,
         "prefix": 100 * total.prefix / operations(total), "hours": hours(total, rate_encode, rate_train), "disk": total.disk_gb,
         "tflops": p.assumed_tflops, "gpu_hours": hours(total, assumed, assumed), "largest": largest,
         "largest_share": 100 * operations(planned[largest]) / operations(total), "steps": len(of_counted),
         "least": min(of_counted.values()), "most": max(of_counted.values()), "jobs": len(jobs_timed)}  # fmt: skip
if len(jobs_timed):
    found |= {"minutes": jobs_timed.measured.sum() / 60, "times": jobs_timed.measured.sum() / jobs_timed.predicted.sum(),
              "fastest": ratios.min(), "slowest": ratios.max()}  # fmt: skip
file = write_numbers(out / "14_numbers.csv", found)

# %%
display(from_numbers(file, (
    "- The {profile} profile: {runs:.0f} runs of DeAR, {pflop:,.0f} PFLOP, {prefix:.0f} % of them for prefixes; at the rates measured on "
    "{hardware} {hours:,.0f} hours, at an assumed {tflops:.0f} TFLOP/s {gpu_hours:.1f} GPU-hours; states of {disk:,.0f} GB."
)))
display(from_numbers(file, "- Its largest group is `{largest}`, {largest_share:.0f} % of the operations."))
display(from_numbers(file, "- Of {steps:.0f} counted steps the formula predicts {least:.3f} to {most:.3f} times the operations."))
if len(jobs_timed):
    display(from_numbers(file, (
        "- Measured: training in {jobs:.0f} jobs of the mini profile took {minutes:.0f} minutes, {times:.1f} times what was "
        "predicted from a step's rate in this notebook ({fastest:.1f} to {slowest:.1f} a job)."
    )))

# %% [markdown]
# **Misconception.** *"Hours are operations over the data sheet's TFLOP/s."* A data sheet has the rate of large products. The rate that
# counts is that of this step in this shape, and it is measured (notebook 13).
#
# ## Exercises
#
# Each stub is checked by the cell below it. Nothing is written.
#
# **1.** Steps of a base-to-novel job: the first half of the classes, rounded up, is trained on, in whole batches, for every seed.

# %% tags=["exercise"]
def training_steps(classes: int, shots: int, batch: int, epochs: int, seeds: int) -> int:
    """Steps of all seeds together."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

check(training_steps, [
    ((10, 16, 4, 1, 1), 20, "5 base classes of 16 pictures, 4 a step"),
    ((11, 16, 4, 1, 1), 24, "of 11 classes 6 are base: round up"),
    ((10, 1, 4, 1, 1), 1, "5 pictures make one whole batch of 4; the rest of an epoch is left out"),
    ((10, 1, 4, 3, 2), 6, "left out in every epoch, not once: 1 step × 3 epochs × 2 seeds"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def training_steps(classes, shots, batch, epochs, seeds):
#     return seeds * epochs * ((classes + 1) // 2 * shots // batch)
# ```
#
# </details>

# %% [markdown]
# **2.** Hours from operations: prefix and tests run at the rate of encoding, steps at that of training.

# %% tags=["exercise"]
def job_hours(prefix: float, training: float, tests: float, encode: float, train: float) -> float:
    """Operations in GFLOP, rates in GFLOP/s."""
    ...


# %% tags=["check"]
check(job_hours, [
    ((3600.0, 0.0, 0.0, 1.0, 9.0), 1.0, "3600 GFLOP at 1 GFLOP/s are 3600 seconds"),
    ((0.0, 3600.0, 0.0, 9.0, 0.5), 2.0, "training has a rate of its own"),
    ((1800.0, 3600.0, 1800.0, 2.0, 4.0), 0.75, "1800 seconds of encoding and tests, 900 of training"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def job_hours(prefix, training, tests, encode, train):
#     return ((prefix + tests) / encode + training / train) / 3600
# ```
#
# </details>

# %% [markdown]
# **3.** How many runs must share a prefix so that it is at most a given share of all operations?

# %% tags=["exercise"]
def runs_for_share(prefix: float, run: float, share: float) -> int:
    """`run`: operations of one run without the prefix."""
    ...


# %% tags=["check"]
check(runs_for_share, [
    ((100.0, 100.0, 0.5), 1, "one run and its prefix are half and half"),
    ((100.0, 50.0, 0.25), 6, "the runs must make up 300, three times the prefix"),
    ((100.0, 70.0, 0.25), 5, "four runs make up 280, which is not enough"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# import math
#
# def runs_for_share(prefix, run, share):
#     return math.ceil(prefix * (1 - share) / share / run)
# ```
#
# </details>
#
# **To think about.** Put in the rate of a GPU that you know: which group would you run first, and which would you leave out?
