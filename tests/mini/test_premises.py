"""The premises by hand, and the list of planted heads there and back."""

import pytest
import torch

from dearlib.clip.cut import image_prefix
from dearlib.clip.loading import FrozenClip
from dearlib.mini.premises import late_share, margins, stream_deviations
from dearlib.roles.heads import Parts, decompose


def test_deviations_are_those_of_the_states_that_are_read(clip: FrozenClip) -> None:
    images = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    picture, text = stream_deviations(clip, images, ["a cup", "a photo of a very small red cup on the beach"], 9)
    assert picture == pytest.approx(image_prefix(clip.visual, images, 9).std().item())
    longer = stream_deviations(clip, images, ["a cup", "a photo of a very small red cup on the beach"], 9)[1]
    alone = [stream_deviations(clip, images, [t], 9)[1] for t in ("a cup", "a photo of a very small red cup on the beach")]
    assert min(alone) <= text == longer <= max(alone) + 0.1


def test_margins_of_the_parts_add_up_to_the_margin(clip: FrozenClip) -> None:
    images = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    parts, text, label = decompose(clip.visual, images), torch.randn(3, 128, dtype=torch.float64), torch.tensor([0, 2, -1, 1])
    found = margins(parts, text, label)
    cosine = torch.nn.functional.cosine_similarity(clip.encode_image(images)[:, None], text[None], dim=-1)
    each = [cosine[i, y] - (cosine[i].sum() - cosine[i, y]) / 2 for i, y in enumerate(label.tolist()) if y >= 0]
    total = found["heads"].sum() + found["mlps"].sum() + found["embedding"]
    torch.testing.assert_close(total, torch.stack(each).mean())


def test_the_share_of_late_layers() -> None:
    assert late_share(torch.tensor([[1.0, 0.0], [1.0, 1.0], [3.0, 2.0]]), 3) == pytest.approx(5 / 8)


def test_a_head_without_a_part_adds_nothing() -> None:
    """Two pictures; head (1, 1) writes the right value's direction, head (1, 0) nothing."""
    heads = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
    heads[0, 0, 1], heads[1, 0, 1] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    parts = Parts(torch.zeros(2, 2, dtype=torch.float64), heads, torch.zeros(2, 1, 2, dtype=torch.float64))
    found = margins(parts, torch.eye(2, dtype=torch.float64), torch.tensor([0, 1]))
    assert found["heads"].tolist() == [[0.0, 1.0]]
