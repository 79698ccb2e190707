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
# | Paper | Section 4.1 (cross-dataset generalization), Table 3 |
# | You will see | accuracy on the source and on every target, with the class feature alone and with the fused logits |
# | Reads | the record of the source runs (the group `source` of `params/<profile>/study.yaml`) |
# | Writes | `table3.csv`, `.md`, `.tex`, `.json`, `07_transfer.svg` and `.png` |
# | Takes | seconds: nothing is computed here but means |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"

# %%
import pandas as pd
from IPython.display import Markdown, display

from dearlib import plots
from dearlib.paper.reported import beside, reported
from dearlib.params.reading import validated
from dearlib.study import companion, tables
from dearlib.study.averages import AVERAGE, accuracies, methods_by_datasets
from dearlib.study.contrasts import Contrast, compared, paired
from dearlib.study.inference import difference
from dearlib.study.plan import SOURCE, read_plan
from dearlib.study.records import origin, tidy

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
# The gates of DeAR's runs:

# %%
Markdown(companion.gates_table(records).to_markdown(index=False, disable_numparse=True))

# %% [markdown]
# ## 2. What transfers

# %%
contrasts = {
    "class feature − CLIP": Contrast("DeAR (class feature)", "CLIP", "all", source, datasets=datasets),
    "fused − CLIP": Contrast("DeAR", "CLIP", "all", source, datasets=datasets),
    "class feature − fused": Contrast("DeAR (class feature)", "DeAR", "all", source, datasets=datasets),
}
pairs = {name: paired(metrics, c) for name, c in contrasts.items()}
found = {name: difference(values) for name, values in pairs.items()}
gains = pd.concat([v.rename("gain").reset_index().assign(which=name) for name, v in list(pairs.items())[:2]])
fig, ax = plots.figure(size=(7.2, 4.2))
plots.gain_dots(ax, gains, "dataset", "which", "gain", "points against zero-shot CLIP, a dot per seed")
_ = plots.save(fig, p.figures_root, "07_transfer")

# %%
for name, d in found.items():
    print(f"{name}: {d.mean:+.2f} points [{d.low:+.2f}, {d.high:+.2f}] over {d.datasets} targets, {d.pairs} pairs")

# %% [markdown]
# DeAR's class feature against every other method on the targets:

# %%
if others:
    rows = compared(metrics, "DeAR (class feature)", others, datasets, ("all",), trained_on=source)
    columns = ["against", "estimand", "difference", "low", "high", "p_holm", "detectable", "verdict"]
    display(Markdown(rows[columns].to_markdown(index=False, floatfmt="+.2f")))

# %%
d = found["class feature − fused"]
says = {True: "The class feature is the better answer on targets", False: "The fused logits are the better answer on targets"}
clear = d.low > 0 or d.high < 0
print(says[d.mean > 0] + (", clearly so: the interval leaves out 0." if clear else ", but the interval covers 0: undecided here."))

# %% [markdown]
# ## What to take away
#
# - Transfer is a harder test than novel classes: the style, the classes and the prompt's template all change at once.
# - Which logits to use is a decision about the fusion weights, and it can be checked on data rather than assumed.
#
# **Exercises.** (a) On which target do the two answers differ most, and which attribute does that target turn on? (b) Train
# on `objects` instead of `source`: which targets lose? (c) Compute the average without the target that gains most.
