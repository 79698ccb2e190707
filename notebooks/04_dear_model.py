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
# # 04 · DeAR, forward and backward
#
# **Question.** What exactly is added to a frozen CLIP, how does a picture go through it, and what is it trained on?
#
# | | |
# |---|---|
# | Paper | Sections 3.3.1–3.3.4, Eq. 5–19 |
# | You will see | every trained number counted, the forward pass in plain cells, β-mixing, three losses by hand, a few steps |
# | Reads | a frozen CLIP, the role file of notebook 02, a few training pictures |
# | Writes | `04_*.svg` and `.png` in the figures folder |
# | Takes | under a minute on a laptop, no GPU; 1 GB of memory |
#
# The plain form below is slow and in view; `dearlib.methods.dear` is what runs the experiments. Each step asserts that the two agree,
# in float64, so that a difference is a mistake and not rounding.

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"
clip: str = "DeAR-Mini"
clip_weights = None  # type: str|None  a weights file; None: those in the package
data_root: str = "data/mini"
seed: int = 1
device: str = "cpu"
dataset: str = "objects"
roles: str = "runs/mini/02_head_roles/roles.json"
first_layer: int = 9  # J
text_tokens: int = 5  # K
tokens_per_attribute: int = 1
beta: float = 0.7  # share of the raw token at the entrance of the layers after J
alpha_cls: float = 0.5  # α_cls before training
lambda_reg: float = 1.0
lambda_fusion: float = 0.1
images: int = 16  # pictures to work with
steps: int = 10  # of training
lr: float = 1e-3

# %%
import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

from dearlib import plots
from dearlib.clip import attention
from dearlib.clip.cut import image_prefix, text_prefix
from dearlib.clip.loading import load
from dearlib.datasets import classnames, half, open_image, prompts, read_split
from dearlib.datasets.generated import note
from dearlib.methods.dear import DeAR, Settings
from dearlib.methods.losses import losses
from dearlib.methods.masks import layer_mask
from dearlib.params.reading import validated
from dearlib.roles.controls import uniform_roles
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import tables

p = validated("04_dear_model", globals())
frozen = load(p.clip, p.clip_weights)
frozen.model.double()
head_roles = HeadRoles.load(p.roles).for_weights(frozen.weights_sha256)
settings = Settings(
    first_layer=p.first_layer, text_tokens=p.text_tokens, tokens_per_attribute=p.tokens_per_attribute, beta=p.beta, alpha_cls=p.alpha_cls
)
model = DeAR(frozen, head_roles, settings, seed=p.seed).double()
print(f"{frozen.name} {frozen.weights_sha256[:8]} · roles {head_roles.sha256[:8]} · J = {p.first_layer}, K = {p.text_tokens}")

# %% [markdown]
# ## 1 What is trained
#
# | symbol | name | shape | what it is |
# |---|---|---|---|
# | $r_a$ | `attribute_tokens` | $A \times D_v$ | one token per attribute, put beside [CLS] and the patches at layer $J$ |
# | $p_k$ | `text_tokens` | $K \times D_t$ | put after the start token of every prompt at layer $J$ |
# | $W$ | `projection` | $D_v \times d$ | takes attribute tokens to the joint space; starts as CLIP's own |
# | $w$ | `fusion` | $A + 1$ | $\alpha = \mathrm{softmax}(w)$ weighs class and attribute features |
#
# Everything else is CLIP and stays as it is. First the arithmetic, then the measurement.


# %%
def count(attributes, tokens_each, k, d_v, d_t, d):
    """A·n·D_v + K·D_t + D_v·d + (A + 1)"""
    return attributes * tokens_each * d_v + k * d_t + d_v * d + attributes + 1


a = len(head_roles.attributes)
predicted = count(a, p.tokens_per_attribute, p.text_tokens, frozen.d_model, frozen.d_text, frozen.d_embed)
measured = sum(t.numel() for t in model.parameters())
assert measured == predicted
assert count(5, 1, 5, 768, 512, 512) == 399_622
print(f"{frozen.name}: predicted {predicted:,}, measured {measured:,}. ViT-B/16 with K = 5: {count(5, 1, 5, 768, 512, 512):,}")

# %% [markdown]
# The whole of it as a drawing; every number in it is read off the model above (the paper's Figure 2). Blue is frozen, orange is
# trained.

# %%
base = half(read_split(p.data_root, p.dataset), "base")
fig, ax = plots.figure(size=(9.6, 4.4))
plots.framework(ax, model, classes=len(classnames(base)))
said = note(p.data_root)  # of a data root whose pictures only stand in for real ones
plots.save(fig, p.figures_root, "figure2", said)
made_for = {"weights_sha256": frozen.weights_sha256, "roles_sha256": head_roles.sha256}
tables.write_sidecar(p.figures_root / "figure2", tables.origin("04_dear_model", p, said, **made_for))

# %% [markdown]
# ## 2 Pictures on the verge of layer J
#
# Layers $1 \dots J-1$ have nothing to learn. Their output is a constant of the picture, so everything below starts from it.

# %%
chosen = np.random.default_rng(p.seed).choice(len(base.train), size=min(p.images, len(base.train)), replace=False)
items = [base.train[i] for i in chosen]
pictures = torch.stack([frozen.preprocess(open_image(i.path)) for i in items]).double()
labels = torch.tensor([i.label for i in items])
with torch.no_grad():
    states = image_prefix(frozen.visual, pictures, p.first_layer)
frozen_image = frozen.encode_image(pictures)
print(f"{len(items)} pictures → {tuple(states.shape)}: [CLS] and {frozen.patches} patches of width {frozen.d_model}")

# %% [markdown]
# ## 3 One masked layer, one head at a time
#
# A frozen transformer layer with one change: each head $h$ adds its own role mask to the scores,
#
# $$\mathrm{head}_h = \mathrm{softmax}\!\left(\frac{Q_h K_h^\top}{\sqrt{D_h}} + M_h\right) V_h ,$$
#
# where $M_h$ is $0$ where a query may look and $-\infty$ where it may not (notebook 03).


# %%
def layer_by_head(block, x, may_attend):
    """x [batch, token, D], may_attend [head, query, key] → [batch, token, D]"""
    q, k, v = (block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, dim=-1)
    d_head, outputs = x.shape[-1] // len(may_attend), []
    for h, allowed in enumerate(may_attend):
        own = slice(h * d_head, (h + 1) * d_head)
        scores = q[..., own] @ k[..., own].transpose(1, 2) / d_head**0.5
        outputs.append(scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1) @ v[..., own])
    x = x + block.attn.out_proj(torch.cat(outputs, dim=-1))
    return x + block.mlp(block.ln_2(x))


# %%
with torch.no_grad():
    n = states.shape[1]
    x = torch.cat([states, model.attribute_tokens.expand(len(states), -1, -1)], dim=1)
    allowed = layer_mask(head_roles, p.first_layer, n, p.tokens_per_attribute)
    block = frozen.visual.transformer.resblocks[p.first_layer - 1]
    torch.testing.assert_close(layer_by_head(block, x, allowed), attention.masked_layer(block, x, allowed[None]))
print(f"L{p.first_layer}: the loop over {frozen.heads} heads equals the fused layer, on {x.shape[1]} tokens")

# %% [markdown]
# ## 4 β: how a token remembers what it is
#
# Into layer $J$ goes the raw token $r_a$. Into each later layer goes a mixture of the raw token and what the layer before
# made of it:
#
# $$\hat r_a^{(l)} = \beta\, r_a + (1-\beta)\, r_a^{(l-1),\,\mathrm{out}}$$
#
# β = 1 forgets the picture at every layer, β = 0 lets the token drift wherever the frozen layers take it.


# %%
def attribute_pass(beta, larger=1.0):
    """Originals and attribute tokens through layers J … L; also the cosine of each layer's input token to the raw one."""
    raw = larger * model.attribute_tokens.expand(len(states), -1, -1)
    originals, tokens, closeness = states, raw, []
    for layer in range(p.first_layer, frozen.layers + 1):
        if layer > p.first_layer:
            tokens = beta * raw + (1 - beta) * tokens
        closeness.append(F.cosine_similarity(tokens, raw, dim=-1).mean().item())
        x = torch.cat([originals, tokens], dim=1)
        allowed = layer_mask(head_roles, layer, n, p.tokens_per_attribute)
        x = layer_by_head(frozen.visual.transformer.resblocks[layer - 1], x, allowed)
        originals, tokens = x[:, :n], x[:, n:]
    return originals, tokens, closeness


# %%
layers = list(range(p.first_layer, frozen.layers + 1))
patch_size = states.std() / model.attribute_tokens.std()  # makes a raw token as large as a patch's state
fig, axes = plots.figure(1, 2, size=(7.4, 2.6), sharey=True)
for ax, larger, title in ((axes[0], 1.0, "as drawn (std 0.02)"), (axes[1], patch_size.item(), f"{patch_size:.0f} times larger")):
    for beta_shown in (0.0, 0.3, 0.7, 1.0):
        with torch.no_grad():
            ax.plot(layers, attribute_pass(beta_shown, larger)[2], marker="o", markersize=3, label=f"β = {beta_shown}")
    ax.set(xlabel="layer", xticks=layers, ylim=(-0.2, 1.05), title=title)
axes[0].set(ylabel="cosine of its input to $r_a$")
axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
_ = plots.save(fig, p.figures_root, "04_beta")

# %% [markdown]
# On the left the tokens as they are drawn, so small that what one layer writes drowns them, at any β below 1. On the right the
# same tokens made as large as a patch's state: now β says how much of the token's own direction survives. A raw token's *size* is
# therefore something that training can use.

# %% [markdown]
# ## 5 Features
#
# $f_{cls}$ leaves through CLIP's own projection, the attribute features $f_a$ through the trained one:
#
# $$f_{cls} = \mathrm{LN}(x_{cls})\,W_0, \qquad f_a = \mathrm{LN}(r_a^{(L)})\,W .$$

# %%
with torch.no_grad():
    originals, tokens, _ = attribute_pass(p.beta)
    visual = frozen.visual
    f_cls = visual.ln_post(originals[:, 0]) @ visual.proj
    f_attribute = (visual.ln_post(tokens) @ model.projection).unflatten(1, (a, -1)).mean(dim=2)
    fast = model.image_features(states)
torch.testing.assert_close(fast.cls, f_cls)
torch.testing.assert_close(fast.attribute, f_attribute)
gap = (fast.cls - f_cls).abs().max()
print(f"f_cls {tuple(f_cls.shape)}, f_a {tuple(f_attribute.shape)}: plain form and dearlib.methods.dear agree to {gap:.0e}")

# %% [markdown]
# **A fact worth a check.** If every head is Generalization, no original token ever sees an attribute token. The class feature
# must then be the frozen model's, whatever the tokens are. If every head is Mixed, it is not.

# %%
for role in ("generalization", "mixed"):
    variant = DeAR(frozen, uniform_roles(role, head_roles), settings, seed=p.seed).double()
    with torch.no_grad():
        gap = (variant.image_features(states).cls - frozen_image).abs().max().item()
    assert (gap < 1e-5) == (role == "generalization")
    print(f"all {role}: the class feature moves by at most {gap:.0e}")

# %% [markdown]
# ## 6 Text
#
# The $K$ text tokens go in after the start token, so the end-of-text position, where CLIP reads the feature, moves by $K$.
# Text attention is causal: no column looks to its right. So the columns behind the longest prompt can be cut *exactly*,
# not approximately. Here is the form that cuts nothing.


# %%
def text_pass(texts):
    """All 77 + K columns through every text layer."""
    encoder, k, tokens = frozen.model, p.text_tokens, frozen.tokenize(texts)
    x = encoder.token_embedding(tokens) + encoder.positional_embedding
    for block in encoder.transformer.resblocks[: p.first_layer - 1]:
        x = block(x, attn_mask=encoder.attn_mask)
    raw = own = model.text_tokens.expand(len(x), -1, -1)
    start, rest = x[:, :1], x[:, 1:]
    causal = torch.full((x.shape[1] + k,) * 2, -torch.inf, dtype=x.dtype).triu(1)
    for i, block in enumerate(encoder.transformer.resblocks[p.first_layer - 1 :]):
        own = own if i == 0 else p.beta * raw + (1 - p.beta) * own
        x = block(torch.cat([start, own, rest], dim=1), attn_mask=causal)
        start, own, rest = x[:, :1], x[:, 1 : 1 + k], x[:, 1 + k :]
    return encoder.ln_final(x[torch.arange(len(x)), tokens.argmax(dim=1) + k]) @ encoder.text_projection


# %%
texts = prompts(p.dataset, classnames(base))
text_states = text_prefix(frozen, texts, p.first_layer)
with torch.no_grad():
    f_text = model.text_features(text_states)
    torch.testing.assert_close(f_text, text_pass(texts))
frozen_text = frozen.encode_text(texts)
print(f"{texts[0]!r} …: {frozen.tokenize(texts).shape[1]} columns cut to {text_states.states.shape[1]}, same features")

# %% [markdown]
# ## 7 Fusion
#
# Every feature votes by cosine similarity with the class texts, at CLIP's temperature τ; the votes are weighed:
#
# $$\hat y = \alpha_{cls}\, s_{cls} + \sum_a \alpha_a\, s_a, \qquad \alpha = \mathrm{softmax}(w).$$

# %%
with torch.no_grad():
    features = torch.cat([f_cls[:, None], f_attribute], dim=1)
    votes = frozen.scale * F.cosine_similarity(features[:, :, None], f_text[None, None], dim=-1)
    fused_logits = sum(model.alpha[i] * votes[:, i] for i in range(a + 1))
    torch.testing.assert_close(model.similarities(fast, f_text), votes)
    torch.testing.assert_close(model.fuse(votes), fused_logits)
names = ["class", *head_roles.attributes]
print(" · ".join(f"α {name} {value:.2f}" for name, value in zip(names, model.alpha.tolist(), strict=True)))

# %% [markdown]
# ## 8 Three losses
#
# $$L = \mathrm{CE}(\hat y, y) + \lambda_{reg}\Big[(1-\cos(f_{cls}, f^0_{cls})) + (1-\cos(f_t, f^0_t))\Big]
#  - \lambda_{fusion} \log \alpha_{cls}$$
#
# averaged over the batch and over the classes. The first pulls towards the labels, the second back to what CLIP knew,
# the third keeps the class feature in charge.

# %%
with torch.no_grad():
    ce = -(fused_logits.exp() / fused_logits.exp().sum(dim=1, keepdim=True))[torch.arange(len(labels)), labels].log().mean()
    unit = [F.normalize(t, dim=-1) for t in (f_cls, frozen_image, f_text, frozen_text)]
    reg = (1 - (unit[0] * unit[1]).sum(-1)).mean() + (1 - (unit[2] * unit[3]).sum(-1)).mean()
    terms = losses(model, fast, f_text, frozen_image, frozen_text, labels)
for by_hand, ours in ((ce, terms.cross_entropy), (reg, terms.regularisation), (-model.alpha[0].log(), terms.fusion)):
    torch.testing.assert_close(by_hand, ours)
print(f"cross-entropy {ce:.3f} · regularisation {reg:.4f} · fusion {terms.fusion:.3f}  (uniform guessing: {np.log(len(texts)):.3f})")

# %% [markdown]
# ## 9 Backward: who gets a gradient
#
# A blocked pair has weight exactly 0, and a gradient of exactly 0. So what an attribute token can learn *from the class
# feature* depends on the attribute heads of its own concept and on mixed heads; its own feature always teaches it.

# %%
image = model.image_features(states)
(through_cls,) = torch.autograd.grad(model.similarities(image, f_text)[:, 0].square().sum(), model.attribute_tokens)
reach = through_cls.norm(dim=-1).unflatten(0, (a, -1)).mean(dim=1)
fig, ax = plots.figure(size=(4.6, 2.2))
ax.bar(head_roles.attributes, reach, color=plots.ROLE_COLORS["attribute"])
ax.set(ylabel="gradient norm", title="how strongly each token moves the class feature's votes")
_ = plots.save(fig, p.figures_root, "04_reach")

# %%
counts = {name: sum(e.role == "attribute" and e.concept == name for e in head_roles.entries) for name in head_roles.attributes}
mixed = sum(e.role == "mixed" for e in head_roles.entries)
print("attribute heads:", ", ".join(f"{name} {number}" for name, number in counts.items()), f"· mixed heads: {mixed}")

# %% [markdown]
# ## 10 A few steps
#
# AdamW on the four tensors of section 1, on these few pictures: not a result, a sign of life. Notebook 05 trains properly.

# %%
optimiser = torch.optim.AdamW(model.parameters(), lr=p.lr)
curve = []
for _ in range(p.steps):
    terms = losses(model, model.image_features(states), model.text_features(text_states), frozen_image, frozen_text, labels)
    loss = terms.cross_entropy + p.lambda_reg * terms.regularisation + p.lambda_fusion * terms.fusion
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    curve.append({"cross-entropy": terms.cross_entropy.item(), "distance from CLIP": terms.regularisation.item()})
assert all(q.grad is None for q in frozen.model.parameters())
print(f"cross-entropy {curve[0]['cross-entropy']:.3f} → {curve[-1]['cross-entropy']:.3f} in {p.steps} steps")

# %%
fig, axes = plots.figure(1, 2, size=(6.4, 2.2))
for ax, name, color in zip(axes, curve[0], plots.LINE_COLORS, strict=False):
    plots.loss_curve(ax, [curve], name, name, color).set(xlabel="step")
_ = plots.save(fig, p.figures_root, "04_steps")

# %%
before, after = curve[0]["cross-entropy"], curve[-1]["cross-entropy"]
display(
    Markdown(
        f"The loss on {len(items)} pictures went {'down' if after < before else 'up'} by {abs(before - after):.3f}; of "
        f"{measured + sum(q.numel() for q in frozen.model.parameters()):,} numbers, {measured:,} moved."
    )
)

# %% [markdown]
# ## What to take away
#
# - DeAR adds tokens, one projection and six scalars to a frozen CLIP; masks decide per head who may read them.
# - With all heads blocked the class feature is CLIP's own. What the method changes, it changes through heads whose role allows it.
# - Two cuts save most of the time and change nothing: the frozen layers below $J$, and text columns after the end of text.
#
# **Exercises.** (a) Give one Generalization head of layer $L$ the role Mixed (`with_role`): which features change, and which
# cannot? (b) Show that for $\beta = 1$ the attribute token entering layer $L$ is the same for all pictures. (c) Where does the
# gradient of the text tokens come from, and what happens to it for $\lambda_{reg} \to \infty$?
