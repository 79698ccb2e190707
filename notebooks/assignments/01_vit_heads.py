# %% [raw]
# # ASSIGNMENT CONFIG
# name: 01_vit_heads
# init_cell: true
# export_cell:
#   pdf: false
#   run_tests: true
# generate: true
# tests:
#   ok_format: false

# %% [markdown]
# # Assignment 1 · A vision transformer, head by head
#
# **Question.** A vision transformer turns a picture into one vector. Which part of that vector did each attention head write?
#
# | | |
# |---|---|
# | You learn | patches and tokens · attention as loops and as a formula · the residual stream · why heads add up · how to take a feature apart, head by head, and check it |
# | Paper | Section 3.1, Eq. 1; the decomposition is Gandelsman et al. (ICLR 2024), Section 3 |
# | Before | lesson 01; matrix products, softmax, PyTorch tensors |
# | Time | 90 minutes; every cell runs in seconds, without a network |
# | Points | 35: 30 by tests, 5 for the written answer |
#
# The model is DeAR-Mini, a small CLIP that ships with `dearlib`: 12 layers of 12 heads on pictures of 64 × 64 pixels. Layers
# count from 1, heads from 0. Write your code where you see `...` and leave the names of functions as they are. After each
# question a cell checks your work and says what is wrong. The final grading uses other inputs than these checks: do not tune to
# them.

# %%
import torch
from PIL import Image

from dearlib import plots
from dearlib.clip.loading import load
from dearlib.datasets.world.scene import scene

clip = load("DeAR-Mini")
visual = clip.visual
drawn = [scene("course", 1, i)[0] for i in range(7)]
images = torch.stack([clip.preprocess(Image.fromarray(picture)) for picture in drawn])
print(f"{len(images)} pictures, {tuple(images.shape[1:])} each; {clip.layers} layers of {clip.heads} heads, width {clip.d_model}")

# %%
fig, axes = plots.figure(1, len(drawn), size=(7.2, 1.2))
for ax, picture in zip(axes, drawn, strict=True):
    ax.imshow(picture)
    ax.axis("off")

# %% [markdown]
# ## 1 From a picture to tokens
#
# The picture is cut into square patches, row by row, each row from left to right. A patch becomes one long vector: all of channel
# 0, then channel 1, then channel 2, and within a channel row by row.

# %% [raw]
# # BEGIN QUESTION
# name: q1
# points: 3

# %% [markdown]
# **Question 1** (3 points). Write `patches`. Two loops are fine. For a picture [3, 10, 15] and `side` 5 there are two rows of
# three patches.

# %% [raw]
# # BEGIN SOLUTION

# %%
def patches(image, side):
    """The patches of a picture [channel, height, width], row by row: [patch, channel * side * side]."""
    # BEGIN SOLUTION
    _, height, width = image.shape
    cut = [image[:, y : y + side, x : x + side].flatten() for y in range(0, height, side) for x in range(0, width, side)]
    return torch.stack(cut)
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_patches_shape(patches):
    import torch

    got = patches(torch.zeros(3, 10, 15), 5)
    assert isinstance(got, torch.Tensor), f"return a tensor, not {type(got).__name__}"
    assert tuple(got.shape) == (6, 75), f"a picture [3, 10, 15] has 6 patches of 3·5·5 = 75 numbers, you return {tuple(got.shape)}"

# %%
def test_patches_order(patches):
    import torch

    image = torch.arange(3 * 4 * 6).view(3, 4, 6).float()
    got = patches(image, 2)
    assert not torch.equal(got[1], image[:, 2:4, 0:2].flatten()), "patch 1 is the one below patch 0: go along a row before you go down"
    assert torch.equal(got[1], image[:, 0:2, 2:4].flatten()), "patch 1 should be the one to the right of patch 0, channel by channel"

# %%
# HIDDEN
def test_patches_elsewhere(patches):
    import torch
    import torch.nn.functional as F

    image = torch.randn(2, 21, 35)
    assert torch.equal(patches(image, 7), F.unfold(image[None], 7, stride=7)[0].T)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# Each patch vector goes through one matrix. CLIP writes this as a convolution whose stride is the patch's side, `visual.conv1`,
# with a weight of shape [width, 3, side, side] and no bias. Then a learned [CLS] vector is put in front, and a learned position
# is added to each token.

# %% [raw]
# # BEGIN QUESTION
# name: q2
# points: 3

# %% [markdown]
# **Question 2** (3 points). Write `tokens`: patch vectors times the convolution's weight as a matrix, [CLS] in front, positions
# added. No convolution!

# %% [raw]
# # BEGIN SOLUTION

# %%
def tokens(vectors, weight, cls, position):
    """Patch vectors [patch, c * s * s], weight [width, c, s, s], [CLS] vector [width], positions [1 + patch, width] -> [1 + patch, width]."""
    # BEGIN SOLUTION
    embedded = vectors @ weight.flatten(1).T
    return torch.cat([cls[None], embedded]) + position
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_tokens_shape(tokens):
    import torch

    got = tokens(torch.randn(5, 12), torch.randn(7, 3, 2, 2), torch.randn(7), torch.randn(6, 7))
    assert tuple(got.shape) == (6, 7), f"5 patches and [CLS] of width 7 make [6, 7], you return {tuple(got.shape)}"

# %%
def test_tokens_cls_first(tokens):
    import torch

    cls, position = torch.randn(7), torch.randn(6, 7)
    got = tokens(torch.randn(5, 12), torch.randn(7, 3, 2, 2), cls, position)
    assert not torch.allclose(got[0], cls), "[CLS] gets a position as well, the first one"
    assert torch.allclose(got[0], cls + position[0]), "token 0 should be [CLS] plus position 0"

# %%
# HIDDEN
def test_tokens_are_the_convolution(tokens):
    import torch
    import torch.nn.functional as F

    image, weight = torch.randn(2, 9, 15), torch.randn(5, 2, 3, 3)
    vectors = F.unfold(image[None], 3, stride=3)[0].T
    cls, position = torch.randn(5), torch.randn(16, 5)
    expected = torch.cat([cls[None], F.conv2d(image[None], weight, stride=3)[0].flatten(1).T]) + position
    assert torch.allclose(tokens(vectors, weight, cls, position), expected, atol=1e-4)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 2 Attention, twice
#
# One head reads from all tokens. Token $i$ asks with a query $q_i$, every token $j$ answers with a key $k_j$ and offers a value
# $v_j$ (Eq. 1):
#
# $$w_{ij} = \frac{\exp(q_i \cdot k_j / \sqrt{D_h})}{\sum_m \exp(q_i \cdot k_m / \sqrt{D_h})}, \qquad o_i = \sum_j w_{ij}\, v_j$$
#
# with $D_h$ the length of a query. The weights of one query add up to 1.

# %% [raw]
# # BEGIN QUESTION
# name: q3
# points: 5

# %% [markdown]
# **Question 3** (5 points). Write it twice: `attention_loops` with plain loops over $i$ and $j$, as the formula stands, and
# `attention` with two matrix products. The number of queries, of keys, the length of a key and the length of a value may all
# differ.

# %% [raw]
# # BEGIN SOLUTION

# %%
def attention_loops(q, k, v):
    """q [query, d], k [key, d], v [key, e] -> [query, e], by loops over queries and keys."""
    # BEGIN SOLUTION
    out = torch.zeros(len(q), v.shape[1], dtype=v.dtype)
    for i in range(len(q)):
        scores = torch.stack([q[i] @ k[j] / q.shape[1] ** 0.5 for j in range(len(k))])
        weight = (scores - scores.max()).exp()
        weight = weight / weight.sum()
        for j in range(len(k)):
            out[i] += weight[j] * v[j]
    return out
    # END SOLUTION


def attention(q, k, v):
    """The same by two matrix products and a softmax."""
    # BEGIN SOLUTION
    return torch.softmax(q @ k.T / q.shape[1] ** 0.5, dim=1) @ v
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_one_key(attention, attention_loops):
    import torch

    q, k, v = torch.randn(3, 5), torch.randn(1, 5), torch.randn(1, 2)
    for name, f in (("attention", attention), ("attention_loops", attention_loops)):
        got = f(q, k, v)
        assert tuple(got.shape) == (3, 2), f"{name}: 3 queries and values of length 2 make [3, 2], you return {tuple(got.shape)}"
        assert torch.allclose(got, v.expand(3, 2)), f"{name}: where there is one key, its weight is 1 and every query reads its value"

# %%
def test_scale_and_axis(attention):
    import torch

    q, k, v = torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]), torch.eye(3)
    got, e = attention(q, k, v)[0], torch.tensor(1.0).exp()
    assert abs(got.sum() - 1) < 1e-5, "the weights of one query should add up to 1: over which axis is your softmax?"
    raw = torch.softmax(torch.tensor([2.0, 0, 0]), 0)
    assert not torch.allclose(got, raw, atol=1e-4), "you forgot to divide by the square root of a query's length"
    assert torch.allclose(got, torch.stack([e, e / e, e / e]) / (e + 2), atol=1e-5), "with scores 1, 0, 0 the weights are e, 1, 1 over e + 2"

# %%
# HIDDEN
def test_formula(attention):
    import torch

    q, k, v = torch.randn(7, 3), torch.randn(11, 3), torch.randn(11, 5)
    expected = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None])[0]
    assert torch.allclose(attention(q, k, v), expected, atol=1e-5)

# %%
# HIDDEN
def test_loops(attention_loops):
    import torch

    q, k, v = torch.randn(3, 7), torch.randn(5, 7), torch.randn(5, 2)
    expected = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None])[0]
    assert torch.allclose(attention_loops(q, k, v), expected, atol=1e-5)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 3 Many heads
#
# A layer of width $H \cdot D_h$ computes queries for all heads in one product; head $h$ owns the columns $h D_h$ to $(h+1) D_h -
# 1$.

# %% [raw]
# # BEGIN QUESTION
# name: q4
# points: 3

# %% [markdown]
# **Question 4** (3 points). Write `heads_of`, which hands each head its columns.

# %% [raw]
# # BEGIN SOLUTION

# %%
def heads_of(x, heads):
    """[token, heads * d_head] -> [head, token, d_head]."""
    # BEGIN SOLUTION
    return x.unflatten(1, (heads, -1)).transpose(0, 1)
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_heads_shape(heads_of):
    import torch

    got = heads_of(torch.zeros(5, 21), 3)
    assert tuple(got.shape) == (3, 5, 7), f"5 tokens of width 21 and 3 heads make [3, 5, 7], you return {tuple(got.shape)}"

# %%
def test_heads_columns(heads_of):
    import torch

    x = torch.arange(5 * 21).view(5, 21).float()
    got = heads_of(x, 3)
    mixed = "the shape is right but tokens are mixed up: a reshape alone cannot move an axis, you need a transpose too"
    assert torch.equal(got[0, 1], x[1, :7]), mixed
    assert torch.equal(got[2], x[:, 14:]), "head 2 of 3 owns the last 7 of 21 columns"

# %%
# HIDDEN
def test_heads_elsewhere(heads_of):
    import torch

    x = torch.randn(11, 26)
    assert torch.equal(torch.cat(list(heads_of(x, 13)), dim=1), x)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# What the heads have read is put side by side and goes through one output matrix $W$ with bias $b$:
#
# $$\mathrm{out} = [\,o_0 \,|\, o_1 \,|\, \dots\,]\, W^\top + b = \sum_h o_h W_h^\top + b .$$
#
# So the layer's output is a *sum over heads*, and the residual stream only ever adds. Nothing inside the attention mixes heads.

# %% [raw]
# # BEGIN QUESTION
# name: q5
# points: 4

# %% [markdown]
# **Question 5** (4 points). Write `head_writes`: what one head adds to the residual stream. `w_out` [width, heads · d_head] and
# `b_out` [width] are the layer's `out_proj`. The bias belongs to no head: give each head the same share of it, so that the heads
# add up to the layer's output.

# %% [raw]
# # BEGIN SOLUTION

# %%
def head_writes(read, w_out, b_out, head, heads):
    """What head `head` of `heads` writes: read [token, d_head], w_out [width, heads * d_head], b_out [width] -> [token, width]."""
    # BEGIN SOLUTION
    d_head = w_out.shape[1] // heads
    own = w_out[:, head * d_head : (head + 1) * d_head]
    return read @ own.T + b_out / heads
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_writes_bias(head_writes):
    import torch

    got = head_writes(torch.zeros(5, 2), torch.randn(7, 6), torch.full((7,), 3.0), 1, 3)
    assert tuple(got.shape) == (5, 7), f"5 tokens and width 7 make [5, 7], you return {tuple(got.shape)}"
    assert not torch.allclose(got, torch.full((5, 7), 3.0)), "every head adds the whole bias: together they would add it 3 times"
    assert torch.allclose(got, torch.ones(5, 7)), "a head that read nothing writes its third of the bias, 3 / 3 = 1"

# %%
def test_writes_columns(head_writes):
    import torch

    w = torch.zeros(3, 6)
    w[:, 2:4] = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    got = head_writes(torch.tensor([[1.0, 10.0]]), w, torch.zeros(3), 1, 3)
    assert torch.allclose(got, torch.tensor([[21.0, 43.0, 65.0]])), f"head 1 of 3 owns columns 2 and 3 of w_out: expected 21, 43, 65, got {got}"

# %%
# HIDDEN
def test_heads_add_up(head_writes):
    import torch

    reads, w, b = torch.randn(5, 3, 2), torch.randn(7, 10), torch.randn(7)
    together = torch.cat(list(reads), dim=1) @ w.T + b
    assert torch.allclose(sum(head_writes(reads[h], w, b, h, 5) for h in range(5)), together, atol=1e-5)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 4 To the feature, exactly
#
# After the last layer [CLS] goes through a layer norm, `ln_post`, and a projection. A layer norm is not linear, because it
# divides by the standard deviation of its input. But hold the mean $\mu$ and the deviation $\sigma$ of the *actual* final state
# fixed, and it is:
#
# $$\mathrm{LN}(x) = \frac{x - \mu}{\sigma} \odot g + b, \qquad x = \sum_i x_i \;\Rightarrow\; \mathrm{LN}(x) = \sum_i \Big( \frac{x_i - \mu / n}{\sigma} \odot g + \frac{b}{n} \Big)$$
#
# where $n$ parts share mean and bias evenly, and $\sigma = \sqrt{\mathrm{var}(x) + \varepsilon}$ with the variance over all
# entries (divided by their number).

# %% [raw]
# # BEGIN QUESTION
# name: q6
# points: 4

# %% [markdown]
# **Question 6** (4 points). Write `normed_part`: one part of the final state through the fixed layer norm.

# %% [raw]
# # BEGIN SOLUTION

# %%
def normed_part(part, final, gain, bias, eps, n):
    """One of `n` parts [width] of the state `final` [width], through the layer norm with `final`'s mean and deviation."""
    # BEGIN SOLUTION
    mean, std = final.mean(), (final.var(correction=0) + eps).sqrt()
    return (part - mean / n) / std * gain + bias / n
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_parts_add_up(normed_part):
    import torch

    parts, gain, bias = torch.randn(3, 7) + 2, torch.rand(7), torch.randn(7)
    final = parts.sum(0)
    whole = torch.nn.functional.layer_norm(final, (7,), gain, bias, 1e-5)
    got = sum(normed_part(p, final, gain, bias, 1e-5, 3) for p in parts)
    over = torch.stack([(p - final.mean()) / final.std(correction=0) * gain + bias for p in parts]).sum(0)
    assert not torch.allclose(got, over, atol=1e-3), "each part takes off the whole mean and adds the whole bias: they are to be shared"
    assert torch.allclose(got, whole, atol=1e-4), "the parts should add up to the layer norm of their sum; do you use the fixed deviation, over n?"

# %%
# HIDDEN
def test_a_part_is_linear(normed_part):
    import torch

    part, final, gain, bias = torch.randn(11), 5 * torch.randn(11), torch.rand(11), torch.randn(11)
    zero, once, twice = (normed_part(part * s, final, gain, bias, 1e-5, 5) for s in (0, 1, 2))
    assert torch.allclose(twice - zero, 2 * (once - zero), atol=1e-5)
    assert torch.allclose(once - zero, part / (final.var(correction=0) + 1e-5).sqrt() * gain, atol=1e-5)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# Now all together. This gives the residual stream before each layer and behind the last one; a layer's own arithmetic is
# open_clip's.

# %%
def stream(visual, images):
    """The residual stream [batch, token, width] before layers 1, 2, …, and behind the last."""
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
    states = [visual.ln_pre(x + visual.positional_embedding)]
    for block in visual.transformer.resblocks:
        states.append(block(states[-1]))
    return states


print(f"{len(stream(visual, images))} states, {tuple(stream(visual, images)[0].shape)} each")

# %% [raw]
# # BEGIN QUESTION
# name: q7
# points: 5

# %% [markdown]
# **Question 7** (5 points). Write `head_parts`: what every head of one layer adds to the image feature. For each picture and
# head: the [CLS] row of the head's attention times its values, through the head's slice of `out_proj`, through the fixed
# `ln_post`, through `visual.proj`. A block has `ln_1`, `attn.in_proj_weight` [3 · width, width] (queries, keys, values, in this
# order), `attn.in_proj_bias`, `attn.out_proj` and `attn.num_heads`.
#
# The final [CLS] state is a sum of $2L + 1$ writers: the embedding, $L$ attentions, $L$ MLPs. An attention's share of mean and
# bias is shared by its heads, so a head is one of $n = (2L + 1) \cdot H$ equal parts. The last state of `stream` is the final
# one.

# %% [raw]
# # BEGIN SOLUTION

# %%
def head_parts(visual, images, layer):
    """Direct contributions of all heads of `layer` (from 1) to the image feature: [batch, head, d_embed]."""
    # BEGIN SOLUTION
    states, blocks = stream(visual, images), visual.transformer.resblocks
    block, final = blocks[layer - 1], states[-1][:, 0]
    attn, norm = block.attn, visual.ln_post
    heads, n = attn.num_heads, (2 * len(blocks) + 1) * attn.num_heads
    parts = []
    for picture, x in enumerate(block.ln_1(states[layer - 1])):
        q, k, v = (heads_of(t, heads) for t in (x @ attn.in_proj_weight.T + attn.in_proj_bias).chunk(3, dim=1))
        for h in range(heads):
            read = attention(q[h, :1], k[h], v[h])
            written = head_writes(read, attn.out_proj.weight, attn.out_proj.bias, h, heads)[0]
            parts.append(normed_part(written, final[picture], norm.weight, norm.bias, norm.eps, n) @ visual.proj)
    return torch.stack(parts).unflatten(0, (len(images), heads)).detach()
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_each_head_of_one_layer(head_parts, visual, images):
    import torch

    from dearlib.clip.loading import load
    from dearlib.roles.heads import decompose

    got = head_parts(visual, images[:2], 12)
    expected = decompose(load("DeAR-Mini").visual, images[:2]).heads[:, 11]
    assert got.shape == expected.shape, f"2 pictures and {expected.shape[1]} heads make {tuple(expected.shape)}, you return {tuple(got.shape)}"
    off = [h for h in range(expected.shape[1]) if not torch.allclose(got[:, h], expected[:, h], atol=1e-4)]
    good = "no head is right: ln_1 before the projections? queries first? the [CLS] row alone?"
    assert len(off) < expected.shape[1], good
    assert not off, f"heads {off} of L12 are not what dearlib finds"

# %%
# HIDDEN
def test_an_early_layer(head_parts, visual):
    import torch

    from dearlib.clip.loading import load
    from dearlib.roles.heads import decompose

    pictures = torch.randn(3, 3, 64, 64)
    expected = decompose(load("DeAR-Mini").visual, pictures).heads
    assert torch.allclose(head_parts(visual, pictures, 2), expected[:, 1], atol=1e-4)

# %%
# HIDDEN
def test_a_middle_layer(head_parts, visual):
    import torch

    from dearlib.clip.loading import load
    from dearlib.roles.heads import decompose

    pictures = torch.randn(1, 3, 64, 64)
    expected = decompose(load("DeAR-Mini").visual, pictures).heads
    assert torch.allclose(head_parts(visual, pictures, 7), expected[:, 6], atol=1e-4)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# How large is what each head writes? (This cell uses `dearlib`'s own decomposition, so it works whatever you have written.)

# %%
from dearlib.roles.heads import decompose

size = decompose(visual, images).heads.norm(dim=-1).mean(0)  # [layer, head]
fig, ax = plots.figure(1, 1, size=(4.2, 3.4))
shown = ax.imshow(size, cmap="viridis", origin="lower", extent=(-0.5, clip.heads - 0.5, 0.5, clip.layers + 0.5))
ax.set(xlabel="head", ylabel="layer", title="mean length of what a head adds to the feature")
fig.colorbar(shown);

# %% [markdown]
# ## 5 A fault to find
#
# A fellow student writes the attention below, runs it on four queries and four keys, sees weights that add up to 1 somewhere, and
# is content.

# %%
def faulty(q, k, v):
    weight = torch.softmax(q @ k.T / k.shape[1] ** 0.5, dim=0)
    return weight @ v

# %% [raw]
# # BEGIN QUESTION
# name: q8
# points: 3

# %% [markdown]
# **Question 8** (3 points). Set `witness` to one input `(q, k, v)` with *one query and two keys* on which `faulty` is plainly
# wrong (by 0.5 or more in some entry), and `fault` to the letter of what is wrong.
#
# - `"A"` the scores are divided by the wrong number
# - `"B"` the weights of one *key* add up to 1, not those of one query
# - `"C"` queries and keys are swapped
# - `"D"` the values are weighted before the softmax

# %% [raw]
# # BEGIN SOLUTION

# %%
witness = (torch.zeros(1, 3), torch.zeros(2, 3), torch.ones(2, 1))  # SOLUTION
fault = "B"  # SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_witness(witness):
    import torch

    assert isinstance(witness, tuple | list) and len(witness) == 3, "witness should be a tuple of three tensors, (q, k, v)"
    q, k, v = witness
    assert len(q) == 1 and len(k) == 2 and len(v) == 2, f"one query and two keys, please: you have {len(q)} and {len(k)}, and {len(v)} values"
    right = torch.softmax(q @ k.T / k.shape[1] ** 0.5, dim=1) @ v
    wrong = torch.softmax(q @ k.T / k.shape[1] ** 0.5, dim=0) @ v
    assert (right - wrong).abs().max() >= 0.5, "on this input the two differ by less than 0.5: think of what a softmax over one entry gives"

# %%
# HIDDEN
def test_fault(fault):
    assert fault == "B"

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 6 In your own words

# %% [raw]
# # BEGIN QUESTION
# name: q9
# points: 5
# manual: true

# %% [markdown]
# **Question 9** (5 points, graded by hand). In at most 150 words: (a) Why do the heads' parts add up *exactly*, although a layer
# norm stands between them and the feature? (b) Name one effect of a head that its direct contribution leaves out. (c) A head's
# part is large on every picture, and nearly the same on every picture. Does CLIP need it to tell pictures apart?
#
# *Points: (a) 2, one for "mean and deviation are those of the actual state, held fixed", one for "the rest is linear, mean and
# bias are shared". (b) 1. (c) 2, one for the answer, one for the reason.*

# %% [raw]
# # BEGIN SOLUTION

# %% [markdown]
# (a) The residual stream is a sum, and the layer norm with the mean and deviation of the actual final state held fixed is linear
# up to its bias; mean and bias are shared out over the parts, so the parts add up. It is no approximation: for this picture these
# are the numbers the norm uses. (b) What later layers do with what the head wrote: heads and MLPs above read it from the stream.
# (c) Mostly not. A constant part moves all pictures alike; what tells them apart is how a part varies. (It does shift all
# similarities to a class by a constant, so it can matter for which class wins.)

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION
