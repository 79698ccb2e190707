# %% [raw]
# # ASSIGNMENT CONFIG
# name: 05_experiment
# init_cell: true
# export_cell:
#   pdf: false
#   run_tests: true
# generate: true
# tests:
#   ok_format: false

# %% [markdown]
# # Assignment 5 · An experiment of your own
#
# **Question.** Does it matter *which* heads you take away? You state a hypothesis about roles, ablate, compare with a control,
# give an interval, and conclude what the data allow, no more.
#
# | | |
# |---|---|
# | You learn | mean-ablation · matched random controls · pairing · t intervals and sign flips · a verdict that can also be "absent" or "open" |
# | Paper | Section 3.2; Section 4's ablations ask the same kind of question |
# | Before | assignments 1 and 2; mean, standard deviation, confidence interval |
# | Time | 120 minutes; every cell runs in seconds, without a network |
# | Points | 45: 27 by tests, 18 for your experiment and its report |
#
# The first part builds five tools and is graded by tests. The second part is yours: there is no right outcome, and a hypothesis
# that the data contradict earns as much as one that they support. Write your code where you see `...`. The final grading of the
# tools uses other inputs than the checks.

# %%
import itertools

import torch
from PIL import Image
from scipy import stats

from dearlib import plots
from dearlib.clip.loading import load
from dearlib.datasets.world.scene import scene
from dearlib.datasets.world.vocabulary import FACTORS, phrase_pool
from dearlib.roles.heads import decompose
from dearlib.roles.textspan import textspan

clip = load("DeAR-Mini")
GROUPS, EACH = 8, 30
drawn = [scene(f"course5-{g}", g, i, kind="object") for g in range(GROUPS) for i in range(EACH)]
truth = [factors for _, factors in drawn]
pictures = torch.stack([clip.preprocess(Image.fromarray(picture)) for picture, _ in drawn])
group = torch.arange(GROUPS).repeat_interleave(EACH)  # eight independent draws of thirty scenes
parts = decompose(clip.visual, pictures)
total, heads = parts.total, parts.heads  # [picture, d], [picture, layer, head, d]
print(f"{len(pictures)} scenes in {GROUPS} groups; parts of {heads.shape[1]} layers x {heads.shape[2]} heads")

# %% [markdown]
# Each scene has an object, a color, a texture and a place, all known. A factor is *read* by comparing the image feature with one
# phrase for each value. And every head has a leading concept: the most frequent one of its six TextSpan phrases.

# %%
PHRASE = {"color": "the color {}", "texture": "{} texture", "object": "a photo of a {}", "location": "a view of the {}"}
words = {f: torch.nn.functional.normalize(clip.encode_text([p.format(v) for v in FACTORS[f]]), dim=1) for f, p in PHRASE.items()}
labels = {f: torch.tensor([FACTORS[f].index(t.value(f)) for t in truth]) for f in PHRASE}

pool = phrase_pool()[::4]
pool_features = torch.nn.functional.normalize(clip.encode_text([p for p, _ in pool]), dim=1)
found = textspan(heads[:, 8:].flatten(1, 2).transpose(0, 1), pool_features, rank=15, steps=6).indices
lists = [[pool[i][1] for i in row] for row in found]
leading = [max(named, key=lambda c, named=named: (named.count(c), -named.index(c))) for named in lists]  # of L9 to L12
print({c: leading.count(c) for c in FACTORS if c in leading})

# %% [markdown]
# ## 1 The tools

# %% [raw]
# # BEGIN QUESTION
# name: q1
# points: 3

# %% [markdown]
# **Question 1** (3 points). Write `correct`: for each picture, whether the phrase with the largest *cosine* is the right one.

# %% [raw]
# # BEGIN SOLUTION

# %%
def correct(features, words, labels):
    """features [picture, d], words [value, d], labels [picture] -> booleans [picture]."""
    # BEGIN SOLUTION
    unit = words / words.norm(dim=1, keepdim=True)
    return (features @ unit.T).argmax(dim=1) == labels
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_correct_by_hand(correct):
    import torch

    got = correct(torch.tensor([[2.0, 0], [0, 1], [3, 1]]), torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([0, 0, 0]))
    assert tuple(got.shape) == (3,), f"one answer for each of 3 pictures, you return {tuple(got.shape)}"
    assert got.dtype == torch.bool, "True where right, False where wrong: booleans"
    assert got.tolist() == [True, False, True], f"pictures 0 and 2 are nearest to phrase 0, picture 1 to phrase 1; got {got.tolist()}"

# %%
# HIDDEN
def test_correct_is_a_cosine(correct):
    import torch

    f, w, y = torch.randn(31, 5), torch.randn(7, 5) * torch.arange(1.0, 8)[:, None], torch.randint(7, (31,))
    expected = torch.nn.functional.cosine_similarity(f[:, None], w[None], dim=-1).argmax(1) == y
    assert torch.equal(correct(f, w, y), expected)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q2
# points: 5

# %% [markdown]
# **Question 2** (5 points). Write `ablated`: the features with the parts of the chosen heads replaced by their *mean over all
# pictures*. Not by zero: a constant part tells no picture from another, and taking it away would move all features at once.

# %% [raw]
# # BEGIN SOLUTION

# %%
def ablated(total, heads, chosen):
    """total [picture, d], heads [picture, layer, head, d], chosen [layer, head] booleans -> features [picture, d]."""
    # BEGIN SOLUTION
    varying = heads - heads.mean(dim=0)
    return total - varying[:, chosen].sum(dim=1)
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_nothing_chosen(ablated):
    import torch

    total, heads = torch.randn(5, 3), torch.randn(5, 2, 7, 3)
    got = ablated(total, heads, torch.zeros(2, 7, dtype=torch.bool))
    assert got.shape == total.shape, f"features as before, {tuple(total.shape)}; you return {tuple(got.shape)}"
    assert torch.allclose(got, total), "no head is chosen, so nothing may change"

# %%
def test_ablated_by_hand(ablated):
    import torch

    heads = torch.tensor([[[[1.0], [5]]], [[[3.0], [9]]]])
    total = heads.sum(dim=(1, 2))
    got = ablated(total, heads, torch.tensor([[True, False]])).flatten().tolist()
    assert got != [5, 9], "you put zero in the place of the head's part; put its mean over the pictures, (1 + 3) / 2 = 2"
    assert got == [7, 11], f"head 0 wrote 1 and 3, now 2 each: 5 + 2 and 9 + 2; got {got}"

# %%
# HIDDEN
def test_ablated_elsewhere(ablated):
    import torch

    from dearlib.roles.heads import mean_ablate

    total, heads, chosen = torch.randn(11, 5), torch.randn(11, 3, 7, 5), torch.rand(3, 7) < 0.4
    assert torch.allclose(ablated(total, heads, chosen), mean_ablate(total, heads, chosen), atol=1e-4)

# %%
# HIDDEN
def test_ablation_keeps_the_mean(ablated):
    import torch

    total, heads = torch.randn(13, 5), torch.randn(13, 2, 3, 5)
    got = ablated(total, heads, torch.ones(2, 3, dtype=torch.bool))
    assert torch.allclose(got.mean(0), total.mean(0), atol=1e-4)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# A drop after an ablation means little by itself: taking away *any* heads hurts. The control takes away as many heads of the same
# layers, drawn at random.

# %% [raw]
# # BEGIN QUESTION
# name: q3
# points: 4

# %% [markdown]
# **Question 3** (4 points). Write `matched`: a random choice with as many heads *in each layer* as `chosen` has there, drawn from
# the heads that are *not* chosen. If a layer has too few others, raise a `ValueError`.

# %% [raw]
# # BEGIN SOLUTION

# %%
def matched(chosen, seed):
    """chosen [layer, head] booleans -> another choice of the same shape, as many per layer, none of them in `chosen`."""
    # BEGIN SOLUTION
    generator = torch.Generator().manual_seed(seed)
    control = torch.zeros_like(chosen)
    for layer, row in enumerate(chosen):
        others = (~row).nonzero()[:, 0]
        if len(others) < row.sum():
            raise ValueError(f"layer {layer}: {int(row.sum())} heads chosen, {len(others)} others")
        control[layer, others[torch.randperm(len(others), generator=generator)[: int(row.sum())]]] = True
    return control
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_matched_counts(matched):
    import torch

    chosen = torch.tensor([[True, True, False, False, False], [False] * 5, [True] + [False] * 4])
    got = matched(chosen, 3)
    assert got.dtype == torch.bool and got.shape == chosen.shape, "booleans of the shape of `chosen`"
    assert got.sum(1).tolist() == [2, 0, 1], f"as many heads in each layer as chosen, 2, 0 and 1; you draw {got.sum(1).tolist()}"
    assert not (got & chosen).any(), "the control may hold none of the chosen heads"

# %%
def test_matched_is_random(matched):
    import torch

    chosen = torch.zeros(2, 13, dtype=torch.bool)
    chosen[:, :3] = True
    assert torch.equal(matched(chosen, 5), matched(chosen, 5)), "the same seed should give the same control"
    assert len({tuple(matched(chosen, s).flatten().tolist()) for s in range(6)}) > 1, "every seed gives the same control: draw with the seed's generator"

# %%
# HIDDEN
def test_matched_draws_all(matched):
    import torch

    chosen = torch.zeros(1, 7, dtype=torch.bool)
    chosen[0, 2] = True
    drawn = sum(matched(chosen, s).int() for s in range(60))[0]
    assert drawn[2] == 0 and drawn.sum() == 60
    assert (drawn > 0).sum() == 6

# %%
# HIDDEN
def test_matched_refuses(matched):
    import torch

    try:
        matched(torch.tensor([[True, True, False]]), 1)
    except ValueError:
        return
    raise AssertionError("two of three chosen: there is only one other head")

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# **Pairs and units.** Two conditions are compared on the *same* scenes, and what varies from group to group is the difference.
# Our unit is a group of scenes: compute the accuracy of each group under both conditions, subtract, and treat the eight
# differences as the sample. For $n$ differences with mean $m$ and standard deviation $s$ (divisor $n - 1$) the interval is $m \pm
# t_{n-1,\,(1+c)/2}\; s/\sqrt{n}$.

# %% [raw]
# # BEGIN QUESTION
# name: q4
# points: 5

# %% [markdown]
# **Question 4** (5 points). Write `by_group`, the accuracy of each group in percent, and `paired_interval`: mean, low and high of
# `a - b`. `stats.t.ppf` gives the quantile of t.

# %% [raw]
# # BEGIN SOLUTION

# %%
def by_group(right, group):
    """right [picture] booleans, group [picture] from 0 -> percent right in each group, [group]."""
    # BEGIN SOLUTION
    right = right.double()
    return torch.stack([100 * right[group == g].mean() for g in range(int(group.max()) + 1)])
    # END SOLUTION


def paired_interval(a, b, coverage=0.95):
    """The mean of a - b over units and its t interval: (mean, low, high), floats. a, b [unit]."""
    # BEGIN SOLUTION
    d = a - b
    n, mean = len(d), float(d.mean())
    half = float(stats.t.ppf((1 + coverage) / 2, n - 1)) * float(d.std()) / n**0.5
    return mean, mean - half, mean + half
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_by_group_by_hand(by_group):
    import torch

    got = torch.as_tensor(by_group(torch.tensor([True, False, True, True, True]), torch.tensor([0, 1, 0, 1, 1]))).double()
    assert tuple(got.shape) == (2,), f"two groups, you return {tuple(got.shape)}"
    assert abs(got[0] - 1) > 1e-6, "in percent, please: 100, not 1"
    assert abs(got[0] - 100) < 1e-4 and abs(got[1] - 200 / 3) < 1e-4, f"2 of 2 and 2 of 3 right are 100 and 66.7 percent; got {got.tolist()}"

# %%
def test_interval_by_hand(paired_interval):
    import torch

    mean, low, high = paired_interval(torch.tensor([3.0, 5, 7]), torch.tensor([2.0, 3, 4]), 0.95)
    assert abs(mean - 2) < 1e-5, f"differences 1, 2, 3 have mean 2; got {mean}"
    assert abs((high - low) / 2 - 1.96 * 3**-0.5) > 1e-2, "1.96 is for many units; with three the t quantile is 4.30"
    assert abs(low - (2 - 4.302653 / 3**0.5)) < 1e-3, f"2 - 4.303 · 1 / √3 = -0.484 is the lower end; got {low}"

# %%
# HIDDEN
def test_interval_elsewhere(paired_interval):
    import torch
    from scipy import stats

    a, b = torch.randn(11).double(), 3 * torch.randn(11).double()
    mean, low, high = paired_interval(a, b, 0.8)
    expected = stats.ttest_rel(a.numpy(), b.numpy()).confidence_interval(0.8)
    assert abs(low - expected.low) < 1e-4 and abs(high - expected.high) < 1e-4 and abs(mean - float((a - b).mean())) < 1e-4

# %%
# HIDDEN
def test_pairing_matters(paired_interval):
    import torch

    b = torch.tensor([10.0, 50, 90, 30])
    mean, low, high = paired_interval(b + torch.tensor([1.0, 1, 1, 1.4]), b)
    assert low > 0 and high < 2 and abs(mean - 1.1) < 1e-4

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q5
# points: 5

# %% [markdown]
# **Question 5** (5 points). A second opinion without t. If the two conditions did not differ, each difference would as well have
# had the other sign. Write `sign_flip_p`: of all $2^n$ ways to give the differences signs, the share whose mean is at least as
# far from 0 as the observed one (up to $10^{-9}$). Then set `smallest` to the smallest value it can have with **three** units, as
# a number.

# %% [raw]
# # BEGIN SOLUTION

# %%
def sign_flip_p(differences):
    """The two-sided exact p value of differences [unit] under sign flips."""
    # BEGIN SOLUTION
    d = torch.as_tensor(differences).double()
    signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=len(d))), dtype=torch.float64)
    flipped = (signs * d).mean(dim=1).abs()
    return float((flipped >= d.mean().abs() - 1e-9).double().mean())
    # END SOLUTION


smallest = 0.25  # SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_sign_flip_by_hand(sign_flip_p):
    import torch

    got = float(sign_flip_p(torch.tensor([1.0, 2.0])))
    assert abs(got - 0.25) > 1e-6, "two-sided: means as far BELOW 0 count as well"
    assert abs(got - 0.5) < 1e-6, f"(1, 2) and (-1, -2) of four ways are as far from 0: 0.5; got {got}"
    assert abs(float(sign_flip_p(torch.tensor([1.0, -1, 0]))) - 1) < 1e-6, "a mean of 0 is as near to 0 as can be: p is 1"

# %%
# HIDDEN
def test_sign_flip_elsewhere(sign_flip_p):
    from itertools import product

    import torch

    for d in ([3.0, 1, -2, 5, 4], [0.1] * 6, [2.0, -1, 7]):
        far = sum(abs(sum(s * x for s, x in zip(signs, d, strict=True))) >= abs(sum(d)) - 1e-9 for signs in product((1, -1), repeat=len(d)))
        assert abs(float(sign_flip_p(torch.tensor(d, dtype=torch.float64))) - far / 2 ** len(d)) < 1e-9

# %%
# HIDDEN
def test_smallest(smallest):
    assert abs(float(smallest) - 0.25) < 1e-9

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# **Four verdicts.** "Not significant" is no finding. Say beforehand which difference would be too small to matter, the `margin`.
# Then an interval is *larger* (all above 0), *smaller* (all below 0), *absent* (0 inside, and the whole interval within ±
# margin), or *open*.

# %% [raw]
# # BEGIN QUESTION
# name: q6
# points: 5

# %% [markdown]
# **Question 6** (5 points). Write `verdict`. It returns one of the four words. An interval that touches 0 contains it.

# %% [raw]
# # BEGIN SOLUTION

# %%
def verdict(low, high, margin):
    """'larger', 'smaller', 'absent' or 'open'."""
    # BEGIN SOLUTION
    if low > 0:
        return "larger"
    if high < 0:
        return "smaller"
    return "absent" if -margin < low and high < margin else "open"
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_verdict_signs(verdict):
    assert verdict(0.2, 3, 1) == "larger", "the whole interval is above 0"
    assert verdict(-3, -0.2, 1) == "smaller", "the whole interval is below 0"

# %%
def test_verdict_open_or_absent(verdict):
    assert verdict(-4, 6, 1) == "open", "-4 to 6 leaves everything possible, and says neither yes nor no"
    assert verdict(-0.4, 0.5, 1) == "absent", "-0.4 to 0.5 lies within ± 1: whatever the difference is, it is too small to matter"

# %%
# HIDDEN
def test_verdict_elsewhere(verdict):
    assert verdict(0, 0.5, 1) == "absent"
    assert verdict(0, 2, 1) == "open"
    assert verdict(-2, 0, 1) == "open"
    assert verdict(-0.5, 1.5, 1) == "open"
    assert verdict(0.1, 0.3, 1) == "larger"
    assert verdict(-0.3, -0.1, 1) == "smaller"

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 2 Your experiment
#
# Choose one hypothesis about the heads of L9 to L12. For instance: *heads whose leading concept is color are needed to read
# color, more than as many other heads of the same layers*. Or: *they are not needed to read texture*. Or one about a single
# layer, about concentrated heads against spread ones, about your own way to choose heads.

# %% [raw]
# # BEGIN QUESTION
# name: q7
# points: 4
# manual: true

# %% [markdown]
# **Question 7** (4 points, graded by hand). Before you compute anything, write down: (a) the hypothesis in one sentence, (b)
# which heads you take away, what the control is and what you measure, (c) the difference you expect, with its sign, and the
# margin below which it would not matter to you, (d) what outcome would speak *against* the hypothesis.
#
# *Points: 1 each. A hypothesis that no outcome could contradict gets none for (d).*

# %% [raw]
# # BEGIN SOLUTION

# %% [markdown]
# (a) Heads whose leading concept is color carry color: without them, color is read worse than without as many other heads of the
# same layers. (b) I take away all heads of L9 to L12 that lead with color, mean-ablated. The control is the mean over 20 matched
# random choices. I measure the percentage of scenes whose color is read rightly, in each of the eight groups. (c) I expect
# control minus ablated to be positive; less than 2 points would not matter to me. (d) An interval that lies below 0, or within ±
# 2.

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q8
# points: 7
# manual: true

# %% [markdown]
# **Question 8** (7 points, graded by hand). Run it. Use your tools; average the control over several seeds; compare on the eight
# groups. Print the mean difference, its interval, the p value of the sign flips and the verdict, and draw one figure that shows
# the eight pairs. Add one check that could show your experiment to be wrong (for instance: the same ablation on a factor that
# should *not* need these heads; one that is always read rightly can show nothing).
#
# *Points: 2 the ablation and control are what question 7 says; 2 pairs, units and interval are right; 1 the figure (axes, labels,
# chance or baseline); 2 the check and what it shows.*

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
chosen = torch.zeros(heads.shape[1], heads.shape[2], dtype=torch.bool)
for number, concept in enumerate(leading):
    chosen[8 + number // heads.shape[2], number % heads.shape[2]] = concept == "color"
few = chosen.sum(dim=1) * 2 <= heads.shape[2]
chosen &= few[:, None]  # a layer in which most heads lead with color has no control


def accuracy(factor, choice):
    return by_group(correct(ablated(total, heads, choice), words[factor], labels[factor]), group)


for factor in ("color", "texture", "location"):
    control = torch.stack([accuracy(factor, matched(chosen, s)) for s in range(20)]).mean(dim=0)
    without = accuracy(factor, chosen)
    mean, low, high = paired_interval(control, without)
    print(f"{factor}: {accuracy(factor, torch.zeros_like(chosen)).mean():.1f} % with all heads; control - ablated {mean:+.1f} [{low:+.1f}, {high:+.1f}], p {sign_flip_p(control - without):.3f}: {verdict(low, high, 2)}")
    if factor == "color":
        fig, ax = plots.figure(1, 1, size=(3.6, 2.8))
        ax.plot([0, 1], torch.stack([control, without]), color="#4477AA", marker="o")
        ax.axhline(100 / len(FACTORS[factor]), color="gray", linestyle=":", label="chance")
        ax.set(xticks=[0, 1], xticklabels=["control", "without color heads"], ylabel="color read rightly, %", xlim=(-0.3, 1.3), ylim=(0, 105))
        ax.legend()
# END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q9
# points: 7
# manual: true

# %% [markdown]
# **Question 9** (7 points, graded by hand). Report, in at most 250 words: what was asked, what was done, what came out (numbers
# with intervals and n), what follows, and what does not. Say what your experiment cannot show: the ablation removes direct
# effects alone, the model is small, the scenes are drawn, the heads were chosen on the scenes that you tested. Name the one
# experiment that you would do next.
#
# *Points: 2 the conclusion says what the interval says, and no more; 2 numbers complete; 2 at least two limits that matter for
# this conclusion, with what they could change; 1 the next experiment.*

# %% [raw]
# # BEGIN SOLUTION

# %% [markdown]
# A good report states the difference for color with its interval and n = 8 groups of 30 scenes, the verdict by the margin set
# beforehand, and the same for the factor that served as check. If color falls with both interval and verdict clear and the check
# does not, it says that *these heads' direct contributions* carry more of the color reading than those of as many others. It does
# not say that the heads do only this, nor that color could not be read without them (later heads may take over when the model is
# trained so), and it says that the heads were named on the same scenes, so the effect may be somewhat too large: the next
# experiment names them on other scenes. If the interval is wide, the report says "open", and what number of groups would narrow
# it.

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION
