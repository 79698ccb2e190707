"""Pretrained weights: the activation they were trained with, and what is said where they cannot be had."""

import hashlib
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import v2

from dearlib.clip import weights
from dearlib.clip.cut import frozen_text_features, text_prefix
from dearlib.clip.loading import load, random_clip
from dearlib.datasets.transforms import crop_box, draw_views, stack_views
from dearlib.errors import InputError


def one_line(error: pytest.ExceptionInfo[InputError], *words: str) -> None:
    assert "\n" not in str(error.value)
    for word in ("expected", "got", *words):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("source", "right"),
    [
        ("ViT-B-16/openai", "'ViT-B-16-quickgelu/openai'"),
        ("ViT-B-32/laion400m_e32", "'ViT-B-32-quickgelu/laion400m_e32'"),
        ("ViT-B-16-quickgelu/laion2b_s34b_b88k", "'ViT-B-16/laion2b_s34b_b88k'"),
        ("ViT-L-14-quickgelu/datacomp_xl_s13b_b90k", "'ViT-L-14/datacomp_xl_s13b_b90k'"),
    ],
)
def test_the_wrong_activation_is_refused_in_both_senses_also_beside_a_file(source: str, right: str, tmp_path: Path) -> None:
    for file in (None, tmp_path / "any.safetensors"):
        with pytest.raises(InputError) as error:
            load(source, file)
        one_line(error, "activation", right)


def test_the_right_activation_passes() -> None:
    for source in (
        "ViT-B-16-quickgelu/openai",
        "ViT-B-16/laion2b_s34b_b88k",
        "ViT-L-14-quickgelu/openai",
        "ViT-B-16/of my own",
        "DeAR-Mini/",
    ):
        weights.check_activation(*source.split("/"))


def test_openai_s_own_files_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their hash, which stands in their address, and by being a program."""
    published = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"  # ViT-B-16.pt
    plain = tmp_path / "tensors.safetensors"
    save_file({"x": torch.zeros(1)}, plain)
    weights.refuse_programs(plain, hashlib.sha256(plain.read_bytes()).hexdigest())
    with pytest.raises(InputError) as error:
        weights.refuse_programs(plain, published)
    one_line(error, "QuickGELU")
    program = tmp_path / "program.pt"
    with zipfile.ZipFile(program, "w") as archive:
        archive.writestr("program/code/__torch__.py", "")
    with pytest.raises(InputError) as error:
        load("ViT-B-16", program)
    one_line(error, "program.pt", "QuickGELU")
    torch.save({"x": torch.zeros(1)}, tmp_path / "tensors.pt")  # a zip archive as well, but no program
    weights.refuse_programs(tmp_path / "tensors.pt", "0" * 64)


def test_weights_that_cannot_be_had_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*args: object, **kwargs: object) -> str:
        raise FileNotFoundError("Failed to download file (x) for y. Last error: \n a long story")

    monkeypatch.setattr(open_clip, "download_pretrained", no_network)
    with pytest.raises(InputError) as error:
        load("ViT-B-16-quickgelu/openai")
    one_line(error, "HF_HUB_OFFLINE", "make fetch", "clip_weights")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(InputError) as error:
        weights.pretrained_file("ViT-B-16-quickgelu/openai")
    one_line(error, "Failed to download", "make fetch")


def test_an_empty_cache_offline_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub's own code, no network behind it."""
    real = open_clip.download_pretrained
    monkeypatch.setattr(open_clip, "download_pretrained", lambda config: real(config, cache_dir=str(tmp_path)))
    with pytest.raises(InputError) as error:
        weights.pretrained_file("ViT-B-16-quickgelu/openai")
    one_line(error, "ViT-B-16-quickgelu/openai", "HF_HUB_OFFLINE")


def test_tagged_weights_come_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tag whose file lies on the disk: open_clip's own path through `download_pretrained`."""
    made = random_clip(seed=3)
    save_file(made.model.state_dict(), tmp_path / "weights.safetensors")
    config = {"file": str(tmp_path / "weights.safetensors"), "quick_gelu": False}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "DeAR-Mini", {"there": config})
    loaded = load("DeAR-Mini/there", tmp_path / "weights.safetensors")
    assert weights.pretrained_file("DeAR-Mini/there") == tmp_path / "weights.safetensors"
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(loaded.encode_image(image), made.encode_image(image))


HALF = (0.5, 0.5, 0.5)


def test_a_tag_alone_loads_its_file_and_its_normalisation(tiny) -> None:
    """No file is named: the hash is that of the cached file, and is checked; the tag says how pictures were normalised."""
    source = tiny.tag(tiny("Tiny"), "there", mean=(0.1, 0.2, 0.3))
    made, loaded, image = random_clip(seed=3), load(source), torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(loaded.encode_image(image), made.encode_image(image))
    assert loaded.weights_sha256 == hashlib.sha256(tiny.weights.read_bytes()).hexdigest()
    assert loaded.preprocess.mean == (0.1, 0.2, 0.3)
    with pytest.raises(InputError, match="SHA-256"):
        load(source, sha256="0" * 64)


@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.parametrize(
    "config", [{"mean": 0.5, "std": 0.5}, {"mean": HALF, "std": HALF, "interpolation": "bilinear", "resize_mode": "squash"}]
)
def test_every_picture_is_prepared_as_the_tag_says(tiny, from_file: bool, config: dict) -> None:
    """Plain pictures and training views, of a file given beside the tag as well; torchvision's own steps are the reference."""
    source = tiny.tag(tiny("Tiny"), "half", **config)
    loaded = load(source, tiny.weights if from_file else None)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8))
    mode = v2.InterpolationMode(config.get("interpolation", "bicubic"))
    shape = [64, 64] if config.get("resize_mode") == "squash" else 64
    plain = v2.functional.center_crop(v2.functional.resize(picture, shape, mode), [64, 64])
    torch.testing.assert_close(loaded.preprocess(picture), scaled(plain), atol=1e-6, rtol=0)
    view = draw_views(1, 0, 1)[0]
    crop = v2.functional.resized_crop(picture, *crop_box(view, 40, 90), [64, 64], mode)
    crop = v2.functional.horizontal_flip(crop) if view.flip else crop
    torch.testing.assert_close(stack_views(picture, (view,), loaded.preprocess)[0], scaled(crop), atol=1e-6, rtol=0)


def scaled(picture: Image.Image) -> torch.Tensor:
    """Channels in [-1, 1]: mean and std are a half."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 127.5 - 1


def test_a_mistyped_tag_beside_a_file_is_one_line(tiny) -> None:
    """open_clip knows nothing of it: OpenAI's normalisation would be taken without a word."""
    tiny.tag(tiny("Tiny"), "laion")
    with pytest.raises(InputError) as error:
        load("Tiny/lion", tiny.weights)
    one_line(error, "'lion'", "laion")
    assert load("Tiny", tiny.weights).preprocess.mean == open_clip.OPENAI_DATASET_MEAN


@cache
def whole() -> dict[str, torch.Tensor]:
    """A model's tensors."""
    return dict(random_clip(seed=3).model.state_dict())


def changed(**new: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The same with some exchanged; None: left out."""
    tensors = {**whole(), **{key.replace("__", "."): value for key, value in new.items()}}
    return {key: value for key, value in tensors.items() if value is not None}


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ({"visual__proj": None}, ("damaged file or another model's",)),
        ({"visual__extra": torch.zeros(2)}, ("damaged file or another model's",)),
        ({"visual__proj": torch.zeros(128, 144)}, ("damaged file or another model's",)),
        ({"text_projection": torch.zeros(96, 128, dtype=torch.int8)}, ("damaged file or another model's",)),
        ({"text_projection": torch.zeros(96, 128, dtype=torch.complex64)}, ("real numbers", "torch.complex64")),
        ({"logit_scale": torch.tensor(float("nan"))}, ("temperature", "finite")),
        ({"logit_scale": torch.tensor(1e4)}, ("temperature", "finite", "inf")),
        ({"visual__positional_embedding": torch.zeros(197, 144)}, ("65 rows of visual.positional_embedding", "197", "another size")),
        ({"positional_embedding": torch.zeros(50, 96)}, ("77 rows of positional_embedding", "50", "another length")),
    ],
)
def test_weights_that_no_model_of_this_shape_has_are_one_line(tmp_path: Path, new: dict, words: tuple[str, ...]) -> None:
    """Of another picture size or length of text among them, which open_clip would stretch in silence."""
    save_file(changed(**new), tmp_path / "weights.safetensors")
    with pytest.raises(InputError) as error:
        load("DeAR-Mini", tmp_path / "weights.safetensors")
    one_line(error, *words)


@pytest.mark.parametrize("nested", [False, True])
def test_older_layouts_are_read_and_checked_alike(tmp_path: Path, nested: bool) -> None:
    """A pickle of plain tensors, as open_clip's own training leaves it."""
    for positions in (65, 197):
        tensors = changed(visual__positional_embedding=torch.zeros(positions, 144))
        torch.save({"state_dict": {f"module.{k}": v for k, v in tensors.items()}, "epoch": 1} if nested else tensors, tmp_path / "x.pt")
        if positions == 65:
            assert torch.equal(load("DeAR-Mini", tmp_path / "x.pt").visual.proj, tensors["visual.proj"])
    with pytest.raises(InputError) as error:
        load("DeAR-Mini", tmp_path / "x.pt")
    one_line(error, "65 rows", "197")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_are_computed_with_in_single(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {k: v.to(dtype) for k, v in whole().items()}
    save_file(tensors, tmp_path / "weights.safetensors")
    loaded = load("DeAR-Mini", tmp_path / "weights.safetensors")
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    for key, value in loaded.model.state_dict().items():
        assert torch.equal(value, tensors[key].float()), key


def test_a_file_of_another_kind_than_its_name_says_is_one_line_without_torchs_advice(tmp_path: Path) -> None:
    """torch's own message tells how to run a foreign program."""
    save_file(changed(), tmp_path / "tensors.pt")
    torch.save(changed(), tmp_path / "pickle.safetensors")
    (tmp_path / "program.pt").write_bytes(b"cos\nsystem\n(S'exit 7'\ntR.")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(InputError) as error:
            load("DeAR-Mini", path)
        one_line(error, "damaged file or another model's")
        assert "weights_only" not in str(error.value)
        assert "trust" not in str(error.value)


def test_features_that_are_no_numbers_are_answered_to_nobody(tmp_path: Path) -> None:
    """NaN has no largest logit: every picture would be of class 0."""
    nan = torch.tensor(float("nan"))
    for key, encode in (
        ("visual.proj", lambda c: c.encode_image(torch.zeros(1, 3, 64, 64))),
        ("text_projection", lambda c: c.encode_text(["a"])),
        ("text_projection", lambda c: frozen_text_features(c, text_prefix(c, ["a", "b"], 9), 9)),
    ):
        tensors = changed()
        tensors[key] = tensors[key] + nan
        save_file(tensors, tmp_path / "weights.safetensors")
        with pytest.raises(InputError) as error:
            encode(load("DeAR-Mini", tmp_path / "weights.safetensors"))
        one_line(error, "finite", "nan")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["safetensors", "pt"]))
def test_any_bytes_as_weights_are_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str) -> None:
    """A small file of another model's tensors, its bytes changed or cut: never a traceback, never a model."""
    path = tmp_path_factory.getbasetemp() / f"weights.{kind}"
    tensors = {"visual.proj": torch.zeros(3), "logit_scale": torch.ones(())}
    save_file(tensors, path) if kind == "safetensors" else torch.save(tensors, path)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4), label="changes")):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.one_of(st.just(len(damaged)), st.integers(0, len(damaged))), label="kept")])
    with pytest.raises(InputError) as error:
        load("DeAR-Mini", path)
    one_line(error, "clip")
