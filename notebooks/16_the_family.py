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
# # 16 · The family
#
# **Question.** A dozen methods adapt a frozen CLIP from a few pictures a class. What can be learned around it at all, where does each
# method put it, and what does one have that its predecessor has not?
#
# | | |
# |---|---|
# | Before this | [04 · DeAR, forward and backward](04_dear_model.ipynb), [06 · From base to novel classes](06_base_to_novel.ipynb) |
# | Paper | Table 2's rows; each method's own paper is named in its file of `dearlib/methods/family/` |
# | You will see | a chart drawn from the methods' own declarations, every forward pass by hand, what each adds |
# | Reads | a frozen CLIP, the methods' parameter files, the role file of notebook 02 (or the committed one); records of Table 2 if there |
# | Writes | `16_family.svg` and `.png`, `16_methods.csv`, `16_numbers.csv` |
# | Takes | 20 seconds and 1.4 GB of memory, opened first, on two cores of a server, no GPU |
# | After this | [15 · What carries the gain?](15_what_carries_the_gain.ipynb) |
#
# Nothing is trained here. Pictures are noise and parameters are shaken at random: two forms that agree on that agree everywhere.

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

# %%
from pathlib import Path

import pandas as pd
import torch
from IPython.display import Markdown, display

from dearlib import plots
from dearlib.clip.cut import image_prefix
from dearlib.clip.loading import load
from dearlib.files import write_text
from dearlib.methods import catalogue
from dearlib.methods.interface import Classes, Pictures
from dearlib.params.methods import method_files, method_values
from dearlib.params.reading import validated
from dearlib.study import opening
from dearlib.study.plan import TABLE2, read_plan
from dearlib.study.records import tidy
from dearlib.study.takeaways import from_numbers, write_numbers

# %%
p = validated("16_the_family", globals())
torch.set_num_threads(1)  # sums in one order, as in batch runs, however many cores there are
frozen = load(p.clip, p.clip_weights)
frozen.model.double()
head_roles = opening.role_file(p.roles, p.figures_root, frozen)
classes = Classes(names=("cup", "old key", "red tent", "umbrella", "ring"))
draw = torch.Generator().manual_seed(p.seed)
pictures = torch.randn(4, 3, *frozen.visual.image_size, dtype=torch.float64, generator=draw)
print(f"{frozen.name} {frozen.weights_sha256[:8]} · {', '.join(catalogue.names())}")

# %% [markdown]
# ## 1 What can be learned around a frozen CLIP
#
# | | what | who |
# |---|---|---|
# | **words** | vectors in place of the template's words, at the text encoder's input | CoOp, and most since |
# | **tokens in layers** | vectors that enter a layer, are replaced or blended at later ones | MaPLe, PromptSRC, ProVP, MMRL, DeAR |
# | **sources** | such tokens made from the picture, a class, the other encoder's tokens, groups of classes | CoCoOp, TCP, MaPLe, TAC |
# | **projections** | a second way from the last layer into the joint space | MMRL, DeAR, PromptKD |
# | **weights** | the upper layers themselves | SkipT |
# | **losses** | staying near what frozen CLIP says: its features, its answers, its gradient | ProGrad, PromptSRC, TCP, MMRL, TAC, DeAR |
#
# Each method is one file that declares where it enters: modality, layers, rule, source, number. All of them, at the sizes that Table 2
# trains here (`params/<profile>/methods/`; MMRL's space is 512 wide in its authors' code for ViT-B/16, 128 for DeAR-Mini), with the
# parameters shaken so that nothing sits at its start:


# %%
def shaken(method):
    """In double precision, in evaluation, each parameter moved at random; upper layers of SkipT only a little."""
    noise = torch.Generator().manual_seed(p.seed + 1)
    with torch.no_grad():
        for name, parameter in method.double().eval().named_parameters():
            size = 0.01 if name.startswith(("image.", "text.")) else 0.1
            parameter.add_(size * torch.randn(parameter.shape, generator=noise, dtype=parameter.dtype))
    return method


files = Path("params") / p.profile
settings = {key: method_values(files, key, "").get("settings", {}) for key in method_files(files)}  # "": of no data set in particular
teacher = shaken(catalogue.build("promptsrc", frozen, classes, settings.get("promptsrc", {}), 7))
family = {}
for key in catalogue.names():
    method = shaken(catalogue.build(key, frozen, classes, settings.get(key, {}), p.seed, roles=head_roles, teacher=teacher))
    family[method.title] = method

# %%
order = ["CLIP", "CoOp", "CoCoOp", "ATPrompt", "ProGrad", "TCP", "MaPLe", "PromptSRC", "ProVP", "PromptKD"]
order += ["MMRL", "MMRL++", "TAC", "SkipT", "DeAR"]
order += [title for title in family if title not in order]  # a method of your own comes last
order = [title for title in order if title in family]
fig, axes = plots.figure(1, 2, size=(11.5, 0.9 + 0.34 * len(order)), sharey=True)
plots.family_chart(axes, {title: family[title].enters for title in order}, frozen.layers)
plots.save(fig, p.figures_root, "16_family")

# %% [markdown]
# Layer 0 stands for the words at the input, the place behind the last layer for projections. A method that leaves a side alone has its
# features from a cache, once and for all; one that enters at layer 9 pays for four layers a step.

# %%
rows = [{"method": t, "trained numbers": sum(q.numel() for q in m.parameters()), "pictures from layer": m.needs.image_from,
         "text from layer": m.needs.text_from, "loss": " + ".join(m.weights)} for t, m in ((t, family[t]) for t in order)]  # fmt: skip
table = pd.DataFrame(rows)
write_text(p.figures_root / "16_methods.csv", table.to_csv(index=False))
display(Markdown(table.to_markdown(index=False)))

# %% [markdown]
# ## 2 Two passes that all share
#
# open_clip's encoders, layer by layer, with a hook: `change(l, x)` is what goes into layer `l`. At 0 it sees the input: words without their
# positions, or what goes into `ln_pre`.

# %%
v, m = frozen.visual, frozen.model
image_layers, text_layers = list(v.transformer.resblocks), list(m.transformer.resblocks)


def picture_states(change, layers=None, mask=None):
    """All states after the last layer."""
    x = v.conv1(pictures).flatten(2).mT
    x = torch.cat([v.class_embedding.expand(len(x), 1, -1), x], dim=1) + v.positional_embedding
    x = v.ln_pre(change(0, x))
    for number, layer in enumerate(layers or image_layers, start=1):
        x = change(number, x)
        x = layer(x, attn_mask=None if mask is None else mask(x.shape[1]))
    return x


def text_states(texts, change, shift=0, cut=0, layers=None):
    """The state at the end of text after the last layer; `shift`: by how many positions it moved."""
    tokens = frozen.tokenize(texts)
    x = change(0, m.token_embedding(tokens))[:, : tokens.shape[1] + shift - cut]
    x = x + m.positional_embedding[: x.shape[1]]
    for number, layer in enumerate(layers or text_layers, start=1):
        x = change(number, x)
        x = layer(x, attn_mask=torch.full((x.shape[1],) * 2, -torch.inf, dtype=x.dtype).triu(1))
    return x[torch.arange(len(x)), tokens.argmax(1) + shift]


# %%
def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def answers(image, text, scale=None):
    return (scale or frozen.scale) * unit(image) @ unit(text).mT


def image_feature(change):
    return v.ln_post(picture_states(change)[:, 0]) @ v.proj


def text_feature(texts, change, **how):
    return m.ln_final(text_states(texts, change, **how)) @ m.text_projection


def after_first(x, tokens, drop=0):
    """`tokens` behind the first position, in place of `drop` old ones."""
    return torch.cat([x[:, :1], tokens.expand(len(x), -1, -1), x[:, 1 + drop :]], dim=1)


def at_end(x, tokens, drop=0):
    return torch.cat([x[:, : x.shape[1] - drop], tokens.expand(len(x), -1, -1)], dim=1)


def named(template):
    return [template.format(name) for name in classes.names]


# %% [markdown]
# And what `dearlib.methods` says, from the cut at the first layer that sees something learned:

# %%
v0, t0 = frozen.encode_image(pictures), frozen.encode_text(classes.prompts)
checked = {}


@torch.no_grad()
def agree(title, ours):
    """Asserts that our answers are those of the method's own file."""
    method = family[title]
    first = method.needs.image_from
    states = image_prefix(v, pictures, first) if first <= frozen.layers else pictures.new_empty(len(pictures), 0, frozen.d_model)
    theirs = method.logits(Pictures(states, v0), method.encode(method.prepare(classes)), "base")
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)
    checked[title] = (ours - theirs).abs().max().item()
    print(f"{title}: {ours.shape[0]} × {ours.shape[1]} answers agree to {checked[title]:.0e}")


agree("CLIP", answers(v0, t0))

# %% [markdown]
# ## 3 Words
#
# **CoOp** puts four learned vectors in the place of "a photo of a". **ProGrad** is CoOp's forward pass; its step may not go against what
# zero-shot CLIP knows, which shows in the gradient alone. **CoCoOp** moves the vectors by what the picture shows, so that every picture has
# its own classes. **ATPrompt** stands fixed attribute words between learned ones.


# %%
@torch.no_grad()
def with_words(words):
    return text_feature(named("a photo of a {}."), lambda layer, x: after_first(x, words, len(words)) if layer == 0 else x)


for title in ("CoOp", "ProGrad"):
    agree(title, answers(v0, with_words(family[title].ctx)))

# %%
c = family["CoCoOp"]
moved = torch.relu(unit(v0) @ c.meta[0].weight.T + c.meta[0].bias) @ c.meta[2].weight.T + c.meta[2].bias
agree("CoCoOp", torch.cat([answers(one[None], with_words(c.ctx + h)) for one, h in zip(v0, moved, strict=True)]))

# %%
a = family["ATPrompt"]


def between(layer, x):
    if layer:
        return x
    soft = [t.expand(len(x), -1, -1) for t in (*a.attribute_ctx, a.ctx)]
    return torch.cat([x[:, :1], soft[0], x[:, 3:4], soft[1], x[:, 6:7], soft[2], x[:, 9:]], dim=1)


agree("ATPrompt", answers(v0, text_feature(named("X X color X X shape X X {}."), between)))

# %% [markdown]
# **TCP** makes, before layer 9, four tokens of what frozen CLIP knows of each class, and puts them where the words stood.

# %%
t = family["TCP"]
hidden = unit(t0) @ t.meta[0].weight.T + t.meta[0].bias
own = ((hidden * torch.sigmoid(1.702 * hidden)) @ t.meta[2].weight.T + t.meta[2].bias).unflatten(1, (4, -1))
places = {0: t.ctx, 9: own}
agree("TCP", answers(v0, text_feature(named("X X X X {}."), lambda at, x: after_first(x, places[at], 4) if at in places else x)))

# %% [markdown]
# ## 4 Tokens in layers
#
# **MaPLe** has new words before layers 2 to 9 and makes the picture's tokens of them, by a linear map for each layer. **PromptSRC** has
# tokens in both encoders, independent of each other. **ProVP** leaves the text alone and lets each layer's tokens be 0.99 new and 0.01 of
# what the last layer made of them: a β in all but name.

# %%
p_ = family["MaPLe"]
deep = lambda layer: 2 <= layer <= 9  # noqa: E731


def words_deep(method, n):
    def change(layer, x):
        return after_first(x, method.ctx, n) if layer == 0 else after_first(x, method.deep[layer - 2], n) if deep(layer) else x

    return change


def from_words(layer, x):
    if layer == 0:
        return at_end(x, p_.project(p_.ctx))
    return at_end(x, p_.project_deep[layer - 2](p_.deep[layer - 2]), 2) if deep(layer) else x


with torch.no_grad():
    agree("MaPLe", answers(image_feature(from_words), text_feature(named("a photo of a {}."), words_deep(p_, 2))))


# %%
def own_tokens(tokens):
    """Image tokens behind the patches, new ones before layers 2 to 9."""
    n = tokens.shape[1]
    return lambda layer, x: at_end(x, tokens[0]) if layer == 0 else at_end(x, tokens[layer - 1], n) if deep(layer) else x


with torch.no_grad():
    s = family["PromptSRC"]
    agree("PromptSRC", answers(image_feature(own_tokens(s.image_tokens)), text_feature(named("a photo of a {}."), words_deep(s, 4))))
    b = family["ProVP"].tokens

    def slowly(layer, x):
        if layer <= 1:
            return after_first(x, b[0]) if layer == 1 else x
        return after_first(x, 0.99 * b[layer - 1] + 0.01 * x[:, 1 : 1 + b.shape[1]], b.shape[1])

    agree("ProVP", answers(image_feature(slowly), t0))

# %% [markdown]
# **PromptKD** has PromptSRC's image tokens and learns a tuned teacher's answers on pictures without labels, of novel classes too
# (*transductive*: it stands apart in every table). Its classes are the teacher's. **TAC** has tokens that stand for groups of classes,
# which patches may not look at.

# %%
with torch.no_grad():
    k = family["PromptKD"]
    student = k.projector(image_feature(own_tokens(k.image_tokens)))
    tuned = text_feature(named("a photo of a {}."), words_deep(teacher, 4))
    agree("PromptKD", answers(student, tuned))

# %%
q = family["TAC"]
n, both = len(q.clusters), len(q.clusters) + len(q.ctx)


def to_text(layer, x):
    tokens = torch.cat([q.to_text(q.clusters), q.ctx if layer == 0 else q.deep[layer - 2]]) if layer != 1 else None
    return x if layer == 1 else after_first(x, tokens, both if layer else 0)


def to_picture(layer, x):
    tokens = torch.cat([q.to_image(q.clusters), q.image_tokens[max(layer, 1) - 1]])
    return x if layer == 1 else at_end(x, tokens, both if layer else 0)


def no_clusters(length):
    bias = torch.zeros(length, length, dtype=torch.float64)
    bias[1 : length - both, length - both : length - both + n] = -torch.inf
    return bias


with torch.no_grad():
    seen = v.ln_post(picture_states(to_picture, mask=no_clusters)[:, 0]) @ v.proj
    agree("TAC", answers(seen, text_feature(named("a photo of a {}."), to_text, shift=both, cut=both)))

# %% [markdown]
# ## 5 A space for both encoders, a second projection
#
# **MMRL** makes each layer's tokens from layer 6 on, in both encoders, of one matrix; the tokens' outputs leave by a second projection and
# answer beside the class feature, 0.3 to 0.7, by the model's scale or one of their own. **MMRL++** shares one map over the layers and
# blends, by β, what the tokens became: this is where DeAR takes its β from. Both answer novel classes by the class feature alone.


# %%
@torch.no_grad()
def shared_space(title, maps, beta, projection):
    def change(modality):
        def at(layer, x):
            if layer < 6:
                return x
            new = maps(modality, layer - 6)
            return after_first(x, new) if layer == 6 else after_first(x, beta * new + (1 - beta) * x[:, 1:6], 5)

        return at

    x, scale = v.ln_post(picture_states(change("image"))), family[title].settings.scale
    text = text_feature(classes.prompts, change("text"), shift=5)
    agree(title, 0.7 * answers(x[:, 0] @ v.proj, text, scale) + 0.3 * answers(x[:, 1:6].mean(1) @ projection, text, scale))


g = family["MMRL"]
shared_space("MMRL", lambda side, i: getattr(g, f"to_{side}")[i](g.space), 1.0, g.projection)
h = family["MMRL++"]


def low_rank(side, i):
    aligner = getattr(h, f"to_{side}")
    return h.space @ (aligner.weight + aligner.left[i] @ aligner.right[i]).T + aligner.bias[i]


shared_space("MMRL++", low_rank, h.settings.beta, v.proj + h.left @ h.right)

# %% [markdown]
# ## 6 No tokens at all, and DeAR
#
# **SkipT** trains the upper layers themselves. **DeAR** has MMRL++'s blended tokens and second projection in the image encoder, gives each
# token an attribute, and lets the *roles of heads* say who may look at it (notebook 03). With every head Mixed and one attribute little of
# it but the fusion weights would be new.

# %%
with torch.no_grad():
    z = family["SkipT"]
    upper = picture_states(lambda _, x: x, image_layers[:6] + list(z.image.blocks))[:, 0]
    ends = text_states(classes.prompts, lambda _, x: x, layers=text_layers[:6] + list(z.text.blocks))
    agree("SkipT", answers(z.image.norm(upper) @ z.image.projection, z.text.norm(ends) @ z.text.projection))

# %%
d, beta, first = family["DeAR"].model, family["DeAR"].settings.beta, family["DeAR"].settings.first_layer


def blended(raw, x, later, before):
    """The raw token into layer J, a mixture with what came `before` into a later one."""
    return beta * raw + (1 - beta) * before if later else raw.expand(len(x), -1, -1)


with torch.no_grad():
    x = image_prefix(v, pictures, first)
    n = x.shape[1]
    for layer in range(first, frozen.layers + 1):
        x = torch.cat([x[:, :n], blended(d.attribute_tokens, x, layer > first, x[:, n:])], dim=1)
        may = getattr(d, f"may_attend_{layer}")
        bias = torch.zeros_like(may, dtype=x.dtype).masked_fill(~may, -torch.inf).repeat(len(x), 1, 1)
        x = image_layers[layer - 1](x, attn_mask=bias)
    x, K = v.ln_post(x), len(d.text_tokens)
    features = torch.cat([x[:, :1] @ v.proj, x[:, n:] @ d.projection], dim=1)

    def inserted(layer, e):
        if layer < first:
            return e
        tokens = blended(d.text_tokens, e, layer > first, e[:, 1 : 1 + K])
        return torch.cat([e[:, :1], tokens, e[:, 1 + (K if layer > first else 0) :]], dim=1)

    text = text_feature(classes.prompts, inserted, shift=K)
    agree("DeAR", torch.einsum("f,pfc->pc", torch.softmax(d.fusion, 0), answers(features, text)))

# %%
by_hand = [title for title in order if title in checked]
print(f"{len(by_hand)} of {len(order)} methods by hand, largest difference {max(checked.values()):.0e}")
assert set(order) - set(by_hand) <= set(order[15:])  # but for methods of your own

# %% [markdown]
# ## 7 What each adds to its predecessor
#
# | method | to | adds |
# |---|---|---|
# | CoOp | CLIP | words are learned |
# | CoCoOp | CoOp | words depend on the picture |
# | ProGrad | CoOp | no step against zero-shot CLIP |
# | ATPrompt | CoOp | attribute words between learned ones |
# | TCP | CoOp | tokens from each class's frozen feature in a late layer; staying near it |
# | MaPLe | CoOp | tokens in both encoders, the picture's made of the text's |
# | PromptSRC | MaPLe | independent tokens; three losses towards frozen CLIP; parameters averaged over epochs |
# | ProVP | deep visual tokens | blended from layer to layer; pictures told apart as CLIP does |
# | PromptKD | PromptSRC | a teacher's answers on unlabelled pictures |
# | MMRL | MaPLe | tokens of one space in *upper* layers only; a second feature |
# | MMRL++ | MMRL | one map of low rank; β |
# | TAC | PromptSRC | tokens for groups of classes |
# | SkipT | all of them | nothing but upper layers, for less time |
# | DeAR | MMRL++ | a token per attribute; heads have roles, roles are masks; learned fusion |
#
# ## 8 In Table 2 here
#
# Where methods have records, their averages stand below, as many data sets and seeds as each has; the table with intervals is
# [notebook 06](06_base_to_novel.ipynb)'s. Methods are trained alike only there.

# %%
records, missing = opening.there(read_plan(p.profile, p.figures_root), [TABLE2])
if records:
    measured = tidy(records)
    measured = measured.replace({"method": {"ATPrompt (CoOp)": "ATPrompt"}})  # as the paper's table has it
    measured = measured[(measured.part == "test") & measured.method.isin(family)]
    means = measured.groupby(["method", "split"]).accuracy.mean().unstack("split").reindex([t for t in order if t in set(measured.method)])
    display(Markdown(means.to_markdown(floatfmt=".2f")))
else:
    print("No records of Table 2 here.")

# %% [markdown]
# ## What is true here
#
# Sizes and forms, no accuracies: whether DeAR does better than the others is a claim of the paper, judged with intervals in the
# [claims table](../figures/mini/claims.md).

# %%
trained = {t: sum(q.numel() for q in family[t].parameters()) for t in order}
both_sides = [t for t in order if {e.modality for e in family[t].enters} == {"image", "text"}]
found = {"methods": len(order), "checked": len(by_hand), "difference": max(checked.values()), "both": len(both_sides),
         "dear": trained["DeAR"], "most": max(trained, key=trained.__getitem__), "most_numbers": max(trained.values())}  # fmt: skip
file = write_numbers(p.figures_root / "16_numbers.csv", found)
display(from_numbers(file, "- {checked:.0f} of {methods:.0f} methods were computed by hand and agree to {difference:.0e}."))
display(from_numbers(file, (
    "- {both:.0f} enter both encoders. At the sizes that Table 2 trains here {most} trains most, {most_numbers:,.0f} numbers; "
    "DeAR {dear:,.0f}."
)))

# %% [markdown]
# **Misconception.** *"A method with tokens in more layers is stronger."* More layers cost more time a step; what they bring is
# measured on the same pictures with as many trials for each, with intervals.
#
# ## Exercises
#
# **1.** PromptSRC ends with parameters averaged over epochs, weighted by a normal density in the epoch's number. The weights, which add
# up to 1:

# %% tags=["exercise"]


def epoch_weights(epochs: int, mean: float, std: float) -> list[float]:
    """Of epochs 1 … epochs."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

check(epoch_weights, [
    ((1, 15.0, 1.0), [1.0], "one epoch has all the weight: divide by the sum"),
    ((3, 2.0, 1.0), [0.2741, 0.4519, 0.2741], "exp(−(e − mean)² / (2 std²)), epochs count from 1"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# import math
#
# def epoch_weights(epochs, mean, std):
#     w = [math.exp(-0.5 * ((e - mean) / std) ** 2) for e in range(1, epochs + 1)]
#     return [x / sum(w) for x in w]
# ```
#
# </details>

# %% [markdown]
# **2.** ProGrad's step: the gradient of the loss, without its part against the general direction where the two disagree.

# %% tags=["exercise"]
import torch


def agreeable(own: torch.Tensor, general: torch.Tensor) -> torch.Tensor:
    """`general`: the gradient that zero-shot CLIP's answers ask for."""
    ...


# %% tags=["check"]
x, y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
check(agreeable, [
    ((x + y, y), [1.0, 1.0], "they agree: the step stays"),
    ((x - y, y), [1.0, 0.0], "what goes against the general direction is taken out"),
    ((x - y, 5 * y), [1.0, 0.0], "the general gradient's length plays no part"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def agreeable(own, general):
#     along = (own * general).sum() / general.norm() ** 2
#     return own - along.clamp(max=0) * general
# ```
#
# </details>
#
# **A method of your own.** Copy `dearlib/methods/family/coop.py` to a new file there, change `title`, `enters` and `encode`, and run this
# notebook: it has a row in the chart and in the table. What would its form by hand be? With one more file, its parameters
# `params/mini/methods/NAME.yaml` that say `joins: [base_to_novel]` and a name for its `row`, `make table2` trains it and gives it a row in
# Table 2, in the table of what each method took, and a point in the picture of accuracy against cost.
