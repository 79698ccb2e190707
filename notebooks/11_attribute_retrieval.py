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
# # 11 · Asking one token at a time
#
# **Question.** Each attribute token ends in a feature of its own. Does the colour token's feature find pictures of the same
# colour, the texture token's pictures of the same texture?
#
# | | |
# |---|---|
# | Paper | Section 3.3.3, Figure 3 (nearest neighbours by token, shown on a few ImageNet pictures) |
# | You will see | neighbours as pictures; precision@k for token × factor beside chance and the class feature; features in two dimensions |
# | Reads | the tokens of the source runs, the test pictures of the source, with their factors where they are known |
# | Writes | `figure3.svg`, `.png`, `.csv`, `.json`, `11_precision.*`, `11_features.*`, a record |
# | Takes | half a minute; under 2 GB |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"
data_root: str = "data/mini"
gallery = None  # type: int|None  pictures to search, drawn blindly; None: all test pictures
k: int = 10  # neighbours
shown: int = 7  # of them drawn
projected: int = 500  # pictures in the two-dimensional maps

# %%
import json
import time

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from sklearn.manifold import TSNE

from dearlib import plots
from dearlib.clip import cache as kept_states
from dearlib.clip.loading import load
from dearlib.datasets import entry, open_image, read_split, split_sha256
from dearlib.datasets.world import vocabulary
from dearlib.files import write_text
from dearlib.methods import retrieval
from dearlib.methods.dear import DeAR
from dearlib.params.reading import params_hash, validated
from dearlib.params.schemas import Variant, plain
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import tables, trials
from dearlib.study.contrasts import Contrast, difference, paired
from dearlib.study.plan import SOURCE, read_plan
from dearlib.study.records import Metric, RunRecord, origin, provenance, tidy

began = time.monotonic()
p = validated("11_attribute_retrieval", globals())
plan = read_plan(p.profile, p.figures_root)
source, records = plan.source, plan.records(SOURCE)
trained_with = Variant.model_validate_json(json.dumps(records[0].runs["DeAR"]))
frozen = load(trained_with.clip, trained_with.clip_weights)
where = torch.device("cuda" if trained_with.device in ("auto", "cuda") and torch.cuda.is_available() else "cpu")
frozen.model.to(where)
roles = HeadRoles.load(trained_with.roles).for_weights(frozen.weights_sha256)
run_folder = p.runs_root / f"source-{source}"
tokens = sorted(run_folder.glob("tokens-DeAR-seed*.safetensors"))
print(f"{len(tokens)} models trained on {source} · weights {frozen.weights_sha256[:8]} · roles {roles.sha256[:8]}")

# %% [markdown]
# ## 1. Features by token
#
# After the last layer each attribute token's state goes through the trained projection (Eq. 11). Two pictures are near *by colour*
# if the colour token's features point the same way. Gallery and queries are the source's test pictures, none of which any of
# the models was trained on; a picture is not its own neighbour.

# %%
test = read_split(p.data_root, source).test
count = min(p.gallery or len(test), len(test))
gallery = [test[i] for i in sorted(np.random.default_rng(0).choice(len(test), size=count, replace=False))]
kept = kept_states.of_items(trials.cache(trained_with), frozen, roles.first_layer, gallery)
models = [DeAR.load(path, frozen, roles).to(where) for path in tokens]
by_model = [retrieval.features_by_token(model, kept) for model in models]
unit = torch.nn.functional.normalize(kept.features, dim=-1)
print(f"{len(gallery):,} pictures, features by {', '.join(by_model[0])}")

# %% [markdown]
# What can two pictures share? Where the pictures were rendered, the factors of each were written beside the data set. Of
# photographs only the class is known, and whether a token finds its own attribute cannot be told.

# %%
folder = p.data_root / entry(source).folder
known_factors = (folder / "factors.json").is_file()
if known_factors:
    truth = json.loads((folder / "factors.json").read_text(encoding="utf-8"))
    drawn = [vocabulary.Factors(**truth[str(item.path.relative_to(folder / entry(source).images))]) for item in gallery]
    factors = [a for a in roles.attributes if a in vocabulary.FACTORS]
else:
    print(f"The factors of the pictures of {source} are not known: neighbours are judged by their class alone.")
    factors = ["class"]
tokens_shown = factors if known_factors else list(roles.attributes)


def label_of(factor):
    if not known_factors:
        return torch.tensor([item.label for item in gallery])
    values = vocabulary.FACTORS[factor]
    return torch.tensor([-1 if (v := f.value(factor)) is None else values.index(v) for f in drawn])


labels = {factor: label_of(factor) for factor in factors}

# %% [markdown]
# ## 2. Neighbours as pictures
#
# One query; a row per token, then the class feature. A frame marks neighbours that share the row's factor with the query, or its
# class where that is all that is known.

# %%
query = 0
if known_factors:
    query = next(i for i, f in enumerate(drawn) if f.kind == "object" and f.texture == "striped" and f.color in ("red", "blue", "green"))
rows = {**{name: by_model[0][name] for name in tokens_shown}, retrieval.CLASS_FEATURE: by_model[0][retrieval.CLASS_FEATURE]}
fig, axes = plots.figure(len(rows), p.shown + 1, size=(1.05 * (p.shown + 1), 1.12 * len(rows)))
for line, (name, features) in zip(axes, rows.items(), strict=True):
    near = retrieval.nearest(features, p.shown)[query].tolist()
    for ax, i in zip(line, [query, *near], strict=True):
        plots.picture(ax, np.asarray(open_image(gallery[i].path)) / np.float32(255))
        told = labels.get(name) if known_factors else labels["class"]
        if told is not None and i != query and told[query] >= 0 and told[i] == told[query]:
            plots.frame(ax, plots.LINE_COLORS[2])
    line[0].set_axis_on()
    line[0].set(xticks=[], yticks=[])
    line[0].set_ylabel(name.replace(" ", "\n"), fontsize=8)
axes[0, 0].set_title("query")
made_from = origin("11_attribute_retrieval", p, records)
plots.save(fig, p.figures_root, "figure3", made_from.get("generated"))

# %%
if known_factors:
    asked = drawn[query]
    print(f"The query: a {asked.size} {asked.color} {asked.texture} {asked.subject}, {vocabulary.place_phrase(asked.location)}.")
else:
    print(f"The query: {gallery[query].classname}.")

# %% [markdown]
# ## 3. Precision at k
#
# A few pictures can be picked to please. The number: the share of a query's `k` nearest neighbours with the query's value of a
# factor, averaged over all queries that have the factor. By hand for one query, then for all:

# %%
what = "color" if known_factors else "class"
near = retrieval.nearest(by_model[0]["color"], p.k)
mine = labels[what][query]
by_hand = sum(labels[what][i] == mine for i in near[query].tolist()) / p.k
assert abs(by_hand - retrieval.precision(near, labels[what])[query].item()) < 1e-9
print(f"{by_hand:.0%} of the query's {p.k} neighbours by the color token have its {what}")

# %%
metrics, cells = [], []
for path, features in zip(tokens, by_model, strict=True):
    seed = int(path.stem.rpartition("seed")[2])
    for name in (*tokens_shown, retrieval.CLASS_FEATURE):
        near = retrieval.nearest(features[name], p.k)
        for factor in factors:
            found = 100 * retrieval.precision(near, labels[factor]).nanmean().item()
            cells.append({"feature": name, "factor": factor, "seed": seed, "precision": found})
            if not known_factors:
                method = name if name == retrieval.CLASS_FEATURE else f"{name} token"
                metrics.append(Metric(dataset=source, split="all", part="test", method=method, seed=seed, accuracy=found))
            elif name in (factor, retrieval.CLASS_FEATURE):
                method = "own token" if name == factor else name
                metrics.append(Metric(dataset=factor, split="all", part="test", method=method, seed=seed, accuracy=found))
near = retrieval.nearest(unit, p.k)
for factor in factors:
    frozen_finds = 100 * retrieval.precision(near, labels[factor]).nanmean().item()
    blind = 100 * retrieval.chance(labels[factor])
    cells += [{"feature": n, "factor": factor, "seed": None, "precision": v} for n, v in (("frozen CLIP", frozen_finds), ("chance", blind))]
table = pd.DataFrame(cells).groupby(["feature", "factor"], sort=False).precision.agg(["mean", "std", "count"]).reset_index()
order = [*tokens_shown, retrieval.CLASS_FEATURE, "frozen CLIP", "chance"]
matrix = table.pivot(index="feature", columns="factor", values="mean").loc[order, factors]
write_text(p.figures_root / "figure3.csv", table.to_csv(index=False, float_format="%.4f"))
tables.write_sidecar(p.figures_root / "figure3", made_from)

# %%
fig, ax = plots.figure(size=(6.4, 3.8))
names = [f"{n} token" if n in tokens_shown else n for n in order]
plots.weight_map(ax, matrix.to_numpy() / 100, names, factors, f"precision@{p.k}")
ax.set(xlabel=f"{'factor' if known_factors else 'what'} that query and neighbour share", ylabel="feature that finds the neighbours")
_ = plots.save(fig, p.figures_root, "11_precision")

# %%
record = RunRecord(
    notebook="11_attribute_retrieval",
    parameters=plain(p),
    parameters_sha256=params_hash(p),
    weights_sha256=frozen.weights_sha256,
    identity=frozen.identity,
    roles_sha256=roles.sha256,
    split_sha256={source: split_sha256(p.data_root, source)},
    wall_seconds=time.monotonic() - began,
    metrics=tuple(metrics),
    **provenance(p.data_root),
)
record.save(p.runs_root / "11_attribute_retrieval" / "record.json")
best = {f: matrix[f].iloc[: len(tokens_shown)].idxmax() for f in factors}
own = {f: f"{matrix.loc[f, f]:.1f}" if known_factors else "–" for f in factors}
lines = [f"| {f} | {own[f]} | {matrix.loc[retrieval.CLASS_FEATURE, f]:.1f} | {matrix.loc['frozen CLIP', f]:.1f} | "
         f"{matrix.loc['chance', f]:.1f} | {best[f]}, {matrix.loc[best[f], f]:.1f} |" for f in factors]  # fmt: skip
header = "| shared | its own token | class feature | frozen CLIP | chance | best token |\n|---|---|---|---|---|---|\n"
Markdown(header + "\n".join(lines))

# %%
if known_factors:
    d = difference(paired(tidy([record]), Contrast("own token", retrieval.CLASS_FEATURE, "all")))
    own_best = [f for f in factors if best[f] == f]
    print(f"own token − class feature: {d.mean:+.1f} points [{d.low:+.1f}, {d.high:+.1f}] over {d.datasets} factors; ", end="")
    print(f"a factor's own token is the best of the tokens for {len(own_best)} of {len(factors)} ({', '.join(own_best) or 'none'}).")

# %% [markdown]
# Why a token need not speak of its attribute: its name decides which heads may *listen* to it (Eq. 9). It is not told what to
# say. All tokens see all originals in attribute and mixed heads, and the loss asks only for the right class.

# %% [markdown]
# ## 4. Features in two dimensions

# %%
some = np.random.default_rng(0).permutation(len(gallery))[: p.projected]
fig, axes = plots.figure(2, len(tokens_shown), size=(2.1 * len(tokens_shown), 4.4))
near_by = min(30, (len(some) - 1) / 3)  # TSNE's perplexity, its default where there are pictures enough
flat_cls = TSNE(2, init="pca", perplexity=near_by, random_state=0).fit_transform(by_model[0][retrieval.CLASS_FEATURE][some].numpy())
for column, name in enumerate(tokens_shown):
    factor = name if known_factors else "class"
    own = TSNE(2, init="pca", perplexity=near_by, random_state=0).fit_transform(by_model[0][name][some].numpy())
    for ax, flat, title in ((axes[0, column], flat_cls, "class feature"), (axes[1, column], own, f"{name} token")):
        plots.labelled_points(ax, flat, labels[factor][some].numpy())
        ax.set_title(f"{title}\nby {factor}", fontsize=8)
_ = plots.save(fig, p.figures_root, "11_features")

# %% [markdown]
# Upper row: one and the same map of the class feature, coloured by each factor; lower row: each token's own map. Where colours
# form islands, the feature sorts by that factor.
#
# ## What to take away
#
# - Neighbours shown as pictures persuade; precision over all queries, beside chance and beside the plain class feature, decides.
# - The role mask gives a token an audience, not a meaning.
#
# **Exercises.** (a) Take a model trained on `textures` instead of the source: does its texture token win now? (b) Replace cosine by
# Euclidean distance. (c) Which two factors are found together most often, and is that the world's doing or the model's?
