"""What holds by construction: where a method's own idea is switched off it is its neighbour, or CLIP."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import words_first
from role_maps import make_roles
from test_methods import CLASSES, NAMES, batch_of, images, loss_of, moved  # noqa: F401  (a fixture)

from dearlib.clip.cut import image_prefix
from dearlib.methods import catalogue
from dearlib.methods.family import skiptuning, tac
from dearlib.methods.family.prograd import projected
from dearlib.methods.harness import one_class_batches
from dearlib.methods.interface import Classes, Pictures
from dearlib.methods.tokens import image_states
from dearlib.roles.controls import uniform_roles


def build(key, clip, seed=1, **changes):
    roles = changes.pop("roles", None) or make_roles(clip)
    return catalogue.build(key, clip, CLASSES, changes, seed, roles=roles).double()


def answers(method, clip, pictures, split="base"):
    with torch.no_grad():
        return method.logits(batch_of(method, clip, pictures), method.encode(method.prepare(CLASSES)), split)


def zero_shot(clip, pictures):
    return answers(build("clip", clip), clip, pictures)


def test_skip_tuning_at_rate_0_is_clip(clip, images) -> None:  # noqa: F811
    """Its layers start as CLIP's; a step of no length leaves them there, a step of some does not."""
    method = build("skiptuning", clip)
    for rate in (0.0, 1e-2):
        torch.testing.assert_close(answers(method, clip, images), zero_shot(clip, images), rtol=1e-9, atol=1e-9)
        loss_of(method, batch_of(method, clip, images)).backward()
        torch.optim.SGD(method.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4).step()
    assert not torch.allclose(answers(method, clip, images), zero_shot(clip, images))


def test_prograd_started_from_words_with_a_comma_keeps_the_last_one_as_its_authors_do(clip, images) -> None:  # noqa: F811
    """Eight words are nine tokens: the first eight are learned behind zeros, "a" stays. Without a comma it is CoOp's prompt."""
    init = "a type of pet, a photo of a"
    method = build("prograd", clip, tokens=10, init=init)
    assert not method.ctx[:2].any()
    with torch.no_grad():
        expected = words_first(clip, method.ctx, NAMES, f"X X {init}")
        torch.testing.assert_close(method.encode(method.prepare(CLASSES)), expected, rtol=1e-9, atol=1e-9)
    plain, coop = build("prograd", clip), build("coop", clip)
    torch.testing.assert_close(plain.encode(plain.prepare(CLASSES)), coop.encode(coop.prepare(CLASSES)), rtol=0, atol=0)


def test_mmrl_plus_without_residuals_is_its_shared_map(clip, images) -> None:  # noqa: F811
    """Rank 0, β = 1: one linear map an encoder, its bias the same in every layer at the start, and CLIP's own projection."""
    method = build("mmrl_plus", clip, rank=0, projection_rank=0, beta=1.0)
    expected = F.linear(method.space, method.to_image.weight, method.to_image.bias[0])
    for tokens in method.to_image(method.space):
        torch.testing.assert_close(tokens[0], expected)
    v, rep = method.image_features(batch_of(method, clip, images))
    tokens = [expected[None]] * 7
    x = clip.visual.ln_post(image_states(clip, image_prefix(clip.visual, images, 6), tokens, [None] * 7))
    torch.testing.assert_close(v, x[:, 0] @ clip.visual.proj)
    torch.testing.assert_close(rep, x[:, 1:].mean(dim=1) @ clip.visual.proj)


def test_mmrl_plus_starts_at_rank_zero(clip, images) -> None:  # noqa: F811
    """B = 0: the residuals of any rank are nothing before training."""
    a, b = (build("mmrl_plus", clip, rank=r, projection_rank=r) for r in (4, 0))
    b.load_state_dict({k: v if v.shape == b.state_dict()[k].shape else b.state_dict()[k] for k, v in a.state_dict().items()})
    torch.testing.assert_close(answers(a, clip, images), answers(b, clip, images))


def test_cocoop_with_a_zero_meta_net_is_coop(clip, images) -> None:  # noqa: F811
    conditional, plain = build("cocoop", clip), build("coop", clip)
    with torch.no_grad():
        for p in conditional.meta.parameters():
            p.zero_()
        conditional.ctx.add_(0.3)
        plain.ctx.copy_(conditional.ctx)
    torch.testing.assert_close(answers(conditional, clip, images), answers(plain, clip, images))


def test_coop_started_from_words_reads_them(clip, images) -> None:  # noqa: F811
    """Before training it is CLIP with "a photo of a name."."""
    texts = clip.encode_text([f"a photo of a {n}." for n in NAMES])
    method = build("coop", clip)
    torch.testing.assert_close(method.encode(method.prepare(CLASSES)), texts)


def test_dear_under_all_generalization_has_constant_attribute_answers(clip, images) -> None:  # noqa: F811
    """s_a is the same for all pictures, so fused answers differ from the class feature's by a constant per class."""
    method = build("dear", clip, roles=uniform_roles("generalization", make_roles(clip)))
    fused, own = answers(method, clip, images), answers(method, clip, images, "transferred")
    rest = fused - method.model.alpha[0] * own
    torch.testing.assert_close(rest, rest[:1].expand_as(rest), rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        each = method.model.image_features(batch_of(method, clip, images).states)
    torch.testing.assert_close(each.attribute, each.attribute[:1].expand_as(each.attribute), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(each.cls, each.cls[:1].expand_as(each.cls), rtol=1e-3)


def test_mmrl_answers_base_classes_with_both_features_and_others_with_one(clip, images) -> None:  # noqa: F811
    method = moved(build("mmrl", clip))
    v, rep = method.image_features(batch_of(method, clip, images))
    t = F.normalize(method.encode(method.prepare(CLASSES)), dim=-1)
    one, two = (100 * F.normalize(x, dim=-1) @ t.T for x in (v, rep))
    torch.testing.assert_close(answers(method, clip, images, "base"), 0.7 * one + 0.3 * two)
    torch.testing.assert_close(answers(method, clip, images, "novel"), one)
    torch.testing.assert_close(answers(method, clip, images, "transferred"), one)


def test_patches_of_tac_do_not_look_at_clusters(clip, images) -> None:  # noqa: F811
    """With [CLS] kept from them too, the clusters would change nothing; as it is they reach it, and only it."""
    method = build("tac", clip)
    pictures = batch_of(method, clip, images)
    mask = method.may_attend(pictures.states.shape[1])
    n, k = pictures.states.shape[1], len(method.clusters)
    assert not mask[1:n, n : n + k].any()
    assert mask[0].all()
    assert mask[n:].all()
    assert mask[:, :n].all()


def test_tac_meets_new_classes_with_the_clusters_of_the_old(clip) -> None:
    """They are part of what is saved."""
    method = build("tac", clip)
    assert "clusters" in method.state_dict()
    new = Classes(names=("lamp", "shoe"))
    before = method.clusters.clone()
    method.encode(method.prepare(new))
    torch.testing.assert_close(method.clusters, before)


def test_centres_are_unit_vectors_of_separate_groups() -> None:
    e = torch.eye(4, dtype=torch.float64)
    points = F.normalize(torch.stack([e[0], e[0] + 0.1 * e[3], e[1], e[1] + 0.1 * e[3], e[2]]), dim=-1)
    found = tac.centres(points, 3)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(3, dtype=torch.float64))
    groups = (points @ found.T).argmax(dim=1).tolist()
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert len(set(groups)) == 3
    assert len(tac.centres(points[:2], 5)) == 2


def test_prograd_steps_aside_only_where_the_two_disagree() -> None:
    g, agree, against = (torch.tensor(x, dtype=torch.float64) for x in ([2.0, 0.0], [1.0, 5.0], [-1.0, 1.0]))
    assert projected(g, agree, 1.0) is g
    torch.testing.assert_close(projected(g, against, 1.0), torch.tensor([1.0, 1.0], dtype=torch.float64))
    assert (projected(g, against, 1.0) @ against).abs() < 1e-12
    torch.testing.assert_close(projected(g, against, 0.0), g)


def test_ranks_that_stay_by_hand() -> None:
    """Half of the classes always; then ever less; the last rank never."""
    s = skiptuning.Settings()
    many = torch.stack([skiptuning.ranks_that_stay(20, s, seed) for seed in range(300)]).double().mean(dim=0)
    assert many[:10].eq(1).all()
    assert many[10] == 1  # the exponential starts at 1
    assert many[19] == 0
    assert (many[11:].diff() <= 0.06).all()
    x = torch.linspace(0, 5, 10)[1]
    expected = (torch.exp(-x / 0.3) - torch.exp(torch.tensor(-5 / 0.3))) / (1 - torch.exp(torch.tensor(-5 / 0.3)))
    assert many[11].item() == pytest.approx(expected.item(), abs=0.08)
    assert skiptuning.ranks_that_stay(1, s, 0).all()
    assert skiptuning.ranks_that_stay(200, s, 0)[:50].all()
    assert skiptuning.ranks_that_stay(3, skiptuning.Settings(share=1.0), 0).all()


def test_a_batchs_own_classes_are_never_skipped(clip, images) -> None:  # noqa: F811
    method = build("skiptuning", clip)
    frozen = F.normalize(clip.encode_text(CLASSES.prompts), dim=-1)
    for label in range(len(NAMES)):
        labels = torch.full((4,), label)
        chosen = method.chosen(torch.randn(4, clip.d_embed, dtype=torch.float64), frozen, labels)
        assert label in chosen.tolist()
        assert chosen.tolist() == sorted(chosen.tolist())


@settings(max_examples=20, deadline=None)
@given(counts=st.lists(st.integers(4, 9), min_size=1, max_size=5), seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_batches_of_one_class(counts, seed, epoch) -> None:
    labels = torch.tensor([c for c, n in enumerate(counts) for _ in range(n)])
    made = one_class_batches(labels, 4, seed, epoch)
    assert all(len(labels[b].unique()) == 1 and len(b) == 4 for b in made)
    assert len(torch.cat(made).unique()) == sum(len(b) for b in made)
    assert sorted(int(labels[b[0]]) for b in made) == [c for c, n in enumerate(counts) for _ in range(n // 4)]
    again = one_class_batches(labels, 4, seed, epoch)
    assert all(torch.equal(a, b) for a, b in zip(made, again, strict=True))


def test_pictures_without_states_are_answered_from_their_features(clip) -> None:
    method = build("clip", clip)
    v = torch.randn(2, clip.d_embed, dtype=torch.float64)
    got = method.logits(Pictures(v.new_empty(2, 0, clip.d_model), v), method.prepare(CLASSES), "novel")
    torch.testing.assert_close(got, clip.scale * F.normalize(v, dim=-1) @ F.normalize(clip.encode_text(CLASSES.prompts), dim=-1).T)
