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
# | Paper | Section 4.1 (few-shot learning), Figure 4 |
# | You will see | accuracy against shots on every data set and on average, with bands over seeds |
# | Reads | one record per data set (the group `few_shot` of `params/<profile>/study.yaml`) |
# | Writes | `figure4.svg`, `.png`, `.csv`, `.json` |
# | Takes | seconds |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"

# %%
import pandas as pd
from IPython.display import Markdown

from dearlib import plots
from dearlib.files import write_text
from dearlib.params.reading import validated
from dearlib.study import companion, tables
from dearlib.study.averages import AVERAGE, accuracies, by_shots
from dearlib.study.contrasts import Contrast, paired
from dearlib.study.inference import difference
from dearlib.study.plan import FEW_SHOT, read_plan
from dearlib.study.records import origin, tidy

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
down = max(3, -(-(len(datasets) + 1) // 3))  # rows of three
fig, axes = plots.figure(down, 3, size=(9.6, 8.2 * down / 3), sharex=True)
for ax, name in zip(axes.flat, [AVERAGE, *datasets], strict=False):
    plots.shot_curves(ax, rows[rows.dataset == name], flat[name], name)
for ax in axes.flat[len(datasets) + 1 :]:
    ax.set_axis_off()
for ax in axes[-1]:
    ax.set_xlabel("pictures a class")
for ax in axes[:, 0]:
    ax.set_ylabel("accuracy (%)")
axes[0, 0].legend(loc="best")
made_from = origin("09_few_shot", p, records)
plots.save(fig, p.figures_root, "figure4", made_from.get("generated"))
write_text(p.figures_root / "figure4.csv", everything.to_csv(index=False, float_format="%.4f"))
tables.write_sidecar(p.figures_root / "figure4", made_from)

# %% [markdown]
# ## 2. In numbers

# %%
at = everything[everything.dataset == AVERAGE].pivot(index="method", columns="shots", values="mean").loc[methods]
lines = at[shots].map("{:.2f}".format).reset_index()
lines.columns = ["average accuracy (%)", *(f"{int(k)} shots" for k in shots)]
Markdown(f"Zero-shot CLIP: {flat[AVERAGE]:.2f} %\n\n" + lines.to_markdown(index=False))

# %%
for other in ("CLIP", *others, "linear probe"):
    for k in shots:
        d = difference(paired(metrics, Contrast("DeAR", other, "all", shots=int(k), datasets=tuple(datasets))))
        print(f"DeAR − {other}, {int(k):2d} shots: {d.mean:+6.2f} points [{d.low:+.2f}, {d.high:+.2f}] over {d.datasets} data sets")

# %%
ahead = [int(k) for k in shots if at.loc["DeAR", k] > flat[AVERAGE]]
probe_ahead = [int(k) for k in shots if at.loc["linear probe", k] > at.loc["DeAR", k]]
print(f"On average DeAR lies above zero-shot CLIP at {', '.join(map(str, ahead)) or 'no number of'} shots; ", end="")
print(f"the linear probe lies above DeAR at {', '.join(map(str, probe_ahead)) or 'none'}.")

# %% [markdown]
# ## What to take away
#
# - DeAR starts from CLIP's own answer, so it need not be worse than zero-shot even with one picture; a probe starts from nothing and
#   has to learn every class from its pictures.
# - With many pictures the probe catches up: it may move anywhere, DeAR is held near CLIP.
#
# **Exercises.** (a) On which data set is one picture worth most? (b) The band at one shot: is it the pictures or the tokens?
# Fix one and vary the other. (c) Train the probe on augmented views.
