"""Retrieval by hand, against scikit-learn, and what it must not count."""

import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from dearlib.clip.prefix import Prefix
from dearlib.errors import InputError
from dearlib.methods.dear import DeAR, Settings
from dearlib.methods.retrieval import CLASS_FEATURE, chance, features_by_token, nearest, precision


def test_neighbours_are_scikit_learns_and_never_oneself() -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(31, 7, generator=draw), dim=1)
    ours = nearest(features, 5)
    theirs = NearestNeighbors(n_neighbors=6, metric="cosine").fit(features.numpy()).kneighbors(features.numpy(), return_distance=False)
    assert torch.equal(ours, torch.from_numpy(theirs[:, 1:].copy()))
    with pytest.raises(InputError, match="expected 1 to 30"):
        nearest(features, 31)


def test_precision_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, -1])
    neighbours = torch.tensor([[1, 2], [0, 3], [0, 1], [0, 1]])
    found = precision(neighbours, labels)
    assert found[:3].tolist() == [0.5, 0.5, 0.0]
    assert found[3].isnan()


def test_chance_is_the_mean_precision_over_all_others() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, -1])
    everyone_else = torch.tensor([[j for j in range(6) if j != i] for i in range(6)])
    assert chance(labels) == pytest.approx(precision(everyone_else, labels).nanmean().item())


def test_features_are_the_models_and_normalised(clip, roles) -> None:
    model = DeAR(clip, roles, Settings(tokens_per_attribute=1)).double()
    states = torch.randn(3, clip.patches + 1, clip.d_model, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = features_by_token(model, Prefix(states, states[:, 0, : clip.d_embed], 9))
    with pytest.raises(InputError, match="expected those that enter layer 9, the model's J, got those of layer 8"):
        features_by_token(model, Prefix(states, states[:, 0, : clip.d_embed], 8))
    assert list(found) == [*roles.attributes, CLASS_FEATURE]
    raw = model.image_features(states)
    torch.testing.assert_close(found["texture"], torch.nn.functional.normalize(raw.attribute[:, 2], dim=-1).detach())
    torch.testing.assert_close(found[CLASS_FEATURE].norm(dim=1), torch.ones(3, dtype=torch.float64))
