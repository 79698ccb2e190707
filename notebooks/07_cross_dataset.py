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
# # 07 · From one data set to others
#
# **Question.** DeAR is trained on one broad data set. Does it help on data sets it was never trained on, whose classes are
# other objects, textures, places?
#
# | | |
# |---|---|
# | Before this | [06 · From base to novel classes](06_base_to_novel.ipynb) |
# | Paper | Section 4.1 (cross-dataset generalization), Table 3 |
# | You will see | accuracy on the source and on every target, with the class feature alone and with the fused logits |
# | Reads | the record of the source runs (the group `source` of `params/<profile>/study.yaml`) |
# | Writes | `table3.*`, `07_differences.csv`, `07_numbers.csv`, `07_transfer.svg` and `.png` in the figures folder |
# | Takes | 15 seconds and 1.2 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [08 · When the pictures change](08_domain_generalization.ipynb) |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from dearlib import plots
from dearlib.files import write_text
from dearlib.paper.reported import beside, reported
from dearlib.params.reading import validated
from dearlib.study import companion, tables
from dearlib.study.averages import AVERAGE, accuracies, methods_by_datasets
from dearlib.study.contrasts import Contrast, compared, paired
from dearlib.study.inference import difference
from dearlib.study.plan import SOURCE, read_plan
from dearlib.study.records import origin, tidy
from dearlib.study.takeaways import cited, from_numbers, takeaway, write_numbers

# %%
p = validated("07_cross_dataset", globals())
plan = read_plan(p.profile, p.figures_root)
source, datasets, records = plan.source, plan.targets, plan.records(SOURCE)
metrics = tidy(records)
print(f"trained on {source} · weights {records[0].weights_sha256[:8]} · roles {records[0].roles_sha256[:8]}")

# %% [markdown]
# ## 1. Two ways to answer
#
# The source model is tested on each target as it is: target names go into the prompts, target pictures through the encoder.
# The fusion weights α were learned on the source. On a target whose classes are textures, the source's weights have no
# reason to be right, so the paper answers with the class feature alone. Both are shown: the paper says that the weights *may* not
# transfer, and that can be measured.

# %%
others = companion.others_of(records)
methods = ["CLIP", *others, "DeAR (class feature)", "DeAR"]
home = accuracies(metrics[metrics.dataset == source], [source], methods)
home = home[home.dataset == source]
away = accuracies(metrics, datasets, methods, trained_on=source)
table = pd.concat([home, away], ignore_index=True)
table["method"] = table.method.replace({"DeAR": "DeAR (fused)"})
shown = methods_by_datasets(table, [source, AVERAGE, *datasets])
shown["Method"] = companion.marked(shown["Method"], records)
shown = beside(3, shown, [source, *datasets])  # the paper's own rows, where these are its data sets
tables.write(table, shown, p.figures_root / "table3", origin("07_cross_dataset", p, records))
Markdown(shown.to_markdown(index=False, disable_numparse=True))

# %% [markdown]
# One number by hand: the average of the class feature is the mean over seeds of the means over targets.

# %%
rows = metrics[(metrics.method == "DeAR (class feature)") & metrics.dataset.isin(datasets) & (metrics.trained_on == source)]
by_hand = rows.groupby("seed").accuracy.mean().mean()
average = table[table.dataset == AVERAGE].set_index("method").accuracy
assert abs(by_hand - average["DeAR (class feature)"]) < 1e-9
print(f"{by_hand:.2f} %")

# %% [markdown]
# The paper's Table 3, *reported* for ViT-B/16 on public data sets (ImageNet to ten others). On other data sets only the pattern can
# be compared.

# %%
theirs = reported(3)
order = list(theirs.dataset.unique())
Markdown("*Reported:*\n\n" + theirs.pivot(index="method", columns="dataset", values="value")[order].to_markdown())

# %% [markdown]
# The gates of DeAR's runs: how far the tokens' features lie apart, and how far the class feature has moved from CLIP's.

# %%
Markdown(companion.gates_table(records).to_markdown(index=False, disable_numparse=True))

# %% [markdown]
# ## 2. What transfers
#
# Differences on the targets, paired over targets and seeds, with the 95 % interval for *data sets like these*. On the source itself, which
# is one data set, only seeds can be drawn anew. One seed has no interval; nor have seeds that agree exactly, for their spread is not known.

# %%
asked = {"class feature − CLIP": ("DeAR (class feature)", "CLIP"), "fused − CLIP": ("DeAR", "CLIP"),
         "class feature − fused": ("DeAR (class feature)", "DeAR")}  # fmt: skip
pairs = {name: paired(metrics, Contrast(*two, "all", source, datasets=datasets)) for name, two in asked.items()}
rows = []
for name, two in asked.items():
    at_home = paired(metrics[metrics.dataset == source], Contrast(*two, "all", datasets=(source,)))
    for where, d in (("targets", difference(pairs[name])), ("source", difference(at_home, "these data sets"))):
        rows.append({"what": name, "where": where, "difference": d.mean, "low": d.low, "high": d.high, "on": d.datasets, "pairs": d.pairs})
found = pd.DataFrame(rows)
write_text(p.figures_root / "07_differences.csv", found.to_csv(index=False, float_format="%.4f"))
display(Markdown(found.replace([np.inf, -np.inf], np.nan).to_markdown(index=False, floatfmt="+.2f", missingval="–")))

# %%
gains = pd.concat([v.rename("gain").reset_index().assign(which=name) for name, v in list(pairs.items())[:2]])
fig, ax = plots.figure(size=(7.2, 1.0 + 0.4 * len(datasets)))
plots.gain_dots(ax, gains, "dataset", "which", "gain", "points against zero-shot CLIP, a dot per seed, a bar at the mean")
plots.save(fig, p.figures_root, "07_transfer")

# %% [markdown]
# By hand, from the table above: the difference of two methods' averages is the average of their differences.

# %%
by_hand = average["DeAR (class feature)"] - average["CLIP"]
assert abs(by_hand - found.difference.iloc[0]) < 1e-9
print(f"class feature − CLIP: {by_hand:+.2f} points")

# %% [markdown]
# DeAR's class feature against every other method on the targets, as far as they have records:

# %%
if others:
    rivals = compared(metrics, "DeAR (class feature)", others, datasets, ("all",), trained_on=source)
    columns = ["against", "estimand", "difference", "low", "high", "p_holm", "detectable", "verdict"]
    display(Markdown(rivals[columns].to_markdown(index=False, floatfmt="+.2f")))
else:
    print("No other method has records here.")

# %% [markdown]
# ## What is true here
#
# Points of accuracy with 95 % intervals; each claim's verdict stands in the [claims table](../figures/mini/claims.md), which
# [notebook 10](10_ablations.ipynb) writes.

# %%
for r in found.itertuples():
    where = {"what": r.what, "where": r.where}
    sure = np.isfinite(r.high)
    agree = not sure and r.where == "source" and r.pairs > 1
    columns = ["difference", "on", *(["low", "high"] if sure else ["pairs"] if agree else [])]
    numbers = {c: cited(p.figures_root / "07_differences.csv", c, **where) for c in columns}
    place = "over {on:.0f} targets" if r.where == "targets" else "on the source ({on:.0f} data set, over its seeds)"
    why = "(all {pairs:.0f} seeds agree exactly, so their spread cannot be estimated)" if agree else "(no interval)"
    interval = "[{low:+.2f}, {high:+.2f}]" if sure else why
    display(takeaway(f"- *{r.what}*: {{difference:+.2f}} points {interval} {place}.", **numbers))

# %%
by_target = {name: values.groupby("dataset").mean() for name, values in pairs.items()}
last = by_target["fused − CLIP"].idxmin()
worst = difference(pairs["fused − CLIP"].loc[[last]], "these data sets")
numbers = {"targets": len(datasets), "cls_up": (by_target["class feature − CLIP"] > 0).sum(),
           "fused_up": (by_target["fused − CLIP"] > 0).sum(), "where": last, "others": len(others),
           "fused_worst": worst.mean, "worst_low": worst.low, "worst_high": worst.high}  # fmt: skip
if others:
    like = rivals[rivals.estimand == "data sets like these"].verdict
    numbers |= {"ahead": (like == "holds").sum(), "behind": (like == "does not hold").sum()}
file = write_numbers(p.figures_root / "07_numbers.csv", numbers)
display(from_numbers(file, (
    "- The class feature is above CLIP on {cls_up:.0f} of {targets:.0f} targets, the fused answer on {fused_up:.0f}; the fused answer is "
    "furthest down on {where}, {fused_worst:+.1f} points" + (" [{worst_low:+.1f}, {worst_high:+.1f}] over seeds." if worst.given else ".")
)))
if others:
    display(from_numbers(file, (
        "- Of {others:.0f} other methods it is ahead of {ahead:.0f} and behind {behind:.0f}, after Holm over these comparisons alone; the "
        "claims table corrects for all its rows, and may leave undecided what holds here."
    )))
else:
    display(from_numbers(file, "- Other methods with records here: {others:.0f}."))

# %% [markdown]
# **Misconception.** *"It learned the source, so all that it learned serves the target."* What a class feature and a fusion weight learned
# can part ways: the weights say which feature to trust *on the source*. Both answers come from one training and cost nothing more to have.
#
# ## Exercises
#
# Each stub is checked by the cell below it. Nothing is written.
#
# **1.** The average of Table 3 with its ±: first over targets for each seed, then over seeds. `values` is {(target, seed): accuracy}.

# %% tags=["exercise"]
def transfer_average(values: dict) -> tuple[float, float]:
    """Mean, and sample standard deviation over seeds."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

check(transfer_average, [
    (({("a", 1): 60.0, ("a", 2): 64.0},), (62.0, 2.8284), "two seeds on one target: a sample sd divides by n − 1"),
    (({("a", 1): 60.0, ("a", 2): 64.0, ("b", 1): 74.0, ("b", 2): 70.0},), (67.0, 0.0),
     "both seeds average 67: the ± is that of the averages, not of all numbers"),
    (({("a", 1): 10.0, ("a", 2): 12.0, ("b", 1): 90.0, ("b", 2): 92.0},), (51.0, 1.4142), "targets far apart do not widen it, seeds do"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def transfer_average(values):
#     seeds = sorted({s for _, s in values})
#     means = []
#     for seed in seeds:
#         own = [v for (_, s), v in values.items() if s == seed]
#         means.append(sum(own) / len(own))
#     mean = sum(means) / len(means)
#     return mean, (sum((m - mean) ** 2 for m in means) / (len(means) - 1)) ** 0.5
# ```
#
# </details>

# %% [markdown]
# **2.** Two answers to one picture: the class of the largest class-feature score, and that of the largest fused score (Eq. 19: a sum of
# scores, each times its weight; the class feature's comes first).

# %% tags=["exercise"]
import torch


def two_answers(scores: torch.Tensor, alpha: list[float]) -> list[int]:
    """By the class feature, fused; `scores`: [feature, class]."""
    ...


# %% tags=["check"]
s = torch.tensor([[2.0, 1.0], [0.0, 4.0]])
check(two_answers, [
    ((s, [1.0, 0.0]), [0, 0], "with all weight on the class feature both answers are its own"),
    ((s, [0.5, 0.5]), [0, 1], "fused the first class has 1.0, the second 2.5"),
    ((s, [0.9, 0.1]), [0, 0], "fused 1.8 and 1.3: the same scores, other weights, another answer"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def two_answers(scores, alpha):
#     fused = torch.tensor(alpha) @ scores
#     return [int(scores[0].argmax()), int(fused.argmax())]
# ```
#
# </details>

# %% [markdown]
# **3.** How much of an average gain hangs on one target: the average without the target that gains most.

# %% tags=["exercise"]
def without_the_largest(gains: dict[str, float]) -> float:
    """Points, over the other targets."""
    ...


# %% tags=["check"]
check(without_the_largest, [
    (({"a": 9.0, "b": 1.0, "c": 2.0},), 1.5, "leave out a, whose gain is the largest"),
    (({"a": -9.0, "b": 1.0, "c": 2.0},), -4.0, "the largest gain, not the largest change: leave out c"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def without_the_largest(gains):
#     return (sum(gains.values()) - max(gains.values())) / (len(gains) - 1)
# ```
#
# </details>
#
# **To think about.** On which target do the two answers differ most, and which attribute does that target turn on?
