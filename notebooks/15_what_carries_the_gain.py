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
# # 15 · What carries the gain?
#
# **Question.** DeAR gains on the classes it was trained on. Is that its roles, its tokens, its projection, or a preference for some classes
# that any learner would find? And what is left for the roles?
#
# | | |
# |---|---|
# | Before this | [04](04_dear_model.ipynb) §6; [10](10_ablations.ipynb); [11](11_attribute_retrieval.ipynb); [16](16_the_family.ipynb) |
# | Paper | Section 4.2 asks with Tables 5 and 6; the controls here are ours |
# | You will see | the smallest methods that could gain, DeAR beside each with intervals, the gain taken apart step by step |
# | Reads | the records of the ablations; a control without a record is named as missing |
# | Writes | `gain.*`, `15_*.csv`, `15_*.svg` and `.png` in the figures folder |
# | Takes | 20 seconds and 1.2 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [12 · Do the paper's tables add up?](12_paper_audit.ipynb) |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"

# %%
import pandas as pd
import torch
from IPython.display import Markdown, display

from dearlib import plots
from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.methods.evaluation import harmonic_mean
from dearlib.params.reading import validated
from dearlib.study import opening, tables
from dearlib.study.averages import AVERAGE, base_to_novel
from dearlib.study.contrasts import Contrast, compared, paired
from dearlib.study.family import CONTROLS, EXCLUSIVE, MASKS
from dearlib.study.inference import difference
from dearlib.study.plan import ABLATIONS, read_plan
from dearlib.study.records import origin, tidy
from dearlib.study.takeaways import cited, from_numbers, takeaway, write_numbers

# %%
p = validated("15_what_carries_the_gain", globals())
plan = read_plan(p.profile, p.figures_root)
records, missing = opening.there(plan, [ABLATIONS])
if not records:
    raise InputError(f"{plan.records_root}: expected records of the ablations, got none; `make table5` makes them")
metrics = tidy(records)
metrics = metrics[metrics.part == "test"]
datasets = [r.dataset for r in records]
print(f"{len(records)} records · weights {records[0].weights_sha256[:8]} · roles {records[0].roles_sha256[:8]}")
print(f"Missing: {', '.join(missing)}" if missing else "No record is missing.")

# %% [markdown]
# ## 1 A model that sees nothing can gain
#
# In notebook 04 we asserted: if every head is shielded (Eq. 8), the class feature is CLIP's, and each attribute feature is the same for all
# pictures. Its votes are then one constant for each class, and the fused logits of a picture $x$ are
#
# $$\hat y_c(x) = \alpha_\text{cls}\, s_{\text{cls},c}(x) + b_c , \qquad b_c = \sum_a \alpha_a\, s_{a,c} ,$$
#
# the class feature's answer plus a **bias towards classes**, logistic regression's intercept. On the picture's side nothing was learned:
# $f_\text{cls}$ is CLIP's. On the words' side something was, since the learned text tokens move $t_c$ and with it $s_\text{cls}$; how much
# that brings is a row of its own below, *class feature*. A bias can gain wherever CLIP prefers some class names over others for no good
# reason. A toy case: two classes, CLIP's score for the second is too high by a constant.

# %%
draw = torch.Generator().manual_seed(0)
truth = torch.randint(2, (1000,), generator=draw)
scores = torch.randn(1000, 2, generator=draw) + 2 * torch.nn.functional.one_hot(truth, 2) + torch.tensor([0.0, 2.0])
for bias in (0.0, 1.0, 2.0):
    right = ((scores + torch.tensor([bias, 0.0])).argmax(1) == truth).double().mean()
    print(f"bias {bias:+.0f} for the first class: {right:.1%} right")

# %% [markdown]
# So a gain alone says nothing of attributes. It has to be held against what learns less.
#
# ## 2 The controls
#
# Each leaves out something that DeAR's story needs. All are trained on the same pictures by the same optimiser; the two that are no
# DeAR, *class bias* and *class linear map*, had as many trials for learning rate and epochs as DeAR had, and have what these chose.

# %%
others = {
    "CLIP": "zero-shot: nothing is learned",
    f"{MASKS} (class feature)": "DeAR's class feature without fusion",
    "All-Generalization": "every head shielded: tokens see no picture (Table 5)",
    "All-Mixed": "no head masked (Table 5)",
    EXCLUSIVE: "foreign tokens do not read in attribute heads (notebook 03)",
    **CONTROLS,
}
everywhere = [set(metrics[metrics.dataset == d].method) for d in datasets]
known = [m for m in others if all(m in own for own in everywhere)]
absent = [m for m in others if m not in known]
if any(MASKS not in own for own in everywhere):
    raise InputError(f"records: expected a run '{MASKS}' in each of the ablations, got none in some; `make table5` makes them")
lines = "\n".join(f"| {m} | {what} | {'yes' if m in known else '**not run**'} |" for m, what in others.items())
display(Markdown("| control | what it is | records |\n|---|---|---|\n" + lines))

# %% [markdown]
# ## 3 Everything in one table
#
# Averages over the data sets; `of the gain` is the share of DeAR's gain over CLIP on base classes that a row keeps. DeAR is
# the row *role masks*.

# %%
table = base_to_novel(metrics, datasets, ["CLIP", MASKS, *(m for m in known if m != "CLIP")])
average = table[table.dataset == AVERAGE].drop(columns="dataset").reset_index(drop=True)
clip, dear = (average.set_index("method").loc[m] for m in ("CLIP", MASKS))
average["of_gain"] = 100 * (average["base"] - clip["base"]) / (dear["base"] - clip["base"])
shown = pd.DataFrame({"": average["method"], "n": average["n"], "Base": average["base"].map("{:.2f}".format),
                      "Novel": average["novel"].map("{:.2f}".format), "HM": average["hm"].map("{:.2f}".format),
                      "of the gain": average["of_gain"].map("{:.1f} %".format)})  # fmt: skip
tables.write(average, shown, p.figures_root / "gain", origin("15_what_carries_the_gain", p, records))
display(Markdown(shown.to_markdown(index=False, disable_numparse=True)))

# %% [markdown]
# HM by hand for DeAR, of the mean accuracies as the paper has it:

# %%
assert abs(harmonic_mean(dear["base"], dear["novel"]) - dear["hm"]) < 1e-9
by_hand = metrics[metrics.method == MASKS].groupby("split").accuracy.mean()  # as many seeds everywhere
assert abs(by_hand["base"] - dear["base"]) < 1e-6

# %% [markdown]
# ## 4 DeAR less each control
#
# Paired on the same data sets and seeds. The thin line is the 95 % interval for *data sets like these* (t over data sets), the thick one
# for *these data sets* (over seeds, where there are several). The pale band is what the design cannot see: a true difference inside it is
# found less than four times in five. Open marks: Holm's adjusted p is not below 5 %.

# %%
several = len(datasets) > 1
rivals = [m for m in known if m != "CLIP"]
against = compared(metrics, MASKS, rivals, datasets) if rivals else pd.DataFrame()
write_text(p.figures_root / "15_differences.csv", against.to_csv(index=False, float_format="%.4f"))
if len(against):
    fig, axes = plots.figure(1, 3, size=(11.5, 0.9 + 0.36 * len(rivals)), sharey=True)
    for ax, measure in zip(axes, ("base", "novel", "hm"), strict=True):
        own = against[against.measure == measure]
        points = pd.concat([paired(metrics, Contrast(MASKS, m, measure, datasets=tuple(datasets))).groupby("dataset").mean()
                            .rename("difference").reset_index().assign(against=m) for m in rivals])  # fmt: skip
        plots.method_forest(ax, own, points, "points: DeAR less …")
        ax.set_title("HM" if measure == "hm" else measure)
    plots.save(fig, p.figures_root, "15_differences")

# %%
if len(against):
    asked = against[against.estimand == "data sets like these"]
    text = asked[["against", "measure"]].rename(columns={"against": "DeAR less"})
    text["points"] = asked["difference"].map("{:+.2f}".format)
    text["95 %"] = [f"[{low:+.2f}, {high:+.2f}]" for low, high in zip(asked["low"], asked["high"], strict=True)]
    text["Holm's p"], text["sees"] = asked["p_holm"].map("{:.3f}".format), asked["detectable"].map("{:.2f}".format)
    text["DeAR ahead"] = asked["verdict"]
    display(Markdown(text.to_markdown(index=False, disable_numparse=True)))

# %% [markdown]
# ## 5 The gain, step by step
#
# From CLIP to DeAR in three steps that add up: the class feature that training moved; attribute votes with each class's mean over the
# pictures in their place (a bias); what the votes say about the single picture.

# %%
CLS, CONSTANT = f"{MASKS} (class feature)", "mean s_a"
stairs = [("class feature", CLS, "CLIP")]
if CONSTANT in known:
    stairs += [("bias towards classes", CONSTANT, CLS), ("about the picture", MASKS, CONSTANT)]
else:
    stairs += [("attribute votes", MASKS, CLS)]
steps = []
for name, method, before in stairs:
    for measure in ("base", "novel"):
        d = difference(paired(metrics, Contrast(method, before, measure, datasets=tuple(datasets))))
        steps.append({"step": name, "measure": measure, "difference": d.mean, "low": d.low, "high": d.high})
steps = pd.DataFrame(steps)
write_text(p.figures_root / "15_steps.csv", steps.to_csv(index=False, float_format="%.4f"))
gained = {m: steps[steps.measure == m]["difference"].sum() for m in ("base", "novel")}
assert abs(gained["base"] - (dear["base"] - clip["base"])) < 1e-6  # the steps add up to the gain
display(Markdown(steps.to_markdown(index=False, floatfmt="+.2f")))

# %%
fig, axes = plots.figure(1, 2, size=(8.6, 1.1 + 0.4 * len(stairs)), sharey=True)
for ax, measure in zip(axes, ("base", "novel"), strict=True):
    own = steps[steps.measure == measure].rename(columns={"step": "name"})
    if several:
        plots.difference_forest(ax, own, f"{measure}: points added by this step")
    else:
        ax.barh(own["name"], own["difference"], color=plots.LINE_COLORS[0])
        ax.set(xlabel=f"{measure}: points added by this step (one data set, no interval)")
        ax.invert_yaxis()
plots.save(fig, p.figures_root, "15_steps")

# %% [markdown]
# A step in *base* that is lost again in *novel* is a preference for the trained classes' side of things. A class bias cannot help a novel
# class by name: what it learned is about other names, and reaches them through the shared text tokens and projection alone.
#
# ## 6 What remains for the roles
#
# Two questions are left that only roles can answer: do the *found* roles do better than the same roles dealt out at random, and do they do
# better than no masks at all? And if the tokens are kept to their own heads as readers, too?

# %%
role_rows = [m for m in ("shuffled roles", "roles by loss", "All-Mixed", "All-Generalization", EXCLUSIVE) if m in known]
if role_rows:
    asked = against[(against.estimand == "data sets like these") & against.against.isin(role_rows) & (against.measure == "hm")]
    for r in asked.itertuples():
        print(f"DeAR less {r.against}, HM: {r.difference:+.2f} [{r.low:+.2f}, {r.high:+.2f}], would see {r.detectable:.2f}: {r.verdict}")

# %% [markdown]
# ## What is true here
#
# Numbers are points of accuracy; the claims with their verdicts stand in [notebook 10](10_ablations.ipynb) and in
# [the table of claims](../figures/mini/claims.md).

# %%
found = {"datasets": len(datasets), "absent": ", ".join(absent) or "none"}
for m in ("base", "novel"):
    d = difference(paired(metrics, Contrast(MASKS, "CLIP", m, datasets=tuple(datasets))))
    assert abs(d.mean - gained[m]) < 1e-6
    found |= {f"{m}_gain": d.mean, f"{m}_low": d.low, f"{m}_high": d.high}
file = write_numbers(p.figures_root / "15_numbers.csv", found)
display(from_numbers(file, (
    "- DeAR less CLIP, {datasets:.0f} data sets: base {base_gain:+.1f} points [{base_low:+.1f}, {base_high:+.1f}], novel "
    "{novel_gain:+.1f} [{novel_low:+.1f}, {novel_high:+.1f}]."
)))
for r in steps.itertuples():
    where = {"step": r.step, "measure": r.measure}
    d, low, high = (cited(p.figures_root / "15_steps.csv", column, **where) for column in ("difference", "low", "high"))
    display(takeaway(f"- *{r.step}*, {r.measure}: " + "{d:+.1f} [{low:+.1f}, {high:+.1f}].", d=d, low=low, high=high))

# %%
for m in [m for m in rivals if m != CLS]:
    share = cited(p.figures_root / "gain.csv", "of_gain", method=m)
    where = {"against": m, "measure": "hm", "estimand": "data sets like these"}
    d, low, high, verdict = (cited(p.figures_root / "15_differences.csv", c, **where) for c in ("difference", "low", "high", "verdict"))
    said = f"- **{m}** keeps " + "{share:.1f} % of the base gain; DeAR less it, HM: {d:+.2f} [{low:+.2f}, {high:+.2f}], {verdict}."
    display(takeaway(said, share=share, d=d, low=low, high=high, verdict=verdict))
display(from_numbers(file, "- Controls without records here: {absent}."))

# %% [markdown]
# **The answer of this lesson.** A control that keeps most of the gain lacks something that therefore did not bring it. *Class bias* has no
# token, no word that is learned and no picture; *All-Generalization* has tokens that see no picture; *class linear map* has no token and
# no role; *P_attr alone* has tokens that were never trained. In order of what they keep:

# %%
kept = average[average.method.isin(["class bias", "All-Generalization", "class linear map", "P_attr alone"])].sort_values("of_gain")
for m in kept.method:
    base, novel = (cited(p.figures_root / "gain.csv", c, method=m) for c in ("of_gain", "novel"))
    display(takeaway(f"- *{m}*: " + "{base:.1f} % of the base gain, {novel:.1f} % right on novel classes;", base=base, novel=novel))
display(takeaway("- DeAR itself: {novel:.1f} % right on novel classes.", novel=cited(p.figures_root / "gain.csv", "novel", method=MASKS)))

# %% [markdown]
# What is left for roles is what DeAR has above the best of these, and above its own roles dealt out at random: section 6, with intervals.

# %% [markdown]
# **Misconception.** *"It gains, so its explanation is right."* A gain speaks for the explanation only as far as what lacks the explained
# part does not gain as much.
#
# ## Exercises
#
# **1.** The best bias for one class: of some candidates the one that makes most of the answers right when it is added to a class's score.

# %% tags=["exercise"]
import torch


def best_bias(scores: torch.Tensor, labels: torch.Tensor, class_: int, candidates: list[float]) -> float:
    """The first of equals; `scores`: [picture, class]."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

s = torch.tensor([[1.0, 2.0], [0.0, 3.0], [2.5, 2.0]])
check(best_bias, [
    ((s, torch.tensor([0, 1, 0]), 0, [0.0, 2.0, 5.0]), 2.0, "with 2 the first picture is won and the second not lost"),
    ((s, torch.tensor([1, 1, 0]), 0, [0.0, 2.0]), 0.0, "where all are right already, no bias is best"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def best_bias(scores, labels, class_, candidates):
#     def right(b):
#         moved = scores.clone()
#         moved[:, class_] += b
#         return int((moved.argmax(1) == labels).sum())
#     return max(candidates, key=right)
# ```
#
# </details>

# %% [markdown]
# **2.** The mean paired difference and its standard error over data sets, from accuracies `{(data set, seed): value}` of two methods: first
# average a data set's seeds, then over data sets.

# %% tags=["exercise"]
def paired_difference(ours: dict, theirs: dict) -> tuple[float, float]:
    """Mean and standard error, of data sets as units."""
    ...


# %% tags=["check"]
a = {("x", 1): 3.0, ("x", 2): 5.0, ("y", 1): 2.0, ("y", 2): 2.0}
b = {("x", 1): 1.0, ("x", 2): 1.0, ("y", 1): 1.0, ("y", 2): 1.0}
check(paired_difference, [
    ((a, b), (2.0, 1.0), "data sets x and y have 3 and 1: mean 2, sd √2, over √2 data sets"),
    ((b, b), (0.0, 0.0), "no difference, no error"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def paired_difference(ours, theirs):
#     names = sorted({d for d, _ in ours})
#     each = [[ours[k] - theirs[k] for k in ours if k[0] == d] for d in names]
#     means = torch.tensor([sum(e) / len(e) for e in each])
#     return means.mean().item(), (means.std() / len(means) ** 0.5).item()
# ```
#
# </details>
#
# **To think about.** Which experiment would convince you that the *location* token helps because it is about places?
