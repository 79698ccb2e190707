"""Every method's loss written from its equations: all columns, all tokens, open_clip's own layers, from pixels and words."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dearlib.clip.loading import FrozenClip

Change = Callable[[int, Tensor], Tensor]


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def blocks_of(clip: FrozenClip, tower: str) -> list:
    return list((clip.visual if tower == "image" else clip.model).transformer.resblocks)


def image(clip: FrozenClip, pictures: Tensor, change: Change = lambda _, x: x, blocks=None, mask=None) -> Tensor:
    """The states after the last layer. `change(l, x)` is what goes into layer l; at 0 into `ln_pre`."""
    v = clip.visual
    x = v.conv1(pictures).flatten(2).transpose(1, 2)
    x = torch.cat([v.class_embedding.expand(len(x), 1, -1), x], dim=1) + v.positional_embedding
    x = v.ln_pre(change(0, x))
    for layer, block in enumerate(blocks or blocks_of(clip, "image"), start=1):
        x = change(layer, x)
        x = block(x, attn_mask=mask(x.shape[1]) if mask else None)
    return x


def class_feature(clip: FrozenClip, x: Tensor) -> Tensor:
    return clip.visual.ln_post(x[:, 0]) @ clip.visual.proj


def text(clip: FrozenClip, texts: list[str], change: Change = lambda _, x: x, shift: int = 0, cut: int = 0, blocks=None) -> Tensor:
    """The states at the end of text, after the last layer. `change(0, x)` sees the words without positions."""
    tokens, m = clip.tokenize(texts), clip.model
    x = change(0, m.token_embedding(tokens))[:, : 77 + shift - cut]
    x = x + m.positional_embedding[: x.shape[1]]
    for layer, block in enumerate(blocks or blocks_of(clip, "text"), start=1):
        x = change(layer, x)
        x = block(x, attn_mask=torch.full((x.shape[1],) * 2, -torch.inf, dtype=x.dtype).triu(1))
    return x[torch.arange(len(x)), tokens.argmax(dim=1) + shift]


def text_feature(clip: FrozenClip, x: Tensor) -> Tensor:
    return clip.model.ln_final(x) @ clip.model.text_projection


def after_first(x: Tensor, tokens: Tensor, drop: int = 0) -> Tensor:
    """`tokens` after the first position, in place of `drop` old ones."""
    return torch.cat([x[:, :1], tokens.expand(len(x), -1, -1), x[:, 1 + drop :]], dim=1)


def at_end(x: Tensor, tokens: Tensor, drop: int = 0) -> Tensor:
    return torch.cat([x[:, : x.shape[1] - drop], tokens.expand(len(x), -1, -1)], dim=1)


def ce(clip, v, t, labels, scale=None):
    return F.cross_entropy((scale or clip.scale) * unit(v) @ unit(t).T, labels)


def words_first(clip, ctx, names, prefix):
    """Text features with `ctx` in place of the first words."""
    texts = [f"{prefix} {n}." for n in names]
    return text_feature(clip, text(clip, texts, lambda layer, x: after_first(x, ctx, len(ctx)) if layer == 0 else x))


def zero_shot(m, x, y, c, _):
    return ce(m.clip, m.clip.encode_image(x), m.clip.encode_text(c.prompts), y)


def coop(m, x, y, c, _):
    return ce(m.clip, m.clip.encode_image(x), words_first(m.clip, m.ctx, c.names, "a photo of a"), y)


def cocoop(m, x, y, c, _):
    v, logits = unit(m.clip.encode_image(x)), []
    for one in v:
        h = torch.relu(one @ m.meta[0].weight.T + m.meta[0].bias) @ m.meta[2].weight.T + m.meta[2].bias
        logits.append(m.clip.scale * one @ unit(words_first(m.clip, m.ctx + h, c.names, "a photo of a")).T)
    return F.cross_entropy(torch.stack(logits), y)


def atprompt(m, x, y, c, _):
    texts = [f"X X color X X shape X X {n}." for n in c.names]

    def change(layer, e):
        if layer:
            return e
        soft = [t.expand(len(e), -1, -1) for t in (m.attribute_ctx[0], m.attribute_ctx[1], m.ctx)]
        return torch.cat([e[:, :1], soft[0], e[:, 3:4], soft[1], e[:, 6:7], soft[2], e[:, 9:]], dim=1)

    return ce(m.clip, m.clip.encode_image(x), text_feature(m.clip, text(m.clip, texts, change)), y)


def prograd(m, x, y, c, _):
    """The two gradients, put together by hand; the loss is the cross-entropy."""
    v = m.clip.encode_image(x)
    logits = m.clip.scale * unit(v) @ unit(words_first(m.clip, m.ctx, c.names, "a photo of a")).T
    loss = F.cross_entropy(logits, y)
    zero_shot = torch.softmax(m.clip.scale * unit(v) @ unit(m.clip.encode_text(c.prompts)).T, dim=1)
    general = -(zero_shot * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
    (g,) = torch.autograd.grad(loss, [m.ctx], retain_graph=True)
    (h,) = torch.autograd.grad(general, [m.ctx])
    cosine = (g * h).sum() / g.norm() / h.norm()
    step = g - m.settings.lambda_ * (g * h).sum() / h.norm() ** 2 * h if cosine < 0 else g
    return loss.detach() + (m.ctx * step).sum() - (m.ctx * step).sum().detach()


def tcp(m, x, y, c, _):
    t0 = unit(m.clip.encode_text(c.prompts))
    hidden = t0 @ m.meta[0].weight.T + m.meta[0].bias
    each = (hidden * torch.sigmoid(1.702 * hidden)) @ m.meta[2].weight.T + m.meta[2].bias
    each = each.reshape(len(t0), 4, -1)

    def change(layer, e):
        return after_first(e, {0: m.ctx, 9: each}[layer], 4) if layer in (0, 9) else e

    t = text_feature(m.clip, text(m.clip, [f"X X X X {n}." for n in c.names], change))
    away = 1 - (unit(t) * t0).sum(dim=1).mean()
    return ce(m.clip, m.clip.encode_image(x), t, y) + 8 * away


def maple(m, x, y, c, _):
    def on_text(layer, e):
        if layer == 0:
            return after_first(e, m.ctx, 2)
        return after_first(e, m.deep[layer - 2], 2) if 2 <= layer <= 9 else e

    def on_image(layer, e):
        if layer == 0:
            return at_end(e, m.ctx @ m.project.weight.T + m.project.bias)
        if not 2 <= layer <= 9:
            return e
        p = m.project_deep[layer - 2]
        return at_end(e, m.deep[layer - 2] @ p.weight.T + p.bias, 2)

    t = text_feature(m.clip, text(m.clip, [f"a photo of a {n}." for n in c.names], on_text))
    return ce(m.clip, class_feature(m.clip, image(m.clip, x, on_image)), t, y)


def on_images(tokens, depth, extra=0):
    """Image tokens as PromptSRC has them."""
    n = tokens.shape[1]
    return lambda layer, e: at_end(e, tokens[0]) if layer == 0 else (at_end(e, tokens[layer - 1], n) if 2 <= layer <= depth else e)


def promptsrc(m, x, y, c, _):
    def on_text(layer, e):
        if layer == 0:
            return after_first(e, m.ctx, 4)
        return after_first(e, m.deep[layer - 2], 4) if 2 <= layer <= 9 else e

    t = unit(text_feature(m.clip, text(m.clip, [f"a photo of a {n}." for n in c.names], on_text)))
    v = unit(class_feature(m.clip, image(m.clip, x, on_images(m.image_tokens, 9))))
    templates = [m.clip.encode_text([s.format(n) for n in c.names]) for s in m.settings.templates]
    t0, v0 = unit(sum(templates) / len(templates)), unit(m.clip.encode_image(x))
    logits, frozen = (m.clip.scale * a @ b.T for a, b in ((v, t), (v0, t0)))
    p0 = torch.softmax(frozen, dim=1)
    kl = (p0 * (torch.log_softmax(frozen, dim=1) - torch.log_softmax(logits, dim=1))).sum() / logits.numel()
    return F.cross_entropy(logits, y) + 25 * (t - t0).abs().mean() + 10 * (v - v0).abs().mean() + kl


def provp(m, x, y, c, _):
    def change(layer, e):
        if layer == 0:
            return e
        return after_first(e, m.tokens[0]) if layer == 1 else after_first(e, 0.01 * e[:, 1:17] + 0.99 * m.tokens[layer - 1], 16)

    v = unit(class_feature(m.clip, image(m.clip, x, change)))
    told = v @ unit(m.clip.encode_image(x)).T
    return ce(m.clip, v, m.clip.encode_text(c.prompts), y) - torch.log_softmax(told, dim=1).diagonal().mean()


def shared_space(m, x, y, c, beta, maps, projection):
    """MMRL's and MMRL++'s loss, `maps(modality, layer)` giving a layer's tokens."""

    def change(modality):
        def at(layer, e):
            if layer < 6:
                return e
            new = maps(modality, layer)
            return after_first(e, new) if layer == 6 else after_first(e, beta * new + (1 - beta) * e[:, 1:6], 5)

        return at

    x_all = m.clip.visual.ln_post(image(m.clip, x, change("image")))
    v, rep = x_all[:, 0] @ m.clip.visual.proj, x_all[:, 1:6].mean(dim=1) @ projection
    t = text_feature(m.clip, text(m.clip, c.prompts, change("text"), shift=5))
    away = 2 - (unit(v) * unit(m.clip.encode_image(x))).sum(1).mean() - (unit(t) * unit(m.clip.encode_text(c.prompts))).sum(1).mean()
    return 0.7 * ce(m.clip, v, t, y, 100) + 0.3 * ce(m.clip, rep, t, y, 100) + m.settings.weight * away


def mmrl(m, x, y, c, _):
    def maps(modality, layer):
        p = (m.to_image if modality == "image" else m.to_text)[layer - 6]
        return m.space @ p.weight.T + p.bias

    return shared_space(m, x, y, c, 1.0, maps, m.projection)


def mmrl_plus(m, x, y, c, _):
    def maps(modality, layer):
        a, i = (m.to_image if modality == "image" else m.to_text), layer - 6
        return m.space @ (a.weight + a.left[i] @ a.right[i]).T + a.bias[i]

    return shared_space(m, x, y, c, m.settings.beta, maps, m.clip.visual.proj + m.left @ m.right)


def tac(m, x, y, c, chance):
    n, groups = len(m.clusters), {"text": m.to_text(m.clusters), "image": m.to_image(m.clusters)}
    k = n + 5

    def on_text(layer, e):
        own = m.ctx if layer <= 1 else m.deep[layer - 2]
        return after_first(e, torch.cat([groups["text"], own]), 0 if layer == 0 else k) if layer != 1 else e

    def on_image(layer, e):
        own = torch.cat([groups["image"], m.image_tokens[max(layer, 1) - 1]])
        return at_end(e, own, 0 if layer == 0 else k) if layer != 1 else e

    def mask(length):
        bias = torch.zeros(length, length, dtype=torch.float64)
        bias[1 : length - k, length - k : length - k + n] = -torch.inf
        return bias

    t = unit(text_feature(m.clip, text(m.clip, [f"a photo of a {s}." for s in c.names], on_text, shift=k, cut=k)))
    v = class_feature(m.clip, image(m.clip, x, on_image, mask=mask))
    v = unit(v * (torch.rand(v.shape, generator=chance) >= 0.3))
    plain = m.clip.encode_image(x[: len(x) // 4])  # in this test the first view stands for the plain picture
    v0 = unit(plain * (torch.rand(plain.shape, generator=chance) >= 0.3)).repeat(4, 1)
    t0 = unit(torch.stack([m.clip.encode_text(list(d)).mean(dim=0) for d in c.descriptions]))
    return F.cross_entropy(m.clip.scale * v @ t.T, y) + 20 * (t - t0).abs().mean() + 25 * (v - v0).abs().mean()


def skiptuning(m, x, y, c, _):
    v = image(m.clip, x, blocks=blocks_of(m.clip, "image")[:6] + list(m.image.blocks))
    v = unit(m.image.norm(v[:, 0]) @ m.image.projection)
    near = v.detach() @ unit(m.clip.encode_text(c.prompts)).T
    near[torch.arange(len(y)), y] = 10.0
    ranked = near.max(dim=0).values.argsort(descending=True)
    kept = sorted(ranked[r].item() for r in range(len(ranked)) if m.stays[r])
    t = text(m.clip, [c.prompts[i] for i in kept], blocks=blocks_of(m.clip, "text")[:6] + list(m.text.blocks))
    t = unit(m.text.norm(t) @ m.text.projection)
    return F.cross_entropy(m.clip.scale * v @ t.T, torch.tensor([kept.index(i) for i in y.tolist()]))


def promptkd(m, x, y, c, _):
    f = class_feature(m.clip, image(m.clip, x, on_images(m.image_tokens, 9)))
    f = f @ m.projector[0].weight.T + m.projector[0].bias
    f = (f - f.mean(0)) / (f.var(0, correction=0) + 1e-5).sqrt() * m.projector[1].weight + m.projector[1].bias
    f = torch.relu(f) @ m.projector[3].weight.T + m.projector[3].bias
    with torch.no_grad():
        teacher_v = class_feature(m.clip, image(m.clip, x, on_images(m.teacher.image_tokens, 9)))
        teacher_t = unit(m.teacher.encode(m.teacher.prepare(c)))
    student, teacher = (m.clip.scale * unit(a) @ teacher_t.T for a in (f, teacher_v))
    p = torch.softmax(teacher, dim=1)
    return 1000 * (p * (torch.log(p) - torch.log_softmax(student, dim=1))).sum() / student.numel()


def dear(m, x, y, c, _):
    """Eq. 7–19 with open_clip's own layers, masks as biases of every head."""
    d = m.model
    raw, beta, j = d.attribute_tokens, m.settings.beta, m.settings.first_layer
    state = image(m.clip, x, blocks=blocks_of(m.clip, "image")[: j - 1])
    n = state.shape[1]
    for layer, block in enumerate(blocks_of(m.clip, "image")[j - 1 :], start=j):
        state = at_end(state, raw if layer == j else beta * raw + (1 - beta) * state[:, n:], 0 if layer == j else len(raw))
        may = getattr(d, f"may_attend_{layer}")
        state = block(state, attn_mask=torch.zeros_like(may, dtype=x.dtype).masked_fill(~may, -math.inf).repeat(len(x), 1, 1))
    state = m.clip.visual.ln_post(state)
    features = torch.cat([(state[:, :1] @ m.clip.visual.proj), state[:, n:] @ d.projection], dim=1)

    def on_text(layer, e):
        if layer < j:
            return e
        k = len(d.text_tokens)
        return after_first(e, d.text_tokens) if layer == j else after_first(e, beta * d.text_tokens + (1 - beta) * e[:, 1 : 1 + k], k)

    t = text_feature(m.clip, text(m.clip, c.prompts, on_text, shift=len(d.text_tokens)))
    alpha = torch.softmax(d.fusion, dim=0)
    logits = (alpha[None, :, None] * (m.clip.scale * unit(features) @ unit(t).T)).sum(dim=1)
    v0, t0 = unit(m.clip.encode_image(x)), unit(m.clip.encode_text(c.prompts))
    away = 2 - (unit(features[:, 0]) * v0).sum(1).mean() - (unit(t) * t0).sum(1).mean()
    return F.cross_entropy(logits, y) + m.settings.lambda_reg * away - m.settings.lambda_fusion * torch.log(alpha[0])
