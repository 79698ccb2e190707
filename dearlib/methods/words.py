"""Learned words: vectors in place of the words of a prompt, and where the methods' first words come from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from dearlib.clip.cut import TextStates
from dearlib.clip.loading import FrozenClip
from dearlib.errors import InputError


def blanks(count: int) -> str:
    """As many one-token words as there will be vectors in their place."""
    return " ".join(["X"] * count)


def word_vectors(clip: FrozenClip, words: str, count: int) -> Float[Tensor, "count d_text"]:
    """CLIP's embeddings of the first `count` tokens of `words`, without positions.

    Raises:
        InputError: `words` has fewer tokens, its end included.
    """
    tokens = clip.tokenize([words])[0]
    if int(tokens.argmax()) < count:
        raise InputError(f"words: expected at least {count} tokens to start from, got {words!r}; use fewer tokens or longer words")
    embedding = clip.model.token_embedding
    return embedding(tokens[1 : 1 + count].to(embedding.weight.device)).detach().clone()


def placed(
    clip: FrozenClip, text: TextStates, words: Sequence[tuple[int, Float[Tensor, "#run count d_text"]]]
) -> Float[Tensor, "run shared d_text"]:
    """What all prompts begin with on the verge of layer 1, with `words` in place of those at the positions given with them.

    The vectors get the positions of the words that they replace. All other words before the class name stay.

    Raises:
        InputError: the prompts have fewer words before the class name than there are vectors.
    """
    last = max(at + vectors.shape[1] for at, vectors in words)
    if last > text.shared:
        raise InputError(f"words: expected at least {last - 1} before the class name, got {text.shared - 1}; use fewer tokens")
    runs = max(len(vectors) for _, vectors in words)
    parts, done = [], 0
    for at, vectors in words:
        position = clip.model.positional_embedding[at : at + vectors.shape[1]]
        parts += [text.states[:1, done:at].expand(runs, -1, -1), vectors.expand(runs, -1, -1) + position]
        done = at + vectors.shape[1]
    return torch.cat([*parts, text.states[:1, done : text.shared].expand(runs, -1, -1)], dim=1)


@contextmanager
def drawn(seed: int) -> Iterator[None]:
    """Modules built inside draw their start from `seed`, and nobody else's chance is touched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
