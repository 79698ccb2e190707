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
# | Before this | [05 · Training DeAR on one data set](05_training.ipynb) |
# | Paper | Section 4.1, Table 2 |
# | You will see | the table with every method's row, DeAR against each, what each costs, the class feature alone, how firm a number is |
# | Reads | the records of the group `base_to_novel` of `params/<profile>/study.yaml`, and their second making where one is kept |
# | Writes | `table2.*`, `cost_methods.*`, `06_*.csv`, `06_averages.md`, `06_*.svg` and `.png` in the figures folder |
# | Takes | 20 seconds and 1.2 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [07 · From one data set to others](07_cross_dataset.ipynb); [12](12_paper_audit.ipynb), [16](16_the_family.ipynb) |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"

# %%
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from dearlib import plots
from dearlib.files import write_text
from dearlib.methods.evaluation import harmonic_mean
from dearlib.paper.reported import beside, reported
from dearlib.params.reading import validated
from dearlib.study import companion, tables
from dearlib.study.averages import base_to_novel, presentable
from dearlib.study.contrasts import Contrast, compared, paired
from dearlib.study.inference import difference
from dearlib.study.plan import TABLE2, read_plan
from dearlib.study.records import origin, tidy
from dearlib.study.repeats import firmness, made_again
from dearlib.study.takeaways import cited, from_numbers, takeaway, write_numbers

# %%
p = validated("06_base_to_novel", globals())
plan = read_plan(p.profile, p.figures_root)
datasets, records = plan.group(TABLE2).datasets, plan.records(TABLE2)
metrics = tidy(records)
first = records[0]
print(f"{len(records)} records · weights {first.weights_sha256[:8]} · roles {first.roles_sha256[:8]}")

# %% [markdown]
# ## 1. What a record holds
#
# One row per data set, half, part, method and seed. Rows of validation pictures are in the records too; no table uses them.

# %%
metrics[metrics.dataset == datasets[0]]

# %% [markdown]
# Reading them has refused records of different weights, roles or split files. What else differs between two rows of a table is their
# *recipe*: λ, epochs, rate, batch. A record keeps it; where DeAR's own runs differ:

# %%
recipes = pd.DataFrame({run: v for run, v in first.runs.items() if "method" not in v}).astype(str)
recipes[recipes.nunique(axis=1) > 1]

# %% [markdown]
# ## 2. The harmonic mean
#
# $$\mathrm{HM} = \frac{2\,B\,N}{B + N}$$
#
# A method that buys base accuracy $B$ with novel accuracy $N$ is not rewarded: 100 and 0 have an arithmetic mean of 50 and a
# harmonic mean of 0. As in the paper, HM is taken *of the means*: over seeds within a data set, and over data sets for the
# average. The mean of HMs is another, mostly smaller number, so the two must not be mixed. What stands behind ± is the standard deviation
# over seeds: of the base accuracies, of the novel ones, and of each seed's own HM by the same rule.

# %%
assert harmonic_mean(100, 0) == 0
assert np.isclose(harmonic_mean(60, 90), 72)
of_means = harmonic_mean((60 + 90) / 2, (90 + 60) / 2)
print(f"two data sets, 60/90 and 90/60: HM of the means {of_means:.0f}, mean of the HMs {harmonic_mean(60, 90):.0f}")

# %% [markdown]
# ## 3. The table
#
# Every row was trained here, on the same pictures and tested on the same; another method's recipe is its authors', for the mini profile
# scaled by a rule that `params/mini/study.yaml` states. A *transductive* method saw the novel classes' unlabelled training pictures, so it
# answers another question. Where a data set is one of the paper's, what the paper reports for it stands below, marked *reported*.

# %%
others = companion.others_of(records)
methods = ["CLIP", *others, *(name for name in companion.rows_of(records) if name not in others)]
table = base_to_novel(metrics, datasets, methods)
shown = presentable(table)
shown["Method"] = companion.marked(shown["Method"], records)
shown = beside(2, shown, datasets)
tables.write(table, shown, p.figures_root / "table2", origin("06_base_to_novel", p, records))
absent = [name for name in reported(2).method.unique() if name not in methods]
print(f"rows of the paper's table without records here: {', '.join(absent) or 'none'}")
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
three = pd.concat([table[table.method == name] for name in ("CLIP", "DeAR", *ranked[:1])])
fig, axes = plots.figure(3, 1, size=(max(8, 0.9 * (len(datasets) + 1)), 7))
for ax, column in zip(axes, ("base", "novel", "hm"), strict=True):
    plots.base_novel_chart(ax, three, column)
for ax in axes[1:]:
    ax.get_legend().remove()
plots.save(fig, p.figures_root, "06_base_to_novel")

# %%
at = table[table.dataset != "average"].pivot(index="dataset", columns="method", values=["base", "novel", "hm"])
gain = {measure: (at[measure]["DeAR"] - at[measure]["CLIP"]).sort_values() for measure in ("base", "novel", "hm")}
pd.DataFrame(gain).loc[gain["hm"].index].round(1).rename_axis("DeAR less CLIP, points")

# %% [markdown]
# ## 5. DeAR against each row
#
# Paired over data sets and seeds: what both share, the pictures and the luck of the draw, cancels. The thin line is the 95 % interval for
# *data sets like these*, the thick one for *these data sets* (over seeds, where there are several); in the pale band a true difference is
# found less than four times in five. Open marks: Holm's p is not below 5 %. A grey dot is a data set.

# %%
against = [*others, *(m for m in methods if m not in ("DeAR", *others)), "DeAR (class feature)"]
differences = compared(metrics, "DeAR", against, datasets)
write_text(p.figures_root / "06_against.csv", differences.to_csv(index=False, float_format="%.4f"))
fig, axes = plots.figure(1, 3, size=(11, 0.9 + 0.36 * len(against)), sharey=True)
for ax, measure in zip(axes, ("base", "novel", "hm"), strict=True):
    each = [paired(metrics, Contrast("DeAR", m, measure, datasets=tuple(datasets))).groupby("dataset").mean() for m in against]
    points = pd.concat([v.rename("difference").reset_index().assign(against=m) for m, v in zip(against, each, strict=True)])
    plots.method_forest(ax, differences[differences.measure == measure], points, "points: DeAR less …")
    ax.set_title("HM" if measure == "hm" else measure)
plots.save(fig, p.figures_root, "06_against")

# %% [markdown]
# The averages once more, and beside each what DeAR has more in HM, with the 95 % interval for data sets like these:

# %%
like_these = differences[(differences.measure == "hm") & (differences.estimand == "data sets like these")].set_index("against")
averages = presentable(table[table.dataset == "average"]).drop(columns="Data set")
more = [like_these.loc[m] if m in like_these.index else None for m in averages["Method"]]
averages["DeAR less it, HM"] = ["–" if d is None else f"{d.difference:+.2f} [{d.low:+.2f}, {d.high:+.2f}]" for d in more]
averages["Method"] = companion.marked(averages["Method"], records)
write_text(p.figures_root / "06_averages.md", averages.to_markdown(index=False, disable_numparse=True) + "\n")
Markdown(averages.to_markdown(index=False, disable_numparse=True))

# %% [markdown]
# One of these numbers by hand, the mean over data sets of the means over seeds of the differences:

# %%
of_dear = ours.set_index(["dataset", "seed"]).accuracy
of_clip = metrics[(metrics.method == "CLIP") & (metrics.part == "test") & (metrics.split == "base")].set_index("dataset").accuracy
each_run = of_dear - of_clip.reindex(of_dear.index, level="dataset")  # CLIP has no seed: it stands beside every one
by_hand = each_run.groupby("dataset").mean().mean()
row = differences[(differences.against == "CLIP") & (differences.measure == "base")].iloc[0]
assert np.isclose(by_hand, row.difference)
print(f"DeAR less CLIP, base: {by_hand:+.2f} points [{row.low:+.2f}, {row.high:+.2f}]")

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
    ax.axhline(average.loc["CLIP", "hm"], color="#8C8C8C", linestyle="--", linewidth=0.9, label="zero-shot CLIP, no cost")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.3)
plots.save(fig, p.figures_root, "06_cost")

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
# DeAR's gain over CLIP in two steps, then: what training moved in the class feature, and what the attribute features vote.

# %%
CLS, steps = "DeAR (class feature)", []
for step, method, less in (("class feature less CLIP", CLS, "CLIP"), ("attribute votes", "DeAR", CLS)):
    for measure in ("base", "novel"):
        d = difference(paired(metrics, Contrast(method, less, measure, datasets=tuple(datasets))))
        steps.append({"step": step, "measure": measure, "difference": d.mean, "low": d.low, "high": d.high})
steps = pd.DataFrame(steps)
write_text(p.figures_root / "06_steps.csv", steps.to_csv(index=False, float_format="%.4f"))
assert np.isclose(steps[steps.measure == "base"].difference.sum(), average.loc["DeAR", "base"] - average.loc["CLIP", "base"])
display(Markdown(steps.to_markdown(index=False, floatfmt="+.2f")))

# %% [markdown]
# ## 8. Made a second time
#
# How firm is a number of this table? The same runs, with the same seeds, on the same pictures, were made again on another machine.
# Another kind of processor sums in another order (its name need not tell: virtual machines hide the model), and training can magnify a
# last digit: ProGrad's step, for one, turns on the *sign* of an inner product of two gradients. The code is of another commit, too, which
# is named below. For each method, what moved; a difference between two rows that is no larger than this is no finding about methods.

# %%
again = made_again(records, plan.records_root)
if again is None:
    for stale in p.figures_root.glob("06_again.*"):  # of other runs
        stale.unlink()
    display(Markdown("*No second making of these runs is kept.*"))
else:
    seconds, both = again
    firm = firmness(both)
    write_text(p.figures_root / "06_again.csv", firm.to_csv(index=False, float_format="%.4f"))
    here, there = ({f"{r.hardware['processor']}, commit {r.commit[:8]}" for r in made} for made in (records, seconds))
    print(f"first on {'; '.join(sorted(here))}\nthen on {'; '.join(sorted(there))}")
    shown = firm.set_axis(["Method", "Numbers", "Firm to 0.05", "Largest move", "Average base", "Average novel"], axis=1)
    display(Markdown(shown.to_markdown(index=False, floatfmt=("", ".0f", ".0f", ".2f", "+.2f", "+.2f"))))

# %% [markdown]
# A dot is one data set's accuracy with one seed, a bar the mean: where training turns, it turns either way, and the mean over data sets and
# seeds hardly moves.

# %%
if again is not None:
    moves = both[both.trained & (both.part == "test")].assign(move=lambda t: t.fresh - t.committed)
    moves["order"] = moves.method.map({m: i for i, m in enumerate(firm.method)})
    fig, ax = plots.figure(size=(7.5, 1 + 0.28 * len(firm)))
    plots.gain_dots(ax, moves.sort_values(["order", "split"]), "method", "split", "move", "points: second making less first")
    plots.save(fig, p.figures_root, "06_again")

# %% [markdown]
# ## What is true here
#
# Points of accuracy on small pictures with a small CLIP, not comparable with what is reported for ViT-B/16. Intervals are 95 %, for *data
# sets like these*; each claim's verdict stands in the [claims table](../figures/mini/claims.md), which
# [notebook 10](10_ablations.ipynb) writes.

# %%
rank = average.loc[[m for m in methods if m in average.index], "hm"].rank(ascending=False)["DeAR"]
split = (gain["hm"] > 0) & (gain["novel"].reindex(gain["hm"].index) < 0)
found = {"datasets": len(datasets), **{f"{m}_up": (gain[m] > 0).sum() for m in gain}, "split": split.sum(),
         "rank": rank, "rows": len(methods), "absent": ", ".join(absent) or "none"}  # fmt: skip
file = write_numbers(p.figures_root / "06_numbers.csv", found)
display(from_numbers(file, (
    "- On {base_up:.0f} of {datasets:.0f} data sets DeAR is above CLIP in base accuracy, on {novel_up:.0f} in novel, on {hm_up:.0f} in HM; "
    "on {split:.0f} HM rises while novel accuracy falls."
)))
said = "- DeAR less *{m}*: base {base:+.1f} [{base_low:+.1f}, {base_high:+.1f}], novel {novel:+.1f} [{novel_low:+.1f}, {novel_high:+.1f}], "
said += "HM {hm:+.1f} [{hm_low:+.1f}, {hm_high:+.1f}]; ahead in HM, after Holm: {verdict}."
for m in against:
    numbers = {"m": cited(p.figures_root / "06_against.csv", "against", against=m, measure="hm", estimand="data sets like these")}
    for measure in ("base", "novel", "hm"):
        where = {"against": m, "measure": measure, "estimand": "data sets like these"}
        for column, end in (("difference", ""), ("low", "_low"), ("high", "_high")):
            numbers[measure + end] = cited(p.figures_root / "06_against.csv", column, **where)
    numbers["verdict"] = cited(p.figures_root / "06_against.csv", "verdict", against=m, measure="hm", estimand="data sets like these")
    display(takeaway(said, **numbers))

# %%
for r in steps.itertuples():
    where = {"step": r.step, "measure": r.measure}
    d, low, high = (cited(p.figures_root / "06_steps.csv", column, **where) for column in ("difference", "low", "high"))
    display(takeaway(f"- *{r.step}*, {r.measure}: " + "{d:+.1f} [{low:+.1f}, {high:+.1f}].", d=d, low=low, high=high))
display(from_numbers(file, "- By average HM DeAR is number {rank:.0f} of {rows:.0f} rows here; without records: {absent}."))

# %%
if again is not None:
    turned = compared(tidy(seconds), "DeAR", against, datasets).verdict != differences.verdict
    most = firm.set_index("method")[["base", "novel"]].abs().max(axis=1)
    moved = {"numbers": firm.numbers.sum(), "firm": firm.firm.sum(), "average": most.max(), "average_of": most.idxmax(),
             "largest": firm.largest.max(), "largest_of": firm.method[firm.largest.idxmax()],
             "verdicts": len(differences), "changed": turned.sum()}  # fmt: skip
    display(from_numbers(write_numbers(p.figures_root / "06_again_numbers.csv", moved), (
        "- Made a second time on another machine, {firm:.0f} of {numbers:.0f} numbers are firm to 0.05 points. One of *{largest_of}* moved "
        "by {largest:.1f}; of the averages over data sets and seeds none by more than {average:.2f} (*{average_of}*). Verdicts "
        "of section 5 that would be another: {changed:.0f} of {verdicts:.0f}."
    )))

# %% [markdown]
# **Misconception.** *"A higher HM means that the novel classes were kept."* HM rises whenever base accuracy gains enough: 60 / 80 and
# 90 / 70 have 69 and 79. Read base, novel and HM together.
#
# ## Exercises
#
# Each stub is checked by the cell below it. Nothing is written.
#
# **1.** Two averages of HM over data sets: the HM of the mean accuracies, as in the table, and the mean of the HMs.

# %% tags=["exercise"]
def two_averages(base: list[float], novel: list[float]) -> tuple[float, float]:
    """HM of the means, mean of the HMs."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

check(two_averages, [
    (([60.0], [90.0]), (72.0, 72.0), "of one data set they are the same: 2 · 60 · 90 / 150"),
    (([60.0, 90.0], [90.0, 60.0]), (75.0, 72.0), "first the mean over data sets, then HM; and the other way round"),
    (([100.0, 0.0], [0.0, 100.0]), (50.0, 0.0), "each HM is 0, but the means are 50 and 50"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def two_averages(base, novel):
#     def hm(b, n):
#         return 2 * b * n / (b + n)
#     n = len(base)
#     return hm(sum(base) / n, sum(novel) / n), sum(hm(b, v) for b, v in zip(base, novel)) / n
# ```
#
# </details>

# %% [markdown]
# **2.** The paired difference to zero-shot CLIP, which has no seeds: `ours` is {(data set, seed): accuracy}, `clip` {data set: accuracy}. A
# data set counts once, however many seeds it has.

# %% tags=["exercise"]
def paired_mean(ours: dict, clip: dict) -> float:
    """Over seeds within a data set first, then over data sets."""
    ...


# %% tags=["check"]
check(paired_mean, [
    (({("a", 1): 80.0, ("a", 2): 84.0}, {"a": 70.0}), 12.0, "CLIP stands beside both seeds: 10 and 14"),
    (({("a", 1): 80.0, ("b", 1): 50.0}, {"a": 70.0, "b": 60.0}), 0.0, "+10 on one data set, −10 on the other"),
    (({("a", 1): 80.0, ("a", 2): 80.0, ("a", 3): 80.0, ("b", 1): 50.0}, {"a": 70.0, "b": 60.0}), 0.0,
     "three seeds do not make a data set count three times"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def paired_mean(ours, clip):
#     each = [[v - clip[d] for (name, _), v in ours.items() if name == d] for d in clip]
#     return sum(sum(e) / len(e) for e in each) / len(each)
# ```
#
# </details>

# %% [markdown]
# **3.** The interval of a mean difference for data sets like these: mean ± t standard errors over the data sets' values, `t` given.

# %% tags=["exercise"]
def interval(values: list[float], t: float) -> tuple[float, float]:
    """Low and high end; `values`: a difference for each data set."""
    ...


# %% tags=["check"]
check(interval, [
    (([1.0, 3.0], 12.706), (-10.706, 14.706), "the sample standard deviation (n − 1) is √2, over √2 data sets: an error of 1"),
    (([2.0, 2.0, 2.0], 4.303), (2.0, 2.0), "equal values leave no doubt"),
    (([0.0, 3.0, 6.0], 4.303), (-4.453, 10.453), "a sd of 3 over √3"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def interval(values, t):
#     n, mean = len(values), sum(values) / len(values)
#     error = (sum((v - mean) ** 2 for v in values) / (n - 1) / n) ** 0.5
#     return mean - t * error, mean + t * error
# ```
#
# </details>
#
# **To think about.** Leave one data set out of the average: for which does a sentence above change its sign?
