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
# # 10 · Is it the roles?
#
# **Question.** Which parts of DeAR carry its result: the role masks, the losses, the attribute tokens? And would *any* map of
# roles with as many shielded heads have done as well?
#
# | | |
# |---|---|
# | Before this | [09 · How few pictures are enough?](09_few_shot.ipynb) |
# | Paper | Section 4.2, Tables 5 and 6; the controls and sweeps are ours |
# | You will see | mask strategies, losses added one by one, role maps as controls, sweeps, a verdict on each claim |
# | Reads | the records of every group of `params/<profile>/study.yaml` and of notebook 11; role files (or the committed ones) |
# | Writes | `table5.*`, `table5_controls.*`, `table6.*`, `claims.*`, `findings.md`, `10_numbers.csv`, `10_*.svg` and `.png` |
# | Takes | 25 seconds and 1.2 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [11 · Asking one token at a time](11_attribute_retrieval.ipynb); [15](15_what_carries_the_gain.ipynb) |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"

# %%
import json

import pandas as pd
from IPython.display import Markdown, display

from dearlib import plots
from dearlib.files import write_text
from dearlib.paper.reported import all_reported, beside, reported, reported_claims
from dearlib.params.reading import validated
from dearlib.params.schemas import Variant
from dearlib.roles.controls import role_counts, shielded
from dearlib.study import companion, opening, tables
from dearlib.study.averages import AVERAGE, base_to_novel, spread
from dearlib.study.claims import absent, claims_table, verdicts
from dearlib.study.contrasts import Contrast, paired
from dearlib.study.family import CONTROLS, family, reported_difference
from dearlib.study.findings import findings
from dearlib.study.inference import datasets_needed, difference, holm
from dearlib.study.plan import ABLATIONS, FEW_SHOT, RETRIEVAL, SOURCE, SWEEPS, TABLE2, read_plan
from dearlib.study.records import origin, tidy, together
from dearlib.study.takeaways import cited, from_numbers, takeaway, write_numbers
from dearlib.study.trials import role_map

# %%
p = validated("10_ablations", globals())
plan = read_plan(p.profile, p.figures_root)
main, ablations, sweeps, few_shot = (plan.records(group) for group in (TABLE2, ABLATIONS, SWEEPS, FEW_SHOT))
transfer = plan.records(SOURCE, RETRIEVAL)
records = together([*main, *ablations, *sweeps, *few_shot, *transfer])
datasets = plan.group(ABLATIONS).datasets
sweep_datasets = [name for name in plan.group(SWEEPS).datasets if name in datasets]  # where the ablations' role masks were run, too
metrics = tidy(records)
halves = metrics[metrics.split.isin(["base", "novel"])]
print(f"{len(records)} records · weights {records[0].weights_sha256[:8]} · roles {records[0].roles_sha256[:8]}")

# %% [markdown]
# ## 1. Who is shielded
#
# The variants share everything but the role map. A *shielded* head never lets an attribute token reach an original one.

# %%
settings = {name: Variant.model_validate_json(json.dumps(v)) for name, v in ablations[0].runs.items() if "method" not in v}
found = opening.role_file(settings["role masks"].roles, p.figures_root, records[0])
maps = {"DeAR (roles from words)": found}
controls = [n for n in ("shuffled roles", "roles by loss") if n in settings]  # what is lost takes pictures with known factors
for name in (*controls, "All-Generalization", "All-Mixed"):
    v = settings[name]
    maps[name] = role_map(opening.role_file(v.roles, p.figures_root, records[0]), v, v.seeds[0])
lines = [f"| {n} | {shielded(m)} | {', '.join(f'{k} {c}' for k, c in role_counts(m).items())} |" for n, m in maps.items()]
Markdown("| role map | shielded heads | roles |\n|---|---|---|\n" + "\n".join(lines))

# %%
shown = ("DeAR (roles from words)", *controls)
fig, axes = plots.figure(len(shown), 1, size=(7.4, 2.1 * len(shown)))
for ax, name in zip(axes, shown, strict=True):
    plots.role_map(ax, maps[name], legend=name == shown[0])
    ax.set_title(name if name != "shuffled roles" else f"shuffled roles, {ablations[0].dataset}, seed {settings[name].seeds[0]}")
plots.save(fig, p.figures_root, "10_role_maps")

# %% [markdown]
# ## 2. Mask strategies (Table 5)
#
# Averages over the data sets, mean ± sd over seeds. Rows marked [ours] are controls that the paper does not have. All variants,
# DeAR among them, may train shorter than the runs of Table 2 [ours], so compare within this table.

# %%
print(f"The variants train for {settings['role masks'].epochs} epochs, the runs of Table 2 for {main[0].runs['DeAR']['epochs']}.")


# %%
def average_of(methods, names):
    """The average rows of the base-to-novel table, and as text with the best in bold."""
    table = base_to_novel(halves, datasets, methods)
    table = table[table.dataset == AVERAGE].drop(columns="dataset").assign(method=names)
    text = {"Method": table.method, "n": table.n}
    for column, title in (("base", "Base"), ("novel", "Novel"), ("hm", "HM")):
        best = table[column] == table[column].max()
        text[title] = [spread(m, s, b) for m, s, b in zip(table[column], table[f"{column}_sd"], best, strict=True)]
    return table, pd.DataFrame(text)


masks, text = average_of(
    ["All-Generalization", "All-Mixed", "role masks", *controls],
    ["All-Generalization", "All-Mixed", "DeAR (role masks)", *(f"{name} [ours]" for name in controls)],
)
text = beside(5, text, datasets)  # the paper's own rows, where these are its data sets
tables.write(masks, text, p.figures_root / "table5", origin("10_ablations", p, ablations))
Markdown(text.to_markdown(index=False, disable_numparse=True))

# %% [markdown]
# What must be so before a row says anything about tokens and masks:

# %%
Markdown(companion.gates_table(ablations).to_markdown(index=False, disable_numparse=True))

# %%
theirs = reported(5).pivot(index="method", columns="metric", values="value")[["base", "novel", "hm"]]
Markdown("*Reported* for ViT-B/16 on eleven public data sets:\n\n" + theirs.to_markdown())

# %% [markdown]
# ## 3. Losses (Table 6)

# %%
loss_table, text = average_of(["CE", "CE + reg", "role masks"], ["CE", "CE + λ_reg", "CE + λ_reg + λ_fusion (DeAR)"])
text = beside(6, text, datasets)
tables.write(loss_table, text, p.figures_root / "table6", origin("10_ablations", p, ablations))
Markdown(text.to_markdown(index=False, disable_numparse=True))

# %%
theirs = reported(6).pivot(index="method", columns="metric", values="value")[["base", "novel", "hm"]]
Markdown("*Reported*, as above:\n\n" + theirs.to_markdown())

# %% [markdown]
# ## The companion of Table 5: the least that could do the same
#
# None of these controls is the paper's. A learned constant per class and a linear map have no token at all; *P_attr alone* trains the
# attribute projection over tokens that stay as they were drawn; *one token* has one attribute in place of five; *mean s_a* answers with
# each attribute's score at its mean over the training pictures; *exclusive routing* keeps each attribute's queries to its own heads.
# [Notebook 15](15_what_carries_the_gain.ipynb) takes the gain apart with them.

# %%
extra = [name for name in (*CONTROLS, "exclusive routing") if name in set(halves.method)]
companions, text = average_of(["role masks", *extra], ["DeAR (role masks)", *(f"{name} [ours]" for name in extra)])
tables.write(companions, text, p.figures_root / "table5_controls", origin("10_ablations", p, ablations))
Markdown(text.to_markdown(index=False, disable_numparse=True))

# %% [markdown]
# The trade-off as a picture: up is better for classes never seen, right for those that were trained on; grey lines join points of
# equal harmonic mean.

# %%
clip = base_to_novel(tidy(ablations), datasets, ["CLIP"]).query("dataset == 'average'")[["method", "base", "novel"]]
points = pd.concat([clip, masks[["method", "base", "novel"]], loss_table[["method", "base", "novel"]].iloc[:2]], ignore_index=True)
fig, ax = plots.figure(size=(6.6, 4.4))
plots.trade_off(ax, points.set_index("method"), "DeAR (role masks)", moved=points.iloc[:0])
plots.save(fig, p.figures_root, "10_trade_off")

# %% [markdown]
# ## 4. Differences that count
#
# Means hide that the variants were run on the same data sets with the same seeds. The paired difference uses it: variant minus
# DeAR on one data set and seed, averaged over seeds, then over data sets. The interval is for *data sets like these*. By hand for one:

# %%
pairs = paired(metrics, Contrast("All-Mixed", "role masks", "hm", datasets=tuple(datasets)))
by_hand = pairs.groupby("dataset").mean().mean()
assert abs(by_hand - difference(pairs).mean) < 1e-9
print(f"All-Mixed − DeAR, HM: {by_hand:+.2f} points over {pairs.index.get_level_values('dataset').nunique()} data sets")


# %%
def against_dear(methods, measure, datasets):
    """Paired differences of each method to DeAR."""
    each = [difference(paired(metrics, Contrast(m, "role masks", measure, datasets=tuple(datasets)))) for m in methods]
    rows = [{"name": m, "difference": d.mean, "low": d.low, "high": d.high, "p": d.p()} for m, d in zip(methods, each, strict=True)]
    return pd.DataFrame(rows)


variants = ["All-Generalization", "All-Mixed", *extra, "CE", "CE + reg"]
fig, axes = plots.figure(1, 3, size=(10, 0.6 + 0.3 * len(variants)), sharey=True)
for ax, measure in zip(axes, ("base", "novel", "hm"), strict=True):
    plots.difference_forest(ax, against_dear(variants, measure, datasets), "points: … less DeAR")
    ax.set_title("HM" if measure == "hm" else measure)
plots.save(fig, p.figures_root, "10_ablations")

# %%
shuffled = difference(paired(metrics, Contrast("role masks", "shuffled roles", "hm", datasets=tuple(datasets))))
print(f"DeAR less the same roles dealt out at random, HM: {shuffled.mean:+.2f} points [{shuffled.low:+.2f}, {shuffled.high:+.2f}]")
print("the found do better" if shuffled.low > 0 else "the dealt do better" if shuffled.high < 0 else "they cannot be told apart")

# %% [markdown]
# How many data sets would an answer take, if they stay as unlike as these? For an effect as large as the paper reports for role masks over
# All-Mixed:

# %%
effect = reported_difference(all_reported(), 5, "hm", "DeAR", "All-Mixed")
needed = datasets_needed(shuffled, effect)
print(f"{shuffled.datasets} data sets see {shuffled.detectable:.2f} points four times in five; {effect:.2f} would take {needed:.0f}")

# %% [markdown]
# ## 5. Sweeps
#
# One setting at a time around DeAR's, on fewer data sets. These are test pictures: nothing was chosen here, the settings come
# from validation pictures (of the mini profile: `params/mini/tuning_methods.csv`). Filled marks have an interval that leaves out 0, each
# for itself; of many, some do so by chance.

# %%
swept = list(sweeps[0].runs)
fig, axes = plots.figure(1, 3, size=(10, 0.8 + 0.3 * len(swept)), sharey=True)
for ax, measure in zip(axes, ("base", "novel", "hm"), strict=True):
    plots.difference_forest(ax, against_dear(swept, measure, sweep_datasets), "points: … less DeAR")
    ax.set_title("HM" if measure == "hm" else measure)
plots.save(fig, p.figures_root, "10_sweeps")

# %%
hm = against_dear(swept, "hm", sweep_datasets).set_index("name")
hm["p_holm"] = holm(list(hm.p))
clear = hm[(hm.low > 0) | (hm.high < 0)]
hm.round(3)

# %% [markdown]
# ## 6. Which token does a data set lean on?
#
# α = softmax(w) says how much of the fused logits each feature makes (notebook 04). If a token spoke of its attribute, the textures
# should lean on the texture token, the places on the location token. Blind choice would be right for one in as many as there are tokens.

# %%
weights = {
    record.dataset: pd.DataFrame([own.alpha for key, own in record.gates.items() if key.startswith("DeAR, seed ")]).mean()
    for record in main
}
alpha = pd.DataFrame(weights).T[["class", *found.attributes]]
fig, ax = plots.figure(size=(6.4, 0.6 + 0.35 * len(alpha)))
plots.weight_map(ax, alpha.to_numpy(), list(alpha.index), list(alpha.columns), "α")
plots.save(fig, p.figures_root, "10_fusion")

# %%
families = {"objects": "object", "shapes": "shape", "textures": "texture", "places": "location", "colors": "color"}
expected = {name: families[name.partition("_")[0]] for name in alpha.index if name.partition("_")[0] in families}
tokens = alpha[list(found.attributes)]
hits = [d for d, a in expected.items() if tokens.loc[d].idxmax() == a]
apart = (tokens.max(axis=1) - tokens.min(axis=1)).max()
if expected:
    print(f"{len(hits)} of {len(expected)} data sets lean most on their own attribute's token ({', '.join(hits) or 'none'}),")
    print(f"where blind choice would give {len(expected) / tokens.shape[1]:.1f}.")
print(f"The tokens' weights differ by at most {apart:.3f} within a data set.")

# %% [markdown]
# ## 7. The claims
#
# Each claim of the paper that these runs can decide, as paired differences that are positive if it holds, under two questions: for
# *these data sets* (only seeds are drawn anew) and for *data sets like these*. *Holds* and *does not hold* want Holm's p below 5 %; *the
# paper's effect is excluded* says that less is there than is reported; the rest is *undecided*, with the difference that could have been
# seen. What was not run says so.

# %%
missing = [name for name in companion.others_of(main) if name not in set(reported(2).method)]
claims = family(plan.design(also=missing), all_reported(), reported_claims())
judged = claims_table(metrics, claims, absent(metrics, claims))
text = verdicts(judged)
tables.write(judged, text, p.figures_root / "claims", origin("10_ablations", p, records))
Markdown(text.to_markdown(index=False))

# %%
for question in [name for name in text.columns if name.startswith("Verdict")]:
    count = text[question].value_counts()
    print(f"{question}: " + ", ".join(f"{n} {name}" for name, n in count.items()))

# %% [markdown]
# ## 8. For it, against it, not decided
#
# The same rows as answers to what a stranger would ask. Under which heading a question stands is the verdict for *data sets like these*.

# %%
answers = findings(judged)
write_text(p.figures_root / "findings.md", answers)
Markdown(answers)

# %% [markdown]
# ## What is true here
#
# Every line with a place is a row of the [claims table](../figures/mini/claims.md): points, 95 % interval for *data sets like these*, and
# the verdict after Holm, on whether the first is ahead.

# %%
claimed = p.figures_root / "claims.csv"
shown = judged[(judged.estimand == "data sets like these") & judged.place.isin(["Table 5", "Table 6", "controls"])]
shown = shown[shown.difference.notna()]
for r in shown[shown.contrast.str.endswith(", HM") | (shown.place == "Table 6")].itertuples():
    where = {"place": r.place, "contrast": r.contrast, "claim": r.claim, "estimand": r.estimand}
    d, low, high, verdict = (cited(claimed, column, **where) for column in ("difference", "low", "high", "verdict"))
    said = f"- {r.place}: *{r.contrast}*: " + "{d:+.2f} [{low:+.2f}, {high:+.2f}], {verdict}."
    display(takeaway(said, d=d, low=low, high=high, verdict=verdict))

# %%
counts = text["Verdict, data sets like these"].value_counts()
numbers = {"claims": len(text), **{name: counts.get(verdict, 0) for name, verdict in (
    ("holds", "holds"), ("fails", "does not hold"), ("excluded", "the paper's effect is excluded"), ("undecided", "undecided"),
    ("not_run", "not run"))}}  # fmt: skip
numbers |= {"rest": len(text) - sum(list(numbers.values())[1:]), "datasets": shuffled.datasets, "sees": shuffled.detectable,
            "effect": effect, "needed": needed, "swept": len(swept), "clear": len(clear), "holm": (hm.p_holm < 0.05).sum(),
            "sweep_sets": len(sweep_datasets), "hits": len(hits), "expected": len(expected), "tokens": tokens.shape[1],
            "apart": apart}  # fmt: skip
file = write_numbers(p.figures_root / "10_numbers.csv", numbers)
display(from_numbers(file, (
    "- Of {claims:.0f} claims {holds:.0f} hold, {fails:.0f} do not hold, of {excluded:.0f} the paper's effect is excluded, {undecided:.0f} "
    "are undecided, {not_run:.0f} were not run, {rest:.0f} have no interval."
)))
display(from_numbers(file, (
    "- Found against dealt roles: {datasets:.0f} data sets see a difference of {sees:.2f} points of HM; one of {effect:.2f}, as reported "
    "for role masks over All-Mixed, would take {needed:.0f}."
)))
display(from_numbers(file, (
    "- Of {swept:.0f} single changes {clear:.0f} have an interval of HM clear of zero over {sweep_sets:.0f} data sets, {holm:.0f} after "
    "Holm."
)))
if expected:
    display(from_numbers(file, (
        "- {hits:.0f} of {expected:.0f} data sets lean most on their own attribute's token, where blind choice is right for one in "
        "{tokens:.0f}; within a data set the tokens' weights differ by at most {apart:.3f}."
    )))

# %% [markdown]
# **Misconception.** *"Undecided means that there is no effect."* It means that these data cannot tell; the interval says what is still
# possible, and what the design could have seen says whether that is much. That an effect of a given size is *not* there is another test,
# and "excluded" is its answer.
#
# ## Exercises
#
# Each stub is checked by the cell below it. Nothing is written.
#
# **1.** Holm's adjusted p-values, in the order in which the p-values came: the smallest of m times m, the next times m − 1, …; none below
# the one before, none above 1.

# %% tags=["exercise"]
def holm_by_hand(p: list[float]) -> list[float]:
    """As many as came."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

check(holm_by_hand, [
    (([0.01],), [0.01], "one test alone is not adjusted"),
    (([0.01, 0.04],), [0.02, 0.04], "the smallest times 2, the next times 1"),
    (([0.04, 0.01],), [0.04, 0.02], "each result stands where its p-value stood"),
    (([0.01, 0.011, 0.5],), [0.03, 0.03, 0.5], "2 · 0.011 = 0.022 would fall below 0.03, the one before"),
    (([0.6, 0.7],), [1.0, 1.0], "a p-value is at most 1"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def holm_by_hand(p):
#     adjusted, largest = [0.0] * len(p), 0.0
#     for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
#         largest = max(largest, min(1.0, (len(p) - step) * p[i]))
#         adjusted[i] = largest
#     return adjusted
# ```
#
# </details>

# %% [markdown]
# **2.** The two-sided p of sign flips: of all ways to give the data sets' differences a sign, the share whose mean lies as far from 0 as
# the one that was seen, or further.

# %% tags=["exercise"]
def sign_flip_p(values: list[float]) -> float:
    """Over all 2ⁿ ways."""
    ...


# %% tags=["check"]
check(sign_flip_p, [
    (([2.0],), 1.0, "with one value both signs are as far out"),
    (([1.0, 2.0, 3.0],), 0.25, "all plus and all minus, 2 of 8: three data sets cannot reach 5 %"),
    (([1.0, -1.0],), 1.0, "a mean of 0 is never further from 0 than another"),
    (([3.0, 3.0, -1.0],), 0.5, "sums of ±5 and ±7 are as far out or further: 4 of 8"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# from itertools import product
#
# def sign_flip_p(values):
#     flips = [abs(sum(s * v for s, v in zip(signs, values))) for signs in product((1, -1), repeat=len(values))]
#     return sum(f >= abs(sum(values)) - 1e-9 for f in flips) / len(flips)
# ```
#
# </details>

# %% [markdown]
# **3.** The verdict on a claim that a difference is positive and, as reported, `effect` large: "holds" or "does not hold" where the 95 %
# interval leaves out 0; else "excluded" where it lies below the effect, "undecided" where it does not.

# %% tags=["exercise"]
def verdict_on(low: float, high: float, effect: float) -> str:
    """One of the four words."""
    ...


# %% tags=["check"]
check(verdict_on, [
    ((0.5, 3.0, 2.0), "holds", "all of the interval is above 0"),
    ((-3.0, -0.5, 2.0), "does not hold", "all of it is below 0"),
    ((-1.0, 1.0, 2.0), "excluded", "the sign is open, but 2 lies outside"),
    ((-1.0, 3.0, 2.0), "undecided", "0 and 2 are both possible"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def verdict_on(low, high, effect):
#     if low > 0:
#         return "holds"
#     if high < 0:
#         return "does not hold"
#     return "excluded" if high < effect else "undecided"
# ```
#
# </details>
#
# **To think about.** Which map of roles would tell *who is shielded* from *how many are shielded*, and is it among the controls?
