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
# | Paper | Section 4.2, Tables 5 and 6; the controls and sweeps are ours |
# | You will see | the mask strategies, the losses added one by one, role maps as controls, sweeps, a verdict on each claim |
# | Reads | the records of every group of `params/<profile>/study.yaml`, and of notebook 11 |
# | Writes | `table5.*`, `table5_controls.*`, `table6.*`, `claims.*`, `findings.md`, `10_*.svg` and `.png` |
# | Takes | seconds |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"

# %%
import json

import pandas as pd
from IPython.display import Markdown

from dearlib import plots
from dearlib.files import write_text
from dearlib.paper.reported import all_reported, beside, reported, reported_claims
from dearlib.params.reading import validated
from dearlib.params.schemas import Variant
from dearlib.roles.controls import role_counts, shielded
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import companion, tables
from dearlib.study.averages import AVERAGE, base_to_novel, spread
from dearlib.study.claims import absent, claims_table, verdicts
from dearlib.study.contrasts import Contrast, paired
from dearlib.study.family import CONTROLS, family
from dearlib.study.findings import findings
from dearlib.study.inference import difference
from dearlib.study.plan import ABLATIONS, FEW_SHOT, RETRIEVAL, SOURCE, SWEEPS, TABLE2, read_plan
from dearlib.study.records import origin, tidy, together
from dearlib.study.trials import role_map

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
found = HeadRoles.load(settings["role masks"].roles)
maps = {"DeAR (roles from words)": found}
controls = [n for n in ("shuffled roles", "roles by loss") if n in settings]  # what is lost takes pictures with known factors
for name in (*controls, "All-Generalization", "All-Mixed"):
    v = settings[name]
    maps[name] = role_map(HeadRoles.load(v.roles), v, v.seeds[0])
lines = [f"| {n} | {shielded(m)} | {', '.join(f'{k} {c}' for k, c in role_counts(m).items())} |" for n, m in maps.items()]
Markdown("| role map | shielded heads | roles |\n|---|---|---|\n" + "\n".join(lines))

# %%
shown = ("DeAR (roles from words)", *controls)
fig, axes = plots.figure(len(shown), 1, size=(7.4, 2.1 * len(shown)))
for ax, name in zip(axes, shown, strict=True):
    plots.role_map(ax, maps[name], legend=name == shown[0])
    ax.set_title(name if name != "shuffled roles" else f"shuffled roles, {ablations[0].dataset}, seed {settings[name].seeds[0]}")
_ = plots.save(fig, p.figures_root, "10_role_maps")

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
places = {"CE": ("right", "bottom"), "CE + λ_reg": ("right", "top")}  # they lie close to each other
plots.trade_off(ax, points.set_index("method"), "DeAR (role masks)", moved=points.iloc[:0], places=places)
_ = plots.save(fig, p.figures_root, "10_trade_off")

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
    found = [difference(paired(metrics, Contrast(m, "role masks", measure, datasets=tuple(datasets)))) for m in methods]
    return pd.DataFrame([{"name": m, "difference": d.mean, "low": d.low, "high": d.high} for m, d in zip(methods, found, strict=True)])


variants = ["All-Generalization", "All-Mixed", *extra, "CE", "CE + reg"]
fig, axes = plots.figure(1, 3, size=(10, 0.6 + 0.3 * len(variants)), sharey=True)
for ax, measure in zip(axes, ("base", "novel", "hm"), strict=True):
    plots.difference_forest(ax, against_dear(variants, measure, datasets), "points against DeAR")
    ax.set_title("HM" if measure == "hm" else measure)
_ = plots.save(fig, p.figures_root, "10_ablations")

# %%
roles_matter = against_dear(["shuffled roles"], "hm", datasets).iloc[0]
clear = roles_matter.low > 0 or roles_matter.high < 0
interval = f"[{roles_matter.low:+.2f}, {roles_matter.high:+.2f}]"
print(f"Shuffled roles: {roles_matter.difference:+.2f} points of HM {interval} against DeAR. ", end="")
print("Which heads get which role matters here." if clear and roles_matter.difference < 0 else
      "Dealing the roles out at random does better here." if clear else
      "Here the data cannot tell the roles that were found from roles dealt out at random.")  # fmt: skip

# %% [markdown]
# ## 5. Sweeps
#
# One setting at a time around DeAR's, on fewer data sets. These are test pictures: nothing was chosen here, the settings come
# from validation pictures (of the mini profile: `params/mini/tuning_methods.csv`).

# %%
swept = list(sweeps[0].runs)
fig, axes = plots.figure(1, 3, size=(10, 3.4), sharey=True)
for ax, measure in zip(axes, ("base", "novel", "hm"), strict=True):
    plots.difference_forest(ax, against_dear(swept, measure, sweep_datasets), "points against DeAR")
    ax.set_title("HM" if measure == "hm" else measure)
_ = plots.save(fig, p.figures_root, "10_sweeps")

# %%
hm = against_dear(swept, "hm", sweep_datasets).set_index("name")
clear = hm[(hm.low > 0) | (hm.high < 0)]
lines = ", ".join(f"{n} {r.difference:+.1f}" for n, r in clear.iterrows())
print(f"Clear of zero in HM over {len(sweep_datasets)} data sets: {lines or 'none'}.")

# %% [markdown]
# ## 6. Which token does a data set lean on?
#
# α = softmax(w) says how much of the fused logits each feature makes (Eq. 19). If a token spoke of its attribute, the textures
# should lean on the texture token, the places on the location token.

# %%
weights = {
    record.dataset: pd.DataFrame([own.alpha for key, own in record.gates.items() if key.startswith("DeAR, seed ")]).mean()
    for record in main
}
alpha = pd.DataFrame(weights).T[["class", *found.attributes]]
fig, ax = plots.figure(size=(6.4, 0.6 + 0.35 * len(alpha)))
plots.weight_map(ax, alpha.to_numpy(), list(alpha.index), list(alpha.columns), "α")
_ = plots.save(fig, p.figures_root, "10_fusion")

# %%
families = {"objects": "object", "shapes": "shape", "textures": "texture", "places": "location", "colors": "color"}
expected = {name: families[name.partition("_")[0]] for name in alpha.index if name.partition("_")[0] in families}
tokens = alpha[list(found.attributes)]
hits = [d for d, a in expected.items() if tokens.loc[d].idxmax() == a]
apart = (tokens.max(axis=1) - tokens.min(axis=1)).max()
if expected:
    print(f"{len(hits)} of {len(expected)} data sets lean most on their own attribute's token ({', '.join(hits) or 'none'}).")
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
# ## What to take away
#
# - A mask strategy is judged beside its control: roles dealt out at random shield as many heads.
# - A paired difference with an interval says more than two means in bold.
# - "Undecided" is a result. It says how many data sets an honest answer would take.
#
# **Exercises.** (a) Give `roles by loss` other thresholds: at which number of shielded heads is novel accuracy best? (b) Drop one
# data set at a time from `paired`: does a verdict change? (c) Add the variant "only the last layer has role masks".
