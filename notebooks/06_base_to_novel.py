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
# # 06 · From base to novel classes
#
# **Question.** Does DeAR gain on the classes it was trained on without losing the ones it never saw, and is it the best of its family?
#
# | | |
# |---|---|
# | Paper | Section 4.2, Table 2 |
# | You will see | the table with every method's row, DeAR against each, what each costs, and how much the class feature alone carries |
# | Reads | the records of the group `base_to_novel` of `params/<profile>/study.yaml` |
# | Writes | `table2.*`, `cost_methods.*`, `06_base_to_novel`, `06_against`, `06_cost` (SVG, PNG) in the figures folder |
# | Takes | seconds: nothing is computed here but means |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"

# %%
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown

from dearlib import plots
from dearlib.methods.evaluation import harmonic_mean
from dearlib.paper.reported import beside, reported
from dearlib.params.reading import validated
from dearlib.study import companion, tables
from dearlib.study.averages import base_to_novel, presentable
from dearlib.study.contrasts import Contrast, compared, paired
from dearlib.study.plan import TABLE2, read_plan
from dearlib.study.records import origin, tidy

p = validated("06_base_to_novel", globals())
plan = read_plan(p.profile, p.figures_root)
datasets, records = plan.group(TABLE2).datasets, plan.records(TABLE2)
metrics = tidy(records)
first = records[0]
print(f"{len(records)} records · weights {first.weights_sha256[:8]} · roles {first.roles_sha256[:8]}")

# %% [markdown]
# ## 1. What a record holds
#
# One row per data set, half, part, method and seed. Reading them has refused records of different weights, roles or split
# files, so whatever differs between two rows below is what the row says. Rows of validation pictures are in the records too;
# no table uses them.

# %%
metrics[metrics.dataset == datasets[0]]

# %% [markdown]
# ## 2. The harmonic mean
#
# $$\mathrm{HM} = \frac{2\,B\,N}{B + N}$$
#
# A method that buys base accuracy $B$ with novel accuracy $N$ is not rewarded: 100 and 0 have an arithmetic mean of 50 and a
# harmonic mean of 0. As in the paper, HM is taken *of the means*: over seeds within a data set, and over data sets for the
# average. The mean of HMs is another, mostly smaller number, so the two must not be mixed.

# %%
assert harmonic_mean(100, 0) == 0
assert np.isclose(harmonic_mean(60, 90), 72)
of_means = harmonic_mean((60 + 90) / 2, (90 + 60) / 2)
print(f"two data sets, 60/90 and 90/60: HM of the means {of_means:.0f}, mean of the HMs {harmonic_mean(60, 90):.0f}")

# %% [markdown]
# ## 3. The table
#
# Every method was trained here, on the same pictures and tested on the same; its recipe is its authors', for the mini profile scaled
# by a rule that `params/mini/study.yaml` states. A *transductive* method saw the novel classes' unlabelled training pictures, so it
# answers another question. Where a data set is one of the paper's, what the paper reports for it stands below, marked *reported*.

# %%
others = companion.others_of(records)
methods = ["CLIP", *others, *(name for name in companion.rows_of(records) if name not in others)]
table = base_to_novel(metrics, datasets, methods)
shown = presentable(table)
shown["Method"] = companion.marked(shown["Method"], records)
shown = beside(2, shown, datasets)
tables.write(table, shown, p.figures_root / "table2", origin("06_base_to_novel", p, records))
Markdown(shown.to_markdown(index=False, disable_numparse=True))

# %% [markdown]
# One number of it by hand: the average row's base accuracy of DeAR is the mean over data sets of the means over seeds.

# %%
ours = metrics[(metrics.method == "DeAR") & (metrics.part == "test") & (metrics.split == "base")]
by_hand = ours.groupby("dataset").accuracy.mean().mean()
average = table[table.dataset == "average"].set_index("method")
assert np.isclose(by_hand, average.loc["DeAR", "base"])
print(f"{by_hand:.2f} %")

# %% [markdown]
# The paper's averages, *reported* for ViT-B/16 on eleven public data sets. On other data sets only the order can be compared:

# %%
theirs = reported(2)
theirs = theirs[theirs.role == "average"].pivot(index="method", columns="metric", values="value")[["base", "novel", "hm"]]
Markdown("*Reported:*\n\n" + theirs.loc[reported(2).method.unique()].to_markdown(floatfmt=".2f"))

# %% [markdown]
# What must be so before DeAR's rows say anything about tokens and masks: tokens that differ, a class feature that has moved, heads
# that are shielded.

# %%
Markdown(companion.gates_table(records).to_markdown(index=False, disable_numparse=True))

# %% [markdown]
# ## 4. The figure
#
# Base, novel and harmonic mean per data set for CLIP, DeAR and the best of the others by average HM, with one standard deviation over
# seeds. Zero-shot CLIP has no seeds.

# %%
ranked = [name for name in average.hm.sort_values(ascending=False).index if name in others]
three = table[table.method.isin(["CLIP", *ranked[:1], "DeAR"])]
fig, axes = plots.figure(3, 1, size=(max(8, 0.9 * (len(datasets) + 1)), 7))
for ax, column in zip(axes, ("base", "novel", "hm"), strict=True):
    plots.base_novel_chart(ax, three, column)
for ax in axes[1:]:
    ax.get_legend().remove()
_ = plots.save(fig, p.figures_root, "06_base_to_novel")

# %%
change = average.loc["DeAR", ["base", "novel", "hm"]] - average.loc["CLIP", ["base", "novel", "hm"]]
seeds = int(average.loc["DeAR", "n"])
print(f"DeAR against zero-shot CLIP, average of {len(datasets)} data sets, n = {seeds} seeds, in points:")
print(f"base {change['base']:+.2f}, novel {change['novel']:+.2f}, HM {change['hm']:+.2f}")

# %%
hm = table.pivot(index="dataset", columns="method", values="hm").drop(index="average")
gain = (hm["DeAR"] - hm["CLIP"]).sort_values()
better = int((gain > 0).sum())
print(f"HM is higher with DeAR on {better} of {len(gain)} data sets; from {gain.iloc[0]:+.1f} ({gain.index[0]}) ", end="")
print(f"to {gain.iloc[-1]:+.1f} ({gain.index[-1]}) points")

# %% [markdown]
# ## 5. DeAR against each method
#
# Paired over data sets and seeds: what both share, the pictures and the luck of the draw, cancels. The thin interval is for *data sets
# like these*, the thick one for *these data sets*; in the pale band no difference could be seen at all.

# %%
if others:
    against = [*others, "CLIP"]
    differences = compared(metrics, "DeAR", against, datasets)
    fig, axes = plots.figure(1, 3, size=(11, 0.9 + 0.32 * len(against)), sharey=True)
    for ax, measure in zip(axes, ("base", "novel", "hm"), strict=True):
        each = [paired(metrics, Contrast("DeAR", m, measure, datasets=tuple(datasets))).groupby("dataset").mean() for m in against]
        points = pd.concat([s.rename("difference").reset_index().assign(against=m) for m, s in zip(against, each, strict=True)])
        plots.method_forest(ax, differences[differences.measure == measure], points, f"{measure}: DeAR minus …, points")
    _ = plots.save(fig, p.figures_root, "06_against")

# %% [markdown]
# ## 6. What it costs
#
# Trained numbers, steps and pictures are the recipe's. Seconds and memory were measured while the runs were made; runs of one shape
# share a batch and its time. Trials are those of hyper-parameters on validation pictures.

# %%
titles = {"dear": "DeAR"} | {run["method"]: name.partition(",")[0] for name, run in first.runs.items() if "method" in run}
trials = companion.trials_of(Path("params") / p.profile / "tuning_methods.csv", titles)
costs = companion.cost_table(records, trials)
text = companion.presentable_costs(costs, records)
tables.write(costs, text, p.figures_root / "cost_methods", origin("06_base_to_novel", p, records))
Markdown(text.to_markdown(index=False, disable_numparse=True))

# %%
points = costs.merge(average.reset_index()[["method", "hm"]], on="method")
points["seconds"] = points.seconds_per_step * points.steps
kinds = [("parameters", "trained numbers"), *([("seconds", "seconds of training a run")] if points.seconds.gt(0).any() else [])]
fig, axes = plots.figure(1, len(kinds), size=(4.6 * len(kinds), 3.8), squeeze=False)
for ax, (cost, label) in zip(axes[0], kinds, strict=True):
    plots.accuracy_cost(ax, points, cost, label)
    ax.axhline(average.loc["CLIP", "hm"], color="#8C8C8C", linestyle="--", linewidth=0.9)
_ = plots.save(fig, p.figures_root, "06_cost")

# %% [markdown]
# ## 7. How much do the attribute features add?
#
# The same trained models, answering with the class feature alone. What is left between the two rows is what the attribute
# features say at test time; what they did during training is in both.

# %%
both = base_to_novel(metrics, datasets, ["DeAR (class feature)", "DeAR"])
both = both[both.dataset == "average"]
Markdown(presentable(both).to_markdown(index=False, disable_numparse=True))

# %% [markdown]
# ## What to take away
#
# - Read base, novel and HM together, with n and a standard deviation; one of them alone can be bought with another.
# - A row is a method *and its recipe*. The companion says what each was given; the difference that counts is the paired one.
# - These are small pictures and a small CLIP. The numbers say whether the method works as described *here*; they are not
#   comparable with the ones the paper reports for ViT-B/16 on public data sets.
#
# **Exercises.** (a) Compute the mean of HMs for the table above: how far is it from the HM of means? (b) Which data set has the
# largest standard deviation, and how many test pictures stand behind it? (c) Leave one data set out of the average: does the
# conclusion hold for every choice?
