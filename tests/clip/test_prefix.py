"""The prefix cache: the cut is exact, entries are keyed by what they depend on, and views are what their names say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dearlib import machine
from dearlib.clip import cache, prefix
from dearlib.clip.cache import Cache
from dearlib.clip.cut import image_suffix
from dearlib.clip.loading import FrozenClip, load, random_clip
from dearlib.datasets import Item
from dearlib.errors import InputError
from dearlib.files import filled_tensors


@pytest.fixture(scope="module")
def mini() -> FrozenClip:
    return random_clip()


@pytest.fixture
def items(tmp_path) -> list[Item]:
    draw = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    return [Item(tmp_path / f"{i}.png", i, f"class {i}") for i in range(3)]


def test_cut_at_any_layer_gives_the_whole_encoders_feature(mini, items, tmp_path) -> None:
    images = torch.stack([mini.preprocess(Image.open(i.path)) for i in items])
    whole = mini.encode_image(images)
    for first_layer in (1, 9, 12):
        kept = cache.of_items(Cache(tmp_path / "cache"), mini, first_layer, items)
        torch.testing.assert_close(kept.features, whole, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(image_suffix(mini.visual, kept.states, first_layer), whole, rtol=1e-4, atol=1e-5)


def test_the_second_time_nothing_is_computed(mini, items, tmp_path) -> None:
    first = cache.cached(Cache(tmp_path / "cache"), mini, 9, "x", 2, lambda i: torch.full((1, 3, 64, 64), float(i)))
    again = cache.cached(Cache(tmp_path / "cache"), mini, 9, "x", 2, lambda i: pytest.fail("computed again"))
    assert torch.equal(first.states, again.states)
    assert torch.equal(first.features, again.features)


def test_features_are_made_once_for_all_layers(mini, items, tmp_path, monkeypatch) -> None:
    """And then the layers below the cut alone are run for its states; the features are the same to the last bit."""
    apart = [cache.of_items(Cache(tmp_path / str(layer)), mini, layer, items) for layer in (9, 1, 6)]
    seen: list[bool] = []
    real = cache.compute
    monkeypatch.setattr(cache, "compute", lambda *args: (seen.append(args[-1] is not None), real(*args))[1])
    shared = [cache.of_items(Cache(tmp_path / "shared"), mini, layer, items) for layer in (9, 1, 6)]
    assert seen == [True, False, False]
    for alone, one in zip(apart, shared, strict=True):
        assert torch.equal(alone.states, one.states)
        assert torch.equal(alone.features, one.features)
    assert len(list((tmp_path / "shared").iterdir())) == 4


def test_entries_differ_by_weights_layer_and_pictures(mini, items) -> None:
    other = random_clip(seed=1)
    assert other.weights_sha256 != mini.weights_sha256
    at = {cache.entry(Path("c"), c, j, i) for c in (mini, other) for j in (8, 9, None) for i in ("x", "y")}
    assert len(at) == 12


def test_entries_differ_by_preprocessing_and_version_of_the_code(mini, monkeypatch) -> None:
    """Each part of what becomes of a picture."""
    changes = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bilinear", "resize_mode": "squash", "size": (32, 32)}
    others = [replace(mini, preprocess=replace(mini.preprocess, **{key: value})) for key, value in changes.items()]
    at = {cache.entry(Path("c"), c, 9, "x") for c in (mini, *others, replace(mini, name="DeAR-Mini-quickgelu"))}
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    assert len(at | {cache.entry(Path("c"), mini, 9, "x")}) == len(changes) + 3


def test_one_weights_file_read_as_gelu_and_as_quickgelu_is_two_models(tiny, items, tmp_path) -> None:
    """One cache: the second does not get the first's states."""
    plain, quick = (load(tiny(name, quick_gelu=q), tiny.weights) for name, q in (("Tiny", False), ("Tiny-quickgelu", True)))
    assert plain.weights_sha256 == quick.weights_sha256
    assert plain.identity != quick.identity
    first, second = (cache.of_items(Cache(tmp_path / "cache"), c, 9, items) for c in (plain, quick))
    images = torch.stack([quick.preprocess(Image.open(i.path)) for i in items])
    torch.testing.assert_close(second.features, quick.encode_image(images), rtol=1e-4, atol=1e-5)
    assert (first.features - second.features).norm() / first.features.norm() > 1e-3


def test_a_picture_with_new_bytes_is_a_new_entry(items) -> None:
    before = cache.contents(items)
    Image.new("RGB", (64, 64)).save(items[1].path)
    assert cache.contents(items) != before


def test_views_come_view_by_view_and_depend_on_seed_place_and_crop_scale_alone(mini, items, tmp_path) -> None:
    def views(n: int, seed: int = 1, flip: bool = False, crop_scale: tuple[float, float] = (0.5, 1.0)) -> torch.Tensor:
        return cache.of_views(Cache(tmp_path / "cache"), mini, 9, items, seed, n, crop_scale, flip).states

    three, one = views(3), views(1)
    assert len(three) == 9
    torch.testing.assert_close(three[:3], one)
    assert not torch.allclose(three[3:6], one)
    assert not torch.allclose(views(1, seed=2), one)
    assert not torch.allclose(views(3, flip=True), three)
    assert not torch.allclose(views(1, crop_scale=(0.1, 0.2)), one)


def black(i: int) -> torch.Tensor:
    return torch.zeros(1, 3, 64, 64)


def test_a_damaged_entry_is_one_line(mini, tmp_path) -> None:
    """Half a file, and a whole one with a single other bit."""
    path = cache.entry(tmp_path, mini, 9, ["x", "torch.float32"])
    path.write_bytes(b"half")
    with pytest.raises(InputError, match="safetensors"):
        cache.cached(Cache(tmp_path), mini, 9, "x", 1, black)
    path.unlink()
    cache.cached(Cache(tmp_path), mini, 9, "x", 1, black)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="add up"):
        cache.cached(Cache(tmp_path), mini, 9, "x", 1, black)


def test_an_unreadable_picture_leaves_nothing_behind(mini, items, tmp_path) -> None:
    items[2].path.write_bytes(items[2].path.read_bytes()[:200])
    with pytest.raises(InputError, match="expected a whole image"):
        cache.of_items(Cache(tmp_path / "cache"), mini, 9, items)
    assert list((tmp_path / "cache").iterdir()) == []


def test_weights_that_are_no_numbers_give_no_features(mini, items, tmp_path) -> None:
    """NaN has no largest logit: every picture would get class 0."""
    spoiled = random_clip()
    with torch.no_grad():
        spoiled.visual.conv1.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"states \[picture, token, dimension\]: expected finite numbers, got nan at \[0, "):
        cache.of_items(Cache(tmp_path / "cache"), spoiled, 9, items)
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_pictures_are_one_line(mini, tmp_path) -> None:
    with pytest.raises(InputError, match="pictures: expected at least one, got none"):
        cache.of_items(Cache(tmp_path / "cache"), mini, 9, [])


def test_cached_states_can_train(mini, items, tmp_path) -> None:
    """Tensors made under inference mode could not be saved for backward."""
    kept = cache.cached(Cache(tmp_path), mini, 9, "x", 1, black)
    weight = torch.ones(mini.d_model, requires_grad=True)
    (next(kept.chunks(256)) * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("views", [0, 3])
def test_beyond_the_budget_states_are_computed_when_asked_for(mini, items, tmp_path, views) -> None:
    """The same rows, in any order and piece by piece, from a file that holds features alone."""

    def source(where: Cache) -> prefix.Source:
        return cache.of_views(where, mini, 9, items, 1, views, (0.5, 1.0), False)

    kept, streamed, again = source(Cache(tmp_path / "a")), *(source(Cache(tmp_path / "b", gigabytes=1e-6)) for _ in range(2))
    assert [type(s) for s in (kept, streamed, again)] == [prefix.Prefix, prefix.Streamed, prefix.Streamed]
    assert len(list((tmp_path / "b").iterdir())) == 1
    rows = torch.randperm(3 * max(1, views), generator=torch.Generator().manual_seed(0))
    for one in (streamed, again):
        for ours, theirs in zip(one.rows(rows), kept.rows(rows), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(torch.cat(list(one.chunks(2))), torch.cat(list(kept.chunks(4))), rtol=1e-4, atol=1e-5)
    roomy = source(Cache(tmp_path / "b"))
    assert isinstance(roomy, prefix.Prefix), "as soon as there is room, they are kept"
    assert torch.equal(roomy.states, kept.states)
    deeper = [prefix.deepened(s, mini, 11).rows(rows)[0] for s in (kept, streamed)]
    torch.testing.assert_close(*deeper, rtol=1e-4, atol=1e-5)


def test_the_budget_counts_what_is_being_written(tmp_path) -> None:
    """Entries, and files under a temporary name that take their space before they are filled; nothing else."""
    cache = Cache(tmp_path, gigabytes=1e-6)
    assert cache.has_room(1000)
    (tmp_path / "a.safetensors").write_bytes(bytes(300))
    (tmp_path / "note.txt").write_bytes(bytes(300))
    with filled_tensors(tmp_path / "b.safetensors", {"x": (torch.float32, (50,))}, {}):
        being_written = sum(f.stat().st_size for f in tmp_path.glob(".*.partial"))
        assert being_written > 200
        assert cache.has_room(700 - being_written)
        assert not cache.has_room(701 - being_written)


def test_pictures_go_together_as_a_cpus_caches_hold_them(mini) -> None:
    assert prefix.together(mini) == prefix.MOST
    vit = replace(mini)
    vars(vit).update(d_model=768, patches=196)
    assert prefix.together(vit) == 8


@pytest.mark.parametrize(("views", "sizes"), [(1, [4, 4, 2]), (2, [4, 4, 4, 4, 4]), (3, [3] * 10), (9, [9] * 10)])
def test_no_more_rows_than_fit_go_through_the_frozen_layers_together(mini, monkeypatch, views: int, sizes: list[int]) -> None:
    """All views of a picture count; those of one picture are never parted."""
    monkeypatch.setattr(prefix, "together", lambda clip: 4)
    seen: list[int] = []
    real = prefix._states
    monkeypatch.setattr(prefix, "_states", lambda clip, layer, images: (seen.append(len(images)), real(clip, layer, images))[1])
    prefix.compute(mini, 2, 10, lambda i: torch.full((views, 3, 64, 64), i / 10), views)
    assert seen == sizes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_halves_the_states_and_rounds_them_once(mini, items, tmp_path, dtype) -> None:
    """Features teach and answer zero-shot: single precision, to the last bit, however states are kept or if they are at all."""
    whole, half = (cache.of_items(Cache(tmp_path / str(d), d), mini, 9, items) for d in (torch.float32, dtype))
    assert half.states.dtype == dtype
    assert half.states.nbytes * 2 == whole.states.nbytes
    assert torch.equal(half.states, whole.states.to(dtype))
    assert half.rows(torch.arange(3))[0].dtype == torch.float32
    streamed = cache.of_items(Cache(tmp_path / "no room", dtype, gigabytes=0), mini, 9, items)
    for features in (half.features, streamed.features):
        assert features.dtype == torch.float32
        assert torch.equal(features, whole.features)


def test_states_know_which_layer_they_enter(mini, items, tmp_path) -> None:
    """Kept, streamed and deepened ones; those beyond the layer that is asked for are refused."""
    kept, streamed = (cache.of_items(Cache(tmp_path / str(gb), gigabytes=gb), mini, 9, items) for gb in (1, 0))
    for source in (kept, streamed):
        assert isinstance(source, prefix.Source)
        assert source.first_layer == 9
        assert prefix.deepened(source, mini, 11).first_layer == 11
        with pytest.raises(InputError, match="expected 9 or later") as error:
            prefix.deepened(source, mini, 8)
        assert "\n" not in str(error.value)


def test_entries_are_mapped_not_read(mini, tmp_path) -> None:
    """Rows that nobody asks for cost no memory: the tensor is a view of the file."""
    kept = cache.cached(Cache(tmp_path), mini, 9, "x", 1, black)
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux tells what is mapped")
    assert all(file.name in maps.read_text() for file in tmp_path.iterdir())
    assert kept.seconds is not None


def test_a_picture_that_breaks_in_the_middle_of_an_epoch_is_one_line(mini, items, tmp_path) -> None:
    """Its states are not kept, so it is opened again for every epoch."""
    source = cache.of_items(Cache(tmp_path / "cache", gigabytes=0), mini, 9, items)
    assert len(source.rows(torch.tensor([0, 1]))[0]) == 2
    items[1].path.write_bytes(items[1].path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"1\.png: expected a whole image") as error:
        source.rows(torch.tensor([0, 1]))
    assert "\n" not in str(error.value)
    assert [p.suffix for p in (tmp_path / "cache").iterdir()] == [".safetensors"], "the features, and nothing half-written"


def test_for_a_gpu_pictures_are_decoded_on_all_cores_of_the_job(mini, monkeypatch) -> None:
    """The steps compute with one thread; on a CPU decoding takes no more, or steps that run at once would be in each other's way."""
    monkeypatch.setattr(machine, "cores", lambda: 6)
    monkeypatch.setattr(prefix.torch, "get_num_threads", lambda: 1)
    asked: list[int] = []
    real = prefix.ThreadPoolExecutor
    monkeypatch.setattr(prefix, "ThreadPoolExecutor", lambda threads: (asked.append(threads), real(threads))[1])
    prefix.compute(mini, 2, 2, black)
    monkeypatch.setattr(prefix, "_place", lambda clip: torch.device("cuda"))
    monkeypatch.setattr(prefix, "_states", lambda clip, layer, images: torch.zeros(len(images), 17, 4))
    prefix.compute(mini, 2, 2, black)
    next(prefix.Streamed(mini, 2, black, 1, torch.zeros(2, 4)).chunks(2))
    assert asked == [1, 6, 6]
