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
# # 12 · Do the paper's tables add up?
#
# **Question.** A harmonic mean follows from the two numbers beside it, an average from its row, a gain in the text from two cells.
# Where do the paper's printed numbers disagree with one another by more than rounding?
#
# | | |
# |---|---|
# | Before this | nothing; after [06](06_base_to_novel.ipynb), [11](11_attribute_retrieval.ipynb) or [15](15_what_carries_the_gain.ipynb) |
# | Paper | Sections 4.1 and 4.2, Tables 2–6 |
# | You will see | every check that fails, which cell is likely the wrong one, and whether it changes a conclusion |
# | Reads | the transcribed tables and claims in `dearlib/paper/reported/` |
# | Writes | `audit.csv`, `.md`, `.tex` and `.json`, `12_numbers.csv`, `12_audit.svg` and `.png` in the figures folder |
# | Takes | 15 seconds and 1.2 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [13 · Where every operation goes](13_performance.ipynb) |
#
# Every number of the paper here is *reported*: nothing below was measured by this repository, and nothing below says how well
# the method works.

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"

# %%
import json

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from dearlib import plots
from dearlib.methods.evaluation import harmonic_mean
from dearlib.paper import audit
from dearlib.paper.reported import FOLDER, all_reported, reported_claims
from dearlib.params.reading import validated
from dearlib.study import tables
from dearlib.study.inference import difference
from dearlib.study.takeaways import from_numbers, write_numbers

# %%
p = validated("12_paper_audit", globals())
reported, claims = all_reported(), reported_claims()
source = json.loads((FOLDER / "SOURCES.json").read_text(encoding="utf-8"))
files = tables.digests(FOLDER / name for name in source["files"])
print(f"{len(reported)} reported numbers and {len(claims)} claims · {source['url']}, {source['version']}")
print(f"files {' '.join(digest[:8] for digest in files.values())}")

# %% [markdown]
# ## 1. What was transcribed
#
# One row per printed number. Bold type is lost in the text that was read, so who is best is recomputed, never copied. Where a
# check fails, the paper may be wrong or a digit may have been misread on the way here.

# %%
reported.sample(5, random_state=0).sort_index()

# %%
Markdown("\n".join(f"- {text} ({int((reported.table == int(name[5])).sum())} numbers)"
                   for name, text in source["files"].items() if name.startswith("table")) + f"\n\nText: {source['text']}.")

# %% [markdown]
# ## 2. A harmonic mean, and what rounding can do
#
# $$\mathrm{HM} = \frac{2\,B\,N}{B + N}$$
#
# A printed 95.80 stands for anything from 95.795 to 95.805. HM rises with both of its arguments, so its least value comes from
# the two least ones and its greatest from the two greatest. Only if the printed HM, itself ± 0.005, lies apart from that
# interval is it a mismatch.

# %%
half = 0.005
cell = reported[(reported.table == 2) & (reported.method == "DeAR") & (reported.dataset == "Caltech101")].set_index("metric").value
low, middle, high = (harmonic_mean(cell.base + s, cell.novel + s) for s in (-half, 0, half))
by_hand = max(low - (cell.hm + half), (cell.hm - half) - high, 0)
print(f"DeAR on Caltech101, reported: base {cell.base:.2f}, novel {cell.novel:.2f}, HM {cell.hm:.2f}")
print(f"recomputed HM {middle:.3f}, between {low:.3f} and {high:.3f}: {by_hand:.3f} points apart from the printed one")

# %%
checked = audit.checks(reported, claims)
row = checked[(checked.check == "hm") & (checked.method == "DeAR") & (checked.dataset == "Caltech101")].iloc[0]
assert np.isclose(row.recomputed, middle)
assert np.isclose(row.beyond, by_hand)

# %% [markdown]
# ## 3. Averages
#
# The average of base (or novel) accuracies is the plain mean of the row. The average HM could be two things: the HM of the two
# averages, or the mean of the HMs. The printed numbers say which.

# %%
two = reported[(reported.table == 2)]
means = two[two.role == "target"].groupby(["method", "metric"], sort=False).value.mean().unstack()
printed = two[two.role == "average"].pivot(index="method", columns="metric", values="value").loc[means.index]
of_means = [harmonic_mean(b, n) for b, n in zip(printed.base, printed.novel, strict=True)]
print(f"printed average HM against the HM of the printed averages: at most {np.abs(printed.hm - of_means).max():.3f} points off")
print(f"printed average HM against the mean of the printed HMs:    up to {np.abs(printed.hm - means.hm).max():.3f} points off")

# %%
off = (printed - means)[["base", "novel"]]
off = off[off.abs().max(axis=1) > 2 * half + 1e-9]
audited = audit.mismatches(checked[checked.check == "mean"])
assert set(off.index) == set(audited[audited.table == "2"].method)
off.round(3)

# %% [markdown]
# For ProVP one data set stands out from those of all the other trained methods.

# %%
dtd = two[(two.dataset == "DTD") & (two.metric == "base") & (two.method != "CLIP")].set_index("method").value.sort_values()
print(f"DTD, reported base accuracy: {dtd.index[0]} {dtd.iloc[0]:.2f}, all other trained methods {dtd.iloc[1]:.2f} to {dtd.iloc[-1]:.2f}")

# %% [markdown]
# ## 4. Claims of the prose
#
# A claim is a row too: which cell, less which, or which rank. Nothing is evaluated but these few kinds.

# %%
kinds = checked[~checked.check.isin(audit.WHAT)]
print(f"{(kinds.beyond == 0).sum()} of {len(kinds)} claims follow from the tables")
Markdown(audit.presentable(kinds).to_markdown(index=False, disable_numparse=True))

# %% [markdown]
# The claimed gain in novel accuracy over MMRL is not the difference of the two averages. Is it another difference between DeAR's
# averages and some method's?

# %%
gain = claims[claims.id == "b2n-gain"].printed.item()
gaps = (printed.loc["DeAR"] - printed.drop("DeAR")).stack().rename("difference").reset_index()
novel = printed.novel.drop("DeAR").sort_values(ascending=False)
print(f"claimed {gain:.2f}; DeAR − MMRL, novel: {printed.novel['DeAR'] - printed.novel['MMRL']:.2f}")
print(f"best reported novel average before DeAR: {novel.index[0]} {novel.iloc[0]:.2f}; MMRL {novel['MMRL']:.2f}")
gaps[(gaps.difference - gain).abs() < 3 * half]

# %% [markdown]
# The claim that All-Mixed does the opposite of All-Generalization is read strictly here, as the highest base and the lowest novel
# accuracy of the three strategies. The reported Table 5 itself:

# %%
five = reported[reported.table == 5].pivot(index="method", columns="metric", values="value")[["base", "novel", "hm"]]
five

# %% [markdown]
# ## 5. Everything that does not add up

# %%
failed = audit.mismatches(checked)
assert set(failed.table[failed.check.isin(audit.WHAT)]) == {"2"}  # what the last cell says of the other tables
sidecar = tables.origin("12_paper_audit", p, records=[], weights=None, reported=files, source=source["url"],
                        checks=checked.groupby("check").size().to_dict(), failed=failed.groupby("check").size().to_dict())
tables.write(failed, audit.presentable(failed), p.figures_root / "audit", sidecar)
print(f"{len(failed)} of {len(checked)} checks fail")
Markdown(audit.presentable(failed).to_markdown(index=False, disable_numparse=True))

# %% [markdown]
# ## 6. The picture
#
# Above, all harmonic means and averages of Table 2: a dot is a check that passes. Below, what the table is about, as *reported*;
# the curves join points of equal harmonic mean, an arrow leads from a printed average to the one of its row.

# %%
name = {"hm": lambda r: r.dataset, "mean": lambda r: f"average {r.metric}", "hm of means": lambda r: "average HM"}
shown = checked[(checked.table == "2") & checked.check.isin(name) & ~((checked.check == "hm") & (checked.dataset == "average"))]
shown = shown.assign(column=[name[r.check](r) for r in shown.itertuples()])
columns = [*two[two.role == "target"].dataset.unique(), "average base", "average novel", "average HM"]
slips, beyond = (shown.pivot(index="method", columns="column", values=v).loc[means.index, columns] for v in ("difference", "beyond"))

# %%
fig, axes = plots.figure(2, 1, size=(8, 8.8), height_ratios=[1.05, 1])
plots.difference_map(axes[0], slips, beyond, "reported − recomputed (points)")
axes[0].axvline(len(columns) - 3.5, color="black", linewidth=0.8)
axes[0].set_title("Table 2, as reported: HMs and averages that do not follow from its own numbers", loc="left")
far = means.loc[off.abs().max(axis=1)[lambda s: s > 0.1].index]
plots.trade_off(axes[1], printed, "DeAR", far)
axes[1].set(xlabel="reported base accuracy (%)", ylabel="reported novel accuracy (%)")
axes[1].set_title("Reported averages over 11 data sets; hollow: recomputed from the reported data sets", loc="left")
plots.save(fig, p.figures_root, "12_audit")

# %%
rows = shown[shown.beyond > 0].groupby("method", sort=False).size()
clean = [m for m in means.index if m not in rows.index]
print(f"{len(rows)} of {len(means)} rows hold a mismatch ({', '.join(f'{m} {n}' for m, n in rows.items())}); {len(clean)} rows hold none")

# %% [markdown]
# ## 7. Which cell is wrong?
#
# A failed harmonic mean speaks against one of three cells. Each can be solved for from the other two:
# $N = \mathrm{HM}\,B / (2B - \mathrm{HM})$. If the base or novel cell were the wrong one, its mean over the data sets would move as
# well; so the printed averages decide, where the slip is large enough to show in them.

# %%
suspects = audit.suspects(reported)
verdicts = []
for (method, dataset), cells in suspects.groupby(["method", "dataset"], sort=False):
    one_of = [f"{c.cell} (reported {c.printed:.2f}, fits as {c.implied:.2f})" for c in cells[cells.averages_agree].itertuples()]
    verdicts.append([method, dataset, " or ".join(one_of) or "none of the three alone"])
Markdown(pd.DataFrame(verdicts, columns=["Method", "Data set", "Suspect"]).to_markdown(index=False))

# %% [markdown]
# Could a printed HM be the mean of the HMs of several runs? HM is concave, so that mean is never above the HM of the means; a
# printed HM that is too *high* is not explained so. One that is too low by $\delta$ needs runs that scatter: with two runs at
# $(B + s, N - s)$ and $(B - s, N + s)$, the most effective way, $\delta = 2 s^2 / (B + N)$. No run is above 100 %.

# %%
ours = failed[(failed.check == "hm") & (failed.method == "DeAR")].set_index("dataset")
wide = two[two.method == "DeAR"].pivot(index="dataset", columns="metric", values="value").loc[ours.index]
total, delta = wide.base + wide.novel, -ours.difference
needed = np.sqrt(delta.clip(lower=0) * total / 2)
for name, s in needed.items():
    top = max(wide.base[name], wide.novel[name]) + s
    print(f"{name}: " + (f"runs {s:.1f} points off, up to {top:.1f} %" if s > 0 else "reported too high, no scatter explains it"))
first = needed.index[0]
b, n, s = wide.base[first], wide.novel[first], needed[first]
assert np.isclose((harmonic_mean(b + s, n - s) + harmonic_mean(b - s, n + s)) / 2, ours.printed[first])

# %% [markdown]
# ## 8. Does it matter?
#
# On how many data sets a method has the highest number, as printed and with every HM recomputed from the base and novel accuracy
# beside it.

# %%
recomputed = reported.merge(checked[checked.check == "hm"].astype({"table": int}), on=["table", "dataset", "method", "metric"], how="left")
recomputed["value"] = recomputed.recomputed.fillna(recomputed.value)
keys = ["table", "metric", "method", "of"]
best = audit.times_best(reported).merge(audit.times_best(recomputed), on=keys, suffixes=("_reported", "_recomputed"))
best = best[best.best_reported + best.best_recomputed > 0].sort_values(["table", "metric", "best_reported"], ascending=[True, True, False])
Markdown(best[["table", "metric", "method", "best_reported", "best_recomputed", "of"]].to_markdown(index=False))

# %%
dear = best[(best.table == 2) & (best.metric == "hm") & (best.method == "DeAR")].iloc[0]
print(f"highest HM: DeAR on {dear.best_reported} of {dear.of} data sets as reported, on {dear.best_recomputed} recomputed")
from_sets = means.apply(lambda row: harmonic_mean(row.base, row.novel), axis=1)
for way, hm in {"as reported": printed.hm, "recomputed from the data sets": from_sets}.items():
    order = hm.sort_values(ascending=False)
    print(f"average HM {way}: {order.index[0]} leads {order.index[1]} by {order.iloc[0] - order.iloc[1]:.2f}")
    print(" > ".join(order.index))

# %% [markdown]
# How much of DeAR's lead in novel accuracy hangs on single data sets? Against the method with the next best average HM, with a 95 %
# interval over the eleven data sets as if they had been drawn (Student's t, as in notebook 10):

# %%
fields = two[(two.role == "target") & (two.metric == "novel")].pivot(index="dataset", columns="method", values="value")
second = printed.hm.drop("DeAR").idxmax()
ahead = (fields["DeAR"] - fields[second]).sort_values(ascending=False)
lead = difference(ahead.to_frame("once").rename_axis(columns="seed").stack())
largest = ", ".join(f"{points:+.2f} on {dataset}" for dataset, points in ahead.iloc[:2].items())
print(f"novel accuracy, DeAR − {second}, reported: {lead.mean:+.2f} [{lead.low:+.2f}, {lead.high:+.2f}]; {largest}")
print(f"without these two {ahead.iloc[2:].mean():+.2f}")

# %% [markdown]
# ## What is true here
#
# Of printed numbers. What runs of this repository say of the same claims stands, with verdicts, in the
# [claims table](../figures/mini/claims.md) that [notebook 10](10_ablations.ipynb) writes.

# %%
cells = failed[failed.check.isin(audit.WHAT)]
leads = {way: hm["DeAR"] - hm.drop("DeAR").max() for way, hm in {"printed": printed.hm, "recomputed": from_sets}.items()}
found = {"checks": len(checked), "failed": len(failed), "cells": len(cells), "tables": "Table " + " and ".join(sorted(set(cells.table))),
         "prose": len(failed) - len(cells), "claims": len(kinds), "rows": len(rows), "of_rows": len(means), "dear": rows.get("DeAR", 0),
         "lead_printed": leads["printed"], "lead_recomputed": leads["recomputed"], "best_printed": dear.best_reported,
         "best_recomputed": dear.best_recomputed, "sets": dear.of, "said": gain, "is": printed.novel["DeAR"] - printed.novel["MMRL"],
         "second": second, "ahead": lead.mean, "low": lead.low, "high": lead.high, "without_two": ahead.iloc[2:].mean()}  # fmt: skip
file = write_numbers(p.figures_root / "12_numbers.csv", found)

# %%
display(from_numbers(file, (
    "- {failed:.0f} of {checks:.0f} checks fail: {cells:.0f} numbers of {tables} that do not follow from others beside them, "
    "and {prose:.0f} of the text's {claims:.0f} claims."
)))
display(from_numbers(file, "- {rows:.0f} of {of_rows:.0f} rows of Table 2 hold such numbers; DeAR's holds {dear:.0f} of them."))
display(from_numbers(file, (
    "- DeAR's reported average HM less the best other one is {lead_printed:+.2f} points as printed, {lead_recomputed:+.2f} recomputed from "
    "the data sets; its HM is the highest on {best_printed:.0f} of {sets:.0f} data sets as printed, on {best_recomputed:.0f} recomputed."
)))
display(from_numbers(file, "- The text has {said:.2f} points of novel accuracy gained over MMRL, the table {is:.2f}."))
display(from_numbers(file, (
    "- Reported novel accuracy, DeAR less {second}: {ahead:+.2f} points [{low:+.2f}, {high:+.2f}] over {sets:.0f} data sets, "
    "{without_two:+.2f} without the two on which it is largest."
)))

# %% [markdown]
# **Misconception.** *"A table that adds up is right."* A check like this finds slips of the pen; whether a number can be had again takes a
# run.
#
# ## Exercises
#
# Each stub is checked by the cell below it. Nothing is written.
#
# **1.** An average from its row: how far a printed average lies beyond what rounding explains. Cells and average are printed with two
# decimals.

# %% tags=["exercise"]
def beyond_rounding(cells: list[float], printed: float) -> float:
    """In points; 0 where rounding explains the difference."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

check(beyond_rounding, [
    (([80.0, 90.0, 70.0], 80.0), 0.0, "the mean of the row is what is printed"),
    (([80.0, 91.0], 86.0), 0.49, "the mean may be off by 0.005, and so may the printed average: 0.01 of the distance is rounding's"),
    (([80.0, 91.0], 85.0), 0.49, "an average that is too low is as wrong as one that is too high"),
    (([80.0, 80.0, 80.02], 80.01), 0.0, "within rounding the answer is 0, not a negative number"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def beyond_rounding(cells, printed):
#     return max(abs(sum(cells) / len(cells) - printed) - 0.01, 0.0)
# ```
#
# The mean of numbers that are each off by at most 0.005 is itself off by at most 0.005.
#
# </details>

# %% [markdown]
# **2.** Is a printed harmonic mean possible, given the two printed numbers beside it?

# %% tags=["exercise"]
def possible(base: float, novel: float, hm: float) -> bool:
    """Whether some numbers that round to these three have this harmonic mean."""
    ...


# %% tags=["check"]
check(possible, [
    ((60.0, 90.0, 72.0), True, "2 · 60 · 90 / 150 is 72"),
    ((60.0, 90.0, 75.0), False, "75 is the arithmetic mean"),
    ((70.0, 70.0, 70.01), True, "69.995 to 70.005 beside a printed 70.01, that is 70.005 to 70.015: they touch"),
    ((70.0, 70.0, 70.02), False, "HM rises with both: its greatest is that of 70.005 and 70.005"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def possible(base, novel, hm):
#     low, high = (2 * (base + s) * (novel + s) / (base + novel + 2 * s) for s in (-0.005, 0.005))
#     return low <= hm + 0.005 + 1e-9 and hm - 0.005 - 1e-9 <= high
# ```
#
# </details>

# %% [markdown]
# **3.** Which novel accuracy would make a printed HM right?

# %% tags=["exercise"]
def implied_novel(base: float, hm: float) -> float:
    """In percent."""
    ...


# %% tags=["check"]
check(implied_novel, [
    ((60.0, 72.0), 90.0, "solve HM (B + N) = 2 B N for N"),
    ((50.0, 50.0), 50.0, "where HM is B, so is N"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def implied_novel(base, hm):
#     return hm * base / (2 * base - hm)
# ```
#
# </details>
#
# **To think about.** One digit of Table 3 is misread on the way here. Which checks notice, and which digit could change unnoticed?
