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
# # 09 · How few pictures are enough?
#
# **Question.** With 1, 2, 4, 8 or 16 pictures a class, all classes known: when does DeAR overtake zero-shot CLIP and the other methods,
# and what does it add to a plain linear probe?
#
# | | |
# |---|---|
# | Before this | [08 · When the pictures change](08_domain_generalization.ipynb) |
# | Paper | Section 4.1 (few-shot learning), Figure 4 |
# | You will see | accuracy against shots on every data set and on average, with bands where there are several seeds; paired differences |
# | Reads | one record per data set (the group `few_shot` of `params/<profile>/study.yaml`) |
# | Writes | `figure4.*`, `09_numbers.csv`, `09_differences.csv`, `.svg` and `.png` in the figures folder |
# | Takes | 20 seconds and 1.2 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [10 · Is it the roles?](10_ablations.ipynb) |

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
from dearlib.params.reading import validated
from dearlib.study import companion, tables
from dearlib.study.averages import AVERAGE, accuracies, by_shots
from dearlib.study.contrasts import Contrast, paired
from dearlib.study.inference import difference
from dearlib.study.plan import FEW_SHOT, read_plan
from dearlib.study.records import origin, tidy
from dearlib.study.takeaways import cited, from_numbers, takeaway, write_numbers

# %%
p = validated("09_few_shot", globals())
plan = read_plan(p.profile, p.figures_root)
datasets, records = plan.group(FEW_SHOT).datasets, plan.records(FEW_SHOT)
metrics = tidy(records)
metrics = metrics[metrics.part == "test"]
print(f"{len(records)} records · weights {records[0].weights_sha256[:8]} · roles {records[0].roles_sha256[:8]}")

# %% [markdown]
# ## 1. Mean and spread
#
# Per data set, method and number of shots: the mean over seeds and the sample standard deviation. A seed draws the pictures,
# the views and the tokens, so at one shot most of the spread is the luck of the pictures. The average is taken per seed
# first, then over seeds. The paper's text does not say which methods its figure draws; here are those of its Tables 3 and 4.

# %%
others = companion.others_of(records)
methods = ["DeAR", *others, "linear probe"]
shots = sorted({run["shots"] for run in records[0].runs.values()})
rows = by_shots(metrics, datasets, methods, shots)
flat = accuracies(metrics, datasets, ["CLIP"]).set_index("dataset").accuracy
clip = pd.DataFrame({"dataset": flat.index, "method": "CLIP", "shots": 0, "mean": flat.to_numpy(), "sd": float("nan"), "n": 1})
everything = pd.concat([clip, rows], ignore_index=True)

# %%
down = -(-(len(datasets) + 1) // 3)  # rows of three
fig, axes = plots.figure(down, 3, size=(9.6, 0.5 + 2.6 * down), squeeze=False)
for ax, name in zip(axes.flat, [AVERAGE, *datasets], strict=False):
    plots.shot_curves(ax, rows[rows.dataset == name], flat[name], name)
    ax.set_xlabel("pictures a class")
for ax in axes.flat[len(datasets) + 1 :]:
    ax.set_axis_off()
for ax in axes[:, 0]:
    ax.set_ylabel("accuracy (%)")
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
made_from = origin("09_few_shot", p, records)
plots.save(fig, p.figures_root, "figure4", made_from.get("generated"))
write_text(p.figures_root / "figure4.csv", everything.to_csv(index=False, float_format="%.4f"))
tables.write_sidecar(p.figures_root / "figure4", made_from)

# %% [markdown]
# ## 2. In numbers

# %%
at = everything[everything.dataset == AVERAGE].pivot(index="method", columns="shots", values="mean").loc[methods]
lines = at[shots].map("{:.2f}".format).reset_index()
lines.columns = ["average accuracy (%)", *(f"{int(k)} {'shot' if k == 1 else 'shots'}" for k in shots)]
Markdown(f"Zero-shot CLIP: {flat[AVERAGE]:.2f} %\n\n" + lines.to_markdown(index=False))

# %% [markdown]
# A method's average height over the picture's axis, log₂ of the shots, says in one number how it does from few pictures to many (area
# under the curve by trapezia, over the axis' length):


# %%
def height(accuracy):
    """Percent; of a row of `at`."""
    x = np.log2(shots)
    return float(np.trapezoid(accuracy, x) / (x[-1] - x[0])) if len(shots) > 1 else float(accuracy[0])


heights = {name: height(at.loc[name, shots].to_numpy()) for name in methods} | {"CLIP": flat[AVERAGE]}
print(", ".join(f"{name} {value:.2f} %" for name, value in sorted(heights.items(), key=lambda kv: -kv[1])))

# %% [markdown]
# ## 3. DeAR less each, at every number of shots
#
# Paired over data sets and seeds, with the 95 % interval for *data sets like these*. In the picture a filled mark means that the interval
# leaves out 0.

# %%
rows, pairs = [], {}
for other in ("CLIP", *others, "linear probe"):
    for k in shots:
        pairs[other, k] = paired(metrics, Contrast("DeAR", other, "all", shots=int(k), datasets=tuple(datasets)))
        d = difference(pairs[other, k])
        up = sum(v > 0 for v in d.values)
        rows.append({"against": other, "shots": int(k), "difference": d.mean, "low": d.low, "high": d.high, "ahead": up, "on": d.datasets})
found = pd.DataFrame(rows)
write_text(p.figures_root / "09_differences.csv", found.to_csv(index=False, float_format="%.4f"))
wide = found.assign(text=[f"{r.difference:+.1f} [{r.low:+.1f}, {r.high:+.1f}]" for r in found.itertuples()])
display(Markdown(wide.pivot(index="against", columns="shots", values="text").loc[list(dict.fromkeys(wide.against))].to_markdown()))

# %% [markdown]
# One of them by hand, from the tables' averages: DeAR less CLIP at the fewest shots.

# %%
assert abs((at.loc["DeAR", shots[0]] - flat[AVERAGE]) - found.difference.iloc[0]) < 1e-6

# %%
if len(datasets) > 1:  # one has no interval
    size = (2.4 * len(shots), 1.0 + 0.3 * found.against.nunique())
    fig, axes = plots.figure(1, len(shots), size=size, sharex=True, sharey=True, squeeze=False)
    for ax, k in zip(axes[0], shots, strict=True):
        plots.difference_forest(ax, found[found.shots == k].rename(columns={"against": "name"}), "points: DeAR less …")
        ax.set_title(f"{int(k)} {'shot' if k == 1 else 'shots'}")
    plots.save(fig, p.figures_root, "09_differences")

# %% [markdown]
# ## What is true here
#
# Points of accuracy, 95 % intervals for *data sets like these*; each claim's verdict stands in the
# [claims table](../figures/mini/claims.md), which [notebook 10](10_ablations.ipynb) writes.

# %%
for other in ("CLIP", "linear probe"):
    for k in dict.fromkeys((int(shots[0]), int(shots[-1]))):
        where = {"against": other, "shots": str(k)}
        names = ("difference", "low", "high", "ahead", "on")
        numbers = {c: cited(p.figures_root / "09_differences.csv", c, **where) for c in names}
        said = "{difference:+.1f} points [{low:+.1f}, {high:+.1f}]; it is ahead on {ahead:.0f} of {on:.0f} data sets."
        display(takeaway(f"- DeAR less *{other}*, {k} {'picture' if k == 1 else 'pictures'} a class: " + said, **numbers))

# %%
def shots_where(which):
    """The numbers of shots where `which` is true, or none."""
    return "at " + (", ".join(str(int(k)) for k, true in zip(shots, which, strict=True) if true) or "none")


# %%
rest = found[found.against.isin(others)]
numbers = {"dear": heights["DeAR"], "others": len(others), "comparisons": len(rest), "clear": (rest.low > 0).sum(),
           "behind": (rest.high < 0).sum()}  # fmt: skip
for short, other in (("clip", "CLIP"), ("probe", "linear probe")):
    one = found[found.against == other]
    less = difference(pd.concat([pairs[other, k] for k in shots], axis=1).apply(lambda row: height(row.to_numpy()), axis=1))
    numbers |= {f"{short}_above": shots_where(one.difference > 0), f"{short}_clear": shots_where(one.low > 0),
                f"{short}_below": shots_where(one.high < 0), f"{short}_height": less.mean, f"{short}_low": less.low,
                f"{short}_high": less.high}  # fmt: skip
file = write_numbers(p.figures_root / "09_numbers.csv", numbers)
said = ("- DeAR less OTHER, by pictures a class: on average over data sets above 0 {X_above}; with the whole 95 % interval above 0 "
        "{X_clear}, below 0 {X_below}.")
for short, other in (("clip", "zero-shot CLIP"), ("probe", "the linear probe")):
    display(from_numbers(file, said.replace("OTHER", other).replace("X_", f"{short}_")))
display(from_numbers(file, (
    "- Average height over log₂ of the shots: DeAR {dear:.1f} %, less CLIP's {clip_height:+.1f} points [{clip_low:+.1f}, "
    "{clip_high:+.1f}], less the linear probe's {probe_height:+.1f} [{probe_low:+.1f}, {probe_high:+.1f}]."
)))
if others:
    display(from_numbers(file, (
        "- Of {comparisons:.0f} comparisons with {others:.0f} other methods that have records here, {clear:.0f} have an interval above 0 "
        "and {behind:.0f} one below (each for itself, without Holm)."
    )))
else:
    display(from_numbers(file, "- Other methods with records here: {others:.0f}."))

# %% [markdown]
# **Misconception.** *"DeAR starts from CLIP's own answer, so it cannot be worse with one picture."* Its class feature starts there; but
# before training half of the fused answer's weight ($\alpha_\text{cls} = 0.5$) is that of features of randomly drawn tokens (notebook 04).
#
# ## Exercises
#
# Each stub is checked by the cell below it. Nothing is written.
#
# **1.** How many pictures are enough: the least number of shots from which on a method stays at or above a target.

# %% tags=["exercise"]
def shots_needed(shots: list[int], accuracy: list[float], target: float) -> float:
    """Infinite where it never stays there; `shots` rise."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

check(shots_needed, [
    (([1, 2, 4], [50.0, 60.0, 70.0], 60.0), 2, "at the target is enough"),
    (([1, 2, 4], [65.0, 55.0, 70.0], 60.0), 4, "above it once, below it later: only from 4 on it stays"),
    (([1, 2, 4], [65.0, 55.0, 50.0], 60.0), float("inf"), "it does not stay at any"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def shots_needed(shots, accuracy, target):
#     needed = float("inf")
#     for k, a in reversed(list(zip(shots, accuracy))):
#         if a < target:
#             break
#         needed = k
#     return needed
# ```
#
# </details>

# %% [markdown]
# **2.** The average height of a curve over log₂ of the shots, by trapezia.

# %% tags=["exercise"]
def average_height(shots: list[int], accuracy: list[float]) -> float:
    """In the unit of the accuracies."""
    ...


# %% tags=["check"]
check(average_height, [
    (([1, 2], [50.0, 60.0]), 55.0, "half the sum of the two ends"),
    (([1, 2, 4], [50.0, 60.0, 70.0]), 60.0, "1, 2 and 4 are equally far apart on this axis"),
    (([1, 2, 16], [50.0, 60.0, 60.0]), 58.75, "from 2 to 16 it is three times as far as from 1 to 2"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# import math
#
# def average_height(shots, accuracy):
#     x = [math.log2(k) for k in shots]
#     area = sum((x[i + 1] - x[i]) * (accuracy[i] + accuracy[i + 1]) / 2 for i in range(len(x) - 1))
#     return area / (x[-1] - x[0])
# ```
#
# </details>
#
# **To think about.** A band at one shot: is it the luck of the pictures or of the tokens? Which two seeds would you have to part to know?
