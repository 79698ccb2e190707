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
# **Question.** Does DeAR gain on the classes it was trained on without losing the ones it never saw?
#
# | | |
# |---|---|
# | Paper | Section 4.2, Table 2 |
# | You will see | the table, the change on each half, and how much of it the class feature alone carries |
# | Reads | one `record.json` per data set, written by notebook 05 |
# | Writes | `table2.csv`, `.md`, `.tex` and `.json`, `06_base_to_novel.svg` and `.png` in the figures folder |
# | Takes | seconds: nothing is computed here but means |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"

# %%
import numpy as np
from IPython.display import Markdown

from dearlib import plots
from dearlib.methods.evaluation import harmonic_mean
from dearlib.paper.reported import beside
from dearlib.params.reading import validated
from dearlib.study import tables
from dearlib.study.averages import base_to_novel, presentable
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
# Where a data set is one of the paper's, what the paper reports for it stands below, marked *reported*.

# %%
methods = ["CLIP", "DeAR"]
table = base_to_novel(metrics, datasets, methods)
shown = beside(2, presentable(table), datasets)
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
# ## 4. The figure
#
# Harmonic mean per data set, with one standard deviation over seeds. Zero-shot CLIP has no seeds.

# %%
fig, axes = plots.figure(3, 1, size=(max(8, 0.9 * (len(datasets) + 1)), 7))
for ax, column in zip(axes, ("base", "novel", "hm"), strict=True):
    plots.base_novel_chart(ax, table, column)
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
# ## 5. How much do the attribute features add?
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
# - These are small pictures and a small CLIP. The numbers say whether the method works as described *here*; they are not
#   comparable with the ones the paper reports for ViT-B/16 on public data sets.
#
# **Exercises.** (a) Compute the mean of HMs for the table above: how far is it from the HM of means? (b) Which data set has the
# largest standard deviation, and how many test pictures stand behind it? (c) Leave one data set out of the average: does the
# conclusion hold for every choice?
