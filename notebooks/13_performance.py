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
# # 13 · Where every operation goes
#
# **Question.** A training step of DeAR moves a small part of CLIP's numbers, yet a plain loop puts whole pictures and whole prompts
# through all of CLIP for it, twice. How much of that work is needed, and what does leaving out the rest bring?
#
# | | |
# |---|---|
# | Before this | [05 · Training DeAR](05_training.ipynb); only in order, [12](12_paper_audit.ipynb) |
# | Paper | none of it: the paper gives no cost. Shapes are ViT-B/16's, weights random: they change no operation |
# | You will see | operations predicted and counted · time beside the machine's ceiling · attention kernels that lost · growth |
# | Reads | `figures/<hardware>/bench.csv`, which `make bench` measures; run records |
# | Writes | `13_numbers.csv`, `13_*.svg` and `.png` beside `bench.csv` |
# | Takes | 20 seconds and 1.5 GB of memory, opened first, on two cores of a server, no GPU; `make bench` itself twenty minutes |
# | After this | [14 · What will it cost?](14_cost.ipynb) |

# %% tags=["parameters"]
profile: str = "mini"
runs_root: str = "runs/mini"
figures_root: str = "figures/mini"
bench: str = "figures"  # bench.csv of each hardware lies in a folder of this one
repeats: int = 5  # of what is timed in this notebook

# %%
from statistics import median

import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

from dearlib import plots
from dearlib.bench import meters, ways
from dearlib.clip import attention
from dearlib.clip.loading import MINI
from dearlib.errors import InputError
from dearlib.methods.masks import layer_mask
from dearlib.params.reading import validated
from dearlib.study.records import RunRecord
from dearlib.study.takeaways import from_numbers, write_numbers

# %%
p = validated("13_performance", globals())
files = sorted(p.bench.glob("*/bench.csv"))
if not files:
    raise InputError(f"{p.bench}: expected a folder with bench.csv in it, got none; run `make bench` first")
measured = {f.parent.name: pd.read_csv(f) for f in files}
on_cpu = [name for name in measured if not name.startswith("nvidia")]
if not on_cpu:
    raise InputError(f"{p.bench}: expected a bench.csv of a CPU, got those of GPUs alone; run `make bench` without one")
here = measured[on_cpu[0]]
out = p.bench / on_cpu[0]
told = here.iloc[0]
print(f"{on_cpu[0]} · torch {told.torch} · {told.model} · a plain matrix product reaches {told.ceiling:.0f} GFLOP/s here")

# %% [markdown]
# ## 1. Counting by hand
#
# Nearly all work of a transformer is matrix products. A layer of width $D$ on $N$ tokens multiplies $12 D^2$ weights with each token
# (3 for queries, keys and values, 1 for the output, 8 in the MLP) and every pair of tokens twice with $D$ numbers; a
# multiplication with its addition counts as two operations. Going backward through a *frozen* layer costs the same once more: there are no
# gradients of weights to compute, only of states.


# %%
def layers(count, rows, tokens, width):
    """GFLOP of `count` layers forward, on `rows` sequences of `tokens`."""
    return count * rows * tokens * (24 * width**2 + 4 * tokens * width) / 1e9


B, C, K, A, J, L = 4, 50, 5, 5, 9, 12
N, D, T, W = 197, 768, 77, 512  # tokens and width of pictures, columns and width of text
picture = layers(L, B, N, D)  # the frozen teacher
own = layers(J - 1, B, N, D) + layers(L - J + 1, B, N + A, D)
back = layers(L - J + 1, B, N + A, D)
whole_text = layers(J - 1, C, T, W) + layers(L - J + 1, C, T + K, W)
back_text = layers(L - J + 1, C, T + K, W)
trained = A * D + K * W + D * W + A + 1  # tokens of both encoders, the attribute projection, fusion weights
plain = {"frozen teacher": picture, "pictures, forward": own, "pictures, backward": back}
plain |= {"text, forward": whole_text, "text, backward": back_text}
step = here[(here.part == "training step") & (here.batch == B)].set_index("way")
counted = step.gflop["straightforward"]
print(f"A step of the plain loop, batch {B}, {C} classes; it moves {trained:,} numbers")
print(f"counted while it ran: {counted:.0f} GFLOP; predicted {sum(plain.values()):.0f}, {sum(plain.values()) / counted:.2f} of that")
pd.Series(plain, name="GFLOP, predicted").round(0).to_frame()

# %% [markdown]
# ## 2. Leaving out, exactly
#
# Each of these changes no number beyond rounding (`tests/bench/test_bench.py` asserts that both ways train the same):
#
# 1. *Below layer J nothing is trained*: states that enter layer J are kept, and so is the teacher's feature of the same view.
# 2. *Attention in text is causal*: columns behind the longest prompt's end are never looked at.
# 3. *Prompts begin alike*: what stands before the class name is the same for all classes, and is computed once.
# 4. *The last layer is read in few places*: [CLS] and the attribute tokens; the end of text.
# 5. *The originals entering layer J are constants*: no gradient of their queries, keys and values is wanted.

# %%
prompts = ways.build(MINI, 1, C).text  # the benchmark's prompts: every CLIP has the same tokeniser
length, shared = prompts.states.shape[1], prompts.shared  # columns of the longest; of those, start of text and 'a photo of a'
own_text = length - shared
kept = [("as written", sum(plain.values()))]
upper, upper_text = layers(L - J + 1, B, N + A, D), layers(L - J + 1, C, T + K, W)
kept.append(("prefix kept", 2 * (upper + upper_text)))
cut_text = layers(L - J + 1, C, length + K, W)
kept.append(("text cut", 2 * (upper + cut_text)))
once = layers(L - J + 1, C, own_text, W) + layers(L - J + 1, 1, shared + K, W)
kept.append(("shared text once", 2 * (upper + once)))
last = B * (2 * (N + A) * 2 * D**2 + (A + 1) * (24 - 4) * D**2) / 1e9  # keys and values of all, the rest of six tokens
last_text = C * (2 * own_text * 2 * W**2 + 20 * W**2) / 1e9
pruned = layers(L - J, B, N + A, D) + last + layers(L - J, C, own_text, W) + last_text
kept.append(("last layer read only", 2 * pruned))
kept.append(("no gradient of constants", 2 * pruned - B * N * 6 * D**2 / 1e9))
fig, ax = plots.figure(size=(7.6, 2.8))
plots.counted_bars(ax, [n for n, _ in kept], [g for _, g in kept], step.gflop["fast"], "GFLOP a step")
plots.save(fig, out, "13_operations")

# %%
print(f"predicted {kept[0][1]:.0f} → {kept[-1][1]:.0f} GFLOP; counted {counted:.0f} → {step.gflop['fast']:.0f}, "
      f"{counted / step.gflop['fast']:.1f} times fewer")  # fmt: skip

# %% [markdown]
# ## 3. Does the time follow?
#
# Both ways, timed in turn in one run; medians. The losses of the two agree along twenty steps of training to the number printed.


# %%
def shown(rows, columns=("way", "batch", "classes", "gflop", "seconds", "gflop_per_second", "share_of_ceiling", "peak_gb")):
    """The measurements as a table to read."""
    names = {"gflop_per_second": "GFLOP/s", "share_of_ceiling": "of ceiling", "peak_gb": "peak GB"}
    return rows[list(columns)].rename(columns=names).round(3)


steps = here[here.part == "training step"]
shown(steps)

# %%
for batch, own in steps.groupby("batch"):
    by = own.set_index("way")
    print(f"batch {batch}: {by.seconds['straightforward'] / by.seconds['fast']:.1f} times faster, at {by.share_of_ceiling['fast']:.0%} of "
          f"the ceiling, peak {by.peak_gb['fast']:.2f} GB (the plain loop: {by.peak_gb['straightforward']:.2f})")  # fmt: skip
print(f"losses differ by at most {told.losses_differ:.0e}")

# %%
timed = here[(here.part == "training step") | (here.way == "plain encode_image")].copy()
timed["name"] = timed.way + timed.batch.map(" ({})".format)
fig, ax = plots.figure(size=(6.8, 3.6))
plots.roofline(ax, timed.gflop, timed.seconds, timed.name, told.ceiling)
plots.save(fig, out, "13_roofline")

# %% [markdown]
# A point on the line is as fast as the machine multiplies matrices; its distance above the line is what memory, small products and
# everything that is not a product cost. In brackets the batch; other ways of encoding lie beside the plain one and stand in section 5.
#
# The peak is that of a whole process, PyTorch's own libraries included. Weights are mapped from their file, not copied: the vision layers
# below J, which nothing runs once the prefix is kept, never enter memory.
#
# ## 4. A whole run
#
# Sixteen pictures of each of 25 classes, ten epochs with a view of their own each. One step in fifty was run; every cost is
# proportional to that.

# %%
run = here[here.part == "whole run"].set_index("way")
for way, row in run.iterrows():
    times, fewer = run.loc["straightforward", ["seconds", "gflop"]] / row[["seconds", "gflop"]]
    than = "" if way == "straightforward" else f": {times:.1f} times faster with {fewer:.1f} times fewer operations"
    print(f"{way}, {row.seconds / 60:.1f} minutes and {row.gflop / 1e3:.0f} TFLOP{than}")

# %% [markdown]
# Making the prefix costs as much as one plain pass of every view, and with a view an epoch every view is used once by a run. So a single
# run gains less than its steps do. Every further run on the same pictures (another seed of the tokens, another role map, other λ) finds
# the prefix made.
#
# `cache_dtype: float16` or `bfloat16` keeps the states on half the disk. They are computed in single precision all the same and rounded
# once, so that the features, which teach and answer zero-shot, do not depend on it.
#
# ## 5. Analysis and inference

# %%
encoding = here[here.part.isin(["image encoding", "TextSpan"])]
shown(encoding, ("part", "way", "batch", "gflop", "seconds", "share_of_ceiling", "peak_gb"))

# %%
by = encoding.set_index("way").seconds
for way in ("head contributions", "DeAR image features"):
    print(f"{way}: {by['plain encode_image'] / by[way]:.2f} × the pictures a second of plain encoding")

# %% [markdown]
# What keeps every head's contribution cheap: only the [CLS] row of late layers is asked for; nothing of size
# tokens × tokens × heads × width ever exists.
#
# ## 6. Attention: what was tried
#
# A mask per head can be met in several ways. All of them give the reference's result; forward and backward are timed here on a layer of
# the paper's shape (batch 8, 12 heads, 197 + 5 tokens of 64 dimensions).

# %%
torch.manual_seed(0)
roles = ways.example_roles(ways.build(MINI, 1, 1).model.clip)
may = layer_mask(roles, 9, N)  # [head, query, key], twelve heads as in ViT-B/16
bias = attention.additive(may, torch.float32)[None]
shape = (8, 12, N + A, 64)
query, key, value, towards = (torch.randn(shape, requires_grad=i < 3) for i in range(4))


def by_hand(q, k, v):
    """Two products with a softmax between them."""
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.mT + bias, dim=-1) @ v


def grouped(q, k, v):
    """No mask: shielded heads attend among originals and among tokens apart; other heads to the keys that they may see."""
    out = torch.empty_like(q)
    for h in range(q.shape[1]):
        one = [t[:, h : h + 1] for t in (q, k, v)]
        if not may[h, 0, N:].any() and not may[h, N, :N].any():
            first, rest = ([t[:, :, s] for t in one] for s in (slice(N), slice(N, None)))
            mixed = [F.scaled_dot_product_attention(*part) for part in (first, rest)]
            out[:, h : h + 1] = torch.cat(mixed, dim=2)
        else:
            seen = may[h, 0].nonzero()[:, 0]
            out[:, h : h + 1] = F.scaled_dot_product_attention(one[0], one[1][:, :, seen], one[2][:, :, seen])
    return out


# %%
kernels = {
    "fused, no mask (not the same)": lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    "fused, mask as bias": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=bias),
    "two products by hand": by_hand,
    "grouped heads, no mask": grouped,
}
expected = torch.autograd.grad((attention.reference(query, key, value, may[None]) * towards).sum(), (query, key, value))
for kernel in list(kernels.values())[1:]:
    found = kernel(query, key, value)
    torch.testing.assert_close(found, attention.reference(query, key, value, may[None]), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(torch.autograd.grad((found * towards).sum(), (query, key, value)), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
print(f"{', '.join(list(kernels)[1:])}: equal to the reference, forward and backward")


# %%
def timed_kernels(q, k, v, towards, chosen):
    """Median milliseconds of forward and backward."""
    runs = {n: (lambda f=f: torch.autograd.grad((f(q, k, v) * towards).sum(), (q, k, v))) for n, f in chosen.items()}
    return {n: 1e3 * median(s) for n, s in meters.interleaved(runs, p.repeats).items()}


wide = timed_kernels(query, key, value, towards, kernels)
small = [torch.randn(28, 12, 70, 12, requires_grad=i < 3) for i in range(4)]  # DeAR-Mini's shape, seven runs of four pictures
bias = torch.zeros(1, 12, 70, 70)
narrow = timed_kernels(*small, {n: f for n, f in kernels.items() if "grouped" not in n})
fig, axes = plots.figure(1, 2, size=(9.6, 2.4))
plots.ranked_bars(axes[0], wide, "ms, heads of 64 dimensions")
plots.ranked_bars(axes[1], narrow, "ms, heads of 12 dimensions")
plots.save(fig, out, "13_attention")

# %%
fastest = {}
for dimensions, times in ((64, wide), (12, narrow)):
    exact = {n: t for n, t in times.items() if "not the same" not in n}
    first, second = sorted(exact, key=exact.get)[:2]
    fastest[dimensions] = first, second, 100 * (exact[second] / exact[first] - 1)
    print(f"{dimensions} dimensions: {first} is fastest, {second} takes {fastest[dimensions][2]:.0f} % longer")
try:
    from torch.nn.attention.flex_attention import flex_attention

    flex_attention(query, key, value, score_mod=lambda score, b, h, i, j: score + 0)
    print("FlexAttention trains on this device")
except NotImplementedError as error:
    print(f"FlexAttention: {error}")

# %% [markdown]
# `attention.attend` chooses by device and width of a head, in one place. On a GPU a bias rules out the flash kernel, so there the choice
# may fall otherwise; see the last section.
#
# ## 7. Growth
#
# One setting at a time around batch 4, 50 classes, $K = 5$, $J = 9$, one run; one axis of seconds for all.

# %%
growth = here[here.part == "growth"]
base = {"batch": B, "classes": C, "k": K, "first_layer": J, "runs": 1}
fast = step.loc["fast"]
fig, axes = plots.figure(1, 5, size=(12, 2.6), sharey=True)
titles = {"batch": "pictures a batch", "classes": "classes", "k": "text tokens K", "first_layer": "first layer J", "runs": "runs together"}
for ax, (name, title) in zip(axes, titles.items(), strict=True):
    rest = [c for c in base if c != name]
    rows = growth[(growth[rest] == pd.Series(base)[rest]).all(axis=1)]
    line = pd.concat([rows[[name, "seconds"]], pd.DataFrame({name: [base[name]], "seconds": [fast.seconds]})]).sort_values(name)
    plots.growth_line(ax, line[name], line.seconds, title)
axes[0].set(ylabel="seconds a step", ylim=(0, 1.1 * growth.seconds.max()))
plots.save(fig, out, "13_growth")

# %%
runs = growth[growth.runs > 1].set_index("runs").seconds
each = {1: fast.seconds, **{n: s / n for n, s in runs.items()}}
print("Runs that share a batch, seconds a step and run: " + ", ".join(f"{n:.0f}: {s:.3f}" for n, s in each.items()))

# %% [markdown]
# DeAR-Mini's steps are small. What does stacking runs bring there?

# %%
alone = {}
for count in (1, 3, 12):
    made = ways.build(MINI, 4, 6, runs=count)
    seconds = meters.interleaved({"step": lambda made=made: ways.step(made.fast, made.stack)}, p.repeats)["step"]
    alone[count] = 1e3 * median(seconds) / count
print("DeAR-Mini, milliseconds a step and run: " + ", ".join(f"{n} together {t:.1f}" for n, t in alone.items()))

# %% [markdown]
# ## 8. Where a reproduction's training time goes
#
# By the seconds a step that each record keeps. A job's own clock would not do: whatever an earlier start had finished, its last one only
# read.

# %%
records = [RunRecord.load(f) for f in sorted((p.figures_root / "records").glob("*-*.json"))]
spent = [
    {"group": r.group, "job": r.dataset, "runs": len(r.runs[run]["seeds"]), "seconds": cost.steps * (cost.seconds_per_step or 0)}
    for r in records
    for run, cost in r.costs.items()
]
spent = pd.DataFrame(spent, columns=["group", "job", "runs", "seconds"])
spent["seconds"] *= spent["runs"]
by_group = spent.groupby("group").agg(jobs=("job", "nunique"), runs=("runs", "sum"), minutes=("seconds", lambda s: s.sum() / 60))
by_group["seconds a run"] = 60 * by_group.minutes / by_group.runs
by_group.round(1)

# %%
if by_group.minutes.sum() > 0:
    heaviest, minutes = by_group.minutes.idxmax(), by_group.minutes.sum()
    print(f"{minutes:.0f} minutes of training in {by_group.jobs.sum()} jobs, {by_group.minutes.max() / minutes:.0%} of it for {heaviest}.")
else:
    print("No run records at hand: `make reproduce` makes them.")

# %% [markdown]
# ## 9. On a GPU

# %%
gpus = {name: table for name, table in measured.items() if name.startswith("nvidia")}
for name, table in gpus.items():
    display(Markdown(f"**{name}**"), shown(table[table.part.isin(["training step", "image encoding"])]))
if not gpus:
    print("Not measured: no bench.csv of a GPU is at hand. On a machine with one, `make bench` writes it (bfloat16, compiled, graphed).")

# %% [markdown]
# ## What is true here
#
# Of one machine and one shape: operations hold anywhere, seconds hold there, and a few per cent between two kernels may fall otherwise the
# next time: no interval was measured. None of this is a claim of the paper, so none of it is in the
# [claims table](../figures/mini/claims.md).

# %%
whole = {way: run.seconds["straightforward"] / run.seconds[way] for way in ("fast, prefix included", "fast, on a kept prefix")}
speed = steps.pivot(index="batch", columns="way", values="seconds")
(w1, w2, w_more), (n1, n2, n_more) = fastest[64], fastest[12]
ended = step.gflop["fast"]
found = {"hardware": on_cpu[0], "batch": B, "classes": C, "trained": trained, "plain": counted, "fast": ended, "fewer": counted / ended,
         "predicted": 100 * sum(plain.values()) / counted, "fast_predicted": 100 * kept[-1][1] / ended,
         **{f"faster_{batch}": row.straightforward / row.fast for batch, row in speed.iterrows()},
         "whole": whole["fast, prefix included"], "again": whole["fast, on a kept prefix"],
         "heads": by["plain encode_image"] / by["head contributions"], "w1": w1, "w2": w2, "w_more": w_more, "n1": n1, "n2": n2,
         "n_more": n_more}  # fmt: skip
found |= {"timings": told.repeats, "here": p.repeats}
file = write_numbers(out / "13_numbers.csv", found)

# %%
display(from_numbers(file, (
    "- A step of batch {batch:.0f} with {classes:.0f} classes moves {trained:,.0f} numbers. Plainly written it takes {plain:.0f} GFLOP "
    "({predicted:.0f} % of them predicted), from a kept prefix {fast:.0f} ({fast_predicted:.0f} %): {fewer:.1f} times fewer."
)))
display(from_numbers(file, (
    "- On {hardware}, by medians of {timings:.0f} timings, the step is {faster_4:.1f} times as fast, with a batch of 32 {faster_32:.1f} "
    "times; a whole run, timed once and in part, {whole:.1f} times with its prefix to make, {again:.1f} times where it is made."
)))
display(from_numbers(file, "- Every head's contribution: {heads:.2f} × the pictures a second of plain encoding, by the same medians."))
display(from_numbers(file, (
    "- Exact attention, medians of {here:.0f} timings in this notebook, heads of 64 dimensions: *{w1}* is fastest, *{w2}* takes "
    "{w_more:.0f} % longer; of 12: *{n1}*, then *{n2}*, {n_more:.0f} % longer."
)))

# %% [markdown]
# **Misconception.** *"A masked entry costs nothing."* A mask of $-\infty$ is added to scores that were computed, and multiplied with values
# that are there: it takes away no operation. Only what is never asked for (a row, a column, a layer) is saved.
#
# ## Exercises
#
# Each stub is checked by the cell below it. Nothing is written.
#
# **1.** The operations of one layer, forward, on one sequence: $12 D^2$ weights for each token, and every pair of tokens twice.

# %% tags=["exercise"]
def layer_operations(tokens: int, width: int) -> int:
    """A multiplication and its addition count as two."""
    ...


# %% tags=["check"]
from dearlib.teach.exercises import check

check(layer_operations, [
    ((1, 1), 28, "12 weights make 24 operations; the one pair, the token with itself, is met twice: 2 · 2 more"),
    ((1, 10), 2440, "weights grow with the width squared, a pair's products with the width"),
    ((10, 1), 640, "weights grow with the tokens, pairs with the tokens squared"),
    ((3, 2), 360, "24 · 3 · 4 + 4 · 9 · 2"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def layer_operations(tokens, width):
#     return 24 * tokens * width**2 + 4 * tokens**2 * width
# ```
#
# </details>

# %% [markdown]
# **2.** A prefix costs `prefix` once; from it a run costs `fast`, without it `plain`. The least number of runs for which making the prefix
# pays:

# %% tags=["exercise"]
def runs_that_pay(prefix: float, plain: float, fast: float) -> int:
    """Together they must cost less than as many plain runs."""
    ...


# %% tags=["check"]
check(runs_that_pay, [
    ((100.0, 250.0, 50.0), 1, "one run already gains 200"),
    ((100.0, 60.0, 20.0), 3, "each run gains 40, and two do not make up 100"),
    ((100.0, 70.0, 20.0), 3, "two runs gain exactly 100: not less yet"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# def runs_that_pay(prefix, plain, fast):
#     return int(prefix // (plain - fast)) + 1
# ```
#
# </details>

# %% [markdown]
# **3.** From how many classes on does text cost at least as much as the pictures? One picture and one class's prompt cost what exercise 1
# says.

# %% tags=["exercise"]
def classes_as_costly(pictures: int, picture_cost: float, prompt_cost: float) -> int:
    """The least number of prompts."""
    ...


# %% tags=["check"]
check(classes_as_costly, [
    ((4, 3.0, 2.0), 6, "4 pictures cost 12, and 6 prompts do"),
    ((4, 3.0, 5.0), 3, "two prompts cost 10, less than 12"),
])  # fmt: skip

# %% [markdown] tags=["solution"]
# <details><summary>A solution</summary>
#
# ```python
# import math
#
# def classes_as_costly(pictures, picture_cost, prompt_cost):
#     return math.ceil(pictures * picture_cost / prompt_cost)
# ```
#
# </details>
#
# **To think about.** What would $J = 5$ cost in time and in disk, and which of the savings of section 2 grow with it?
