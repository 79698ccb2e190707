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
# # 03 · Roles become masks
#
# **Question.** DeAR adds learnable tokens to the late layers. How does the role of a head decide who may look at them, and
# what does a mask guarantee?
#
# | | |
# |---|---|
# | Before this | [02 · What the heads do](02_head_roles.ipynb): a role for every late head |
# | Paper | Section 3.3.2, Eq. 7–9, Figure 1 |
# | You will see | the masks from their definition · one real head per role · two routings · what a layer lets through · facts, asserted |
# | Reads | `roles.json` of notebook 02 (or the committed one), the frozen CLIP it belongs to |
# | Writes | `figure1.*`, `03_numbers.csv`, `03_*.svg` and `.png` in the figures folder |
# | Takes | 20 seconds and 1.3 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [04 · DeAR, forward and backward](04_dear_model.ipynb); [11](11_attribute_retrieval.ipynb) on the two readings of Eq. 9 |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"
clip: str = "DeAR-Mini"
clip_weights = None  # type: str|None  a weights file; None: those in the package
data_root: str = "data/mini"
seed: int = 1
device: str = "cpu"
roles: str = "runs/mini/02_head_roles/roles.json"  # what notebook 02 wrote
tokens_per_attribute: int = 1

# %%
import torch
from einops import rearrange
from IPython.display import Markdown, display

from dearlib import machine, plots
from dearlib.clip import attention
from dearlib.clip.cut import image_prefix, image_suffix
from dearlib.clip.loading import load
from dearlib.datasets.generated import note
from dearlib.methods import masks
from dearlib.params.reading import validated
from dearlib.roles.controls import uniform_roles
from dearlib.study import opening, tables
from dearlib.study.takeaways import from_numbers, write_numbers

# %%
p = validated("03_role_masks", globals())
torch.set_num_threads(1)  # sums in one order, as in batch runs, however many cores there are
torch.manual_seed(p.seed)
model = load(p.clip, p.clip_weights)
head_roles = opening.role_file(p.roles, p.figures_root, model)
where = torch.device(machine.device(p.device))
visual = model.visual.to(where)
print(f"{model.name}, weights {model.weights_sha256[:12]}, roles {head_roles.sha256[:12]}, torch {torch.__version__}, seed {p.seed}")

# %% [markdown]
# ## 1 The tokens
#
# From layer $J$ on the sequence is [CLS], patches, attribute tokens. The first two kinds are **original**: CLIP was trained
# with them. The attribute tokens are new, and everything they say is learnt from a few pictures of one task. A mask is a
# table with a row per query and a column per key; in this repository it is always `may_attend`, True where the query *may*
# look. (Half of the world's code has it the other way round, which is the easiest way to get a mask silently wrong.)

# %%
A, per, n_original = head_roles.attributes, p.tokens_per_attribute, model.patches + 1
n = n_original + per * len(A)
original = range(n_original)  # I_orig: [CLS] and patches
attribute = range(n_original, n)  # I_attr
of = {a: range(n_original + i * per, n_original + (i + 1) * per) for i, a in enumerate(A)}  # I_attr(a)
print(f"{n_original} original tokens and {len(A)} × {per} attribute tokens ({', '.join(A)}): a mask has {n} × {n} entries.")
masked = head_roles.layers - head_roles.first_layer + 1
print(f"Heads with a mask: {masked} layers × {head_roles.heads}, from layer {head_roles.first_layer} on.")

# %% [markdown]
# ## 2 The masks from their definition
#
# A mask acts on the attention scores *before* the softmax, where $-\infty$ becomes a weight of exactly zero:
#
# $$\mathbf S_{(l,h)} = \frac{\mathbf Q_{(l,h)} \mathbf K_{(l,h)}^\top}{\sqrt{D_h}} + \mathbf M_{(l,h)} \qquad (7)$$
#
# **Generalization and other specialised heads** hold what CLIP knew before. No original query sees an attribute key,
# no attribute query an original key: two closed worlds. These heads are *shielded*.
#
# $$\mathbf M_{(l,h)}[i, j] = \begin{cases} -\infty & (i \in \mathcal I_\text{orig} \text{ and } j \in \mathcal I_\text{attr}) \text{ or }
# (i \in \mathcal I_\text{attr} \text{ and } j \in \mathcal I_\text{orig}) \\ 0 & \text{otherwise} \end{cases} \qquad (8)$$


# %%
def shielded() -> torch.Tensor:
    may = torch.ones(n, n, dtype=torch.bool)
    for i in range(n):
        for j in range(n):
            if (i in original and j in attribute) or (i in attribute and j in original):
                may[i, j] = False
    return may


# %% [markdown]
# **Attribute heads**, say for attribute $a$. Every query sees all original keys and the keys of $a$; the other
# attributes' keys are hidden.
#
# $$\mathbf M_{(l,h)}[i, j] = \begin{cases} -\infty & j \in \mathcal I_\text{attr} \text{ and } j \notin \mathcal I_{\text{attr}(a)} \\
# 0 & \text{otherwise} \end{cases} \qquad (9)$$


# %%
def printed(a: str) -> torch.Tensor:
    may = torch.ones(n, n, dtype=torch.bool)
    for i in range(n):
        for j in range(n):
            if j in attribute and j not in of[a]:
                may[i, j] = False
    return may


# %% [markdown]
# ### Two readings of Eq. 9
#
# The condition names columns alone: every row of the mask is the same. So in a *shape* head the *color* token cannot be read, but
# it reads: patches, [CLS], and the shape token, exactly as the shape token does. What five tokens read in the same heads with the
# same weights makes them alike. The sentence below the equation agrees: any query may read all original tokens. The one above it says
# more: the mask is to channel an attribute's token *exclusively* to its expert head. Taken at its word, the color token has no business
# in a shape head, neither as a key nor as a query:
#
# $$\mathbf M_{(l,h)}[i, j] = -\infty \quad\text{also where}\quad i \in \mathcal I_\text{attr},\; i \notin \mathcal I_{\text{attr}(a)},\;
# i \ne j .$$
#
# Here the first is `routing: printed`, and the default everywhere; the second is `routing: exclusive`, *[ours]*. A row of the softmax
# needs at least one key, so in `exclusive` a foreign token sees itself.


# %%
def exclusive(a: str) -> torch.Tensor:
    may = printed(a)
    for i in attribute:
        if i not in of[a]:
            may[i] = False
            may[i, i] = True
    return may


# %% [markdown]
# **Mixed heads** see everything: $\mathbf M = 0$, `may_attend` all True. Now every head of the role file in both routings, the
# loops against `dearlib.methods.masks`:

# %%
plain = {"generalization": shielded(), "other": shielded(), "mixed": torch.ones(n, n, dtype=torch.bool)}
for routing, rule in (("printed", printed), ("exclusive", exclusive)):
    by_concept = {a: rule(a) for a in A}
    for layer in range(head_roles.first_layer, head_roles.layers + 1):
        kernel = masks.layer_mask(head_roles, layer, n_original, per, routing)  # [head, query, key]
        for h in range(head_roles.heads):
            e = head_roles.at(layer, h)
            assert torch.equal(kernel[h], by_concept[e.concept] if e.role == "attribute" else plain[e.role])

# %% [markdown]
# ## 3 One real head of each role
#
# Of each role the head with the lowest Concept Entropy (of Generalization: the highest); the attribute head twice, once for each
# routing. All patches are drawn as one block, because every mask treats them alike. Read a row: *this token may look at the
# coloured columns.*

# %%
examples = {}  # title → head, routing
for role, title in plots.ROLE_NAMES.items():
    own = sorted((e for e in head_roles.entries if e.role == role), key=lambda e: e.entropy)
    if own:
        e = own[-1] if role == "generalization" else own[0]
        for routing in ("printed", "exclusive") if role == "attribute" else ("printed",):
            examples[f"L{e.layer} H{e.head}, {title}" + (f"\n{e.concept}, {routing}" if role == "attribute" else "\n")] = e, routing
absent = [name for role, name in plots.ROLE_NAMES.items() if role not in {e.role for e, _ in examples.values()}]
print(f"No head of this model has the role {' or '.join(absent)}." if absent else "All four roles occur.")

# %%
fig, axes = plots.figure(1, len(examples), size=(2.7 * len(examples), 3.4), squeeze=False)
for ax, (title, (e, routing)) in zip(axes[0], examples.items(), strict=True):
    may = masks.head_mask(e, A, n_original, per, routing).numpy()
    plots.mask_drawing(ax, may, n_original, A, plots.ROLE_COLORS[e.role], title)
plots.save(fig, p.figures_root, "03_masks")

# %% [markdown]
# The same as a flow of information. An arrow goes from the token that is read to the token that reads; what is cut is not drawn,
# nor what original tokens read of each other, which no mask touches. On the right, arcs: attribute tokens that read one another.

# %%
fig, axes = plots.figure(1, len(examples), size=(2.9 * len(examples), 2.7), squeeze=False)
for ax, (title, (e, routing)) in zip(axes[0], examples.items(), strict=True):
    may = masks.head_mask(e, A, n_original, per, routing).numpy()
    plots.token_flow(ax, may, n_original, A, plots.ROLE_COLORS[e.role], title)
plots.save(fig, p.figures_root, "03_flow")

# %% [markdown]
# ## 4 What a whole layer lets through
#
# The heads of a layer add up, so [CLS] learns of an attribute as soon as *one* head lets it. In how many heads of each layer
# may [CLS] read each attribute token, and in how many may that token read the picture?

# %%
layers = range(head_roles.first_layer, head_roles.layers + 1)
columns = [of[a][0] for a in A]
stacks = {
    r: torch.stack([masks.layer_mask(head_roles, layer, n_original, per, r) for layer in layers]) for r in ("printed", "exclusive")
}
cls_reads = stacks["printed"][:, :, 0, columns].sum(1)  # [layer, attribute]; the same in both routings
token_reads = {r: stack[:, :, columns, 1].sum(1) for r, stack in stacks.items()}
head = "| | " + " | ".join(A) + " |\n|---|" + "---|" * len(A) + "\n"


def counts(table: torch.Tensor) -> str:
    return head + "\n".join(f"| L{layer} | {' | '.join(map(str, row))} |" for layer, row in zip(layers, table.tolist(), strict=True))


display(Markdown(f"Heads, of {head_roles.heads}, in which [CLS] may read …\n\n" + counts(cls_reads)))
for routing, table in token_reads.items():
    display(Markdown(f"Heads in which this token may read the patches, *{routing}*:\n\n" + counts(table)))

# %% [markdown]
# In *printed* a row has the same number everywhere: each token reads the picture in all attribute and mixed heads. In *exclusive* it
# has its own attribute's heads and the mixed ones. An attribute without a head of its own reaches [CLS] through mixed heads alone,
# and through what tokens tell one another in shielded heads of earlier layers (section 6).

# %%
only = {a: sum(e.role == "attribute" and e.concept == a for e in head_roles.entries) for a in A}
mixed = sum(e.role == "mixed" for e in head_roles.entries)
shut = sum(e.role in ("generalization", "other") for e in head_roles.entries)
own_heads = ", ".join(f"{a} {k}" for a, k in only.items())
print(f"heads of their own: {own_heads} · mixed {mixed} · shielded {shut} of {len(head_roles.entries)}")

# %% [markdown]
# ## 5 What a mask guarantees
#
# Facts, on random pictures and random attribute tokens **as large as a patch's state**. How much they do where they get through, fact 3
# shows. First the plain route through layers $J … L$ with a mask per head; the layer is open_clip's, the attention our definition:

# %%
with torch.no_grad():
    pixels = torch.randn(4, 3, *visual.image_size, device=where)
    entering = image_prefix(visual, pixels, head_roles.first_layer)  # [CLS] and patches on the verge of layer J
    frozen = image_suffix(visual, entering, head_roles.first_layer)  # what CLIP itself says
    tokens = entering.std() * torch.randn(len(pixels), n - n_original, model.d_model, device=where)


@torch.no_grad()
def run(role_file, extra: torch.Tensor, routing: str = "printed") -> torch.Tensor:
    """All states after the last layer, with `extra` tokens behind the patches of layer J and the masks of `role_file`."""
    x = torch.cat([entering, extra], dim=1)
    for layer in range(role_file.first_layer, role_file.layers + 1):
        may = masks.layer_mask(role_file, layer, n_original, per, routing).to(where)[None]
        x = attention.masked_layer(visual.transformer.resblocks[layer - 1], x, may)
    return visual.ln_post(x) @ visual.proj


def moved(feature: torch.Tensor) -> float:
    """Distance to the frozen feature as a share of its length, mean over the pictures."""
    return ((feature - frozen).norm(dim=-1) / frozen.norm(dim=-1)).mean().item()


# %% [markdown]
# `masked_layer` uses a fast kernel. It must equal Eq. 7 written out, on these very masks; and what is blocked has weight zero and
# sends no gradient back, exactly:

# %%
block = visual.transformer.resblocks[head_roles.first_layer - 1]
x = torch.cat([entering, tokens], dim=1)
may = masks.layer_mask(head_roles, head_roles.first_layer, n_original, per).to(where)[None]
three = torch.nn.functional.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
q, k, v = (rearrange(t, "image token (head d) -> image head token d", head=head_roles.heads) for t in three)
k.requires_grad_(True)
M = attention.additive(may, q.dtype)  # 0 and −∞
weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5 + M, dim=-1)
assert (weights[~may.expand_as(weights)] == 0).all()
torch.testing.assert_close(attention.fused(q, k, v, may), weights @ v, rtol=1e-4, atol=1e-5)

# %%
h = next((h for h in range(head_roles.heads) if not may[0, h, 0, n_original:].all()), 0)  # a head that hides some token from [CLS]
(reaches,) = torch.autograd.grad((weights @ v)[:, h, 0].square().sum(), k)  # of what [CLS] reads there, to each key
hidden = ~may[0, h, 0]
assert (reaches[:, h][:, hidden] == 0).all()
print(f"L{head_roles.first_layer} H{h}: {int(hidden.sum())} keys hidden from [CLS], gradient exactly 0 to each")

# %% [markdown]
# This is the paper's Figure 1, drawn from a head of the role file: who reads whom, the mask, and how much of its attention an
# original query pays to attribute tokens without and with it (mean over queries and pictures). The dashed line is what a query
# pays that looks at all tokens alike: the attribute tokens' share of the tokens.

# %%
here = [head_roles.at(head_roles.first_layer, h) for h in range(head_roles.heads)]
order = ("generalization", "other", "attribute", "mixed")
e = min(here, key=lambda e: order.index(e.role))
free = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
paid = {name: w[:, e.head, :n_original, n_original:].sum(-1).mean().item() for name, w in (("no mask", free), ("role mask", weights))}
alike = (n - n_original) / n
drawn, color = masks.head_mask(e, A, n_original, per).numpy(), plots.ROLE_COLORS[e.role]

# %%
fig, axes = plots.figure(1, 3, size=(9.6, 3.3), width_ratios=[1.2, 1.2, 0.6])
plots.token_flow(axes[0], drawn, n_original, A, color, f"L{e.layer} H{e.head}: {plots.ROLE_NAMES[e.role]}")
plots.mask_drawing(axes[1], drawn, n_original, A, color)
axes[2].bar(list(paid), [100 * v for v in paid.values()], color=["#B8B8B8", color])
axes[2].axhline(100 * alike, color="black", linestyle="--", linewidth=1, label="all tokens alike")
axes[2].legend(loc="lower left", bbox_to_anchor=(0, 1))
axes[2].set(ylabel="attention paid to attribute tokens (%)", ylim=(0, None))
said = note(p.data_root)  # of a data root whose pictures only stand in for real ones
plots.save(fig, p.figures_root, "figure1", said)
shown = {"head": f"L{e.layer} H{e.head}", "paid": paid, "weights_sha256": model.weights_sha256, "roles_sha256": head_roles.sha256}
tables.write_sidecar(p.figures_root / "figure1", tables.origin("03_role_masks", p, said, **shown))

# %% [markdown]
# **Fact 1: under All-Generalization [CLS] is untouched**, whatever the tokens are: it never reads them, nor does any patch
# that it reads. That is what shielding buys. It does not make the answers CLIP's: the class feature is compared with text features that
# text tokens move, and fusion adds what the attribute features vote (notebook 04, section 6).

# %%
all_shielded = uniform_roles("generalization", head_roles)
closed = run(all_shielded, tokens)[:, 0]
torch.testing.assert_close(closed, frozen, rtol=1e-4, atol=1e-5)

# %% [markdown]
# **Fact 2: the other side of the shield.** What Eq. 8 also implies and nobody says: in a shielded head the tokens never see the
# picture. If all heads are shielded, what comes out at their places is **the same for all pictures**, given the same tokens.

# %%
same = tokens[:1].expand_as(tokens)  # one set of tokens for all pictures, as DeAR has it
blind = run(all_shielded, same)[:, n_original:]
torch.testing.assert_close(blind, blind[:1].expand_as(blind), rtol=1e-4, atol=1e-5)
seeing = run(uniform_roles("mixed", head_roles), same)[:, n_original:]
assert (seeing - seeing[:1]).abs().max() > 100 * (blind - blind[:1]).abs().max()

# %% [markdown]
# **Fact 3: one open head is enough to be reached.** Of layer $J$ open a single head, for the attribute that its own list speaks of most
# (the first attribute where that is none), and shield all others: the class feature moves with the tokens. How far depends on the
# head, so we try each and take the one that moves it most. With all heads Mixed everything is open.

# %%
one_open = {}  # head → role file with this head alone open, the class feature
for e in here:
    alone = all_shielded.with_role(e.layer, e.head, "attribute", e.concept if e.concept in A else A[0])
    one_open[e.head] = alone, run(alone, tokens)[:, 0]
far = {h: moved(feature) for h, (_, feature) in one_open.items()}
most = max(far, key=lambda h: far[h])
alone, reached = one_open[most]
heard = alone.at(head_roles.first_layer, most).concept
assert moved(reached) > max(1e-4, 100 * moved(closed))  # as a part of the feature's length; float32 rounds at 1e-7

# %%
opened = {"All-Generalization": closed, f"L{head_roles.first_layer} H{most} open for *{heard}*": reached,
          "these roles": run(head_roles, tokens)[:, 0], "All-Mixed": run(uniform_roles("mixed", head_roles), tokens)[:, 0]}  # fmt: skip
rows = "\n".join(f"| {name} | {moved(feature):.4%} |" for name, feature in opened.items())
display(Markdown("| masks | the class feature moves by |\n|---|---|\n" + rows))
print(f"one head open, each of {len(far)} in turn: from {min(far.values()):.4%} to {max(far.values()):.4%}")

# %% [markdown]
# What All-Generalization shows, if anything, is float32's rounding. These are random tokens, so the size of the move says how *open* a
# mask is, not how good training would be.
#
# **Fact 4: in that one open head only its own attribute counts.** Put other tokens in place of the other attributes' and nothing
# happens; put another one in place of its own and the class feature moves. Both as a part of what the open head moves it by:

# %%
fresh = entering.std() * torch.randn_like(tokens)
is_own = torch.tensor([i in of[heard] for i in attribute], device=where)[:, None]
others = torch.where(is_own, tokens, fresh)  # all but the open head's own attribute


def exchanged(with_these: torch.Tensor) -> float:
    change = (run(alone, with_these)[:, 0] - reached).norm(dim=-1).mean()
    return (change / (reached - frozen).norm(dim=-1).mean()).item()


by_others, by_own = exchanged(others), exchanged(torch.where(is_own, fresh, tokens))
assert by_others < 1e-2 < 0.1 < by_own
print(f"exchanging the other attributes' tokens: {by_others:.2%}, exchanging {heard}'s own: {by_own:.0%}")

# %% [markdown]
# ## 6 A mask rules one head of one layer
#
# Fact 4 holds because the head is in layer $J$, where every token is still the raw one. One layer later its token has read
# the other attributes' tokens *in shielded heads*, where attribute tokens see each other, because Eq. 8 forbids only the crossing
# between the two worlds. What flows over several layers is the composition: "exclusively to its expert head" is true of a head,
# not of the network. β, which puts the raw token back in at every layer (notebook 04), dampens the leak and does not close it.

# %%
late = all_shielded.with_role(head_roles.layers, 0, "attribute", heard)


@torch.no_grad()
def class_feature(extra: torch.Tensor, beta: float) -> torch.Tensor:
    """[CLS]'s feature where into each later layer goes β · raw + (1 − β) · (what came out of the layer before)."""
    x = torch.cat([entering, extra], dim=1)
    for layer in range(late.first_layer, late.layers + 1):
        if layer > late.first_layer:
            x = torch.cat([x[:, :n_original], beta * extra + (1 - beta) * x[:, n_original:]], dim=1)
        may = masks.layer_mask(late, layer, n_original, per).to(where)[None]
        x = attention.masked_layer(visual.transformer.resblocks[layer - 1], x, may)
    return visual.ln_post(x[:, 0]) @ visual.proj


leaks = {}
for beta in (0.0, 0.7, 1.0):
    before, after = class_feature(tokens, beta), class_feature(others, beta)
    assert moved(before) > 1e-4  # what is a part of it must be more than rounding
    # a ratio of means, not a mean of ratios: in one picture the open head may say next to nothing
    leaks[beta] = ((after - before).norm(dim=-1).mean() / (before - frozen).norm(dim=-1).mean()).item()
    print(f"β = {beta}: exchanging the *other* tokens moves the class feature by {leaks[beta]:.0%} of what the open head moves it by")
assert leaks[1.0] < 1e-2 < leaks[0.0]

# %% [markdown]
# ## 7 Do the tokens read the same?
#
# Untrained tokens as DeAR draws them, these roles, both routings. The cosine between the five features says how far five tokens
# are one. Notebook 11 asks the same of trained tokens, and whether each then finds its own attribute.

# %%
raw = 0.02 * torch.randn(n - n_original, model.d_model, device=where)
alike_by = {}
for routing in ("printed", "exclusive"):
    f = torch.nn.functional.normalize(run(head_roles, raw.expand(len(pixels), -1, -1), routing)[:, n_original:], dim=-1)
    pairs = (f @ f.mT)[:, ~torch.eye(f.shape[1], dtype=torch.bool)]
    alike_by[routing] = pairs.mean().item()
print(", ".join(f"{routing}: mean cosine between tokens {c:.2f}" for routing, c in alike_by.items()))

# %% [markdown]
# ## What is true here
#
# Of one draw of pictures and tokens. What masks are worth in accuracy is another question: all heads shielded, by role or all open, and the
# two routings stand beside each other, with intervals over data sets, in the [claims table](../figures/mini/claims.md).

# %%
found = {"shielded": shut, "heads": len(head_roles.entries),
         "moved_closed": 100 * moved(closed), "moved_roles": 100 * moved(opened["these roles"]),
         "moved_one": 100 * moved(reached), "open_head": f"L{head_roles.first_layer} H{most}", "pictures": len(pixels),
         "leak": 100 * leaks[0.0], "leak_beta": 100 * leaks[0.7], "printed": alike_by["printed"], "exclusive": alike_by["exclusive"],
         "alike": 100 * alike}  # fmt: skip
file = write_numbers(p.figures_root / "03_numbers.csv", found)

# %%
display(from_numbers(file, (
    "- {shielded:.0f} of {heads:.0f} late heads are shielded by their role; the others let tokens and picture "
    "meet."
)))
display(from_numbers(file, (
    "- With every head shielded the class feature moves by {moved_closed:.2g} %, no more than rounding; with {open_head} alone open by "
    "{moved_one:.2f} %, with these roles by {moved_roles:.1f} % (mean of {pictures:.0f} random pictures). The guarantee is structural, not "
    "learnt. Its price: shielded tokens never see the picture."
)))
display(from_numbers(file, (
    "- Attributes are separated per head, not per network: exchanging the *other* attributes' tokens moves the class feature by "
    "{leak:.0f} % of what one open head of the last layer moves it by at β = 0, by {leak_beta:.0f} % at β = 0.7."
)))
display(from_numbers(file, (
    "- Eq. 9 hides keys, not queries. Untrained tokens have a mutual cosine of {printed:.2f} as printed, "
    "{exclusive:.2f} where foreign tokens do not read either."
)))

# %% [markdown]
# **Misconceptions.** *"A mask of zeros blocks"*: in Eq. 7 zeros change nothing and $-\infty$ blocks. *"A shielded head lets the token
# learn in peace"*: it lets it see nothing of the picture. More in the [glossary](../docs/glossary.md#misconceptions).
#
# ## Exercises
#
# Each stub is checked by the cell below it, which says what is wrong. Nothing is written.
#
# **1.** Eq. 7 to 9 as one function: the additive mask of one head, 0 and $-\infty$, from its role. `owner[i]` is −1 for an original
# token, else the number of the token's attribute.

# %% tags=["exercise"]
import torch


def additive_mask(owner: list[int], role: str, own: int) -> torch.Tensor:
    """[query, key]; `own`: the attribute of an attribute head."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

inf, owner = float("inf"), [-1, 0, 1]
check(additive_mask, [
    ((owner, "mixed", 0), [[0, 0, 0]] * 3, "a mixed head adds nothing"),
    ((owner, "generalization", 0), [[0, -inf, -inf], [-inf, 0, 0], [-inf, 0, 0]], "Eq. 8 forbids the crossing, in both directions"),
    ((owner, "attribute", 1), [[0, -inf, 0]] * 3, "Eq. 9 is about columns: every row is the same"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def additive_mask(owner, role, own):
#     who = torch.tensor(owner)
#     new = who >= 0
#     blocked = torch.zeros(len(who), len(who), dtype=torch.bool)
#     if role == "generalization":
#         blocked = new[:, None] != new[None, :]
#     if role == "attribute":
#         blocked = (new & (who != own)).expand(len(who), -1)
#     return torch.zeros(len(who), len(who)).masked_fill(blocked, float("-inf"))
# ```
#
# </details>

# %% [markdown]
# **2.** Two layers of masks: the tokens that can have an influence on [CLS] (token 0) after all of them. A token's state goes
# on to the next layer, and what it reads with it.

# %% tags=["exercise"]
def reaches_cls(layers: list[list[list[bool]]]) -> list[bool]:
    """`layers`: of each layer in order `may[query][key]`, True where some head lets query read key."""
    ...


# %% tags=["check"]
yes, no = True, False
check(reaches_cls, [
    (([[[yes, no, no], [no, yes, yes], [no, yes, yes]]],), [yes, no, no], "one shielded layer: nothing crosses"),
    (([[[yes, yes, no], [no, yes, no], [no, no, yes]]],), [yes, yes, no], "one layer: what [CLS] reads"),
    (([[[yes, no, no], [no, yes, yes], [no, yes, yes]], [[yes, yes, no], [no, yes, no], [no, no, yes]]],), [yes, yes, yes],
     "token 1 has read token 2 in the layer before: go backwards from the last layer"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def reaches_cls(layers):
#     counts = [i == 0 for i in range(len(layers[0]))]
#     for may in reversed(layers):
#         counts = [counts[j] or any(counts[i] and may[i][j] for i in range(len(counts))) for j in range(len(counts))]
#     return counts
# ```
#
# </details>
#
# **To think about.** Which change of Eq. 8 would close the leak of section 6, and what would tokens then know of each other?
