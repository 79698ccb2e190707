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
# # 01 · Inside the image encoder
#
# **Question.** What does a vision transformer do with one picture, and can its final feature be split, exactly, into what
# each attention head put there?
#
# | | |
# |---|---|
# | Before this | matrix products, softmax, PyTorch tensors; nothing of CLIP. The model is made in [00](00_pretrain_mini.ipynb) |
# | Paper | Section 3.1, Eq. 1 |
# | You will see | patches · tokens · one head worked by hand · attention maps of a whole layer · the image feature as a sum over heads |
# | Reads | a frozen CLIP, a few test pictures (rendered if missing) |
# | Writes | `01_numbers.csv`, `01_*.svg` and `.png` in the figures folder |
# | Takes | 25 seconds and 1.3 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [02 · What the heads do](02_head_roles.ipynb) |
#
# Everything that DeAR does later rests on the last point: if a feature is a sum over heads, one can ask *per head* what it
# says (notebook 02) and decide *per head* what it may see (notebook 03).

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
images: int = 8  # test pictures to look at
first_layer: int = 9  # J: where DeAR will begin to interfere
layer: int = 10  # the layer to look into, counted from 1
head: int = 3  # the head to work by hand, counted from 0

# %%
import numpy as np
import torch
from einops import rearrange
from IPython.display import display
from scipy import stats

from dearlib import machine, plots
from dearlib.clip import attention
from dearlib.clip.cut import check_cut
from dearlib.clip.loading import load
from dearlib.datasets import classnames, half, open_image, prompts, read_split
from dearlib.errors import InputError
from dearlib.params.reading import validated
from dearlib.roles.heads import decompose
from dearlib.study import opening
from dearlib.study.takeaways import from_numbers, write_numbers

# %%
p = validated("01_vit_internals", globals())
torch.set_num_threads(1)  # sums in one order, as in batch runs, however many cores there are
torch.manual_seed(p.seed)
model = load(p.clip, p.clip_weights)  # frozen: nothing below builds a graph
opening.pictures(p.data_root, p.dataset)
check_cut(model, p.first_layer)
if p.layer > model.layers or p.head >= model.heads:
    raise InputError(f"layer, head: expected up to L{model.layers} H{model.heads - 1}, got L{p.layer} H{p.head}; choose others")
print(f"{model.name}, weights {model.weights_sha256[:12]}, torch {torch.__version__}, seed {p.seed}")

# %% [markdown]
# ## 1 From pixels to tokens
#
# A transformer reads a *sequence*. The picture is cut into square patches; each patch, flattened, goes through one linear map
# into $\mathbb{R}^{D}$. A learnt vector, **[CLS]**, is put in front: it has no picture content of its own, and everything
# CLIP finally says about the picture is read from its place.

# %%
split = half(read_split(p.data_root, p.dataset), "all")  # labels from 0 without a gap
chosen = np.random.default_rng(p.seed).choice(len(split.test), size=min(p.images, len(split.test)), replace=False)
items = [split.test[i] for i in chosen]
text = model.encode_text(prompts(p.dataset, classnames(split))).clone()  # one prompt a class, used in section 5
where = torch.device(machine.device(p.device))
visual = model.visual.to(where)
text = text.to(where)
pixels = torch.stack([model.preprocess(open_image(item.path)) for item in items]).to(where)
mean, std = model.preprocess.mean_and_std
pictures = (pixels.cpu() * std + mean).permute(0, 2, 3, 1).numpy()  # as colours in [0, 1] again

# %% [markdown]
# open_clip writes the patch map as a convolution whose stride equals its kernel. Below is the same thing without a
# convolution: take patch $n$, flatten it, multiply. The two agree, so "convolution" here is only a name for "the same linear
# map for every patch".

# %%
side = visual.conv1.kernel_size[0]
weight = visual.conv1.weight.flatten(1)  # [D, 3 · side · side]
by_hand = []
for row in range(0, pixels.shape[2], side):
    for column in range(0, pixels.shape[3], side):
        patch = pixels[:, :, row : row + side, column : column + side]
        by_hand.append(patch.flatten(1) @ weight.T)
by_hand = torch.stack(by_hand, dim=1)  # [image, patch, D]
embedded = rearrange(visual.conv1(pixels), "image d row column -> image (row column) d")
torch.testing.assert_close(by_hand, embedded, rtol=1e-4, atol=1e-5)

# %%
cls = visual.class_embedding.expand(len(pixels), 1, -1)
tokens = visual.ln_pre(torch.cat([cls, embedded], dim=1) + visual.positional_embedding)
n_tokens, d_model = tokens.shape[1:]
size = "×".join(map(str, pixels.shape[2:]))
print(f"{size} pixels: {model.patches} patches of {side}×{side} and one [CLS], {n_tokens} tokens of {d_model} numbers")

# %% [markdown]
# A position vector is added to each token, because nothing later knows where in the sequence a token stands.

# %%
rows = model.patches // (pixels.shape[3] // side)
fig, axes = plots.figure(1, 2, size=(5.6, 2.9))
plots.picture(axes[0], pictures[0], items[0].classname)
plots.patch_grid(axes[1], pictures[0], side, marked=[0, model.patches // 2 + rows // 2, model.patches - 1])
axes[1].set_title(f"{model.patches} patches")
plots.save(fig, p.figures_root, "01_patches")

# %% [markdown]
# ## 2 One attention head, by hand
#
# A head lets every token ask the others for something. From its input a token makes a *query*, a *key* and a *value*; it then
# takes the average of all values, weighted by how well its query fits their keys:
#
# $$\text{head}_i = \text{softmax}\left(\frac{Q_i K_i^\top}{\sqrt{D_h}}\right) V_i \qquad (1)$$
#
# The head sees the *normalised* state (`ln_1`), and its three maps are slices of one big matrix that open_clip keeps for all
# heads of the layer.

# %%
states = [tokens]
for block in visual.transformer.resblocks:
    states.append(block(states[-1]))  # states[l]: after layer l, so states[l - 1] enters layer l
block = visual.transformer.resblocks[p.layer - 1]
normed = block.ln_1(states[p.layer - 1])
d_head = d_model // model.heads
print(f"{model.layers} layers × {model.heads} heads, D_h = {d_head}; looking at L{p.layer} H{p.head}")

# %%
own = slice(p.head * d_head, (p.head + 1) * d_head)
w_q, w_k, w_v = (w[own] for w in block.attn.in_proj_weight.chunk(3))
b_q, b_k, b_v = (b[own] for b in block.attn.in_proj_bias.chunk(3))
x = normed[0]  # one picture: [token, D]
query, key, value = x @ w_q.T + b_q, x @ w_k.T + b_k, x @ w_v.T + b_v
read = torch.zeros(n_tokens, d_head, device=where)
for i in range(n_tokens):  # every token asks …
    scores = torch.stack([query[i] @ key[j] for j in range(n_tokens)]) / d_head**0.5
    weights = scores.exp() / scores.exp().sum()  # … how much it wants from each token …
    read[i] = sum(weights[j] * value[j] for j in range(n_tokens))  # … and gets their weighted average

# %% [markdown]
# `dearlib.clip.attention.reference` is the same formula for all heads and pictures at once. It also takes a *mask* that says who
# may look at whom; here everyone may. The slow loop must agree with it.

# %%
query, key, value = (
    rearrange(t, "image token (head d) -> image head token d", head=model.heads)
    for t in torch.nn.functional.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
)
everyone = torch.ones(1, 1, n_tokens, n_tokens, dtype=torch.bool, device=where)
reference = attention.reference(query, key, value, everyone)
torch.testing.assert_close(reference[0, p.head], read, rtol=1e-4, atol=1e-5)

# %% [markdown]
# The outputs of the heads are put side by side and go through $W_o$. That is all of multi-head attention, and it is what
# open_clip computes:

# %%
joined = rearrange(reference, "image head token d -> image token (head d)")
ours = joined @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
theirs = block.attn(normed, normed, normed, need_weights=False)[0]
torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

# %% [markdown]
# A second way to read the same line matters more for what follows. Multiplying a concatenation by $W_o$ is the same as
# multiplying each head by *its own rows* of $W_o$ and **adding**: attention does not mix heads, each simply adds its
# vector to the stream. (The MLP behind it then reads the sum, and so mixes what the heads said.)

# %%
w_o = rearrange(block.attn.out_proj.weight, "d (head e) -> head e d", head=model.heads)  # PyTorch keeps the transpose of W_o
one_by_one = sum(reference[:, h] @ w_o[h] for h in range(model.heads)) + block.attn.out_proj.bias
torch.testing.assert_close(one_by_one, theirs, rtol=1e-4, atol=1e-5)

# %% [markdown]
# ## 3 What the heads of a layer look at
#
# The row of the attention matrix that belongs to [CLS] tells which patches [CLS] reads in that head. The stronger the tint,
# the larger the weight; each map has its own scale, and the weight of its strongest patch stands above it. A head that looked
# at all tokens alike would give each a weight of one over their number.

# %%
weights = torch.softmax(query @ key.transpose(-2, -1) / d_head**0.5, dim=-1)  # [image, head, query, key]
to_patches = rearrange(weights[:, :, 0, 1:], "image head (row column) -> image head row column", row=rows).cpu().numpy()
across = 6
fig, axes = plots.figure(-(-model.heads // across), across, size=(8.4, 3.3))
for h, ax in enumerate(axes.flat):
    ax.set_axis_off()
    if h < model.heads:
        plots.attention_overlay(ax, pictures[0], to_patches[0, h], f"H{h}: {to_patches[0, h].max():.0%}")
fig.suptitle(f"What [CLS] reads in layer {p.layer}, one picture ({items[0].classname})")
plots.save(fig, p.figures_root, "01_attention_heads")

# %%
entropy = -(weights[:, :, 0] * weights[:, :, 0].clamp(min=1e-12).log2()).sum(-1).mean(0)  # bits, averaged over pictures
sharp, broad = int(entropy.argmin()), int(entropy.argmax())
for what, h in (("narrowest", sharp), ("widest", broad)):
    print(f"the {what} gaze: H{h}, about {2 ** entropy[h].item():.0f} of {n_tokens} tokens (2 to the entropy of its weights)")

# %% [markdown]
# Where a head looks is not yet *what it says*: a head may look at the subject and report its colour, or its place. The same
# head on several pictures:

# %%
shown = min(len(items), 6)
fig, axes = plots.figure(2, shown, size=(8.4, 3.1), squeeze=False)
for i in range(shown):
    plots.picture(axes[0, i], pictures[i], items[i].classname)
    plots.attention_overlay(axes[1, i], pictures[i], to_patches[i, p.head])
fig.suptitle(f"What [CLS] reads in L{p.layer} H{p.head}")
plots.save(fig, p.figures_root, "01_attention_pictures")

# %% [markdown]
# ## 4 The residual stream
#
# A layer never overwrites its input; it adds to it, first what attention found, then what the MLP makes of it:
#
# $$\tilde z^{\ell} = z^{\ell-1} + \text{MSA}(\text{LN}(z^{\ell-1}))$$
# $$z^{\ell} = \tilde z^{\ell} + \text{MLP}(\text{LN}(\tilde z^{\ell}))$$
#
# So the final [CLS] state is the start plus everything that was ever added to it.

# %%
stream, found, made = tokens[:, 0], [], []
for state, block in zip(states[:-1], visual.transformer.resblocks, strict=True):
    normed = block.ln_1(state)
    found.append(block.attn(normed[:, :1], normed, normed, need_weights=False)[0][:, 0])  # only [CLS] asks
    made.append(block.mlp(block.ln_2(state[:, 0] + found[-1])))
    stream = stream + found[-1] + made[-1]
torch.testing.assert_close(stream, states[-1][:, 0], rtol=1e-3, atol=1e-4)

# %%
sizes = {"attention": torch.stack(found, 1), "MLP": torch.stack(made, 1)}
fig, ax = plots.figure(size=(5.6, 2.6))
plots.stacked_parts(ax, {k: v.norm(dim=-1).mean(0).cpu().numpy() for k, v in sizes.items()}, "length of what is added to [CLS]")
plots.save(fig, p.figures_root, "01_residual_stream")

# %%
late = sum(v[:, p.first_layer - 1 :].norm(dim=-1).sum(1) for v in sizes.values()) / sum(v.norm(dim=-1).sum(1) for v in sizes.values())
print(f"layers {p.first_layer} to {model.layers}, where DeAR will work, write {late.mean():.0%} of all the length that is added to [CLS]")

# %% [markdown]
# ## 5 The image feature, head by head
#
# The feature is $f = P\,\text{LN}(z^{L}_{cls})$. The projection $P$ is linear. `ln_post` is not, but for a given picture it
# only subtracts one number and divides by another. Hold these two fixed at their actual values and the whole read-out is
# linear: what is a sum before it is a sum after it (Gandelsman et al., ICLR 2024):
#
# $$f = \text{embedding} + \sum_{\ell}\sum_{h} \text{head}_{(\ell,h)} + \sum_\ell \text{MLP}_\ell$$

# %%
parts = decompose(visual, pixels)
feature = model.visual(pixels)
off = ((parts.total - feature).norm(dim=-1) / feature.norm(dim=-1)).max().item()
assert off < 1e-4
print(f"{1 + model.layers * (model.heads + 1)} parts add up to open_clip's own feature; relative error at most {off:.0e}: rounding")

# %% [markdown]
# A right total does not say that each part is right: what one head lacks another could have. So here is every head of one layer by hand,
# as Eq. 1 has it, for [CLS] alone: its attention weights times its values times its own rows of $W_o$, then the read-out with the two
# fixed numbers. What belongs to no head in particular is shared out evenly: $W_o$'s bias among the layer's heads; `ln_post`'s mean and
# bias among all writers (the start, and each layer's attention and MLP), an attention's share among its heads.

# %%
norm, last = visual.ln_post, states[-1][:, 0]
last_mean, last_std = last.mean(1, keepdim=True), (last.var(1, correction=0, keepdim=True) + norm.eps).sqrt()
bias = visual.transformer.resblocks[p.layer - 1].attn.out_proj.bias / model.heads
shared_by = (1 + 2 * model.layers) * model.heads
for h in range(model.heads):
    wrote = (weights[:, h, 0, :, None] * value[:, h]).sum(1) @ w_o[h] + bias  # [image, D], added to the stream at [CLS]
    by_hand = ((wrote - last_mean / shared_by) / last_std * norm.weight + norm.bias / shared_by) @ visual.proj
    torch.testing.assert_close(by_hand, parts.heads[:, p.layer - 1, h], rtol=1e-3, atol=1e-5)
print(f"each of the {model.heads} heads of layer {p.layer}, by hand, is what dearlib gives it")

# %% [markdown]
# Since the parts add up, so does anything linear in them. CLIP decides by the cosine between $f$ and each class's text
# feature $t$. Take as direction the right class's $t$ minus the mean of the others': every part's contribution to the *margin*
# can be read off, and the contributions add up to the margin itself.

# %%
unit = torch.nn.functional.normalize(text, dim=-1)
labels = torch.tensor([item.label for item in items], device=where)
others = (unit.sum(0) - unit[labels]) / (len(unit) - 1)
direction = (unit[labels] - others) / feature.norm(dim=-1, keepdim=True)
per_head = torch.einsum("blhd,bd->blh", parts.heads, direction)
per_mlp = torch.einsum("bld,bd->bl", parts.mlps, direction)
margin = (feature * direction).sum(-1)
total = per_head.sum((1, 2)) + per_mlp.sum(1) + (parts.embedding * direction).sum(-1)
torch.testing.assert_close(total, margin, rtol=1e-3, atol=1e-4)

# %%
fig, axes = plots.figure(1, 2, size=(9.2, 3.6), width_ratios=[3, 2])
fig.get_layout_engine().set(wspace=0.1)  # the colour bar's label keeps clear of the other axis
plots.contribution_map(axes[0], per_head.mean(0).cpu().numpy(), 1, "what a head adds to the margin (cosine)")
axes[0].set_title("every head")
by_layer = {"attention": per_head.sum(2).mean(0).cpu().numpy(), "MLP": per_mlp.mean(0).cpu().numpy()}
plots.stacked_parts(axes[1], by_layer, "what a layer adds (cosine)")
axes[1].set_title("by layer")
plots.save(fig, p.figures_root, "01_contributions")

# %%
mean_share = per_head.mean(0)
best = divmod(int(mean_share.argmax()), model.heads)
late = (mean_share[p.first_layer - 1 :].sum() / mean_share.sum()).item()
print(f"heads {mean_share.sum():+.3f}, MLPs {per_mlp.sum(1).mean():+.3f}, start {(parts.embedding * direction).sum(-1).mean():+.3f}: "
      f"margin {margin.mean():.3f}, mean of {len(items)} pictures")  # fmt: skip

# %% [markdown]
# These are *direct* contributions: what a head tells later heads and MLPs is counted there, not here. With so few pictures the map is an
# example, not a statistic. The paper starts at $J = 9$ because late layers of CLIP write most of the feature; whether that is so here is
# the third line below, and with many pictures in notebook 00.
#
# ## What is true here

# %%
found = {"parts": 1 + model.layers * (model.heads + 1), "error": off, "late": 100 * late, "first": p.first_layer, "last": model.layers,
         "of_layers": 100 * (1 - (p.first_layer - 1) / model.layers), "best": f"L{best[0] + 1} H{best[1]}", "layer": p.layer,
         "narrow": 2 ** entropy[sharp].item(), "wide": 2 ** entropy[broad].item(), "tokens": n_tokens, "pictures": len(items)}  # fmt: skip
late_of = 100 * per_head[:, p.first_layer - 1 :].sum((1, 2)) / per_head.sum((1, 2))
tokens_of = 2 ** -(weights[:, :, 0] * weights[:, :, 0].clamp(min=1e-12).log2()).sum(-1)  # [image, head]
for which, values in (("late", late_of), ("narrow", tokens_of[:, sharp]), ("wide", tokens_of[:, broad])):
    found |= {f"{which}_least": values.min(), f"{which}_most": values.max()}
for which, values in (("margin", margin), ("heads", per_head.sum((1, 2))), ("mlps", per_mlp.sum(1)), ("share", per_head[:, *best])):
    mean_value = values.mean().item()
    low, high = stats.t.interval(0.95, len(items) - 1, mean_value, stats.sem(values.cpu().numpy()))
    found |= {which: mean_value, f"{which}_low": low, f"{which}_high": high}
file = write_numbers(p.figures_root / "01_numbers.csv", found)

# %%
display(from_numbers(file, "- {parts:.0f} parts add up to the image feature, to {error:.0e} of its length: each head has its share."))
display(from_numbers(file, (
    "- Of a margin of {margin:.3f} [{margin_low:.3f}, {margin_high:.3f}] the heads write {heads:+.3f} "
    "[{heads_low:+.3f}, {heads_high:+.3f}], the MLPs {mlps:+.3f} [{mlps_low:+.3f}, {mlps_high:+.3f}]; {best} alone {share:+.3f} "
    "[{share_low:+.3f}, {share_high:+.3f}] (means of {pictures:.0f} pictures, 95 % intervals for pictures like these)."
)))
display(from_numbers(file, (
    "- Layers {first:.0f} to {last:.0f} are {of_layers:.0f} % of the layers and write {late:.0f} % of the heads' share of the margin, in "
    "single pictures from {late_least:.0f} to {late_most:.0f} %."
)))
display(from_numbers(file, (
    "- Heads of layer {layer:.0f} differ: the narrowest gaze spreads over about {narrow:.0f} of {tokens:.0f} tokens (single pictures: "
    "{narrow_least:.0f} to {narrow_most:.0f}), the widest over {wide:.0f} ({wide_least:.0f} to {wide_most:.0f})."
)))

# %% [markdown]
# **Misconception.** *"Where a head looks is what it says."* It may look at the subject and report its colour, or its place: notebook 02
# asks it.
#
# ## Exercises
#
# Each stub is checked by the cell below it. Nothing is written.
#
# **1.** Eq. 1 for one head, for all tokens at once and without a loop.

# %% tags=["exercise"]
import torch


def one_head(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """[token, d_head] each."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

q, k, v = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
check(one_head, [
    ((0 * q, k, v), [[0.5, 0.5]], "a query of zeros fits all keys alike: the mean of the values"),
    ((q, k, v), [[0.1956, 0.8044]], "divide by √D_h before the softmax, which runs over the keys"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def one_head(query, key, value):
#     return torch.softmax(query @ key.T / query.shape[1] ** 0.5, dim=-1) @ value
# ```
#
# </details>

# %% [markdown]
# **2.** The read-out with fixed statistics: of each part of a sum its share after LayerNorm (without weight and bias), so that the shares
# add up to the LayerNorm of the sum. Its mean is shared out evenly among the parts.

# %% tags=["exercise"]
def shares(parts: torch.Tensor) -> torch.Tensor:
    """[part, d] → [part, d]; `parts.sum(0)` is what LayerNorm would be given."""
    ...


# %% tags=["check"]
check(shares, [
    ((torch.tensor([[4.0, 0.0]]),), [[1.0, -1.0]], "one part: LayerNorm itself, mean 2 and std 2 (divide by n, not n − 1)"),
    ((torch.tensor([[4.0, 0.0], [0.0, 0.0]]),), [[1.5, -0.5], [-0.5, -0.5]], "the sum's mean and std, half of the mean for each part"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def shares(parts):
#     total = parts.sum(0)
#     return (parts - total.mean() / len(parts)) / total.std(correction=0)
# ```
#
# </details>
#
# **To think about.** Swap `query` and `key` in the loop of section 2. Which assertion fails, and what does the mean over *all* queries of
# the attention say about it? For which heads would `ln_post`'s statistics change most if they fell silent?
