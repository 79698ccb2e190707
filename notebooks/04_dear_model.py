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
# | Before this | [03 · Roles become masks](03_role_masks.ipynb) |
# | Paper | Sections 3.3.1, 3.3.3, 3.3.4; Eq. 5, 6, 10, 11, 17–19 |
# | You will see | every trained number counted, the forward pass in plain cells, β, what a shielded token can know, fusion, a few steps |
# | Reads | a frozen CLIP, the role file of notebook 02 (or the committed one), a few training pictures (rendered if missing) |
# | Writes | `figure2.*`, `04_numbers.csv`, `04_*.svg` and `.png` in the figures folder |
# | Takes | 35 seconds and 1.4 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [05 · Training DeAR](05_training.ipynb); [15](15_what_carries_the_gain.ipynb) and [16](16_the_family.ipynb) build on it |
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
dataset: str = "source"
roles: str = "runs/mini/02_head_roles/roles.json"
first_layer: int = 9  # J
text_tokens: int = 5  # K
tokens_per_attribute: int = 1
beta: float = 0.7  # share of the raw token at the entrance of the layers after J
alpha_cls: float = 0.5  # α_cls before training
init_std: float = 0.02  # of the tokens before training
routing: str = "printed"  # or "exclusive", see notebook 03
lambda_reg: float = 0.3
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
from dearlib.methods.dear import DeAR
from dearlib.methods.losses import losses
from dearlib.methods.masks import layer_mask
from dearlib.params.reading import validated
from dearlib.roles.controls import uniform_roles
from dearlib.study import opening, tables, trials
from dearlib.study.takeaways import from_numbers, write_numbers

# %%
p = validated("04_dear_model", globals())
torch.set_num_threads(1)  # sums in one order, as in batch runs, however many cores there are
frozen = load(p.clip, p.clip_weights)
frozen.model.double()
head_roles = opening.role_file(p.roles, p.figures_root, frozen)
opening.pictures(p.data_root, p.dataset)
settings = trials.settings(p)
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
# The whole of it as a drawing; every number in it is read off the model above (the paper's Figure 2). The losses are notebook 05's.

# %%
base = half(read_split(p.data_root, p.dataset), "base")
fig, ax = plots.figure(size=(11.6, 4.6))
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
# $$\begin{aligned}[\mathbf z_\text{cls}^{\ell}, \mathbf z_p^{\ell}, \{\tilde{\mathbf r}_\text{attr}^{\ell}\}_{\text{attr} \in A}] &=
# \mathcal V_{\ell}([\mathbf z_\text{cls}^{\ell-1}, \mathbf z_p^{\ell-1}, \{\mathbf r_\text{attr}^{\ell-1}\}_{\text{attr} \in A}]) \\
# [\mathbf z_\text{cls}^{\ell+1}, \mathbf z_p^{\ell+1}, \{\tilde{\mathbf r}_\text{attr}^{\ell+1}\}_{\text{attr} \in A}] &=
# \mathcal V_{\ell+1}([\mathbf z_\text{cls}^{\ell}, \mathbf z_p^{\ell}, \{\beta\, \mathbf r_\text{attr}^{\ell} + (1-\beta)\,
# \tilde{\mathbf r}_\text{attr}^{\ell}\}_{\text{attr} \in A}]) \end{aligned} \qquad (5)$$
#
# In what follows $\mathbf r_a$ is the print's $\mathbf r_\text{attr}$, for an attribute $a$ of $A$.
#
# **How we read it.** The print gives $\mathbf r_a$ a layer's number, as if there were a raw token for each layer, or as if
# $\mathbf r_a^\ell$ were the mixture of the layer before. The text says that β = 1 puts the raw token in anew at each layer, and that
# $\mathbf r_a$ is what keeps a token from drifting; a chain of mixtures would have lost it after two layers. So there is one raw token
# $\mathbf r_a$ for all layers. It goes into layer $J$ as it is, and into each later layer goes
# $\beta\,\mathbf r_a + (1-\beta)\,\tilde{\mathbf r}_a$ *[ours]*.
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
betas = (0.0, 0.3, 0.7, 1.0)
fig, axes = plots.figure(1, 2, size=(8.4, 2.4))
for ax, larger, title in ((axes[0], 1.0, f"as drawn, std {p.init_std}"), (axes[1], patch_size.item(), f"{patch_size:.0f} times larger")):
    with torch.no_grad():
        kept = np.array([attribute_pass(beta, larger)[2] for beta in betas])
    plots.weight_map(ax, kept.clip(0), [f"β = {beta}" for beta in betas], [f"L{layer}" for layer in layers], "cosine to $r_a$")
    ax.set(title=title, xlabel="token that enters")
_ = plots.save(fig, p.figures_root, "04_beta")

# %% [markdown]
# On the left the tokens as they are drawn: what one layer writes drowns a small token, at any β below 1. On the right the
# same tokens made as large as a patch's state: now β says how much of the token's own direction survives. A raw token's *size* is
# therefore something that training can use, and `init_std` is a parameter.

# %% [markdown]
# ## 5 Features
#
# The class feature leaves through CLIP's own projection, the attribute features through the trained one:
#
# $$\mathbf f_\text{cls} = \mathbf P_\text{vision}(\mathrm{LN}(\mathbf z_\text{cls}^L)) \qquad (10)$$
#
# $$\mathbf f_\text{attr} = \mathbf P_\text{attr}(\mathrm{LN}(\mathbf r_\text{attr}^L)) \qquad (11)$$
#
# **How we read it.** $\mathbf r^L_\text{attr}$ is what came out of the last layer, not mixed again; one $\mathbf P_\text{attr}$ serves
# all attributes, has no
# bias and starts as a copy of $\mathbf P_\text{vision}$ *[ours]*; several tokens of an attribute are averaged after it *[ours]*.

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
# ## 6 What a shielded token can know
#
# If every head is shielded (Eq. 8), no original token ever sees an attribute token, and no attribute token ever sees the picture. So the
# class feature must be the frozen model's, whatever the tokens are; and $\mathbf f_a$ must be *the same for every picture*: a function of
# trained
# numbers alone. If every head is Mixed, neither holds.

# %%
spread = {}
for role in ("generalization", "mixed"):
    variant = DeAR(frozen, uniform_roles(role, head_roles), settings, seed=p.seed).double()
    with torch.no_grad():
        out = variant.image_features(states)
    gap = (out.cls - frozen_image).abs().max().item()
    spread[role] = (out.attribute - out.attribute[:1]).abs().max().item()
    assert (gap < 1e-5) == (role == "generalization")
    assert (spread[role] < 1e-9) == (role == "generalization")
    print(f"all {role}: the class feature moves by at most {gap:.0e}; the f_a of two pictures differ by at most {spread[role]:.0e}")

# %% [markdown]
# Then each $\mathbf s_a$ is **a constant for each class**: to the fused logits the attribute tokens add a bias towards classes. The picture
# comes in through $\alpha_\text{cls}\, \mathbf s_\text{cls}$ alone, and that is not CLIP's answer either: the picture's side is CLIP's, but
# it is compared with *trained* text features, which the text tokens move. A method whose tokens see nothing can still gain on the classes
# that it was trained on, by learning which answers are right more often than CLIP gives them. Lesson 15 measures how much of DeAR's gain
# is a bias. With these roles the tokens do see pictures, through attribute and mixed heads. How much
# their votes depend on the picture is asked in section 8.

# %% [markdown]
# ## 7 Text
#
# $$\mathbf p_k^{\text{in},\ell} = \begin{cases} \mathbf p_k^{\ell-1} & \text{if } \ell < J \\ \beta\, \mathbf p_k + (1-\beta)\,
# \tilde{\mathbf p}_k^{\ell-1} &
# \text{if } \ell \ge J \end{cases} \qquad (6)$$
#
# **How we read it.** At $\ell = J$ the second case mixes with $\tilde{\mathbf p}_k^{J-1}$, the output of a layer that the tokens, put in
# at $J$, never
# passed. The first case would have them in the prompt from layer 1 on, but the text puts them in at $J$ and Figure 2 draws them there. So
# at $J$
# the raw tokens go in, and later layers mix, as for pictures *[ours]*. Here the raw token *is* written without a layer's number, which
# supports the reading of Eq. 5.
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
# ## 8 Fusion
#
# Every feature votes by cosine similarity with the class texts $\mathbf t_1 … \mathbf t_m$, at CLIP's temperature τ; the votes are
# weighed by
# $\alpha = \mathrm{softmax}(w)$:
#
# $$\mathbf s_\text{cls} = \tau \cdot [\mathrm{sim}(\mathbf f_\text{cls}, \mathbf t_1), \dots, \mathrm{sim}(\mathbf f_\text{cls}, \mathbf
# t_m)] \qquad (17)$$
#
# $$\mathbf s_a = \tau \cdot [\mathrm{sim}(\mathbf f_a, \mathbf t_1), \dots, \mathrm{sim}(\mathbf f_a, \mathbf t_m)] \qquad (18)$$
#
# $$\hat{\mathbf y} = \alpha_\text{cls} \cdot \mathbf s_\text{cls} + \sum_{a \in \mathcal A} \alpha_a \cdot \mathbf s_a \qquad (19)$$
#
# For another data set the paper answers with $\mathbf s_\text{cls}$ alone: learned weights need not fit there.

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
# Now the question of section 6, for untrained tokens: of each feature's votes, what share of the variance depends on the picture?

# %%
with torch.no_grad():
    about_picture = (votes - votes.mean(0)).square().sum((0, 2)) / (votes - votes.mean((0, 2), keepdim=True)).square().sum((0, 2))
print(" · ".join(f"{name} {share:.0%}" for name, share in zip(names, about_picture.tolist(), strict=True)))

# %% [markdown]
# And the constant itself: with every head shielded each $\mathbf s_a$ is the same row of numbers for every picture, while
# $\mathbf s_\text{cls}$ differs from picture to picture, and from CLIP's own logits because of the text tokens.

# %%
shut = DeAR(frozen, uniform_roles("generalization", head_roles), settings, seed=p.seed).double()
with torch.no_grad():
    s_shut = shut.similarities(shut.image_features(states), f_text)
    logits_clip = frozen.scale * F.cosine_similarity(frozen_image[:, None], frozen_text[None], dim=-1)
constant, s_cls = s_shut[:, 1:], s_shut[:, 0]
assert (constant - constant[:1]).abs().max() < 1e-6 < 1 < (s_cls - s_cls[:1]).abs().max()
print(f"s_cls with every head shielded is up to {(s_cls - logits_clip).abs().max():.2f} from CLIP's logits, before any training")

# %% [markdown]
# ## 9 Backward: who gets a gradient
#
# A blocked pair has weight exactly 0, and a gradient of exactly 0 (asserted in notebook 03). So [CLS] itself reads an attribute token in
# the attribute heads of the token's own concept and in mixed heads. It also hears of it from others, a layer later: from patches that read
# the token in those heads, and from other tokens, which see it in shielded heads as well (the leak of notebook 03, section 6). What an
# attribute token can learn *from the class feature* comes by all of these ways, and each bar below holds them together; the token's own
# feature always teaches it.

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
# AdamW on the four tensors of section 1, on these few pictures: not a result, a sign of life. Notebook 05 takes the losses apart and
# trains properly.

# %%
with torch.no_grad():
    start = {"class feature": 1 - F.cosine_similarity(f_cls, frozen_image).mean().item(),
             "text features": 1 - F.cosine_similarity(f_text, frozen_text).mean().item()}  # fmt: skip
print("Distance from CLIP before any step: " + ", ".join(f"{name} {value:.4f}" for name, value in start.items()))
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
assert np.isclose(sum(start.values()), curve[0]["distance from CLIP"])
print(f"cross-entropy {curve[0]['cross-entropy']:.3f} → {curve[-1]['cross-entropy']:.3f} in {p.steps} steps")

# %%
fig, axes = plots.figure(1, 2, size=(6.4, 2.2))
for ax, name, color in zip(axes, curve[0], plots.LINE_COLORS, strict=False):
    plots.loss_curve(ax, [curve], name, name, color).set(xlabel="step")
_ = plots.save(fig, p.figures_root, "04_steps")

# %%
before, after = curve[0]["cross-entropy"], curve[-1]["cross-entropy"]
near, away = curve[0]["distance from CLIP"], curve[-1]["distance from CLIP"]
display(
    Markdown(
        f"The cross-entropy on {len(items)} pictures went {'down' if after < before else 'up'} by {abs(before - after):.3f}, the distance "
        f"from CLIP {'down' if away < near else 'up'} from {near:.4f} to {away:.4f}; of "
        f"{measured + sum(q.numel() for q in frozen.model.parameters()):,} numbers, {measured:,} moved."
    )
)

# %% [markdown]
# The right curve does not start at zero: tokens drawn at random move features away from CLIP's before any step; which features, and how
# far, is printed above the curves. What training does is the change from there.
#
# ## What is true here
#
# Of one draw of tokens and a few pictures of one data set. What the votes are worth in accuracy, against a constant in their place, stands
# with intervals over data sets in the [claims table](../figures/mini/claims.md), among the controls.

# %%
found = {"trained": measured, "share": 100 * measured / sum(q.numel() for q in frozen.model.parameters()),
         "reference": count(5, 1, 5, 768, 512, 512),
         "same": spread["generalization"], "from": before, "to": after, "pictures": len(items), "steps": p.steps,
         "picture_cls": 100 * about_picture[0].item(), "picture_least": 100 * about_picture[1:].min().item(),
         "picture_most": 100 * about_picture[1:].max().item(), "near": near, "away": away}  # fmt: skip
file = write_numbers(p.figures_root / "04_numbers.csv", found)

# %%
display(from_numbers(file, (
    "- DeAR trains {trained:,.0f} numbers here, {share:.2f} % of what is frozen; at ViT-B/16 it would be "
    "{reference:,.0f}."
)))
display(from_numbers(file, (
    "- With all heads shielded the attribute features of two pictures differ by at most {same:.2g}: the tokens vote for "
    "classes without having seen the picture."
)))
display(from_numbers(file, (
    "- With these roles, before training, {picture_least:.0f} to {picture_most:.0f} % of the variance of an attribute feature's votes is "
    "between pictures; of the class feature's {picture_cls:.0f} %."
)))
display(from_numbers(file, (
    "- {steps:.0f} steps on {pictures:.0f} pictures take the cross-entropy from {from:.3f} to {to:.3f}, the distance from CLIP from "
    "{near:.4f} to {away:.4f}: a sign of life, no result."
)))

# %% [markdown]
# **Misconception.** *"The color token knows colours because it is called color."* Its name decides which heads may show it, and nothing
# else; no loss names an attribute.
#
# ## Exercises
#
# Each stub is checked by the cell below it. Nothing is written.
#
# **1.** Eq. 5 for one token over several layers, each layer a function of the token alone.

# %% tags=["exercise"]
def through(raw: float, layers: list, beta: float) -> float:
    """What comes out of the last layer; into the first goes `raw`."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

add, double = (lambda x: x + 1), (lambda x: 2 * x)
check(through, [
    ((5.0, [add], 0.7), 6.0, "into the first layer the raw token goes as it is, at any β"),
    ((5.0, [add, double], 0.0), 12.0, "β = 0: only what came out of the layer before"),
    ((5.0, [add, double], 1.0), 10.0, "β = 1: only the raw token"),
    ((5.0, [add, double, add], 0.5), 9.0, "mix with the raw token, not with the mixture of the layer before"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def through(raw, layers, beta):
#     out = layers[0](raw)
#     for layer in layers[1:]:
#         out = layer(beta * raw + (1 - beta) * out)
#     return out
# ```
#
# </details>

# %% [markdown]
# **2.** The bias in the votes: take from the scores `votes[feature][picture][class]` of every *attribute* feature what depends on the
# picture, by putting each class's mean over the pictures in its place, and fuse (feature 0 is the class feature and stays as it is).

# %% tags=["exercise"]
import torch


def fused_without_pictures(votes: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """[picture, class]"""
    ...


# %% tags=["check"]
some = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 4.0]]])
check(fused_without_pictures, [
    ((some, torch.tensor([1.0, 0.0])), [[1, 0], [0, 1]], "the class feature's votes stay"),
    ((some, torch.tensor([0.0, 1.0])), [[1, 2], [1, 2]], "an attribute's votes are one constant for each class"),
    ((some, torch.tensor([0.5, 0.5])), [[1, 1], [0.5, 1.5]], "α weighs them"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def fused_without_pictures(votes, alpha):
#     mean = votes.mean(dim=1, keepdim=True).expand_as(votes)
#     return torch.einsum("f,fpc->pc", alpha, torch.cat([votes[:1], mean[1:]]))
# ```
#
# </details>
#
# **To think about.** Where does the gradient of the text tokens come from, and what happens to it for $\lambda_\text{reg} \to \infty$?
