# %% [raw]
# # ASSIGNMENT CONFIG
# name: 03_role_masks
# init_cell: true
# export_cell:
#   pdf: false
#   run_tests: true
# generate: true
# tests:
#   ok_format: false

# %% [markdown]
# # Assignment 3 · Role masks, and what flows through them
#
# **Question.** DeAR adds attribute tokens to the late layers and gives each head a mask by its role. What does a mask let
# through, and what leaks through a stack of layers although no single layer shows it?
#
# | | |
# |---|---|
# | You learn | the masks of Eq. 7–9 by hand · the polarity of a mask · composition over layers · printed and exclusive routing · what a mask guarantees |
# | Paper | Section 3.3.2, Eq. 7–9 |
# | Before | assignment 1, lesson 03; boolean tensors, matrix products |
# | Time | 100 minutes; every cell runs in seconds, without a network |
# | Points | 40: 35 by tests, 5 for the written answer |
#
# **Conventions.** Tokens stand in the order [CLS], patches, attribute tokens; the first two kinds are *original*. A mask is a
# boolean table with a row per query and a column per key, and it is always `may_attend`: **True where the query may look at the
# key**. Read a row: *this token may look at the columns that are True.* Write your code where you see `...`. The final grading
# uses other inputs than the checks.

# %%
import torch
from PIL import Image

from dearlib import plots
from dearlib.clip.attention import masked_layer
from dearlib.clip.cut import image_prefix
from dearlib.clip.loading import load
from dearlib.datasets.world.scene import scene

clip = load("DeAR-Mini")
visual = clip.visual
attributes = ("color", "shape", "texture", "object", "location")
pictures = torch.stack([clip.preprocess(Image.fromarray(scene("course", 3, i)[0])) for i in range(3)])
states = image_prefix(visual, pictures, first_layer=9).detach()  # [CLS] and patches on the verge of L9
print(f"{states.shape[1]} original tokens and {len(attributes)} attribute tokens; layers 9 to {clip.layers} have masks, {clip.heads} heads each")

# %% [markdown]
# ## 1 Masks from their definition
#
# **Generalization and other-specialised heads (Eq. 8).** Two closed worlds: an original token sees the original tokens alone, an
# attribute token the attribute tokens alone.

# %% [raw]
# # BEGIN QUESTION
# name: q1
# points: 3

# %% [markdown]
# **Question 1** (3 points). Write `closed_mask`.

# %% [raw]
# # BEGIN SOLUTION

# %%
def closed_mask(n_original, n_attribute):
    """Eq. 8: may_attend [query, key] of a head in which originals and attribute tokens never meet."""
    # BEGIN SOLUTION
    original = torch.arange(n_original + n_attribute) < n_original
    return original[:, None] == original[None, :]
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_closed_shape(closed_mask):
    import torch

    got = closed_mask(3, 2)
    assert got.dtype == torch.bool, f"a mask is boolean, yours is {got.dtype}; additive masks come later"
    assert tuple(got.shape) == (5, 5), f"3 original and 2 attribute tokens make [5, 5], you return {tuple(got.shape)}"

# %%
def test_closed_worlds(closed_mask):
    got = closed_mask(3, 2)
    assert not got[:3, 3:].any(), "your mask lets originals see attribute tokens; if it is all True there and False elsewhere, its polarity is wrong"
    assert not got[3:, :3].any(), "your mask lets attribute tokens see originals: Eq. 8 closes both directions"
    assert got[:3, :3].all() and got[3:, 3:].all(), "within its own world every token sees every token"

# %%
# HIDDEN
def test_closed_elsewhere(closed_mask):
    import torch

    assert torch.equal(closed_mask(7, 3), torch.block_diag(torch.ones(7, 7), torch.ones(3, 3)).bool())

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# **Attribute heads (Eq. 9)**, say of attribute $a$. Every query sees all original keys and the keys of $a$'s tokens. The tokens
# of other attributes are hidden *as keys*, from everybody. An attribute may have several tokens, `per` of them side by side.

# %% [raw]
# # BEGIN QUESTION
# name: q2
# points: 4

# %% [markdown]
# **Question 2** (4 points). Write `attribute_mask`.

# %% [raw]
# # BEGIN SOLUTION

# %%
def attribute_mask(n_original, attributes, own, per=1):
    """Eq. 9: may_attend [query, key] of a head of attribute `own`; `attributes` lists them in the tokens' order."""
    # BEGIN SOLUTION
    key = torch.ones(n_original + per * len(attributes), dtype=torch.bool)
    key[n_original:] = torch.tensor([a == own for a in attributes for _ in range(per)])
    return key.expand(len(key), -1).clone()
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_attribute_columns(attribute_mask):
    got = attribute_mask(3, ("color", "shape"), "shape")
    assert tuple(got.shape) == (5, 5), f"3 original and 2 attribute tokens make [5, 5], you return {tuple(got.shape)}"
    assert not (got[3].sum() == 0 and got[:, 3].any()), "you hide the color token's row, its queries: Eq. 9 hides its key, the column. Did you swap query and key?"
    assert not got[:, 3].any(), "in a shape head nobody may look at the color token, not even the color token itself"
    assert got[:, 4].all(), "in a shape head everybody may look at the shape token"
    assert got[:, :3].all(), "the original tokens are visible to all"

# %%
def test_attribute_several_tokens(attribute_mask):
    got = attribute_mask(2, ("color", "shape", "texture"), "shape", per=2)
    assert tuple(got.shape) == (8, 8), f"2 original and 3 · 2 attribute tokens make [8, 8], you return {tuple(got.shape)}"
    visible = got[0].tolist()
    assert visible != [True, True, False, True, False, False, True, False], "tokens of one attribute stand side by side: color color shape shape texture texture"
    assert visible == [True, True, False, False, True, True, False, False], "with two tokens each, shape's are numbers 4 and 5 (counted from 0)"

# %%
# HIDDEN
def test_attribute_elsewhere(attribute_mask):
    import torch

    from dearlib.methods.masks import head_mask
    from dearlib.roles.rolefile import HeadRole

    kinds = ("a", "b", "c", "d", "e")
    for own, per, n in (("a", 1, 7), ("e", 3, 5), ("c", 2, 11)):
        head = HeadRole(layer=9, head=0, role="attribute", concept=own, entropy=0, interval=(0, 0), distribution={own: 1}, phrases=("x",))
        assert torch.equal(attribute_mask(n, kinds, own, per), head_mask(head, kinds, n, per))

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 2 Polarity
#
# Eq. 7 adds a mask to the scores before the softmax: $S = QK^\top/\sqrt{D_h} + M$. So $M$ is 0 where a query may look and
# $-\infty$ where it may not. Two ways to get this silently wrong: multiply the scores by the mask (a score of 0 is not a weight
# of 0), or take a boolean mask of one library into another. In `torch.nn.MultiheadAttention`, for instance, True means *blocked*.

# %% [raw]
# # BEGIN QUESTION
# name: q3
# points: 5

# %% [markdown]
# **Question 3** (5 points). Write `masked_attention` with a mask `may_attend`, and `for_torch`, the same mask as
# `torch.nn.MultiheadAttention` wants it.

# %% [raw]
# # BEGIN SOLUTION

# %%
def masked_attention(q, k, v, may_attend):
    """Eq. 1 with Eq. 7: q [query, d], k [key, d], v [key, e], may_attend [query, key] -> [query, e]."""
    # BEGIN SOLUTION
    scores = q @ k.T / q.shape[1] ** 0.5
    return torch.softmax(scores.masked_fill(~may_attend, float("-inf")), dim=1) @ v
    # END SOLUTION


def for_torch(may_attend):
    """The boolean attn_mask of torch.nn.MultiheadAttention that allows what `may_attend` allows."""
    # BEGIN SOLUTION
    return ~may_attend
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_blocked_means_weight_zero(masked_attention):
    import torch

    q, k, v = torch.randn(3, 5), torch.randn(2, 5), torch.tensor([[1.0], [1000.0]])
    may = torch.tensor([[True, False]] * 3)
    got = masked_attention(q, k, v, may)
    assert tuple(got.shape) == (3, 1), f"3 queries and values of length 1 make [3, 1], you return {tuple(got.shape)}"
    assert not torch.allclose(got, torch.full((3, 1), 1000.0)), "you look exactly where you may not: True means may look"
    assert torch.allclose(got, torch.ones(3, 1)), f"key 1 is hidden, so its value of 1000 must have no weight at all; got {got.flatten().tolist()}"

# %%
def test_all_true_changes_nothing(masked_attention):
    import torch

    q, k, v = torch.randn(3, 5), torch.randn(7, 5), torch.randn(7, 2)
    plain = torch.softmax(q @ k.T / 5**0.5, dim=1) @ v
    assert torch.allclose(masked_attention(q, k, v, torch.ones(3, 7, dtype=torch.bool)), plain, atol=1e-5), (
        "where everything may be seen, this is plain attention: did you forget the scale, or add 1 to the scores?"
    )

# %%
# HIDDEN
def test_masked_attention_elsewhere(masked_attention):
    import torch

    q, k, v = torch.randn(11, 3), torch.randn(13, 3), torch.randn(13, 5)
    may = torch.rand(11, 13) < 0.5
    may[:, 4] = True
    expected = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=may[None])[0]
    assert torch.allclose(masked_attention(q, k, v, may), expected, atol=1e-5)
    v2 = v.clone()
    v2[0] = 1e9
    hidden = ~may[:, 0]
    assert torch.allclose(masked_attention(q, k, v2, may)[hidden], expected[hidden], atol=1e-5)

# %%
# HIDDEN
def test_for_torch(for_torch):
    import torch

    x, may = torch.randn(5, 7), torch.rand(5, 5) < 0.5
    may.fill_diagonal_(True)
    mha = torch.nn.MultiheadAttention(7, 1, batch_first=True)
    weight = mha(x[None], x[None], x[None], attn_mask=for_torch(may))[1][0]
    assert torch.equal(weight > 0, may)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 3 What leaks through a stack
#
# In an attribute head of *shape*, [CLS] never sees the color token. Does color reach [CLS] all the same? Follow it: in one layer
# a patch may read color in some head; one layer later [CLS] reads the patch. A layer's heads add up, and the residual stream
# keeps what a token already knows. So after a layer token $i$ can know something of token $j$ if $i = j$, or if some head let $i$
# look at $j$.

# %% [raw]
# # BEGIN QUESTION
# name: q4
# points: 6

# %% [markdown]
# **Question 4** (6 points). Write `one_layer`: which token can know of which, directly, after one layer with masks [head, query,
# key]. Then `reaches`: the same after all layers of a list. Think of what it means for boolean tables to be multiplied: $i$ knows
# of $j$ after two layers if there is a token $m$ that knew of $j$ after the first and of which $i$ learns in the second.

# %% [raw]
# # BEGIN SOLUTION

# %%
def one_layer(masks):
    """masks [head, query, key], may_attend -> [query, key], True where the query token can know something of the key token."""
    # BEGIN SOLUTION
    return masks.any(dim=0) | torch.eye(masks.shape[1], dtype=torch.bool)
    # END SOLUTION


def reaches(layers):
    """A list of masks [head, query, key], first layer first -> [query, key] after the last layer."""
    # BEGIN SOLUTION
    known = torch.eye(layers[0].shape[1], dtype=torch.bool)
    for masks in layers:
        known = (one_layer(masks).float() @ known.float()) > 0
    return known
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_one_layer_by_hand(one_layer):
    import torch

    masks = torch.zeros(2, 3, 3, dtype=torch.bool)
    masks[0, 0, 1] = masks[1, 2, 0] = True
    got = one_layer(masks)
    assert got.diagonal().all(), "the residual stream: every token knows itself, whatever the heads do"
    assert got[0, 1] and got[2, 0], "one head that lets a token look is enough: heads add up"
    assert got.sum() == 5, f"two arrows and three tokens that know themselves are 5 entries, you have {int(got.sum())}"

# %%
def test_relay(reaches):
    import torch

    first, second = torch.zeros(1, 3, 3, dtype=torch.bool), torch.zeros(1, 3, 3, dtype=torch.bool)
    first[0, 1, 2] = True  # the patch reads the attribute token
    second[0, 0, 1] = True  # then [CLS] reads the patch
    assert reaches([first, second])[0, 2], "the patch reads the attribute token in layer 1 and [CLS] reads the patch in layer 2: it has arrived"
    assert not reaches([second, first])[0, 2], "the other way round [CLS] reads the patch before the patch knows: nothing arrives. In which order do you multiply?"

# %%
# HIDDEN
def test_reaches_elsewhere(reaches):
    import torch

    generator = torch.Generator().manual_seed(17)
    for layers, n in ((1, 5), (3, 7), (4, 11)):
        masks = [torch.rand(3, n, n, generator=generator) < 0.06 for _ in range(layers)]
        known = [{i} for i in range(n)]
        for layer in masks:
            known = [known[i].union(*(known[j] for j in range(n) if layer[:, i, j].any())) for i in range(n)]
        assert torch.equal(reaches(masks), torch.tensor([[j in known[i] for j in range(n)] for i in range(n)]))

# %%
# HIDDEN
def test_one_layer_elsewhere(one_layer):
    import torch

    masks = torch.rand(3, 7, 7) < 0.2
    assert torch.equal(one_layer(masks), (masks.sum(0) + torch.eye(7)) > 0)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q5
# points: 3

# %% [markdown]
# **Question 5** (3 points). Write `first_layer_reached`: after how many layers (1 for the first of the list) does `target` know
# of `source`? None if it never does. A token knows itself after 0 layers.

# %% [raw]
# # BEGIN SOLUTION

# %%
def first_layer_reached(layers, source, target):
    """The number of layers after which token `target` can know of token `source`; None if never."""
    # BEGIN SOLUTION
    if source == target:
        return 0
    return next((n for n in range(1, len(layers) + 1) if reaches(layers[:n])[target, source]), None)
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_first_by_hand(first_layer_reached):
    import torch

    first, second = torch.zeros(1, 3, 3, dtype=torch.bool), torch.zeros(1, 3, 3, dtype=torch.bool)
    first[0, 1, 2] = second[0, 0, 1] = True
    assert first_layer_reached([first, second], source=2, target=1) == 1, "the patch reads the attribute token in the first layer"
    assert first_layer_reached([first, second], source=2, target=0) == 2, "[CLS] learns of it by way of the patch, in the second layer"
    assert first_layer_reached([first, second], source=0, target=2) is None, "the attribute token looks at nobody, so it never learns of [CLS]: None"

# %%
# HIDDEN
def test_first_elsewhere(first_layer_reached):
    import torch

    n = 5
    chain = []
    for i in range(n - 1):
        m = torch.zeros(2, n, n, dtype=torch.bool)
        m[i % 2, i + 1, i] = True
        chain.append(m)
    assert [first_layer_reached(chain, 0, t) for t in range(n)] == [0, 1, 2, 3, 4]
    assert first_layer_reached(chain[::-1], 0, 4) is None
    assert first_layer_reached(chain[::-1], 0, 1) == 4

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# Now a model whose heads have roles. Twelve heads a layer: five attribute heads (one of each), two Mixed, five closed. How do the
# attribute tokens get to [CLS]? (If your functions are not there yet, this cell stops: come back to it.)

# %%
def dealt(n_original, mixed):
    """Masks [head, query, key] of a layer: one head of each attribute, `mixed` Mixed heads, the rest of twelve closed."""
    n = n_original + len(attributes)
    own = [attribute_mask(n_original, attributes, a) for a in attributes]
    return torch.stack([*own, *[torch.ones(n, n, dtype=torch.bool)] * mixed, *[closed_mask(n_original, len(attributes))] * (7 - mixed)])


small = dealt(3, mixed=0)
print("after one layer without a Mixed head, [CLS] can know of:", [a for i, a in enumerate(attributes) if one_layer(small)[0, 3 + i]])
print("the shape token can know of:", [a for i, a in enumerate(attributes) if one_layer(small)[4, 3 + i]])

# %%
fig, axes = plots.figure(1, 3, size=(7.2, 2.6))
titles = ("closed (Eq. 8)", "attribute: shape (Eq. 9)", "mixed")
for ax, mask, title in zip(axes, (small[-1], small[1], torch.ones(8, 8, dtype=torch.bool)), titles, strict=True):
    plots.mask_drawing(ax, mask.numpy(), 3, attributes, "#4477AA", title)

# %% [markdown]
# ## 4 Two ways to route
#
# Eq. 9 as printed restricts *keys* alone. In the shape head every attribute token may look at the shape token and at the picture,
# so all attribute tokens read the same things there. **Exclusive** routing also restricts *queries*: in the head of attribute
# $a$, the other attributes' tokens see only themselves.

# %% [raw]
# # BEGIN QUESTION
# name: q6
# points: 4

# %% [markdown]
# **Question 6** (4 points). Write `exclusive_mask` for one token per attribute: as `attribute_mask`, but each *other* attribute's
# token looks at itself and at nothing else.

# %% [raw]
# # BEGIN SOLUTION

# %%
def exclusive_mask(n_original, attributes, own):
    """Eq. 9 with exclusive queries: may_attend [query, key], one token per attribute."""
    # BEGIN SOLUTION
    mask = attribute_mask(n_original, attributes, own)
    for number, attribute in enumerate(attributes, start=n_original):
        if attribute != own:
            mask[number] = False
            mask[number, number] = True
    return mask
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_exclusive_by_hand(exclusive_mask):
    got = exclusive_mask(2, ("color", "shape"), "shape")
    assert got[2].any(), "the color token sees nothing at all: a softmax over nothing is nan. It sees itself"
    assert not got[2, 3], "in the shape head the color token may not look at the shape token"
    assert got[2].tolist() == [False, False, True, False], f"in the shape head the color token sees itself alone; yours sees {got[2].tolist()}"
    assert got[0].tolist() == [True, True, False, True], "[CLS] sees the originals and the shape token, as printed"
    assert got[3].tolist() == [True, True, False, True], "the shape token sees the originals and itself"

# %%
# HIDDEN
def test_exclusive_elsewhere(exclusive_mask):
    import torch

    kinds, n = ("a", "b", "c", "d"), 5
    for own in kinds:
        got = exclusive_mask(n, kinds, own)
        i = n + kinds.index(own)
        others = [j for j in range(n, n + 4) if j != i]
        assert torch.equal(got[others], torch.eye(n + 4).bool()[others])
        rest = [*range(n), i]
        assert got[rest][:, rest].all() and not got[rest][:, others].any()

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q7
# points: 3

# %% [markdown]
# **Question 7** (3 points). One layer has one head of each attribute in `attributes` and no other head. Write `can_read`: of
# which attributes' tokens (itself included) can the token of `reader` know after that one layer? Return a set of names;
# `exclusive` says which routing. (Use `one_layer` and your masks.)

# %% [raw]
# # BEGIN SOLUTION

# %%
def can_read(n_original, attributes, reader, exclusive):
    """The attributes whose tokens `reader`'s token can know of after one layer with one head of each attribute."""
    # BEGIN SOLUTION
    route = exclusive_mask if exclusive else attribute_mask
    known = one_layer(torch.stack([route(n_original, attributes, a) for a in attributes]))
    row = known[n_original + attributes.index(reader), n_original:]
    return {a for a, can in zip(attributes, row.tolist(), strict=True) if can}
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_can_read_exclusive(can_read):
    got = can_read(2, ("color", "shape", "texture"), "shape", True)
    assert set(got) == {"shape"}, f"with exclusive routing the shape token meets no other attribute's token; you say {set(got)}"

# %%
# HIDDEN
def test_can_read_printed(can_read):
    assert set(can_read(3, ("color", "shape", "texture"), "shape", False)) == {"color", "shape", "texture"}
    assert set(can_read(1, ("a", "b"), "a", False)) == {"a", "b"}
    assert set(can_read(1, ("a", "b", "c", "d"), "d", True)) == {"d"}

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 5 What a mask guarantees
#
# `masked_layer(block, x, masks)` of `dearlib` runs one frozen layer with masks [head, query, key]; `visual.transformer.resblocks`
# holds the blocks, block 0 is L1.

# %% [raw]
# # BEGIN QUESTION
# name: q8
# points: 4

# %% [markdown]
# **Question 8** (4 points). Write `forward`: put the raw tokens behind the states, run the layers from `first_layer` to the last
# with their masks (one entry of the list per layer), and return the final state of [CLS] and of the attribute tokens. The tokens
# of one layer's output go on into the next (this is β = 0; assignment 4 mixes).

# %% [raw]
# # BEGIN SOLUTION

# %%
def forward(visual, states, raw, layers, first_layer):
    """states [batch, original, width], raw [token, width], a list of masks -> [batch, 1 + token, width]: [CLS], then the tokens."""
    # BEGIN SOLUTION
    n_original = states.shape[1]
    x = torch.cat([states, raw.expand(len(states), -1, -1)], dim=1)
    for block, masks in zip(visual.transformer.resblocks[first_layer - 1 :], layers, strict=True):
        x = masked_layer(block, x, masks[None])
    return torch.cat([x[:, :1], x[:, n_original:]], dim=1).detach()
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_forward_shape(forward, visual, states):
    import torch

    n = states.shape[1] + 2
    got = forward(visual, states, torch.randn(2, states.shape[2]), [torch.ones(12, n, n, dtype=torch.bool)] * 4, 9)
    expected = (len(states), 3, states.shape[2])
    assert tuple(got.shape) == expected, f"[CLS] and 2 tokens of {len(states)} pictures make {expected}, you return {tuple(got.shape)}"

# %%
def test_closed_heads_shield_cls(forward, visual, states):
    import torch

    n = states.shape[1]
    closed = torch.block_diag(torch.ones(n, n), torch.ones(2, 2)).bool().expand(12, -1, -1)
    quiet, loud = (forward(visual, states, s * torch.ones(2, states.shape[2]), [closed] * 4, 9) for s in (0.1, 50))
    assert torch.allclose(quiet[:, 0], loud[:, 0], atol=1e-3), "behind closed heads [CLS] cannot depend on the tokens, and yours does: are the masks used in every layer?"

# %%
# HIDDEN
def test_forward_elsewhere(forward, visual):
    import torch

    from dearlib.clip.attention import additive
    from dearlib.clip.cut import image_prefix
    from dearlib.clip.loading import load
    from dearlib.methods.tokens import image_states

    clip = load("DeAR-Mini")
    states = image_prefix(clip.visual, torch.randn(2, 3, 64, 64), 10).detach()
    n = states.shape[1] + 3
    masks = [torch.rand(12, n, n) < 0.8 for _ in range(3)]
    for m in masks:
        m[:, range(n), range(n)] = True
    raw = 5 * torch.randn(3, states.shape[2])
    expected = image_states(clip, states, [raw.expand(2, -1, -1)] * 3, [additive(m[None], raw.dtype) for m in masks], 0.0)
    assert torch.allclose(forward(visual, states, raw, masks, 10), expected, atol=1e-3, rtol=1e-3)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q9
# points: 3

# %% [markdown]
# **Question 9** (3 points). True or False? Answer from the masks; then try with `forward`.
#
# - `claim_a`: if *all* heads are closed, the final state of an attribute token is the same for every picture.
# - `claim_b`: if all heads are attribute heads of *shape*, the color token cannot influence the final state of [CLS].
# - `claim_c`: if in every layer one head is Mixed and all others are closed, the final state of [CLS] does not depend on the attribute tokens.

# %% [raw]
# # BEGIN SOLUTION

# %%
claim_a = True  # SOLUTION
claim_b = True  # SOLUTION
claim_c = False  # SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_claims_are_answered(claim_a, claim_b, claim_c):
    for name, value in (("claim_a", claim_a), ("claim_b", claim_b), ("claim_c", claim_c)):
        assert value is True or value is False, f"{name} should be True or False, not {value!r}"
    assert claim_c is False, "look at the Mixed head: [CLS] may look at everything there, and one open head is enough"

# %%
# HIDDEN
def test_claim_a(claim_a):
    assert claim_a is True

# %%
# HIDDEN
def test_claim_b(claim_b):
    assert claim_b is True

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
# **Question 10** (5 points, graded by hand). In at most 200 words: (a) The paper says that a closed head protects what CLIP knew.
# Under which condition on *all other* heads of *all* later layers does it really keep attribute tokens away from [CLS]? (b) In
# the ablation All-Generalization every head is closed. What does each attribute feature $f_a$ then know of the picture, what does
# its similarity to a class do to the scores of two pictures, and with which much simpler model could you replace it? (c) Name one
# way in which this simpler model would still differ from CLIP.
#
# *Points: (a) 2. (b) 2. (c) 1.*

# %% [raw]
# # BEGIN SOLUTION

# %% [markdown]
# (a) Only if no other head, in this layer or a later one, opens a path: one Mixed head, or one attribute head, in one layer is
# enough, directly or by way of a patch. A mask protects a head, not the feature. (b) Nothing: its tokens never see the picture,
# so f_a is one constant vector, the same for all pictures. Its similarity to class c is a constant s_a(c) that is added,
# weighted, to the score of class c of every picture: a bias per class. A learned bias per class does the same. (c) The bias still
# changes which class wins, so accuracy can move although the class feature is CLIP's; and text tokens still change the class
# features.

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION
