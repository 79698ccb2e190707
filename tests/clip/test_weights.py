"""Pretrained weights: the activation they were trained with, and what is said where they cannot be had."""

import hashlib
import zipfile
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from dearlib.clip import weights
from dearlib.clip.loading import ASSETS, load, random_clip
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


def test_a_tag_alone_loads_its_file_and_its_normalisation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file is named: the hash is that of the cached file, and is checked; the tag says how pictures were normalised."""
    (tmp_path / "Tiny.json").write_text((ASSETS / "DeAR-Mini.json").read_text())
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [*open_clip.factory._MODEL_CONFIG_PATHS])
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {**open_clip.factory._MODEL_CONFIGS})
    open_clip.add_model_config(tmp_path / "Tiny.json")
    made, path = random_clip(seed=3), tmp_path / "weights.safetensors"
    save_file(made.model.state_dict(), path)
    config = {"file": str(path), "quick_gelu": False, "mean": (0.1, 0.2, 0.3)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", {"there": config})
    loaded, image = load("Tiny/there"), torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(loaded.encode_image(image), made.encode_image(image))
    assert loaded.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "mean=(0.1, 0.2, 0.3)" in str(loaded.preprocess)
    with pytest.raises(InputError, match="SHA-256"):
        load("Tiny/there", sha256="0" * 64)
