# %% [markdown]
# # 03 · Roles become masks
#
# **Question.** DeAR adds learnable tokens to the late layers. How does the role of a head decide who may look at them, and
# what does a mask guarantee?
#
# | | |
# |---|---|
# | Paper | Section 3.3.2, Eq. 7–9, Figure 1 |
# | You will see | the masks from their definition · one real head per role · what a layer lets through · three facts, asserted |
# | Reads | `roles.json` of notebook 02, the frozen CLIP it belongs to |
# | Writes | `03_*.svg` and `.png` in the figures folder |
# | Takes | under a minute on a laptop, no GPU; 1 GB of memory |

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

from dearlib import plots
from dearlib.clip import attention
from dearlib.clip.cut import image_prefix, image_suffix
from dearlib.clip.loading import load
from dearlib.datasets.generated import note
from dearlib.methods import masks
from dearlib.params.reading import validated
from dearlib.roles.controls import uniform_roles
from dearlib.roles.rolefile import HeadRoles
from dearlib.study import tables

p = validated("03_role_masks", globals())
torch.manual_seed(p.seed)
torch.set_grad_enabled(False)
model = load(p.clip, p.clip_weights)
roles = HeadRoles.load(p.roles).for_weights(model.weights_sha256)
where = torch.device(p.device if p.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
visual = model.visual.to(where)
print(f"{model.name}, weights {model.weights_sha256[:12]}, roles {roles.sha256[:12]}, torch {torch.__version__}, seed {p.seed}")

# %% [markdown]
# ## 1 The tokens
#
# From layer $J$ on the sequence is [CLS], patches, attribute tokens. The first two kinds are **original**: CLIP was trained
# with them. The attribute tokens are new, and everything they say is learnt from a few pictures of one task. A mask is a
# table with a row per query and a column per key; in this repository it is always `may_attend`, True where the query *may*
# look. (Half of the world's code has it the other way round, which is the easiest way to get a mask silently wrong.)

# %%
A, per, n_original = roles.attributes, p.tokens_per_attribute, model.patches + 1
n = n_original + per * len(A)
original = range(n_original)  # I_orig: [CLS] and patches
attribute = range(n_original, n)  # I_attr
of = {a: range(n_original + i * per, n_original + (i + 1) * per) for i, a in enumerate(A)}  # I_attr(a)
display(Markdown(f"{n_original} original tokens and {len(A)}×{per} attribute tokens ({', '.join(A)}): each mask has {n}×{n} entries, "
                 f"and there are {roles.layers - roles.first_layer + 1}×{roles.heads} heads from layer {roles.first_layer} "
                 f"on."))  # fmt: skip

# %% [markdown]
# ## 2 The masks from their definition
#
# A mask acts on the attention scores *before* the softmax, where $-\infty$ becomes a weight of exactly zero (Eq. 7):
#
# $$S_{(\ell,h)} = \frac{Q_{(\ell,h)} K_{(\ell,h)}^\top}{\sqrt{D_h}} + M_{(\ell,h)}$$
#
# **Generalization and other specialised heads** (Eq. 8) hold what CLIP knew before. No original query sees an attribute key,
# no attribute query an original key: two closed worlds.


# %%
def generalization_mask() -> torch.Tensor:
    may = torch.ones(n, n, dtype=torch.bool)
    for i in range(n):
        for j in range(n):
            if (i in original and j in attribute) or (i in attribute and j in original):
                may[i, j] = False
    return may


# %% [markdown]
# **Attribute heads** (Eq. 9), say for attribute $a$. Every query sees all original keys and the keys of $a$; the other
# attributes' keys are hidden. The rule is about columns only: every row is the same, so the color token, too, may read the
# shape token in a shape head, and nobody but the shape token is on offer there.


# %%
def attribute_mask(a: str) -> torch.Tensor:
    may = torch.ones(n, n, dtype=torch.bool)
    for i in range(n):
        for j in range(n):
            if j in attribute and j not in of[a]:
                may[i, j] = False
    return may


# %% [markdown]
# **Mixed heads** see everything: the mask is all zeros, `may_attend` all True. Now every head of the role file, the loops
# against `dearlib.methods.masks`:

# %%
shields = generalization_mask()
by_hand = {"generalization": lambda e: shields, "other": lambda e: shields, "mixed": lambda e: torch.ones(n, n, dtype=torch.bool)}
by_concept = {a: attribute_mask(a) for a in A}
by_hand["attribute"] = lambda e: by_concept[e.concept]
for layer in range(roles.first_layer, roles.layers + 1):
    kernel = masks.layer_mask(roles, layer, n_original, per)  # [head, query, key]
    for h in range(roles.heads):
        assert torch.equal(kernel[h], by_hand[roles.at(layer, h).role](roles.at(layer, h)))

# %% [markdown]
# ## 3 One real head of each role
#
# Of each role the head with the lowest Concept Entropy (of Generalization: the highest). All patches are drawn as one block,
# because every mask treats them alike. Read a row: *this token may look at the coloured columns.*

# %%
examples = {}
for role in plots.ROLE_NAMES:
    own = sorted((e for e in roles.entries if e.role == role), key=lambda e: e.entropy)
    if own:
        examples[role] = own[-1] if role == "generalization" else own[0]
absent = [plots.ROLE_NAMES[r] for r in plots.ROLE_NAMES if r not in examples]
display(Markdown("Shown: " + ", ".join(f"L{e.layer} H{e.head} ({plots.ROLE_NAMES[r]}, {e.concept})" for r, e in examples.items())
                 + (f". No head of this model has the role {' or '.join(absent)}." if absent else ".")))  # fmt: skip

# %%
fig, axes = plots.figure(1, len(examples), size=(2.9 * len(examples), 3.4), squeeze=False)
for ax, (role, e) in zip(axes[0], examples.items(), strict=True):
    may = masks.head_mask(e, A, n_original, per).numpy()
    detail = f": {e.concept}" if role == "attribute" else ""
    plots.mask_drawing(ax, may, n_original, A, plots.ROLE_COLORS[role], f"L{e.layer} H{e.head}\n{plots.ROLE_NAMES[role]}{detail}")
plots.save(fig, p.figures_root, "03_masks")

# %% [markdown]
# The same as a flow of information. An arrow goes from the token that is read to the token that reads; a dotted grey one is
# cut. The paper's Figure 1 shows the case on which its argument stands: in a Generalization head nothing crosses.

# %%
fig, axes = plots.figure(1, len(examples), size=(2.9 * len(examples), 2.7), squeeze=False)
for ax, (role, e) in zip(axes[0], examples.items(), strict=True):
    may = masks.head_mask(e, A, n_original, per).numpy()
    detail = f": {e.concept}" if role == "attribute" else ""
    plots.token_flow(ax, may, n_original, A, plots.ROLE_COLORS[role], f"L{e.layer} H{e.head}\n{plots.ROLE_NAMES[role]}{detail}")
plots.save(fig, p.figures_root, "03_flow")

# %% [markdown]
# ## 4 What a whole layer lets through
#
# The heads of a layer add up, so [CLS] learns of an attribute as soon as *one* head lets it. In how many heads of each layer
# may [CLS] read each attribute token, and how often may an attribute token read the picture?

# %%
layers = range(roles.first_layer, roles.layers + 1)
stack = torch.stack([masks.layer_mask(roles, layer, n_original, per) for layer in layers])  # [layer, head, query, key]
columns = [of[a][0] for a in A]
cls_reads = stack[:, :, 0, columns].sum(1).numpy()  # [layer, attribute]
token_reads = stack[:, :, columns, 1].sum(1).numpy()
rows = "\n".join(f"| L{layer} | {' | '.join(str(c) for c in cls_reads[i])} | {token_reads[i].min()} |" for i, layer in enumerate(layers))
display(Markdown(f"Heads, of {roles.heads}, in which [CLS] may read …\n\n| | {' | '.join(A)} | *an attribute token may read the "
                 f"patches* |\n"
                 f"|---|{'---|' * (len(A) + 1)}\n{rows}"))  # fmt: skip

# %%
only = {a: sum(e.role == "attribute" and e.concept == a for e in roles.entries) for a in A}
mixed = sum(e.role == "mixed" for e in roles.entries)
display(Markdown(
    f"**{mixed} Mixed heads** let every attribute through to [CLS]; heads of their own: "
    f"{', '.join(f'{a} {k}' for a, k in only.items())}. "
    + (f"An attribute without a head of its own ({', '.join(a for a, k in only.items() if k == 0)}) reaches [CLS] through Mixed "
       f"heads alone, on the same terms as "
       "every other such attribute: nothing in the masks tells them apart, only training can."
       if any(k == 0 for k in only.values()) else "Every attribute has a channel of its own, and the Mixed heads are open to all.")
))  # fmt: skip

# %% [markdown]
# ## 5 What a mask guarantees
#
# Three facts, on random pictures and random attribute tokens, large enough to do damage if they got through. First the plain
# route through layers $J … L$ with a mask per head; the layer is open_clip's, the attention our definition:

# %%
pixels = torch.randn(4, 3, *visual.image_size, device=where)
entering = image_prefix(visual, pixels, roles.first_layer)  # [CLS] and patches on the verge of layer J
frozen = image_suffix(visual, entering, roles.first_layer)  # what CLIP itself says
tokens = 3 * torch.randn(len(pixels), n - n_original, model.d_model, device=where)


def run(role_file: HeadRoles, extra: torch.Tensor) -> torch.Tensor:
    """The class feature with `extra` tokens behind the patches of layer J and the masks of `role_file`."""
    x = torch.cat([entering, extra], dim=1)
    for layer in range(role_file.first_layer, role_file.layers + 1):
        may = masks.layer_mask(role_file, layer, n_original, per).to(where)[None]
        x = attention.masked_layer(visual.transformer.resblocks[layer - 1], x, may)
    return visual.ln_post(x[:, 0]) @ visual.proj


def moved(feature: torch.Tensor) -> float:
    """Distance to the frozen feature as a share of its length, mean over the pictures."""
    return ((feature - frozen).norm(dim=-1) / frozen.norm(dim=-1)).mean().item()


# %% [markdown]
# `masked_layer` uses PyTorch's fused kernel. It must equal Eq. 7 written out, on these very masks:

# %%
block = visual.transformer.resblocks[roles.first_layer - 1]
x = torch.cat([entering, tokens], dim=1)
may = masks.layer_mask(roles, roles.first_layer, n_original, per).to(where)[None]
three = torch.nn.functional.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
q, k, v = (rearrange(t, "image token (head d) -> image head token d", head=roles.heads) for t in three)
M = attention.additive(may, q.dtype)  # 0 and −∞
weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5 + M, dim=-1)
assert (weights[~may.expand_as(weights)] == 0).all()  # a blocked pair has weight zero, exactly
torch.testing.assert_close(attention.fused(q, k, v, may), weights @ v, rtol=1e-4, atol=1e-5)

# %% [markdown]
# This is the paper's Figure 1, drawn from a head of the role file: who reads whom, the mask, and how much of its attention an
# original query pays to attribute tokens without and with it (mean over queries and pictures; the tokens are random and large).

# %%
here = [roles.at(roles.first_layer, h) for h in range(roles.heads)]
order = ("generalization", "other", "attribute", "mixed")
e = min(here, key=lambda e: order.index(e.role))
free = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
paid = {name: w[:, e.head, :n_original, n_original:].sum(-1).mean().item() for name, w in (("no mask", free), ("role mask", weights))}
drawn, color = masks.head_mask(e, A, n_original, per).numpy(), plots.ROLE_COLORS[e.role]
fig, axes = plots.figure(1, 3, size=(9.6, 3.3), width_ratios=[1.2, 1.2, 0.6])
plots.token_flow(axes[0], drawn, n_original, A, color, f"L{e.layer} H{e.head}: {plots.ROLE_NAMES[e.role]}")
plots.mask_drawing(axes[1], drawn, n_original, A, color)
axes[2].bar(list(paid), list(paid.values()), color=["#B8B8B8", color])
axes[2].set(ylabel="attention paid to attribute tokens", ylim=(0, None))
said = note(p.data_root)  # of a data root whose pictures only stand in for real ones
plots.save(fig, p.figures_root, "figure1", said)
shown = {"head": f"L{e.layer} H{e.head}", "paid": paid, "weights_sha256": model.weights_sha256, "roles_sha256": roles.sha256}
tables.write_sidecar(p.figures_root / "figure1", tables.origin("03_role_masks", p, said, **shown))
shares = f"{paid['no mask']:.0%} of this head's attention to the attribute tokens, with it {paid['role mask']:.0%}"
display(Markdown(f"Without the mask the original tokens pay {shares}."))

# %% [markdown]
# **Fact 1: under All-Generalization [CLS] is untouched**, whatever the tokens are: it never reads them, nor does any patch
# that it reads. This is what "shielding" buys, and why the paper's All-Generalization row keeps the most on novel classes.

# %%
closed = run(uniform_roles("generalization", roles), tokens)
torch.testing.assert_close(closed, frozen, rtol=1e-4, atol=1e-5)

# %% [markdown]
# **Fact 2: one open head is enough to be reached.** Open a single head of layer $J$ that may read one attribute, and the
# class feature moves with the tokens; with all heads Mixed everything is open.

# %%
one_open = uniform_roles("generalization", roles).with_role(roles.first_layer, 0, "attribute", A[0])
opened = {"All-Generalization": closed, "one head open": run(one_open, tokens), "these roles": run(roles, tokens),
          "All-Mixed": run(uniform_roles("mixed", roles), tokens)}  # fmt: skip
assert moved(opened["one head open"]) > 3 * moved(closed)
display(Markdown("| masks | the class feature moves by |\n|---|---|\n" + "\n".join(f"| {k} | {moved(f):.3%} |" for k, f in opened.items())))

# %% [markdown]
# All-Generalization's is float32's rounding. These are random tokens, so the size of the move says how *open* a mask is, not
# how good training would be.
#
# **Fact 3: in that one open head only its own attribute counts.** Change the other attributes' tokens as you like:

# %%
others = tokens.clone()
others[:, per:] = 3 * torch.randn_like(others[:, per:])  # all but the first attribute's
torch.testing.assert_close(run(one_open, others), opened["one head open"], rtol=1e-4, atol=1e-5)

# %% [markdown]
# This holds because the head is in layer $J$, where every token is still the raw one. Put the same head one layer later and
# the assertion fails: by then the first token has read the other attributes' tokens *in Generalization heads*, where
# attribute tokens see each other, because Eq. 8 forbids only the crossing between the two worlds. A mask rules one head of
# one layer; what flows over several layers is the composition. So "exclusively to its expert head" is true of a head, not of
# the network:

# %%
late = uniform_roles("generalization", roles).with_role(roles.layers, 0, "attribute", A[0])
leak = (run(late, others) - run(late, tokens)).norm(dim=-1) / (run(late, tokens) - frozen).norm(dim=-1)
display(Markdown(f"With the open head in layer {roles.layers}, exchanging the *other* attributes' tokens moves the class feature by "
                 f"{leak.mean():.0%} of what "
                 "the open head moves it by altogether."))  # fmt: skip

# %% [markdown]
# ## What to take away
#
# - Three masks, four roles; the paper's letters and `may_attend` say the same with opposite signs.
# - $-\infty$ before the softmax means *exactly* zero weight, and no gradient.
# - All-Generalization leaves the class feature as it was: the guarantee is structural, not learnt.
# - Attributes are separated per head, not per network: over two layers they can mix.
#
# ## Exercises
#
# 1. Flip the polarity of `may` in `run` (`~may`). Which of the assertions notices? What does the softmax give for a row
#    without any key?
# 2. In the last cell, find the shortest path by which another attribute's token reaches [CLS]. Which change of Eq. 8 would
#    close it?
# 3. Eq. 9 leaves the rows of the other attribute tokens as they are. Draw a stricter mask in which only token $a$ may read in
#    a head of $a$, and say what [CLS] loses.
