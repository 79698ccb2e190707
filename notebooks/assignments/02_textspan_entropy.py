# %% [raw]
# # ASSIGNMENT CONFIG
# name: 02_textspan_entropy
# init_cell: true
# export_cell:
#   pdf: false
#   run_tests: true
# generate: true
# tests:
#   ok_format: false

# %% [markdown]
# # Assignment 2 · What does a head talk about, and could it be chance?
#
# **Question.** A head adds a vector to every picture's feature. Which words describe those vectors, how concentrated are the
# words, and how concentrated would words drawn at random be?
#
# | | |
# |---|---|
# | You learn | TextSpan as a greedy loop · Eq. 2 with a cosine · Concept Entropy by hand · thresholds · a null model · an interval |
# | Paper | Section 3.2, Eq. 2–4; TextSpan is Gandelsman et al. (ICLR 2024), Algorithm 1 |
# | Before | assignment 1 or lessons 01 and 02; variance, dot products, logarithms |
# | Time | 120 minutes; every cell runs in seconds, without a network |
# | Points | 40: 34 by tests, 6 for the written answer |
#
# The first half builds the measurement. The second half asks what it is worth: a number that says "this head is specialised"
# means little before you know which number a head without any preference would get. Write your code where you see `...`. The
# final grading uses other inputs than the checks.

# %%
import math

import torch
from PIL import Image

from dearlib import plots
from dearlib.clip.loading import load
from dearlib.datasets.world.scene import scene
from dearlib.datasets.world.vocabulary import FACTORS, phrase_pool
from dearlib.roles.heads import head_contributions

clip = load("DeAR-Mini")
pictures = torch.stack([clip.preprocess(Image.fromarray(scene("course", 2, i)[0])) for i in range(120)])
contributions = head_contributions(clip.visual, pictures, first_layer=9).flatten(1, 2).transpose(0, 1)  # [head, image, d_embed]
print(f"{len(contributions)} heads (L9 to L12), {contributions.shape[1]} pictures, parts of length {contributions.shape[2]}")

# %%
factors = list(FACTORS)
pool = phrase_pool()[::4]  # every fourth phrase is enough here
phrases, concept_of_phrase = [p for p, _ in pool], torch.tensor([factors.index(f) for _, f in pool])
text = torch.nn.functional.normalize(clip.encode_text(phrases), dim=1)
print(f"{len(phrases)} phrases about {len(factors)} concepts, for example: {', '.join(phrases[::17])}")

# %% [markdown]
# ## 1 TextSpan
#
# A head's contributions are $n$ vectors $x_1 \dots x_n$, one for each picture. Along a phrase $t$ they have coordinates $x_i
# \cdot t$. The phrase along which the coordinates *vary* most says most about what the head does: a constant tells no picture
# from another.

# %% [raw]
# # BEGIN QUESTION
# name: q1
# points: 3

# %% [markdown]
# **Question 1** (3 points). Write `spread`: the variance over pictures along every phrase. Divide by $n - 1$. The phrases keep
# their length.

# %% [raw]
# # BEGIN SOLUTION

# %%
def spread(x, text):
    """The variance of x [image, d] along each phrase of text [phrase, d]: [phrase]."""
    # BEGIN SOLUTION
    return (x @ text.T).var(dim=0)
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_spread_by_hand(spread):
    import torch

    x = torch.tensor([[1.0, 10], [3, 10], [5, 10]])
    got = spread(x, torch.tensor([[1.0, 0], [0, 1], [2, 0]]))
    assert tuple(got.shape) == (3,), f"3 phrases make 3 variances, you return {tuple(got.shape)}"
    assert got[1] == 0, "all pictures are 10 along the second phrase: that is large, but it does not vary"
    assert abs(got[0] - 8 / 3) > 1e-4, "1, 3, 5 deviate by 4 + 0 + 4 = 8 in squares: divide by n - 1, not by n"
    assert torch.allclose(got, torch.tensor([4.0, 0, 16])), f"expected 4, 0 and, because that phrase is twice as long, 16; got {got}"

# %%
# HIDDEN
def test_spread_elsewhere(spread):
    import torch

    x, text = torch.randn(11, 5) + 7, torch.randn(13, 5)
    centred = x - x.mean(0)
    assert torch.allclose(spread(x, text), ((centred @ text.T) ** 2).sum(0) / 10, rtol=1e-3, atol=1e-4)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q2
# points: 3

# %% [markdown]
# **Question 2** (3 points). What one phrase has said is not to be said again. Write `without`: rows of a matrix with everything
# along a direction taken out. The direction may have any length.

# %% [raw]
# # BEGIN SOLUTION

# %%
def without(rows, direction):
    """rows [row, d] minus their projections on `direction` [d]: every row is then orthogonal to it."""
    # BEGIN SOLUTION
    unit = direction / direction.norm()
    return rows - (rows @ unit)[:, None] * unit
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_without_by_hand(without):
    import torch

    got = without(torch.tensor([[3.0, 4, 5], [1, 1, 1]]), torch.tensor([0.0, 1, 0]))
    assert torch.equal(got, torch.tensor([[3.0, 0, 5], [1, 0, 1]])), "without direction (0, 1, 0) the middle column should be 0, the rest as it was"

# %%
def test_without_any_length(without):
    import torch

    rows, direction = torch.tensor([[3.0, 4]]), torch.tensor([2.0, 0])
    got = without(rows, direction)
    assert not torch.allclose(got, torch.tensor([[-9.0, 4]])), "divide the direction by its length before you project on it"
    assert torch.allclose(got, torch.tensor([[0.0, 4]])), f"without direction (2, 0), (3, 4) is (0, 4); got {got}"

# %%
# HIDDEN
def test_without_is_a_projection(without):
    import torch

    rows, direction = torch.randn(5, 7), 3 * torch.randn(7)
    once = without(rows, direction)
    assert (once @ direction).abs().max() < 1e-4
    assert torch.allclose(without(once, direction), once, atol=1e-5)
    assert torch.allclose(once, rows - (rows @ direction)[:, None] * direction / direction.square().sum(), atol=1e-5)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q3
# points: 6

# %% [markdown]
# **Question 3** (6 points). Write `textspan`. Centre the contributions. Then `steps` times: take the phrase with the largest
# spread, write down its number, and take its direction out of the contributions *and out of all phrases*. Return the numbers as a
# list, best first. (The published method first projects the phrases on the span of the contributions; here that is left out.)

# %% [raw]
# # BEGIN SOLUTION

# %%
def textspan(x, text, steps):
    """The numbers of `steps` phrases of text [phrase, d] that describe contributions x [image, d], best first."""
    # BEGIN SOLUTION
    x = x - x.mean(dim=0)
    chosen = []
    for _ in range(steps):
        best = int(spread(x, text).argmax())
        chosen.append(best)
        direction = text[best]
        x, text = without(x, direction), without(text, direction)
    return chosen
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_textspan_by_hand(textspan):
    import torch

    x = torch.tensor([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0]]) + torch.tensor([0.0, 0, 100])
    got = textspan(x, torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]]), 2)
    assert len(got) == 2, f"2 steps make 2 numbers, you return {got}"
    assert got[0] != 0, "phrase 0 points along what all pictures share (100): large, but it tells no picture from another"
    assert [int(i) for i in got] == [2, 1], f"the pictures vary most along phrase 2, then along phrase 1; you return {list(got)}"

# %%
def test_textspan_says_nothing_twice(textspan):
    import torch

    x = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    got = textspan(x, torch.tensor([[1.0, 0], [0.9, 0.1], [0, 0.5]]), 2)
    assert int(got[0]) == 0, "the pictures vary most along phrase 0"
    assert int(got[1]) == 2, "phrase 1 nearly repeats phrase 0: once phrase 0 is taken out of the phrases as well, little is left of it"

# %%
# HIDDEN
def test_textspan_is_dearlibs(textspan):
    import torch

    from dearlib.roles.textspan import textspan as kernel

    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        x = torch.randn(31, 7, generator=generator, dtype=torch.float64)
        phrases = torch.randn(17, 7, generator=generator, dtype=torch.float64)
        assert [int(i) for i in textspan(x, phrases, 5)] == kernel(x, phrases, rank=7, steps=5).indices[0].tolist()

# %%
# HIDDEN
def test_textspan_of_shifted_contributions(textspan):
    import torch

    generator = torch.Generator().manual_seed(5)
    x, phrases = torch.randn(13, 5, generator=generator).double(), torch.randn(11, 5, generator=generator).double()
    assert list(map(int, textspan(x, phrases, 3))) == list(map(int, textspan(x + 50, phrases, 3)))

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# What do heads of the model say? (By `dearlib`'s kernel, which does all heads at once; yours should agree on one of them.)

# %%
from dearlib.roles.textspan import textspan as all_heads

found = all_heads(contributions, text, rank=15, steps=6).indices  # [head, step]
for number in range(0, 48, 11):
    print(f"L{9 + number // 12} H{number % 12}:", "; ".join(phrases[i] for i in found[number]))

# %% [markdown]
# ## 2 Concepts and their entropy
#
# Eq. 2 puts each phrase into the concept whose centroid is nearest by **cosine**: $\mathrm{cat}(d_i) = \arg\max_j \cos(s_i, \bar
# s_j)$.

# %% [raw]
# # BEGIN QUESTION
# name: q4
# points: 3

# %% [markdown]
# **Question 4** (3 points). Write `nearest_concept`. Neither embeddings nor centroids need have length 1.

# %% [raw]
# # BEGIN SOLUTION

# %%
def nearest_concept(embeddings, centroids):
    """embeddings [phrase, d], centroids [concept, d] -> the number of each phrase's concept, [phrase]."""
    # BEGIN SOLUTION
    unit = centroids / centroids.norm(dim=1, keepdim=True)
    return (embeddings @ unit.T).argmax(dim=1)
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_nearest_by_angle(nearest_concept):
    import torch

    got = nearest_concept(torch.tensor([[1.0, 0.2], [0.1, 3]]), torch.tensor([[1.0, 0], [10, 30]]))
    assert tuple(got.shape) == (2,), f"2 phrases have 2 concepts, you return {tuple(got.shape)}"
    assert got.tolist() != [1, 1], "the long centroid wins everything: a cosine does not care for length, a dot product does"
    assert got.tolist() == [0, 1], f"by angle phrase 0 belongs to concept 0 and phrase 1 to concept 1; got {got.tolist()}"

# %%
# HIDDEN
def test_nearest_elsewhere(nearest_concept):
    import torch

    e, c = torch.randn(23, 5), torch.randn(7, 5) * torch.arange(1.0, 8)[:, None]
    expected = torch.nn.functional.cosine_similarity(e[:, None], c[None], dim=-1).argmax(1)
    assert torch.equal(nearest_concept(e, c), expected)

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# Eq. 3 counts: of a head's $N$ phrases, which share has concept $c_j$? Eq. 4 is the entropy of the shares, $H = -\sum_j P_j
# \log_2 P_j$, in bits, where $0 \log 0$ is 0. It is 0 if all phrases have one concept and $\log_2 k$ if all $k$ concepts come
# equally often.

# %% [raw]
# # BEGIN QUESTION
# name: q5
# points: 4

# %% [markdown]
# **Question 5** (4 points). Write `shares` and `entropy`. First compute by hand: six phrases, 3 of one concept, 2 of another and
# 1 of a third.

# %% [raw]
# # BEGIN SOLUTION

# %%
def shares(assigned, k):
    """Eq. 3: assigned [step] holds concept numbers from 0 to k - 1 -> the share of each concept, [k]."""
    # BEGIN SOLUTION
    return torch.bincount(assigned, minlength=k) / len(assigned)
    # END SOLUTION


def entropy(p):
    """Eq. 4 in bits, of shares p [k]; a share of 0 adds 0."""
    # BEGIN SOLUTION
    p = p[p > 0]
    return float(-(p * p.log2()).sum())
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_shares_of_all_concepts(shares):
    import torch

    got = shares(torch.tensor([2, 2, 0, 2]), 5)
    assert len(got) == 5, f"all 5 concepts have a share, those that never come a share of 0; you return {len(got)}"
    assert torch.allclose(torch.as_tensor(got).float(), torch.tensor([0.25, 0, 0.75, 0, 0])), f"expected 0.25, 0, 0.75, 0, 0; got {got}"

# %%
def test_entropy_by_hand(entropy):
    import math

    import torch

    got = float(entropy(torch.tensor([0.5, 0.5, 0.0])))
    assert not math.isnan(got), "0 · log 0 should be 0, and you have nan: leave shares of 0 out"
    assert abs(got - math.log(2)) > 1e-3, "this is in nats: the paper's entropy is in bits, with log2"
    assert abs(got - 1) < 1e-5, f"two concepts, half and half, are 1 bit; got {got}"

# %%
# HIDDEN
def test_entropy_elsewhere(entropy, shares):
    import math

    import torch

    assert abs(float(entropy(torch.full((7,), 1 / 7))) - math.log2(7)) < 1e-4
    assert abs(float(entropy(torch.tensor([0.0, 1.0, 0])))) < 1e-6
    expected = math.log2(6) - (3 * math.log2(3) + 2) / 6
    assert abs(float(entropy(torch.as_tensor(shares(torch.tensor([4, 4, 4, 1, 1, 0]), 7)))) - expected) < 1e-4

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# The paper names no thresholds. Ours are fractions of the largest possible entropy, $\log_2 k$: at or below `low` a head is
# specialised, *attribute* if its most frequent concept is one of the attributes and *other* if not; at or above `high` it is
# *generalization*; in between *mixed*.

# %% [raw]
# # BEGIN QUESTION
# name: q6
# points: 3

# %% [markdown]
# **Question 6** (3 points). Write `role`. It returns `"attribute"`, `"other"`, `"generalization"` or `"mixed"`.

# %% [raw]
# # BEGIN SOLUTION

# %%
def role(bits, top_concept, k, low, high, attributes):
    """The role of a head with entropy `bits` whose most frequent concept is `top_concept`; `low` and `high` are fractions of log2 k."""
    # BEGIN SOLUTION
    if bits <= low * math.log2(k):
        return "attribute" if top_concept in attributes else "other"
    return "generalization" if bits >= high * math.log2(k) else "mixed"
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_role_inside(role):
    kinds = ("color", "shape")
    assert role(0.5, "color", 8, 0.5, 0.8, kinds) == "attribute", "0.5 bit of 3 is below half of it, and color is an attribute"
    assert role(0.5, "letter", 8, 0.5, 0.8, kinds) == "other", "specialised, but letter is not among the attributes"
    assert role(2.0, "color", 8, 0.5, 0.8, kinds) == "mixed", "2 bits of 3 lie between 1.5 and 2.4"
    assert role(2.9, "letter", 8, 0.5, 0.8, kinds) == "generalization", "2.9 bits of 3 are above 0.8 · 3 = 2.4"

# %%
# HIDDEN
def test_role_at_the_ends(role):
    assert role(2.0, "a", 16, 0.5, 0.75, ("a",)) == "attribute"
    assert role(2.0, "b", 16, 0.5, 0.75, ("a",)) == "other"
    assert role(3.0, "a", 16, 0.5, 0.75, ("a",)) == "generalization"
    assert role(2.5, "a", 16, 0.5, 0.75, ("a",)) == "mixed"

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 3 How many values can an entropy take?
#
# A head has few phrases. With $N = 6$ of them the entropy cannot take *any* value: it depends only on how the six are divided
# among concepts, such as 3 + 2 + 1.

# %% [raw]
# # BEGIN QUESTION
# name: q7
# points: 4

# %% [markdown]
# **Question 7** (4 points). Write `possible_entropies`: all different entropies of `n` phrases over `k` concepts, as a sorted
# list, smallest first. Values closer than $10^{-9}$ are one value. (Divide `n` in all ways into at most `k` parts.)

# %% [raw]
# # BEGIN SOLUTION

# %%
def possible_entropies(n, k):
    """The different values that Eq. 4 can take for n phrases and k concepts, in bits, ascending."""
    # BEGIN SOLUTION
    def divided(rest, parts, largest):
        if rest == 0:
            yield ()
        elif parts:
            for first in range(min(rest, largest), 0, -1):
                for others in divided(rest - first, parts - 1, first):
                    yield (first, *others)

    values = sorted(-sum(c / n * math.log2(c / n) for c in counts) + 0.0 for counts in divided(n, k, n))
    return [v for i, v in enumerate(values) if i == 0 or v - values[i - 1] > 1e-9]
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_three_phrases(possible_entropies):
    import math

    got = possible_entropies(3, 5)
    assert len(got) == 3, f"three phrases divide as 3, as 2 + 1 and as 1 + 1 + 1: three values, you return {len(got)}"
    expected = [0, math.log2(3) - 2 / 3, math.log2(3)]
    assert all(abs(a - b) < 1e-6 for a, b in zip(got, expected, strict=True)), f"expected 0, 0.918, 1.585; got {got}"

# %%
def test_few_concepts(possible_entropies):
    assert len(possible_entropies(4, 2)) == 3, "four phrases over TWO concepts: 4, 3 + 1 and 2 + 2; 2 + 1 + 1 would need a third concept"

# %%
# HIDDEN
def test_more_phrases(possible_entropies):
    import math
    from itertools import product

    for n, k in ((6, 9), (5, 3), (7, 2)):
        counted = {tuple(sorted(choice.count(j) for j in set(choice))) for choice in product(range(min(n, k)), repeat=n)}
        values = sorted(-sum(c / n * math.log2(c / n) for c in counts) for counts in counted)
        distinct = [v for i, v in enumerate(values) if i == 0 or v - values[i - 1] > 1e-9]
        got = possible_entropies(n, k)
        assert len(got) == len(distinct)
        assert all(abs(a - b) < 1e-6 for a, b in zip(got, distinct, strict=True))

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 4 A null model
#
# Suppose a head had no preference at all, and its `steps` phrases were drawn from the pool at random, **without replacement**:
# TextSpan never names a phrase twice. Which entropies would it get? A small entropy is evidence of a preference only if such a
# head would rarely have one as small.

# %% [raw]
# # BEGIN QUESTION
# name: q8
# points: 4

# %% [markdown]
# **Question 8** (4 points). Write `null_entropies` (use `shares` and `entropy`, and a `torch.Generator` with the seed that is
# given) and `p_value`: how often chance is as low as what was observed, or lower, where the observed list itself counts as one
# more draw: $p = (1 + \#\{\text{null} \le \text{observed}\}) / (1 + \text{draws})$. Call two entropies equal if they differ by
# less than $10^{-6}$: rounding must not decide.

# %% [raw]
# # BEGIN SOLUTION

# %%
def null_entropies(concept_of_phrase, steps, draws, seed):
    """Entropies of `steps` phrases drawn without replacement, `draws` times: a tensor [draws]."""
    # BEGIN SOLUTION
    generator = torch.Generator().manual_seed(seed)
    k = int(concept_of_phrase.max()) + 1
    lists = [torch.randperm(len(concept_of_phrase), generator=generator)[:steps] for _ in range(draws)]
    return torch.tensor([entropy(shares(concept_of_phrase[chosen], k)) for chosen in lists])
    # END SOLUTION


def p_value(observed, null):
    """The share of draws, with the observation among them, that are as low as `observed` or lower."""
    # BEGIN SOLUTION
    as_low = int((null <= observed + 1e-6).sum())
    return (1 + as_low) / (1 + len(null))
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_null_draws(null_entropies):
    import math

    import torch

    got = torch.as_tensor(null_entropies(torch.tensor([0, 1, 2]), 3, 20, 7))
    assert tuple(got.shape) == (20,), f"20 draws make 20 entropies, you return {tuple(got.shape)}"
    assert torch.allclose(got.float(), torch.full((20,), math.log2(3)), atol=1e-4), (
        "three phrases of three concepts, all three drawn: the entropy is always log2 3. Do you put phrases back?"
    )

# %%
def test_p_value_by_hand(p_value):
    import torch

    null = torch.tensor([0.0, 1, 1, 2, 2, 2, 2, 2, 2])
    got = float(p_value(1.0, null))
    assert abs(got - 2 / 10) > 1e-6 and abs(got - 1 / 3) > 1e-6, "3 of 9 draws are 1 or lower; equal counts as low, and the observation is a tenth draw"
    assert abs(got - 0.4) < 1e-6, f"(1 + 3) / (1 + 9) is 0.4; got {got}"

# %%
# HIDDEN
def test_null_elsewhere(null_entropies):
    import torch

    from dearlib.roles.uncertainty import null_entropy

    concept = torch.tensor([0] * 11 + [1] * 7 + [2] * 5 + [3] * 2)
    mine = torch.as_tensor(null_entropies(concept, 5, 2000, 11)).double()
    kernel = null_entropy(concept, 5, 20000, seed=13)
    assert abs(mine.mean() - kernel.mean()) < 0.05
    assert abs(mine.std() - kernel.std()) < 0.04
    assert torch.equal(torch.as_tensor(null_entropies(concept, 5, 30, 3)), torch.as_tensor(null_entropies(concept, 5, 30, 3)))

# %%
# HIDDEN
def test_p_values_elsewhere(p_value):
    import torch

    assert abs(float(p_value(-1.0, torch.rand(19))) - 0.05) < 1e-6
    assert abs(float(p_value(0.5, torch.tensor([0.5 + 1e-8, 0.5 - 1e-8, 0.7]))) - 0.75) < 1e-6
    assert abs(float(p_value(9.0, torch.rand(6))) - 1) < 1e-6

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# The entropies of the model's heads beside what chance gives (again by `dearlib`, so that this cell works whatever you have
# written):

# %%
from dearlib.roles.entropy import concept_distribution, concept_entropy
from dearlib.roles.uncertainty import null_entropy

bits = concept_entropy(concept_distribution(concept_of_phrase[found], len(factors)))
chance = null_entropy(concept_of_phrase, steps=6, draws=5000, seed=1)
edge = chance.quantile(0.05)
bins = torch.linspace(0, 2.8, 15).tolist()
fig, ax = plots.figure(1, 1, size=(5.2, 2.6))
ax.hist([bits.tolist(), chance.tolist()], bins=bins, density=True, label=["heads of L9 to L12", "phrases drawn at random"])
ax.axvline(edge, color="black", linestyle=":", label="5 % quantile of chance")
ax.set(xlabel="Concept Entropy, bits", ylabel="density")
ax.legend()
print(f"{int((bits < edge).sum())} of {len(bits)} heads are below the null's 5 % quantile ({edge:.2f} bits)")

# %% [markdown]
# ## 5 An interval
#
# Another sample of pictures would give other phrases. How far would the entropy move? The bootstrap draws as many pictures as
# there are, **with replacement**, and measures anew; the middle 95 % of the values is a percentile interval.

# %% [raw]
# # BEGIN QUESTION
# name: q9
# points: 4

# %% [markdown]
# **Question 9** (4 points). Write `resampled`, which draws pictures anew (whole rows, with a `torch.Generator` of that seed), and
# `interval`, the percentile interval of samples: its ends are the quantiles $(1 - c)/2$ and $(1 + c)/2$.

# %% [raw]
# # BEGIN SOLUTION

# %%
def resampled(x, seed):
    """As many rows as x [image, d] has, drawn from its rows with replacement."""
    # BEGIN SOLUTION
    return x[torch.randint(len(x), (len(x),), generator=torch.Generator().manual_seed(seed))]
    # END SOLUTION


def interval(samples, coverage=0.95):
    """The percentile interval of samples [sample]: a pair of floats."""
    # BEGIN SOLUTION
    low, high = samples.quantile(torch.tensor([(1 - coverage) / 2, (1 + coverage) / 2], dtype=samples.dtype)).tolist()
    return low, high
    # END SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS

# %%
def test_resampled_rows(resampled):
    import torch

    x = torch.arange(30).view(10, 3).float()
    got = resampled(x, 1)
    assert tuple(got.shape) == (10, 3), f"as many pictures as before, [10, 3]; you return {tuple(got.shape)}"
    assert all(any(torch.equal(row, old) for old in x) for row in got), "every row should be a row of x, whole: draw pictures, not single numbers"
    drawn = [len({tuple(r) for r in resampled(x, s).tolist()}) for s in range(5)]
    assert min(drawn) < 10, "no picture ever comes twice: with replacement some do"

# %%
def test_interval_by_hand(interval):
    import torch

    low, high = interval(torch.arange(101.0), 0.9)
    assert low < high, "the lower end comes first"
    assert abs(low - 5) < 1e-3 and abs(high - 95) < 1e-3, f"the middle 90 % of 0, 1, …, 100 are 5 to 95; got {low}, {high}"

# %%
# HIDDEN
def test_resampled_seeds(resampled):
    import torch

    x = torch.randn(101, 2)
    assert torch.equal(resampled(x, 5), resampled(x, 5))
    assert not torch.equal(resampled(x, 5), resampled(x, 6))
    distinct = len({tuple(r) for r in resampled(x, 7).tolist()})
    assert 45 < distinct < 82

# %%
# HIDDEN
def test_interval_elsewhere(interval):
    import numpy as np
    import torch

    samples = torch.randn(57, generator=torch.Generator().manual_seed(1)).double()
    assert np.allclose(interval(samples), np.quantile(samples.numpy(), [0.025, 0.975]), atol=1e-6)
    assert np.allclose(interval(torch.full((7,), 3.0)), [3, 3])

# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [markdown]
# ## 6 In your own words

# %% [raw]
# # BEGIN QUESTION
# name: q10
# points: 6
# manual: true

# %% [markdown]
# **Question 10** (6 points, graded by hand). In at most 200 words, about the histogram above: (a) There are 48 heads. How many
# would you expect below the null's 5 % quantile, at most, if none had a preference? Compare with what was found, and say what
# follows and what does not. (b) Your answer to question 7 limits what thresholds can do with six phrases. How? (c) A fellow
# student writes: "Low entropy, so this head is important for the model." What is wrong?
#
# *Points: (a) 3: the expected number, the comparison, a conclusion about the heads together rather than about each. (b) 1. (c) 2:
# what entropy measures, and one way to measure importance.*

# %% [raw]
# # BEGIN SOLUTION

# %% [markdown]
# (a) At most 5 % of 48, so two or three at most (fewer, because an entropy takes few values and less than 5 % of chance lie
# strictly below the quantile). What was found beyond that says that heads as a group have preferences that phrases drawn at
# random have not; it does not say of any one head below the line that it has one, because one or two may be there by chance.
# Neither is a head above the line shown to have none. (b) Six phrases over nine concepts give only eleven values, so a threshold
# between two of them can be moved freely without any effect and then changes many heads at once. (c) Entropy says how
# concentrated a head's phrases are, not how much the head writes or what depends on it. Importance is measured by taking the head
# away: replace its part by its mean and see how much accuracy falls.

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION
