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
# **Question.** Each attribute token ends in a feature of its own. Does the color token's feature find pictures of the same
# color, the texture token's pictures of the same texture? And does it matter who may read in an attribute head?
#
# | | |
# |---|---|
# | Before this | [03 · Roles become masks](03_role_masks.ipynb): two readings of Eq. 9; [10 · Is it the roles?](10_ablations.ipynb) |
# | Paper | Section 3.3.3, Figure 3 (nearest neighbours by token, shown on a few ImageNet pictures) |
# | You will see | neighbours as pictures, precision@k for token × factor beside chance and the class feature, features in two dimensions |
# | Reads | the record of the source's tokens (`retrieval`), the source's test pictures (rendered if missing), with their factors |
# | Writes | `figure3.*`, `11_precision.*`, `11_features.*`, `11_numbers.csv`, `11_neighbours.json`, `explorer.html` |
# | Takes | 25 seconds and 1.3 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [12 · Do the paper's tables add up?](12_paper_audit.ipynb), [15 · What carries the gain?](15_what_carries_the_gain.ipynb) |
#
# Nothing is trained or encoded here: `dearlib.study.neighbours` asked the trained tokens of every seed and wrote down what they found.

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"
data_root: str = "data/mini"
gallery = None  # type: int|None  pictures to search, drawn blindly; None: all test pictures
k: int = 10  # neighbours
shown: int = 7  # of them drawn
asked: int = 8  # pictures that can be asked in the explorer; the first is drawn here
projected: int = 500  # pictures in the two-dimensional maps

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display

from dearlib import plots
from dearlib.datasets import open_image
from dearlib.datasets.world import vocabulary
from dearlib.files import write_text
from dearlib.methods.retrieval import CLASS_FEATURE
from dearlib.params.reading import validated
from dearlib.plots.explorer import write_page
from dearlib.study import neighbours, opening, tables
from dearlib.study.contrasts import Contrast, paired
from dearlib.study.explorer import Explorer, Found
from dearlib.study.explorer_parts import neighbours as for_explorer
from dearlib.study.explorer_parts import picture_of
from dearlib.study.inference import difference
from dearlib.study.plan import RETRIEVAL, read_plan
from dearlib.study.records import origin, tidy
from dearlib.study.takeaways import from_numbers, write_numbers

# %%
p = validated("11_attribute_retrieval", globals())
torch.set_num_threads(1)  # sums in one order, as in batch runs, however many cores there are
plan = read_plan(p.profile, p.figures_root)
records = plan.records(RETRIEVAL)
record, metrics = records[0], tidy(records)
opening.pictures(p.data_root, record.dataset)
routing = {run: settings["routing"] for run, settings in record.runs.items()}
named = [key.split(", ", 1) for key in record.flat]
tokens = list(dict.fromkeys(name for name, _ in named if name != CLASS_FEATURE))
searched = neighbours.gallery(p.data_root, record.dataset, tokens, p.gallery)
factors = list(searched.labels)
print(f"{record.dataset}: {len(searched.items):,} pictures, tokens {', '.join(tokens)}; runs {routing}")
print(f"weights {record.weights_sha256[:8]} · roles {record.roles_sha256[:8]} · {metrics.seed.nunique()} seeds")

# %% [markdown]
# ## 1 Features by token
#
# After the last layer each attribute token's state goes through the trained projection (Eq. 11, notebook 04). Two pictures are near *by
# color* if the color token's features point the same way. Gallery and queries are the source's test pictures, none of which any of
# the models was trained on; a picture is not its own neighbour.
#
# What can two pictures share? Where the pictures were rendered, the factors of each were written beside the data set. Of
# photographs only the class is known, and whether a token finds its own attribute cannot be told.

# %%
queries = record.neighbours["query"]
query = queries[0]
if searched.known:
    its = {a: vocabulary.FACTORS[a][int(v[query])] for a, v in searched.labels.items() if v[query] >= 0}
    print("The query:", ", ".join(f"{a} {v}" for a, v in its.items()))
else:
    print(f"The factors of {record.dataset} are not known, neighbours are judged by class. The query: {searched.items[query].classname}")

# %% [markdown]
# ## 2 Neighbours as pictures
#
# One query; a row per token, then the class feature; a block per routing. A frame marks neighbours that share the row's factor with
# the query, or its class where that is all that is known.

# %%
rows = [*(t for t in tokens if t in factors or not searched.known), CLASS_FEATURE]
wide = p.shown + 1
fig, axes = plots.figure(len(rows), wide * len(routing), size=(0.78 * wide * len(routing), 0.86 * len(rows)), squeeze=False)
for block, (run, how) in enumerate(routing.items()):
    for line, name in zip(axes[:, block * wide : (block + 1) * wide], rows, strict=True):
        near = record.neighbours[f"{name}, {run}"][: p.shown]
        own = searched.labels.get(name if searched.known else neighbours.CLASS)
        for ax, i in zip(line, [query, *near], strict=True):
            plots.picture(ax, np.asarray(open_image(searched.items[i].path)) / np.float32(255))
            if own is not None and i != query and own[query] >= 0 and own[i] == own[query]:
                plots.frame(ax, plots.LINE_COLORS[2])
        line[0].set_axis_on()
        line[0].set(xticks=[], yticks=[])
        if block == 0:
            line[0].set_ylabel(name.replace(" ", "\n"), fontsize=8)
    axes[0, block * wide].set_title(f"query ({how})", fontsize=8)
told = "frame: shares the query's class"
if searched.known:
    lacking = [a for a in rows if a in factors and searched.labels[a][query] < 0]
    without = "; ".join([*(f"{a}, which the query has not" for a in lacking), "class feature, which has no factor of its own"])
    told = f"frame: shares the row's factor with the query (no frames: {without})"
fig.suptitle(told, fontsize=8)
made_from = origin("11_attribute_retrieval", p, records)
plots.save(fig, p.figures_root, "figure3", made_from.get("generated"))

# %% [markdown]
# ## 3 Precision at k
#
# A few pictures can be picked to please. The number: the share of a query's `k` nearest neighbours with the query's value of a
# factor, averaged over all queries that have the factor. By hand for the query above, from the neighbours that are drawn:

# %%
for run in routing:
    hits = {}
    for name in (t for t in tokens if t in factors):
        near, own = record.neighbours[f"{name}, {run}"][: p.shown], searched.labels[name]
        if own[query] >= 0:
            hits[name] = sum(int(own[i] == own[query]) for i in near) / len(near)
    print(f"{routing[run]}: " + ", ".join(f"{name} {share:.0%}" for name, share in hits.items()) + f" of {p.shown} neighbours share it")

# %%
first_run = next(iter(routing))
cells = []
for m in record.metrics:
    feature, _, run = m.method.partition(", ")
    if feature != neighbours.OWN:
        blind = feature in (neighbours.FROZEN, neighbours.CHANCE)
        cells.append({"feature": feature, "factor": m.dataset, "routing": "–" if blind else routing[run or first_run],
                      "precision": m.accuracy})  # fmt: skip
table = pd.DataFrame(cells).groupby(["routing", "feature", "factor"], sort=False).precision.agg(["mean", "std", "count"]).reset_index()
write_text(p.figures_root / "figure3.csv", table.to_csv(index=False, float_format="%.4f"))
tables.write_sidecar(p.figures_root / "figure3", made_from)

# %%
order = [*(f"{t} token" for t in tokens), CLASS_FEATURE]
fig, axes = plots.figure(1, len(routing) + 1, size=(4.3 * len(routing) + 3.4, 3.0))
for ax, how in zip(axes, [*routing.values(), "–"], strict=True):
    own = table[table.routing == how].pivot(index="feature", columns="factor", values="mean")
    own = own.loc[order if how != "–" else [neighbours.FROZEN, neighbours.CHANCE], factors]
    plots.weight_map(ax, own.to_numpy() / 100, list(own.index), factors, f"precision@{p.k}", top=1.0)
    ax.set_title(how if how != "–" else "for comparison")
    ax.tick_params(axis="x", rotation=45)
plots.save(fig, p.figures_root, "11_precision")

# %% [markdown]
# Read down a column: which feature finds pictures that share this factor? If tokens spoke of their attributes, the diagonal would
# stand out. *Printed*: all tokens read the picture in all attribute heads, so they read the same. *Exclusive*: each reads in its own
# heads (and the mixed ones). Below, how far the own token leads the best other one, with the 95 % interval over seeds. Of five tokens that
# are alike one is best all the same: by chance it is the own one for one attribute in five.

# %%
judged = []
for run, how in routing.items():
    suffix = "" if run == first_run else f", {run}"
    own = table[table.routing == how].pivot(index="feature", columns="factor", values="mean")
    for a in [t for t in tokens if t in factors]:
        rest = own.loc[[f"{t} token" for t in tokens if t != a], a]
        lead = difference(paired(metrics, Contrast(f"{a} token{suffix}", rest.idxmax() + suffix, "all", datasets=(a,))), "these data sets")
        judged.append({"routing": how, "attribute": a, "own": own.loc[f"{a} token", a], "best other": rest.max(),
                       "which": rest.idxmax().removesuffix(" token"), "lead": lead.mean, "low": lead.low, "high": lead.high,
                       "class feature": own.loc[CLASS_FEATURE, a]})  # fmt: skip
columns = ["routing", "attribute", "own", "best other", "which", "lead", "low", "high", "class feature"]
judged = pd.DataFrame(judged, columns=columns)
display(Markdown(judged.to_markdown(index=False, floatfmt=".1f")))

# %% [markdown]
# Over factors as units, own token less class feature, with a 95 % interval (*data sets like these*, where a factor takes a data set's
# place):

# %%
gains = {}
if searched.known:
    for run, how in routing.items():
        suffix = "" if run == first_run else f", {run}"
        pairs = paired(metrics, Contrast(neighbours.OWN + suffix, CLASS_FEATURE + suffix, "all", datasets=tuple(factors)))
        gains[how] = difference(pairs)
        print(f"{how}: {gains[how].mean:+.1f} points [{gains[how].low:+.1f}, {gains[how].high:+.1f}] over {gains[how].datasets} factors")

# %% [markdown]
# Why a printed token need not speak of its attribute: its name decides which heads may *listen* to it (Eq. 9). It is not told what to
# say. All tokens see all originals in attribute and mixed heads, and the loss asks only for the right class.
#
# ## 4 Features in two dimensions
#
# t-SNE of one and the same pictures, coloured by each factor: the class feature, then each token's own feature, in either routing.
# Where colours form islands, the feature sorts by that factor. Grey points have no value of the factor.

# %%
which = neighbours.mapped(len(searched.items), p.projected)
lines = [("class feature", first_run), *(("token", run) for run in routing)]
columns = [t for t in tokens if t in factors] or tokens
fig, axes = plots.figure(len(lines), len(columns), size=(2.0 * len(columns), 2.1 * len(lines)), squeeze=False)
for line, (what, run) in zip(axes, lines, strict=True):
    for ax, name in zip(line, columns, strict=True):
        flat = np.array(record.flat[f"{name if what == 'token' else CLASS_FEATURE}, {run}"])
        plots.labelled_points(ax, flat, searched.labels[name if searched.known else neighbours.CLASS][which].numpy())
        ax.set_title(f"{name} token, {routing[run]}" if what == "token" else f"class feature, by {name}", fontsize=8)
plots.save(fig, p.figures_root, "11_features")

# %% [markdown]
# ## 5 For the head explorer
#
# What each token finds for this query and for some others, for the explorer's page of notebook 02.

# %%
page = p.figures_root / "explorer.json"
roles = Explorer.load(page).roles if page.is_file() else None
if roles is not None and roles.sha256 == record.roles_sha256:
    near = {}
    for run, how in routing.items():
        for name in tokens:
            rows_of = torch.zeros(len(searched.items), p.shown, dtype=torch.long)
            rows_of[list(queries)] = torch.tensor(record.neighbours[f"{name}, {run}"]).view(len(queries), -1)
            near[how, name] = rows_of
    found: Found = for_explorer(near, queries, searched.labels, lambda i: picture_of(searched.items[i]), roles)
    found.save(p.figures_root / "11_neighbours.json")
    write_page(Explorer.load(page).with_found(p.figures_root / "11_neighbours.json"), p.figures_root / "explorer.html")
    print(f"{p.figures_root}/explorer.html: with {len(found.neighbours)} rows of neighbours")
else:
    print("No explorer.json of these roles: notebook 02 makes it.")

# %% [markdown]
# ## What is true here
#
# Precision in percent, differences in points with 95 % intervals; what the paper's text claims of its tokens is judged in the
# [claims table](../figures/mini/claims.md).

# %%
numbers = {"gallery": len(searched.items), "k": p.k, "attributes": len(columns)}
for how in routing.values():
    own = judged[judged.routing == how]
    numbers |= {f"best_{how}": (own["own"] > own["best other"]).sum(), f"twice_{how}": (own["own"] >= 2 * own["best other"]).sum()}
    if how in gains:
        most = own.loc[own["lead"].idxmax()]
        numbers |= {f"chance_{how}": len(own) / len(tokens), f"clear_{how}": (own["low"] > 0).sum(), f"of_{how}": most["attribute"],
                    f"lead_{how}": most["lead"], f"lead_low_{how}": most["low"], f"lead_high_{how}": most["high"]}  # fmt: skip
        numbers |= {f"gain_{how}": gains[how].mean, f"low_{how}": gains[how].low, f"high_{how}": gains[how].high}
file = write_numbers(p.figures_root / "11_numbers.csv", numbers)
said = (
    "- *HOW*: for {best_HOW:.0f} of {attributes:.0f} attributes the own token finds more of its factor than any other token (by "
    "chance, of tokens that are alike, for {chance_HOW:.0f}), for {twice_HOW:.0f} twice as much or more."
)
leads = (
    "- *HOW*: the own token's largest lead over the best other, for {of_HOW}, is {lead_HOW:+.1f} points [{lead_low_HOW:+.1f}, "
    "{lead_high_HOW:+.1f}] over seeds; {clear_HOW:.0f} of {attributes:.0f} leads have an interval above 0."
)
gain = "- *HOW*: own token − class feature, over factors: {gain_HOW:+.1f} points [{low_HOW:+.1f}, {high_HOW:+.1f}]."
for how in gains:
    display(*(from_numbers(file, text.replace("HOW", how)) for text in (said, leads, gain)))
display(from_numbers(file, "- A few drawn neighbours persuade; precision@{k:.0f} over {gallery:.0f} queries, beside chance, decides."))

# %% [markdown]
# **Misconception.** *"The mask gives a token a meaning."* It gives it an audience; what it *reads* decides what it can say.
#
# ## Exercises
#
# **1.** Precision at k for every picture, from similarities: the picture itself is no neighbour.

# %% tags=["exercise"]
import torch


def precision_at(similarity: torch.Tensor, labels: torch.Tensor, k: int) -> torch.Tensor:
    """[picture]; `similarity`: [picture, picture]."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

s = torch.tensor([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
check(precision_at, [
    ((s, torch.tensor([0, 0, 1]), 1), [1, 1, 0], "leave the picture itself out, it is always its own nearest"),
    ((s, torch.tensor([0, 1, 0]), 2), [0.5, 0, 0.5], "a share of the k neighbours"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def precision_at(similarity, labels, k):
#     away = similarity.masked_fill(torch.eye(len(labels), dtype=torch.bool), float("-inf"))
#     return (labels[away.topk(k).indices] == labels[:, None]).double().mean(dim=1)
# ```
#
# </details>

# %% [markdown]
# **2.** What blind choice gives: the expected precision when k pictures are drawn from the others, averaged over queries.

# %% tags=["exercise"]
def blind(labels: list[int]) -> float:
    """A share."""
    ...


# %% tags=["check"]
check(blind, [
    (([0, 0, 1, 1],), 1 / 3, "of three others one has the query's label"),
    (([0, 0, 0, 1],), 0.5, "three queries with 2 of 3, one with none: the mean over queries"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def blind(labels):
#     shares = [(labels.count(v) - 1) / (len(labels) - 1) for v in labels]
#     return sum(shares) / len(shares)
# ```
#
# </details>
#
# **To think about.** Which two factors are found together most often, and is that the world's doing or the model's?
