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
# # 00 · DeAR-Mini, a CLIP with the paper's premise in it
#
# **Question.** DeAR takes three things of CLIP for granted: its residual streams are small, its late heads write the image
# feature, and some of these heads are about one attribute. Can a CLIP small enough for a laptop have all three, in a world where
# the truth about every picture is known?
#
# | | |
# |---|---|
# | Before this | nothing; for whoever wants to know where the model of all lessons comes from |
# | Paper | Section 3.2, which starts from late heads with roles; the recipe is ours, the paper's weights are published ones |
# | You will see | pictures with captions, the loss, what is *planted* and how, the curve, zero-shot accuracy, a table of the premises |
# | Reads | the packaged weights, the record of their training |
# | Writes | `00_numbers.csv`, `00_*.svg` and `.png`; with `train: true` new weights, in hours |
# | Takes | 65 seconds and 1.9 GB of memory, opened first, two cores, no GPU; with `train: true` hours (section 5), 4 GB, 1 GB of disk |
# | After this | [01 · Inside the image encoder](01_vit_internals.ipynb) |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"
clip: str = "DeAR-Mini"
cache_root: str = "cache/pretrain"
seed: int = 0
device: str = "auto"
images: int = 80000  # rendered once
batch: int = 128
keep: float = 0.5  # share of the patches in the masked steps
masked_steps: int = 2000
full_steps: int = 400
warmup_steps: int = 100
lr_matrices: float = 3e-3  # Muon: matrices inside the layers
lr_others: float = 1.5e-3  # AdamW: embeddings, norms, biases, projections
weight_decay: float = 0.05
first_layer: int = 9  # the late heads are those of L9 to L12
planted: dict = {"color": 5, "shape": 5, "texture": 5, "object": 5, "location": 5, "number": 2, "letter": 2, "general": 8}  # heads of 48
demand_late: float = 0.8  # share of the image feature's variance that late heads write
demand_purity: float = 0.85  # share of a planted head's energy that lies along its own factor
demand_owned: float = 0.5  # share of a factor's energy that its planted heads write
demand_silence: float = 0.95  # share of a planted head's variance over pictures that show its factor
weight_answers: float = 1.0
weight_demands: float = 2.0
stream: float = 0.7  # standard deviation of both residual streams entering first_layer
token: float = 0.02  # that of the tokens which ask the planted heads
bfloat16: bool = True  # the encoders' products; weights, optimisers and losses stay in single precision
train: bool = False  # pre-train anew
checkpoint_every: int = 100
held_out: int = 4000  # pictures of the zero-shot check

# %%
import json
import textwrap

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import display
from scipy import stats

from dearlib import machine, plots
from dearlib.clip.loading import load
from dearlib.datasets.world import scene, vocabulary
from dearlib.errors import InputError
from dearlib.mini import batches, planting, premises, pretraining
from dearlib.params.reading import params_hash, validated
from dearlib.roles.heads import decompose, mean_ablate
from dearlib.study.takeaways import from_numbers, write_numbers

# %%
p = validated("00_pretrain_mini", globals())
recipe = pretraining.recipe(p)
where = torch.device(machine.device(p.device))
print(f"{p.clip} on {where.type}, seed {p.seed}, parameters {params_hash(p)}")

# %% [markdown]
# ## 1 The Attribute World
#
# A scene has one subject (an object, a shape, a digit or a letter) with a colour and a texture, in a place, small or large,
# in dim or bright light. Each picture is a pure function of (version, split, seed, index), so the training set is a number, not a
# download; and the factors that were drawn are the truth that later notebooks compare with.
#
# A caption names a random subset of the factors. Each picture of a batch gets two: one that names **one** factor, the way a class
# name in a prompt does, and one that names the subject and perhaps more.

# %%
rng = np.random.default_rng(p.seed)
drawn = [scene.scene("pretrain", p.seed, i) for i in range(8)]
fig, axes = plots.figure(2, 4, size=(9, 5))
for ax, (picture, factors) in zip(axes.flat, drawn, strict=True):
    captions = vocabulary.single_caption(factors, rng), vocabulary.scene_caption(factors, rng)
    plots.picture(ax, picture / np.float32(255), "\n".join(textwrap.fill(c, 36) for c in captions))
    ax.title.set(fontsize=7, fontweight="normal")
plots.save(fig, p.figures_root, "00_pictures")

# %% [markdown]
# ## 2 The contrastive loss
#
# With unit features $v_i$ of pictures and $t_i$ of captions and a temperature $\tau$, CLIP minimises, both ways round,
#
# $$\mathcal{L} = -\frac{1}{2B}\sum_i \Big[\sum_j q_{ij}\log\frac{e^{\tau\, v_i\cdot t_j}}{\sum_k e^{\tau\, v_i\cdot t_k}}
# + \sum_j q_{ji}\log\frac{e^{\tau\, v_j\cdot t_i}}{\sum_k e^{\tau\, v_k\cdot t_i}}\Big].$$
#
# Usually $q$ is the identity. With few factors captions repeat: two pictures captioned "something red" are both right for it.
# Treated as negatives, they would teach the model that red is not red. So $q_{ij}$ is spread evenly over equal captions.
# By hand, with three pictures of which two share a caption, against `dearlib`:

# %%
captions, unique = ["red", "red", "cup"], ["cup", "red"]
draw = torch.Generator().manual_seed(p.seed)
image, text = torch.randn(3, 4, generator=draw), torch.randn(2, 4, generator=draw)
each = text[[unique.index(c) for c in captions]]
logits = F.normalize(image, dim=-1) @ F.normalize(each, dim=-1).T
target = torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
by_hand = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
torch.testing.assert_close(pretraining.contrastive_loss(image, captions, text, unique, torch.tensor(1.0)), by_hand)
print(f"{by_hand:.4f}")

# %% [markdown]
# Equal captions also set a floor: even a perfect model cannot tell two pictures with one caption apart. For a batch whose caption $c$
# occurs $n_c$ times the loss is at least $\frac1B\sum_c n_c\log n_c$. Measured over a few batches:

# %%
batches_seen = []
for step in range(20):
    shown = [scene.draw_factors(scene.generator("pretrain", p.seed, step * p.batch + i)) for i in range(p.batch)]
    prompts = vocabulary.value_prompts(np.random.default_rng(step))
    told = [vocabulary.named_factor(f, rng) for f in shown]
    single = pd.Series([prompts[n][vocabulary.FACTORS[n].index(str(f.value(n)))] for n, f in zip(told, shown, strict=True)])
    several = pd.Series([vocabulary.scene_caption(f, np.random.default_rng([step, i])) for i, f in enumerate(shown)])
    batches_seen.append((shown, told, {"single": single, "several": several}))


def mean_of(values):
    """A mean and its 95 % interval (Student's t)."""
    return (np.mean(values), *stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values)))


floors = {n: [(c := own[n].value_counts()) @ np.log(c) / p.batch for *_, own in batches_seen] for n in ("single", "several")}
floor = {n: mean_of(values) for n, values in floors.items()}
for name, said in (("single", "one factor is named"), ("several", "several are")):
    print("floor of the loss where {}: {:.2f} [{:.2f}, {:.2f}]".format(said, *floor[name]))

# %% [markdown]
# What the floor does not count: a caption may be true of other pictures, too, whose own caption is another one. "Something red" and
# "a cup" both fit a red cup. The loss takes one of them for wrong, and no model can know which. So we add a second line, the loss of
# an *oracle* that knows all factors: every caption that is true of a picture is equally likely to it, every picture that a caption is
# true of likewise, and all others are ruled out. It is no floor: how often a factor is named it does not use.

# %%
def oracle_loss(fits):
    """`fits` [picture, caption]: is the caption true of the picture?"""
    return (np.log(fits.sum(axis=0)).mean() + np.log(fits.sum(axis=1)).mean()) / 2


oracles = {"single": [], "several": []}
for step, (shown, told, own) in enumerate(batches_seen):
    fits = [[f.value(n) == g.value(n) for n, g in zip(told, shown, strict=True)] for f in shown]
    oracles["single"].append(oracle_loss(np.array(fits)))
    # a caption is true of every picture for which the same draws write the same words; other subjects have other words
    fits = [[f.subject == g.subject and vocabulary.scene_caption(f, np.random.default_rng([step, j])) == own["several"][j]
             for j, g in enumerate(shown)] for f in shown]  # fmt: skip
    oracles["several"].append(oracle_loss(np.array(fits)))
oracle = {n: mean_of(values) for n, values in oracles.items()}
for name, said in (("single", "one factor is named"), ("several", "several are")):
    print("loss of the oracle where {}: {:.2f} [{:.2f}, {:.2f}]".format(said, *oracle[name]))

# %% [markdown]
# ## 3 What is planted
#
# In OpenAI's CLIP the last four layers' heads write nearly all of the image feature and some of them speak of one kind of thing
# (Gandelsman et al., ICLR 2024): that was found. In a CLIP this small it does not come about by itself, so it is *asked for*. A drawn set
# of the 48 late heads is given a factor each; `general` heads must say something of every factor, the rest is free.

# %%
model_heads, late_layers = 12, 4
given = planting.plant(p.planted, late_layers, model_heads, p.seed)
fig, ax = plots.figure(size=(7.4, 2.5))
plots.planted_map(ax, given, p.first_layer, late_layers, model_heads)
plots.save(fig, p.figures_root, "00_planted")

# %% [markdown]
# Write $x_h$ for what head $h$ adds to the image feature, centred over the batch, and $\hat t_v$ for the centred text feature of a
# factor's value $v$. The **energy** of a part along factor $f$ is $E_f(x) = \frac{1}{|f|}\sum_{v\in f} \mathrm{Var}(x\cdot\hat t_v)$. Asked
# for are
#
# - *answers*: each planted head alone tells the values of its factor apart, a cross-entropy of $16\cos(x_h, \hat t_v)$, in what it
#   writes to [CLS] and likewise in what it writes to a random token that asks, as DeAR's tokens will;
# - *purity*: $E_a(x_h) / \sum_f E_f(x_h)$ of a head given factor $a$;
# - *owned*: $E_a(\sum_{h\in a} x_h)$ against all else that the feature has along $a$;
# - *silence*: of a planted head's variance over pictures that show its factor and over those that do not, the former's share;
# - *late*: the late heads' share of the image feature's variance.
#
# The last four are hinges: $\max(0, \text{demand} - \text{share})$ asks for nothing once it is met. By hand for one head and four
# pictures, two red and two blue, of which one is a star:

# %%
red, blue, star, ring = torch.eye(6)[:4]
along = {"color": torch.stack([red, blue]), "shape": torch.stack([star, ring])}
head = torch.stack([red, red + star / 2, blue, blue])
centred = head - head.mean(dim=0)
by_factor = {name: ((centred @ planting.directions(t).T) ** 2).mean().item() for name, t in along.items()}
purity = by_factor["color"] / sum(by_factor.values())
found = {name: planting.energy(head[:, None], planting.directions(t)).item() for name, t in along.items()}
assert all(abs(found[name] - by_factor[name]) < 1e-6 for name in along)
print(f"energy along color {by_factor['color']:.3f}, along shape {by_factor['shape']:.3f}: purity {purity:.2f}")

# %% [markdown]
# One number is minimised, the sum of both captions' contrast and of what the planted heads lack, with two weights of the recipe:
#
# $$\mathcal{L}_{total} = \mathcal{L}_{single} + \mathcal{L}_{several} + w_a\, \mathcal{L}_{answers}
# + w_d\, (\mathcal{L}_{late} + \mathcal{L}_{purity} + \mathcal{L}_{owned} + \mathcal{L}_{silence})$$
#
# The loop that does it is `pretraining.pretrain`, the terms come from `pretraining.step_losses`.

# %%
print(f"w_a = {recipe.weight_answers:g} (answers), w_d = {recipe.weight_demands:g} (demands)")

# %% [markdown]
# ## 4 The recipe
#
# - Most steps show a random share of each picture's patches, `keep`: fewer tokens, cheaper steps. The last steps show all of them.
# - The rate rises linearly, stays, and falls linearly to zero over the last 40 % of the steps.
# - Matrices inside the layers are stepped by Muon, everything else by AdamW.
# - In the end everything that writes to a residual stream is multiplied by one number. Every reader of the stream is a LayerNorm,
#   which takes the scale out again, so no feature changes but by its $\varepsilon$.
#
# A masked step by hand: each picture draws its own patches, and what is hidden is not blackened but left out of the sequence.

# %%
across = 8  # patches of 6 pixels
order = torch.rand(2, across**2, generator=torch.Generator().manual_seed(p.seed * 1_000_003)).argsort(dim=1)
kept = order[:, : round(p.keep * across**2)]
assert torch.equal(kept, batches.kept_patches(p.seed, 0, 2, across**2, p.keep))
shown = torch.zeros(2, across**2, dtype=torch.bool).scatter(1, kept, True).view(2, across, across).numpy()
fig, axes = plots.figure(1, 3, size=(9.2, 2.2), width_ratios=[1, 1, 2.4])
for ax, (picture, _), mask in zip(axes, drawn, shown, strict=False):
    side = len(picture) // across
    seen = np.kron(mask, np.ones((side, side), dtype=bool))[..., None]
    plots.picture(ax, np.where(seen, picture, 255) / np.float32(255))
axes[0].set_title("seen in one step: the white is left out", loc="left")
axes[2].plot([recipe.rate(s) for s in range(recipe.steps)])
axes[2].axvline(recipe.masked_steps, color="black", linestyle="--", linewidth=1)
axes[2].set(xlabel="step (dashed: from here all patches)", ylabel="share of the rate")
plots.save(fig, p.figures_root, "00_recipe")

# %% [markdown]
# Muon by hand: the momentum is written $M = U\Sigma V^\top$, and the step goes along $UV^\top$: every direction of the matrix moves about
# as far, however small its gradient is. PyTorch's `torch.optim.Muon` comes near it by a few products, so the singular values of its step
# are only about alike. On a matrix whose gradient is a thousand times larger in one direction than in another:

# %%
u, _, vt = torch.linalg.svd(torch.randn(4, 6, generator=draw), full_matrices=False)
gradient = u @ torch.diag(torch.tensor([10.0, 1.0, 0.1, 0.01])) @ vt
weight = torch.nn.Parameter(torch.zeros(4, 6))
weight.grad = gradient.clone()
torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw").step()
taken = -weight.detach() / (0.2 * 6**0.5)  # that function's factor: 0.2 times the root of the longer side
along = F.cosine_similarity(taken.flatten(), (u @ vt).flatten(), dim=0)
print(f"singular values of the gradient {[round(x, 2) for x in torch.linalg.svdvals(gradient).tolist()]}")
print(f"of Muon's step {[round(x, 2) for x in torch.linalg.svdvals(taken).tolist()]}; cosine with UVᵀ {along:.2f}")

# %% [markdown]
# ## 5 Training
#
# With `train: true` this trains, going on from the last checkpoint in `cache_root`, and exports new weights to `runs/`. Otherwise it
# reads what is shown from the record of the training that made the packaged weights.

# %%
record = p.figures_root / "records" / "pretraining.json"
if p.train:
    told = pretraining.make_weights(p.clip, recipe, p.cache_root, p.runs_root / "00_pretrain_mini", where, p.checkpoint_every)
elif not record.is_file():
    raise InputError(f"{record}: expected the record of the packaged weights' training, got none; restore the file from the repository")
else:
    told = json.loads(record.read_text(encoding="utf-8"))
curve = pd.DataFrame(told["curve"])
threads = told["hardware"]["threads"]
machine = f"{told['hardware']['processor']}, {threads} {'thread' if threads == 1 else 'threads'}"
print(f"{told['steps']:,} steps, {told['pictures_seen']:,} pictures seen, {told['hours']:.2f} hours on {machine}")

# %%
fig, axes = plots.figure(1, 2, size=(9.2, 2.9))
names = {"single": "one factor named", "several": "several named", "answers": "planted heads alone"}
for (name, label), color in zip(names.items(), plots.LINE_COLORS, strict=False):
    axes[0].plot(curve.step, curve[name], color=color, label=label)
    if name in floor:
        axes[0].axhline(floor[name][0], color=color, linestyle=":", linewidth=1)
        axes[0].axhline(oracle[name][0], color=color, linestyle="-.", linewidth=1)
axes[0].set(xlabel="step (dashed: from here all patches)", ylabel="loss (dotted: floor, dash-dotted: oracle)")
for i, name in enumerate(("late", "purity", "owned", "silence")):  # thinner and thinner, so that lines at 0 hide no other
    axes[1].plot(curve.step, curve[name], color=plots.LINE_COLORS[3 + i], linewidth=4.2 - 1.1 * i, label=name)
axes[1].set(xlabel="step (dashed: from here all patches)", ylabel="what is lacking, as a share")
for ax in axes:
    ax.axvline(recipe.masked_steps, color="black", linestyle="--", linewidth=0.8)
    ax.legend()
plots.save(fig, p.figures_root, "00_loss")

# %%
last = curve.tail(10)  # one batch is luck
ended = {n: mean_of(last[n]) for n in names}
for name, label in names.items():
    reference = f"; floor {floor[name][0]:.2f}, oracle {oracle[name][0]:.2f}" if name in floor else ""
    print("{}, the last {} steps of the record: {:.2f} [{:.2f}, {:.2f}]{}".format(label, len(last), *ended[name], reference))
print("lacking: " + ", ".join(f"{n} {last[n].mean():.3f}" for n in ("late", "purity", "owned", "silence")))
around = curve[(curve.step - recipe.masked_steps).abs() < 100]
for whole_pictures, rows in around.groupby(around.step >= recipe.masked_steps):
    told_of = "first hundred with all patches" if whole_pictures else "last hundred masked steps"
    print("{}, several named: {:.2f} [{:.2f}, {:.2f}]".format(told_of, *mean_of(rows.several)))

# %% [markdown]
# Read a curve against the dash-dotted line rather than the dotted one: no model can tell which of several true captions was drawn.
#
# At the dashed line nothing about the model changes but what it is shown: from there on whole pictures. The last two lines say what
# that does to the loss where several factors are named.
#
# ## 6 Zero-shot on pictures never trained on
#
# New pictures of the same style, drawn from another stream. For each factor, the pictures that have it are classified among its
# values by cosine with the values' prompts, one template a factor; beside it the mean of all of the factor's templates. What is
# judged is the file as it ships, in half precision.

# %%
weights = p.runs_root / "00_pretrain_mini" / f"{p.clip}.safetensors" if p.train else None
frozen = load(p.clip, weights)
held = [scene.scene("held-out", p.seed, i) for i in range(p.held_out)]
truth = [f for _, f in held]
pixels = torch.cat([batches.to_input(np.stack([x for x, _ in held[i : i + 128]])) for i in range(0, p.held_out, 128)])
features = F.normalize(torch.cat([frozen.encode_image(some) for some in pixels.split(128)]), dim=-1)
labels = {name: torch.tensor(vocabulary.labels(truth, name)) for name in vocabulary.FACTORS}


# %%
def answers_to(factor, templates):
    """The text features of a factor's values, written out with `templates` and averaged."""
    return sum(F.normalize(frozen.encode_text([t(v) for v in vocabulary.FACTORS[factor]]), dim=-1) for t in templates)


def zero_shot(unit, factor, templates):
    """Accuracy in percent over the pictures that have the factor."""
    has = labels[factor] >= 0
    right = (unit[has] @ F.normalize(answers_to(factor, templates), dim=-1).T).argmax(1) == labels[factor][has]
    return 100 * right.double().mean().item()


targets = {"object": 80, "shape": 80, "color": 95, "location": 95, "texture": 85, "number": None, "letter": None}
# which of a factor's templates: "a photo of …", as the data sets say it
one_prompt = {"object": 0, "shape": 0, "color": 2, "location": 3, "texture": 3, "number": 1, "letter": 1}
rows = {}
for factor, target in targets.items():
    templates = vocabulary.PHRASE_TEMPLATES[factor]
    accuracy = zero_shot(features, factor, [templates[one_prompt[factor]]])
    rows[factor] = {
        "classes": len(vocabulary.FACTORS[factor]),
        "n": int((labels[factor] >= 0).sum()),
        "one prompt": round(accuracy, 2),
        "all templates": round(zero_shot(features, factor, templates), 2),
        "wanted": target,
        "": "no target" if target is None else "reached" if accuracy >= target else "not reached",
    }
table = pd.DataFrame(rows).T
table

# %% [markdown]
# ## 7 The premises, measured
#
# *Scale.* The standard deviation of the residual streams where they enter layer $J$, beside that of DeAR's tokens, which are drawn
# at 0.02: where the stream is many times larger, a token's own value is lost in what the layers write.

# %%
captions = sorted({vocabulary.scene_caption(f, rng) for f in truth[:500]})
streams = premises.stream_deviations(frozen, pixels[:500], captions, p.first_layer)
print(f"image stream {streams[0]:.2f}, text stream {streams[1]:.2f} entering layer {p.first_layer}")

# %% [markdown]
# *Late heads write the picture.* The margin of the right value over the others is a sum over heads, MLPs and embedding (notebook 01
# takes it apart). Of what all heads add, how much is written in the last four layers? Averaged over the five core attributes:

# %%
parts = [decompose(frozen.visual, some) for some in pixels[:1000].split(100)]
whole = type(parts[0])(*(torch.cat([getattr(x, n) for x in parts]) for n in ("embedding", "heads", "mlps")))
core = vocabulary.CORE_ATTRIBUTES
margin = {f: premises.margins(whole, answers_to(f, vocabulary.PHRASE_TEMPLATES[f]), labels[f][:1000]) for f in core}
heads_of = sum(m["heads"] for m in margin.values()) / len(core)
mlps_of = sum(m["mlps"] for m in margin.values()) / len(core)
late = premises.late_share(heads_of, p.first_layer)
fig, axes = plots.figure(1, 2, size=(9.2, 3.4), width_ratios=[3, 2])
fig.get_layout_engine().set(wspace=0.1)  # the colour bar's label keeps clear of the other axis
plots.contribution_map(axes[0], heads_of.numpy(), 1, "what a head adds to the margin (cosine)")
plots.stacked_parts(axes[1], {"attention": heads_of.sum(1).numpy(), "MLP": mlps_of.numpy()}, "what a layer adds (cosine)")
plots.save(fig, p.figures_root, "00_margins")
hundreds = []  # the same for each hundred pictures, to see how firm it is
said = {f: answers_to(f, vocabulary.PHRASE_TEMPLATES[f]) for f in core}
for i, some in enumerate(parts):
    of_these = [premises.margins(some, said[f], labels[f][100 * i : 100 * i + len(some.heads)])["heads"] for f in core]
    hundreds.append(100 * premises.late_share(sum(of_these), p.first_layer))
print(f"{late:.0%} of the heads' share of the margin is written in layers {p.first_layer} to {frozen.layers}")

# %% [markdown]
# *Heads for every attribute.* Each planted head alone is mean-ablated: what it writes is replaced by its mean over the pictures. A
# head is *confirmed* if its own factor's margin falls more than any other's, and the difference to the next is clear of zero over
# pictures drawn again (a bootstrap). Whether words find these heads is notebook 02's question.

# %%
unit = {f: F.normalize(answers_to(f, vocabulary.PHRASE_TEMPLATES[f]), dim=-1) for f in core}


def margin_of(feature, factor):
    """Every picture's margin (cosine) on one factor; NaN where the picture shows none of it."""
    label = labels[factor][: len(feature)]
    cosine = F.normalize(feature, dim=-1) @ unit[factor].T
    own = cosine.gather(1, label.clamp(min=0)[:, None])[:, 0]
    others = (cosine.sum(1) - own) / (cosine.shape[1] - 1)
    return (own - others).masked_fill(label < 0, torch.nan)


total, late_heads = whole.total, whole.heads[:, p.first_layer - 1 :]
before = {f: margin_of(total, f) for f in core}
again = torch.randint(len(total), (500, len(total)), generator=torch.Generator().manual_seed(p.seed))
confirmed = dict.fromkeys(core, 0)
for factor in core:
    for h in given[factor]:
        chosen = torch.zeros(late_layers, model_heads, dtype=torch.bool)
        chosen.view(-1)[h] = True
        without = mean_ablate(total, late_heads, chosen)
        fall = {f: before[f] - margin_of(without, f) for f in core}
        own, rest = fall[factor], [fall[f] for f in core if f != factor]
        largest = max(rest, key=lambda x: x.nanmean().item())
        apart = own[again].nanmean(1) - largest[again].nanmean(1)
        confirmed[factor] += bool(own.nanmean() > largest.nanmean() and apart.quantile(0.025) > 0)
pd.DataFrame({"planted": {f: len(given[f]) for f in core}, "confirmed": confirmed}).T

# %% [markdown]
# The premises together. "CLIP as published" is what its literature says; its weights are not part of this repository, so no number of
# theirs is measured here.

# %%
small, measured = "0.3 to 1.5", "not measured here"
reached = int((table[""] == "reached").sum())
rows = [
    ("image stream entering L9, standard deviation", measured, small, f"{streams[0]:.2f}", 0.3 <= streams[0] <= 1.5),
    ("text stream entering L9, standard deviation", measured, small, f"{streams[1]:.2f}", 0.3 <= streams[1] <= 1.5),
    ("share of the heads' margin in L9 to L12", "nearly all (Gandelsman et al.)", "70 % or more", f"{late:.0%}", late >= 0.7),
    ("attributes with 3 or more confirmed heads", "a head each is shown (the paper's Table 1)", "5 of 5",
     f"{sum(n >= 3 for n in confirmed.values())} of 5", min(confirmed.values()) >= 3),
    ("zero-shot targets of section 6", "–", "5 of 5", f"{reached} of 5", reached == 5),
]  # fmt: skip
summary = pd.DataFrame(rows, columns=["premise", "CLIP as published", "wanted here", "here", ""])
summary[""] = np.where(summary[""], "reached", "not reached")
summary

# %% [markdown]
# ## What is true here
#
# Of DeAR-Mini. The [claims table](../figures/mini/claims.md) is about what DeAR does with it. To ship new weights, copy the exported files
# over those in `dearlib/mini/assets/`; every record and role file made with other weights is then refused.

# %%
found = {"steps": told["steps"], "pictures": told["pictures_seen"], "hours": told["hours"], "machine": machine,
         "reached": reached, "held_out": p.held_out,
         "image": streams[0], "text": streams[1], "planted": sum(len(given[f]) for f in core),
         "confirmed": sum(confirmed.values()), "attributes": len(core), "premises": int((summary[""] == "reached").sum()),
         "asked": len(summary), "tail": len(last), "J": p.first_layer}  # fmt: skip
means = {**{f"loss_{n}": ended[n] for n in floor}, **{f"floor_{n}": floor[n] for n in floor},
         **{f"oracle_{n}": oracle[n] for n in oracle}, "late": (100 * late, *mean_of(hundreds)[1:])}  # fmt: skip
for factor in core:
    seen, percent = table.loc[factor, "n"], table.loc[factor, "one prompt"]
    ends = stats.binomtest(round(seen * percent / 100), seen).proportion_ci(method="wilson")
    means[factor] = percent, 100 * ends.low, 100 * ends.high
for name, (mean, low, high) in means.items():
    found |= {name: mean, f"{name}_low": low, f"{name}_high": high}
file = write_numbers(p.figures_root / "00_numbers.csv", found)

# %%
display(from_numbers(file, "- {steps:,.0f} steps with {pictures:,.0f} pictures took {hours:.2f} hours ({machine})."))
display(from_numbers(file, (
    "- Where one factor is named the loss ended at {loss_single:.2f} [{loss_single_low:.2f}, {loss_single_high:.2f}]; an oracle that knows "
    "all factors has {oracle_single:.2f} [{oracle_single_low:.2f}, {oracle_single_high:.2f}]. Where several are, it ended at "
    "{loss_several:.2f} [{loss_several_low:.2f}, {loss_several_high:.2f}], the oracle has {oracle_several:.2f} "
    "[{oracle_several_low:.2f}, {oracle_several_high:.2f}]. (Means over batches with 95 % intervals; of the training the last "
    "{tail:.0f} in its record.)"
)))
display(from_numbers(file, (
    "- Zero-shot on {held_out:,.0f} new pictures, one prompt a class, percent: color {color:.2f} [{color_low:.2f}, {color_high:.2f}], "
    "shape {shape:.2f} [{shape_low:.2f}, {shape_high:.2f}], texture {texture:.2f} [{texture_low:.2f}, {texture_high:.2f}], "
    "object {object:.2f} [{object_low:.2f}, {object_high:.2f}], location {location:.2f} [{location_low:.2f}, {location_high:.2f}]; "
    "{reached:.0f} of {attributes:.0f} targets are reached. (95 % intervals over pictures.)"
)))
display(from_numbers(file, (
    "- Entering L{J:.0f} the image stream's standard deviation is {image:.2f}, the text stream's {text:.2f}; from there on the heads write "
    "{late:.1f} % [{late_low:.1f}, {late_high:.1f}] of their share of the margin (95 % interval from the hundreds of pictures)."
)))
display(from_numbers(file, (
    "- Mean-ablation confirms {confirmed:.0f} of {planted:.0f} heads that were given one of the {attributes:.0f} attributes; "
    "{premises:.0f} of {asked:.0f} premises are as wanted."
)))

# %% [markdown]
# **Misconception.** *"DeAR-Mini shows that CLIP's heads have roles."* Its roles were asked for. It shows what DeAR does with heads that
# have some, and whether a way to *find* roles finds what is known to be there; what heads of published weights do, only those can show.
#
# ## Exercises
#
# Each stub is checked by the cell below it. Nothing is written.
#
# **1.** The contrastive loss of section 2 from a table of cosines, pictures down, their captions across, both ways round; equal captions
# are right for each other in equal shares.

# %% tags=["exercise"]
import torch


def contrastive(cosine: torch.Tensor, captions: list[str], scale: float) -> torch.Tensor:
    """`cosine`: [picture, caption]; caption j is that of picture j."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

flat, one_sided = torch.zeros(3, 3), torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
paired_up = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
check(contrastive, [
    ((flat, ["red", "blue", "cup"], 5.0), 1.0986, "where nothing is told apart each of three has a third: log 3"),
    ((torch.eye(3), ["red", "blue", "cup"], 1.0), 0.5514, "a softmax over the captions of a row, its diagonal is right"),
    ((torch.eye(3), ["red", "blue", "cup"], 10.0), 0.0001, "the cosines are multiplied by the scale before the softmax"),
    ((one_sided, ["red", "blue", "cup"], 1.0), 1.1584, "half of it runs over captions, half over pictures"),
    ((paired_up, ["red", "red", "cup"], 10.0), 0.4621, "two pictures say red: each has half of the target, and 0.46 is the floor"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def contrastive(cosine, captions, scale):
#     same = torch.tensor([[a == b for b in captions] for a in captions], dtype=torch.float)
#     target = same / same.sum(dim=1, keepdim=True)
#     ways = [-(target * torch.log_softmax(scale * c, dim=1)).sum(dim=1).mean() for c in (cosine, cosine.T)]
#     return sum(ways) / 2
# ```
#
# </details>

# %% [markdown]
# **2.** The floor of that loss, from the captions of a batch alone.

# %% tags=["exercise"]
def loss_floor(captions: list[str]) -> float:
    """(1/B) Σ n_c log n_c over distinct captions."""
    ...


# %% tags=["check"]
check(loss_floor, [
    ((["red", "blue", "cup"],), 0.0, "where every caption is another one, nothing stands in the way of 0"),
    ((["red", "red", "cup"],), 0.4621, "2 log 2 of three pictures, a natural logarithm"),
    ((["red"] * 4,), 1.3863, "one caption for all: each picture is one of four, log 4"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# import math
#
# def loss_floor(captions):
#     counts = [captions.count(c) for c in set(captions)]
#     return sum(n * math.log(n) for n in counts) / len(captions)
# ```
#
# </details>

# %% [markdown]
# **3.** Mean-ablation: the image features without what one head says about the single picture.

# %% tags=["exercise"]
def ablated(features: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """`features`, and what the `head` added to them: [picture, dimension]."""
    ...


# %% tags=["check"]
total, part = torch.tensor([[3.0, 1.0], [5.0, 1.0]]), torch.tensor([[1.0, 0.0], [3.0, 0.0]])
check(ablated, [
    ((total, part), [[4.0, 1.0], [4.0, 1.0]], "replaced by the mean over pictures, not by zero: 3 − 1 + 2"),
    ((total, torch.ones(2, 2)), [[3.0, 1.0], [5.0, 1.0]], "a head that says the same of every picture changes nothing"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def ablated(features, head):
#     return features - head + head.mean(dim=0)
# ```
#
# </details>
#
# **To think about.** Set `planted: {}` in your head: which terms of the loss remain, and which premise would you expect to fail first?
