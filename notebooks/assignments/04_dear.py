# %% [raw]
# # ASSIGNMENT CONFIG
# name: 04_dear
# init_cell: true
# export_cell:
#   pdf: false
#   run_tests: true
# generate: true
# tests:
#   ok_format: false

# %% [markdown]
# # Assignment 4 · DeAR, from tokens to losses
#
# **Question.** What exactly does DeAR compute and train? You build it piece by piece and hold each piece against the fast kernels
# of `dearlib`.
#
# | | |
# |---|---|
# | You learn | injecting tokens and mixing by β (Eq. 5, 6) · features and fusion (Eq. 10, 11, 17–19) · three losses (Eq. 12–16) · the schedule · a training step by hand |
# | Paper | Section 3.3 |
# | Before | assignment 3, lesson 04; softmax, cross-entropy, the chain rule |
# | Time | 110 minutes; every cell runs in seconds, without a network |
# | Points | 40: 35 by tests, 5 for the written answer |
#
# Where the print is ambiguous, this is our reading: into layer $J$ go the raw tokens; into every later layer goes $\beta \cdot$
# raw $+ (1-\beta) \cdot$ the token's output of the layer before. Write your code where you see `...`. The final grading uses
# other inputs than the checks.

# %%
import math

import torch
import torch.nn.functional as F
from PIL import Image

from dearlib import plots
from dearlib.clip.attention import masked_layer
from dearlib.clip.cut import image_prefix
from dearlib.clip.loading import load
from dearlib.datasets.world.scene import scene

clip = load("DeAR-Mini")
visual = clip.visual
pictures = torch.stack([clip.preprocess(Image.fromarray(scene("course", 4, i)[0])) for i in range(3)])
states = image_prefix(visual, pictures, first_layer=9).detach()  # [CLS] and patches on the verge of L9
print(f"{len(states)} pictures, {states.shape[1]} original tokens of width {states.shape[2]}")

# %% [markdown]
# ## 1 Tokens (Eq. 5)

# %% [raw]
# # BEGIN QUESTION
# name: q1
# points: 3

# %% [markdown]
# **Question 1** (3 points). Write `into_layers`: from the raw tokens and their *outputs* of layers $J, J+1, \dots$ (a list) make
# the list of what goes *into* layers $J, J+1, J+2, \dots$ It is one longer than the outputs.

# %% [raw]
# # BEGIN SOLUTION

# %%
def into_layers(raw, outputs, beta):
    """raw [token, width], a list of outputs of the same shape -> the list of inputs, first layer's first."""
    # BEGIN SOLUTION
    return [raw] + [beta * raw + (1 - beta) * out for out in outputs]
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_mixing_by_hand(into_layers):
    import torch

    raw = torch.tensor([[10.0]])
    got = into_layers(raw, [torch.tensor([[20.0]]), torch.tensor([[40.0]])], 0.7)
    assert len(got) == 3, f"two outputs make three inputs: the raw tokens go into layer J as they are; you return {len(got)}"
    assert torch.equal(got[0], raw), "into layer J go the raw tokens, unmixed"
    assert not torch.allclose(got[1], torch.tensor([[17.0]])), "you mix the wrong way round: β is the share of the RAW token"
    assert torch.allclose(got[1], torch.tensor([[13.0]])), f"0.7 · 10 + 0.3 · 20 = 13; got {got[1].item()}"
    assert torch.allclose(got[2], torch.tensor([[19.0]])), "mix with the raw token in every layer, not with the mixture of the layer before: 0.7 · 10 + 0.3 · 40 = 19"

# %%
# HIDDEN
def test_mixing_ends(into_layers):
    import torch

    raw, outs = torch.randn(3, 5), [torch.randn(3, 5) for _ in range(4)]
    assert all(torch.allclose(x, raw) for x in into_layers(raw, outs, 1.0))
    assert all(torch.allclose(x, o) for x, o in zip(into_layers(raw, outs, 0.0)[1:], outs, strict=True))
    assert torch.allclose(into_layers(raw, outs, 0.25)[3], 0.25 * raw + 0.75 * outs[2])

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q2
# points: 6

# %% [markdown]
# **Question 2** (6 points). Write `vision_forward`: the layers from `first_layer` on, with masks [head, query, key]
# (`may_attend`, one entry of the list per layer) and mixing by β. Original tokens are never mixed. Use `masked_layer(block, x,
# masks[None])`; block 0 of `visual.transformer.resblocks` is L1. Return [CLS] and the attribute tokens *as the last layer gives
# them*, not mixed again.

# %% [raw]
# # BEGIN SOLUTION

# %%
def vision_forward(visual, states, raw, layers, beta, first_layer):
    """states [batch, original, width], raw [token, width] -> [batch, 1 + token, width]."""
    # BEGIN SOLUTION
    n_original = states.shape[1]
    raw = raw.expand(len(states), -1, -1)
    x = torch.cat([states, raw], dim=1)
    for number, masks in enumerate(layers):
        if number:
            x = torch.cat([x[:, :n_original], beta * raw + (1 - beta) * x[:, n_original:]], dim=1)
        x = masked_layer(visual.transformer.resblocks[first_layer - 1 + number], x, masks[None])
    return torch.cat([x[:, :1], x[:, n_original:]], dim=1)
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_vision_shape(vision_forward, visual, states):
    import torch

    n = states.shape[1] + 2
    got = vision_forward(visual, states, torch.randn(2, states.shape[2]), [torch.ones(12, n, n, dtype=torch.bool)] * 4, 0.5, 9)
    expected = (len(states), 3, states.shape[2])
    assert tuple(got.shape) == expected, f"[CLS] and 2 tokens of {len(states)} pictures make {expected}, you return {tuple(got.shape)}"

# %%
def test_vision_mixes(vision_forward, visual, states):
    import torch

    from dearlib.clip.attention import additive
    from dearlib.clip.loading import load
    from dearlib.methods.tokens import image_states

    n, raw = states.shape[1] + 2, 3 * torch.randn(2, states.shape[2])
    masks = [torch.ones(12, n, n, dtype=torch.bool)] * 4
    bias = [additive(m[None], raw.dtype) for m in masks]
    want = {b: image_states(load("DeAR-Mini"), states, [raw.expand(len(states), -1, -1)] * 4, bias, b) for b in (0.7, 0.3, 0.0)}
    got = vision_forward(visual, states, raw, masks, 0.7, 9)
    assert not torch.allclose(got, want[0.0], atol=1e-3), "your tokens evolve freely, as if β were 0"
    assert not torch.allclose(got, want[0.3], atol=1e-3), "this is the result for β = 0.3: β is the share of the raw token"
    assert torch.allclose(got, want[0.7], atol=1e-3, rtol=1e-3), "not what dearlib computes: do you mix the tokens alone, before each layer but the first, and not after the last?"

# %%
# HIDDEN
def test_vision_elsewhere(vision_forward, visual):
    import torch

    from dearlib.clip.attention import additive
    from dearlib.clip.cut import image_prefix
    from dearlib.clip.loading import load
    from dearlib.methods.tokens import image_states

    clip = load("DeAR-Mini")
    states = image_prefix(clip.visual, torch.randn(2, 3, 64, 64), 11).detach()
    n, raw = states.shape[1] + 5, 4 * torch.randn(5, states.shape[2])
    masks = [torch.rand(12, n, n) < 0.8 for _ in range(2)]
    for m in masks:
        m[:, range(n), range(n)] = True
    expected = image_states(clip, states, [raw.expand(2, -1, -1)] * 2, [additive(m[None], raw.dtype) for m in masks], 0.4)
    assert torch.allclose(vision_forward(visual, states, raw, masks, 0.4, 11), expected, atol=1e-3, rtol=1e-3)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 2 The text's tokens (Eq. 6)
#
# $K$ raw tokens go in after the start token of every prompt, at layer $J$. In later layers the tokens at these places are mixed
# in the same way; the words are never touched.

# %% [raw]
# # BEGIN QUESTION
# name: q3
# points: 4

# %% [markdown]
# **Question 3** (4 points). Write `insert` (the tokens in, and where the end of text is afterwards) and `remix` (what goes into a
# later layer).

# %% [raw]
# # BEGIN SOLUTION

# %%
def insert(prompts, end, raw):
    """prompts [class, length, width], end [class], raw [k, width] -> prompts [class, length + k, width] and the new ends."""
    # BEGIN SOLUTION
    k = raw.expand(len(prompts), -1, -1)
    return torch.cat([prompts[:, :1], k, prompts[:, 1:]], dim=1), end + len(raw)
    # END SOLUTION


def remix(prompts, raw, beta):
    """The prompts of the layer before, tokens already in them, with places 1 … k mixed by beta."""
    # BEGIN SOLUTION
    k = len(raw)
    return torch.cat([prompts[:, :1], beta * raw + (1 - beta) * prompts[:, 1 : 1 + k], prompts[:, 1 + k :]], dim=1)
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_insert_by_hand(insert):
    import torch

    prompts = torch.tensor([[[1.0], [2], [3]], [[4.0], [5], [6]]])
    got, end = insert(prompts, torch.tensor([2, 1]), torch.tensor([[70.0], [80]]))
    assert tuple(got.shape) == (2, 5, 1), f"3 tokens and 2 more make 5, you return {tuple(got.shape)}"
    assert got[0].flatten().tolist() != [70, 80, 1, 2, 3], "the start token stays the first: the tokens go in after it"
    assert got.flatten().tolist() == [1, 70, 80, 2, 3, 4, 70, 80, 5, 6], f"start, tokens, words; got {got.flatten().tolist()}"
    assert end.tolist() == [4, 3], "two tokens went in before the end of text, so it moved by two"

# %%
def test_remix_by_hand(remix):
    import torch

    got = remix(torch.tensor([[[1.0], [10], [3]]]), torch.tensor([[20.0]]), 0.2)
    assert got.flatten().tolist()[::2] == [1, 3], "start and words stay as they are"
    assert abs(got[0, 1, 0] - 12) < 1e-5, f"0.2 · 20 + 0.8 · 10 = 12; got {got[0, 1, 0]}"

# %%
# HIDDEN
def test_text_elsewhere(insert, remix):
    import torch

    prompts, raw = torch.randn(5, 7, 3), torch.randn(2, 3)
    got, end = insert(prompts, torch.tensor([6, 5, 4, 3, 2]), raw)
    assert torch.equal(got[:, [0, *range(3, 9)]], prompts)
    assert torch.equal(got[:, 1:3], raw.expand(5, -1, -1))
    assert end.tolist() == [8, 7, 6, 5, 4]
    again = remix(got, torch.zeros(2, 3), 0.5)
    assert torch.allclose(again[:, 1:3], got[:, 1:3] / 2)
    assert torch.equal(again[:, [0, *range(3, 9)]], got[:, [0, *range(3, 9)]])

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 3 Features and fusion (Eq. 10, 11, 17–19)
#
# The class feature leaves by CLIP's own frozen projection, the attribute features by a trained one that all attributes share;
# both after the frozen `ln_post`. A similarity is $\tau$ times a cosine. Fusion weighs the similarities: $\hat y = \alpha_{cls}\,
# s_{cls} + \sum_a \alpha_a\, s_a$ with $\alpha = \mathrm{softmax}(w)$.

# %% [raw]
# # BEGIN QUESTION
# name: q4
# points: 3

# %% [markdown]
# **Question 4** (3 points). Write `features`.

# %% [raw]
# # BEGIN SOLUTION

# %%
def features(visual, read, projection):
    """read [batch, 1 + token, width] behind the last layer -> f_cls [batch, d], f_a [batch, token, d]; `projection` is the trained one."""
    # BEGIN SOLUTION
    x = visual.ln_post(read)
    return x[:, 0] @ visual.proj, x[:, 1:] @ projection
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_features_projections(features, visual):
    import torch

    from dearlib.clip.loading import load

    frozen = load("DeAR-Mini").visual
    read = torch.randn(2, 4, frozen.proj.shape[0])
    cls, own = features(visual, read, torch.zeros_like(frozen.proj))
    assert tuple(own.shape) == (2, 3, frozen.proj.shape[1]), f"3 attribute features of 2 pictures, you return {tuple(own.shape)}"
    assert cls.abs().max() > 0, "the class feature goes through CLIP's own projection, visual.proj, never through the trained one"
    assert own.abs().max() == 0, "the attribute features go through the trained projection (here all zeros)"
    assert not torch.allclose(cls, read[:, 0] @ frozen.proj, atol=1e-3), "ln_post comes before the projection"

# %%
# HIDDEN
def test_features_elsewhere(features, visual):
    import torch

    from dearlib.clip.loading import load
    from dearlib.methods.fusion import read_out

    clip = load("DeAR-Mini")
    read, projection = torch.randn(3, 6, clip.d_model), torch.randn(clip.d_model, 7)
    x = clip.visual.ln_post(read)
    cls, own = features(visual, read, projection)
    assert torch.allclose(own, x[:, 1:] @ projection, atol=1e-3)
    assert torch.allclose(cls, read_out(clip, read, torch.randn(clip.d_model, clip.d_embed), 5).cls, atol=1e-4)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q5
# points: 5

# %% [markdown]
# **Question 5** (5 points). Write `similarities` (Eq. 17, 18), `fuse` (Eq. 19), and `start_weights`: the $w$ at which
# $\alpha_{cls}$ has the wanted value and the attributes share the rest evenly (there are many; any will do).

# %% [raw]
# # BEGIN SOLUTION

# %%
def similarities(cls, own, text, tau):
    """cls [batch, d], own [batch, attribute, d], text [class, d] -> [batch, 1 + attribute, class], the class feature's first."""
    # BEGIN SOLUTION
    both = torch.cat([cls[:, None], own], dim=1)
    return tau * F.normalize(both, dim=-1) @ F.normalize(text, dim=-1).T
    # END SOLUTION


def fuse(s, w):
    """s [batch, 1 + attribute, class], w [1 + attribute] -> [batch, class]."""
    # BEGIN SOLUTION
    return torch.einsum("f,bfc->bc", torch.softmax(w, dim=0), s)
    # END SOLUTION


def start_weights(alpha_cls, attributes):
    """w [1 + attributes] with softmax(w) = alpha_cls, then (1 - alpha_cls) / attributes each."""
    # BEGIN SOLUTION
    return torch.tensor([alpha_cls] + [(1 - alpha_cls) / attributes] * attributes).log()
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_similarities_by_hand(similarities):
    import torch

    got = similarities(torch.tensor([[3.0, 0]]), torch.tensor([[[0.0, 5]]]), torch.tensor([[2.0, 0], [0, 7], [1, 1]]), 10)
    assert tuple(got.shape) == (1, 2, 3), f"1 picture, 2 features, 3 classes make [1, 2, 3], you return {tuple(got.shape)}"
    assert not torch.allclose(got[0, 0, 0], torch.tensor(60.0)), "this is a dot product; a cosine divides by both lengths"
    assert torch.allclose(got[0, 0], torch.tensor([10, 0, 10 / 2**0.5]), atol=1e-4), f"τ times the cosines 1, 0, 0.707; got {got[0, 0].tolist()}"

# %%
def test_fuse_by_hand(fuse):
    import torch

    got = fuse(torch.tensor([[[1.0, 2], [3, 6]]]), torch.zeros(2))
    assert not torch.allclose(got, torch.zeros(1, 2)), "the weights are softmax(w): w = 0 means equal shares, not nothing"
    assert not torch.allclose(got, torch.tensor([[4.0, 8]])), "the shares add up to 1"
    assert torch.allclose(got, torch.tensor([[2.0, 4]])), f"equal shares of (1, 2) and (3, 6) are (2, 4); got {got.tolist()}"

# %%
# HIDDEN
def test_similarities_elsewhere(similarities):
    import torch

    from dearlib.methods.fusion import ImageFeatures
    from dearlib.methods.fusion import similarities as kernel

    cls, own, text = torch.randn(3, 7), torch.randn(3, 5, 7), torch.randn(11, 7)
    assert torch.allclose(similarities(cls, own, text, 30.0), kernel(ImageFeatures(cls, own), text, 30.0), atol=1e-3)

# %%
# HIDDEN
def test_fuse_elsewhere(fuse):
    import torch

    s, w = torch.randn(3, 5, 7), torch.randn(5)
    expected = sum(torch.softmax(w, 0)[i] * s[:, i] for i in range(5))
    assert torch.allclose(fuse(s, w), expected, atol=1e-5)
    assert torch.allclose(fuse(s, w + 4), expected, atol=1e-4)

# %%
# HIDDEN
def test_start_weights(start_weights):
    import torch

    for alpha, n in ((0.5, 5), (0.8, 3)):
        got = torch.softmax(torch.as_tensor(start_weights(alpha, n)).float(), 0)
        assert torch.allclose(got, torch.tensor([alpha] + [(1 - alpha) / n] * n), atol=1e-5)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 4 Losses (Eq. 12–16)
#
# $$L = L_{CE}(\hat y) + \lambda_{reg}\, L_{reg} + \lambda_{fusion}\, L_{fusion}$$
#
# $L_{reg}$ is $1 - \cos(f_{cls}, f_{cls}^{frozen})$, averaged over the batch, *plus* $1 - \cos(f_t, f_t^{frozen})$, averaged over
# the classes. $L_{fusion} = -\log \alpha_{cls}$.

# %% [raw]
# # BEGIN QUESTION
# name: q6
# points: 5

# %% [markdown]
# **Question 6** (5 points). Write `losses`, which returns the three terms unweighted. Write the cross-entropy by its formula: the
# mean over the batch of $-\log \mathrm{softmax}(\hat y)_{y}$.

# %% [raw]
# # BEGIN SOLUTION

# %%
def losses(logits, labels, cls, frozen_cls, text, frozen_text, w):
    """logits [batch, class], labels [batch], features [batch, d] and [class, d], fusion weights w -> (CE, reg, fusion)."""
    # BEGIN SOLUTION
    log_p = logits.log_softmax(dim=1)
    cross_entropy = -log_p[torch.arange(len(labels)), labels].mean()
    away = 1 - F.cosine_similarity(cls, frozen_cls, dim=1)
    away_text = 1 - F.cosine_similarity(text, frozen_text, dim=1)
    return cross_entropy, away.mean() + away_text.mean(), -torch.log_softmax(w, dim=0)[0]
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_losses_by_hand(losses):
    import math

    import torch

    x, t = torch.eye(3)[:2], torch.eye(3)
    ce, reg, fusion = (float(v) for v in losses(torch.zeros(2, 3), torch.tensor([0, 2]), x, x, t, t, torch.zeros(4)))
    assert abs(ce - 2 * math.log(3)) > 1e-4, "the cross-entropy is a mean over the batch, not a sum"
    assert abs(ce - math.log(3)) < 1e-4, f"three classes, equal logits: log 3 = 1.099; got {ce}"
    assert abs(reg) < 1e-5, f"where nothing has moved from the frozen features, the regularisation is 0; got {reg}"
    assert abs(fusion - math.log(4)) < 1e-4, f"four equal shares: -log(1/4) = 1.386; got {fusion}"

# %%
def test_reg_by_hand(losses):
    import torch

    x, t = torch.eye(3)[:2], torch.eye(3)
    reg = float(losses(torch.zeros(2, 3), torch.tensor([0, 2]), 2 * x, x, -t, t, torch.zeros(4))[1])
    assert abs(reg - 6) > 1e-4, "average over classes, do not add up: three classes turned round are 1 - (-1) = 2 on average"
    assert abs(reg - 2) < 1e-4, f"a longer image feature costs nothing, text features turned round cost 2; got {reg}"

# %%
# HIDDEN
def test_losses_elsewhere(losses):
    import torch

    from dearlib.methods.fusion import ImageFeatures
    from dearlib.methods.losses import terms

    cls, own, text, w = torch.randn(5, 7), torch.randn(5, 3, 7), torch.randn(11, 7), torch.randn(4)
    frozen, frozen_text, labels = torch.randn(5, 7), torch.randn(11, 7), torch.tensor([0, 10, 3, 3, 7])
    alpha = torch.softmax(w, 0)
    expected = terms(alpha, 20.0, ImageFeatures(cls, own), text, frozen, frozen_text, labels)
    both = torch.nn.functional.normalize(torch.cat([cls[:, None], own], 1), dim=-1)
    logits = torch.einsum("f,bfc->bc", alpha, 20.0 * both @ torch.nn.functional.normalize(text, dim=-1).T)
    ce, reg, fusion = (float(v) for v in losses(logits, labels, cls, frozen, text, frozen_text, w))
    assert abs(ce - expected.cross_entropy) < 1e-3
    assert abs(reg - expected.regularisation) < 1e-4
    assert abs(fusion - expected.fusion) < 1e-4

# %%
# HIDDEN
def test_losses_with_large_logits(losses):
    import torch

    x, t = torch.eye(3)[:1], torch.eye(3)
    ce = float(losses(torch.tensor([[500.0, 0, 0]]), torch.tensor([0]), x, x, t, t, torch.tensor([0.0, 1.0]))[0])
    assert abs(ce) < 1e-5

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 5 The schedule, and one step
#
# The learning rate is constant within an epoch. During `warmup` epochs it is `warmup_lr`; in epoch $e$ after that it is
# $\mathrm{lr} \cdot (1 + \cos(\pi (e - \mathrm{warmup}) / \mathrm{epochs}))/2$. The warm-up does not shorten the cosine: the last
# epoch still has a rate above 0.

# %% [raw]
# # BEGIN QUESTION
# name: q7
# points: 3

# %% [markdown]
# **Question 7** (3 points). Write `rate`; epochs count from 0.

# %% [raw]
# # BEGIN SOLUTION

# %%
def rate(epoch, epochs, lr, warmup, warmup_lr):
    """The learning rate of epoch 0, 1, …, epochs - 1."""
    # BEGIN SOLUTION
    if epoch < warmup:
        return warmup_lr
    return lr * (1 + math.cos(math.pi * (epoch - warmup) / epochs)) / 2
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_rate_by_hand(rate):
    assert rate(0, 10, 1.0, 1, 1e-5) == 1e-5, "epoch 0 is warm-up"
    assert abs(rate(1, 10, 1.0, 1, 1e-5) - 1) < 1e-6, "the first epoch behind the warm-up has the full rate: subtract the warm-up from the epoch"
    assert abs(rate(6, 10, 1.0, 1, 1e-5) - 0.5) < 1e-6, "five of ten epochs after the warm-up the cosine is 0 and the rate half: the cosine's length is `epochs`"

# %%
# HIDDEN
def test_rate_elsewhere(rate):
    from dearlib.methods.training import Schedule

    schedule = Schedule(epochs=7, lr=3e-3, warmup_epochs=2, warmup_lr=1e-4)
    assert all(abs(rate(e, 7, 3e-3, 2, 1e-4) - schedule.rate(e)) < 1e-9 for e in range(7))

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %%
if rate(0, 10, 1e-3, 1, 1e-5) is not None:
    fig, ax = plots.figure(1, 1, size=(4.4, 2.2))
    ax.step(range(10), [rate(e, 10, 1e-3, 1, 1e-5) for e in range(10)], where="mid")
    ax.set(xlabel="epoch", ylabel="learning rate", title="one epoch of warm-up, then a cosine");

# %% [markdown]
# One step on the fusion weights alone. With $\alpha = \mathrm{softmax}(w)$ and one picture of label $y$, the chain rule gives
#
# $$\frac{\partial L_{CE}}{\partial \hat y_c} = p_c - 1[c = y], \qquad \frac{\partial \hat y_c}{\partial \alpha_f} = s_{fc}, \qquad \frac{\partial \alpha_f}{\partial w_g} = \alpha_f (1[f = g] - \alpha_g) .$$

# %% [raw]
# # BEGIN QUESTION
# name: q8
# points: 3

# %% [markdown]
# **Question 8** (3 points). Write `step`: one step of plain gradient descent on $w$ for the cross-entropy, averaged over the
# batch. By the formulas or by autograd, as you like.

# %% [raw]
# # BEGIN SOLUTION

# %%
def step(w, s, labels, lr):
    """w [feature], s [batch, feature, class], labels [batch] -> the new w, detached."""
    # BEGIN SOLUTION
    w = w.clone().requires_grad_()
    logits = torch.einsum("f,bfc->bc", torch.softmax(w, dim=0), s)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels), w)
    return (w - lr * gradient).detach()
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_step_goes_down(step):
    import torch

    s = torch.tensor([[[5.0, 0], [0, 5]]])
    new = step(torch.zeros(2), s, torch.tensor([0]), 1.0)
    assert tuple(new.shape) == (2,), f"as many weights as before, you return {tuple(new.shape)}"
    assert not torch.equal(new, torch.zeros(2)), "nothing has moved"
    assert new[0] > 0 > new[1], "feature 0 votes for the right class, so its weight should grow: did you go up instead of down?"

# %%
# HIDDEN
def test_step_elsewhere(step):
    import torch

    w, s, y = torch.randn(4), 3 * torch.randn(5, 4, 7), torch.tensor([0, 6, 2, 2, 5])
    a = torch.softmax(w, 0)
    p = torch.softmax(torch.einsum("f,bfc->bc", a, s), 1) - torch.nn.functional.one_hot(y, 7)
    by_alpha = torch.einsum("bc,bfc->f", p, s) / 5
    gradient = a * (by_alpha - (a * by_alpha).sum())
    assert torch.allclose(step(w, s, y, 0.7), w - 0.7 * gradient, atol=1e-4)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q9
# points: 3

# %% [markdown]
# **Question 9** (3 points). Write `trained_numbers`: how many numbers DeAR trains. Nothing of CLIP is trained. Check it for
# ViT-B/16 with five attributes, one token each, $K = 5$.

# %% [raw]
# # BEGIN SOLUTION

# %%
def trained_numbers(attributes, per, k, width, text_width, d_embed):
    """Attribute tokens, text tokens, the shared projection (no bias) and the fusion weights."""
    # BEGIN SOLUTION
    return attributes * per * width + k * text_width + width * d_embed + attributes + 1
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_count_of_vit_b16(trained_numbers):
    got = trained_numbers(5, 1, 5, 768, 512, 512)
    assert got != 399616, "you forgot the six fusion weights"
    assert got != 399621, "the class feature has a fusion weight, too"
    assert got != 5 * 768 + 5 * 512 + 5 * 768 * 512 + 6, "all attributes share one projection"
    assert got == 399622, f"5·768 + 5·512 + 768·512 + 6 = 399,622; got {got}"

# %%
# HIDDEN
def test_count_elsewhere(trained_numbers):
    assert trained_numbers(3, 2, 7, 11, 13, 17) == 3 * 2 * 11 + 7 * 13 + 11 * 17 + 4

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 6 In your own words

# %% [raw]
# # BEGIN QUESTION
# name: q10
# points: 5
# manual: true

# %% [markdown]
# **Question 10** (5 points, graded by hand). In at most 200 words: (a) What do β = 0 and β = 1 mean for a token, and what can a
# token at β = 1 still learn from layer to layer? (b) $L_{reg}$ holds $f_{cls}$ near CLIP's. In a model in which all heads are
# closed, what is its image part, and what is its gradient? (c) $\alpha_{cls}$ starts at 0.5 beside tokens drawn at random. A
# fellow student says that training "starts from CLIP's own answer". What would have to hold for that to be true?
#
# *Points: (a) 2, (b) 2, (c) 1.*

# %% [raw]
# # BEGIN SOLUTION

# %% [markdown]
# (a) At β = 0 the raw token enters once and then evolves freely; at β = 1 every layer gets the raw token and forgets the output
# of the layer before. At β = 1 only the last layer's output counts for the token's own feature, but what other tokens took from
# it in between lives on in them. (b) The class feature is CLIP's own, because [CLS] never meets a token: the image part is 0, and
# so is its gradient; only the text part can move. (c) The attribute similarities would have to add the same to all classes, or
# α_cls would have to be 1: with random tokens half of the fused logits are noise (a constant bias per class, or worse).

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION
