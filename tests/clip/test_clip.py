"""The frozen CLIP: what is refused, what is frozen, and the cut of the text."""

import hashlib
import logging
import socket
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from dearlib.clip import loading as module
from dearlib.clip.cut import check_cut, frozen_text_features, run_layers, text_prefix
from dearlib.clip.loading import load, random_clip
from dearlib.errors import InputError

PROMPTS = ["a cup.", "a photo of a small green umbrella under the sea in dim light."]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mini.safetensors"
    save_file({k: v.half() for k, v in random_clip(seed=2).model.state_dict().items()}, path)
    return path


def test_shapes_are_the_papers() -> None:
    mini = random_clip()
    assert (mini.layers, mini.heads, mini.patches) == (12, 12, 64)
    assert (mini.d_model, mini.d_text, mini.d_embed) == (144, 96, 128)
    assert not mini.model.training
    assert not any(p.requires_grad for p in mini.model.parameters())


def test_random_clip_is_a_function_of_its_seed() -> None:
    state = torch.random.get_rng_state()
    assert random_clip(seed=1).weights_sha256 == random_clip(seed=1).weights_sha256 != random_clip(seed=2).weights_sha256
    assert torch.equal(torch.random.get_rng_state(), state)


def test_loads_like_any_other_open_clip_model(weights, caplog) -> None:
    loaded = load("DeAR-Mini", weights)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING], "open_clip's word on random weights is not for these"
    assert all(p.dtype == torch.float32 and not p.is_meta for p in (*loaded.model.parameters(), *loaded.model.buffers()))
    assert torch.equal(loaded.model.attn_mask, random_clip().model.attn_mask)
    assert loaded.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    model, _, _ = open_clip.create_model_and_transforms("DeAR-Mini", pretrained=str(weights))
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode_image(image), model.eval().encode_image(image))


def test_weights_stay_on_the_disk_until_a_layer_reads_them(tmp_path) -> None:
    """In a process of its own: bytes of the mapped file in memory, after loading and after one plain pass."""
    if not Path("/proc/self/smaps").exists():
        pytest.skip("only Linux tells what is in memory")
    path = tmp_path / "whole.safetensors"
    save_file(random_clip(seed=2).model.state_dict(), path)
    code = """
import re, sys, torch
from pathlib import Path
from dearlib.clip.loading import load
def held():
    maps = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.M)
    return sum(1024 * int(re.search(r"^Rss: +([0-9]+)", m, re.M)[1]) for m in maps if sys.argv[1] in m.partition("\\n")[0])
clip = load("DeAR-Mini", sys.argv[1])
print(held())
clip.encode_image(torch.zeros(1, 3, 64, 64)), clip.encode_text(["a cup."])
print(held())
"""
    told = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    loaded, used = (int(line) / path.stat().st_size for line in told.split())
    assert 0 < loaded < used < 0.9  # of the words, most are never looked at


def test_what_is_done_to_a_model_does_not_reach_its_file(tmp_path) -> None:
    path = tmp_path / "whole.safetensors"
    save_file(random_clip(seed=2).model.state_dict(), path)
    before = path.read_bytes()
    with torch.no_grad():
        for parameter in load("DeAR-Mini", path).model.parameters():
            parameter.add_(1)
    assert path.read_bytes() == before


def test_the_packaged_weights_are_small_enough() -> None:
    assert (module.ASSETS / "DeAR-Mini.safetensors").stat().st_size <= 20e6
    assert load("DeAR-Mini").layers == 12


def test_packaged_weights_with_one_bit_changed_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = bytearray((module.ASSETS / "DeAR-Mini.safetensors").read_bytes())
    changed[-5] ^= 1
    (tmp_path / "DeAR-Mini.safetensors").write_bytes(changed)
    monkeypatch.setattr(module, "ASSETS", tmp_path)
    with pytest.raises(InputError, match="fetch the file again"):
        load("DeAR-Mini")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ViT-X", "a model that open_clip knows"),
        ("ViT-B-16/nobody", "NAME/TAG"),
        ("ViT-B-16/openai", "QuickGELU"),
    ],
)
def test_unknown_models_are_one_line(source, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("xlm-roberta-base-ViT-B-32", "causal text encoder"), ("coca_ViT-B-32", "causal text encoder"), ("RN50", r"pools its \[CLS\]")],
)
def test_encoders_that_the_method_has_no_reading_of_are_one_line(weights, name, expected) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        load(name, weights)
    assert "\n" not in str(caught.value)


def test_wrong_files_are_one_line(weights, tmp_path) -> None:
    with pytest.raises(InputError, match="SHA-256"):
        load("DeAR-Mini", weights, sha256="0" * 64)
    with pytest.raises(InputError, match="found none"):
        load("DeAR-Mini", tmp_path / "missing.safetensors")
    save_file({"visual.proj": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:1000])
    save_file({"positional_embedding": torch.zeros(77, 512)}, tmp_path / "wider.safetensors")
    for name in ("other", "cut", "wider"):
        with pytest.raises(InputError, match="damaged file or another model") as caught:
            load("DeAR-Mini", tmp_path / f"{name}.safetensors")
        assert "\n" not in str(caught.value)


def test_text_cut_after_the_longest_prompt_is_exact(clip, monkeypatch) -> None:
    """The 77 columns of open_clip against the cut ones, in float64, through all layers; and prompt by prompt."""
    cut = text_prefix(clip, PROMPTS, 9)
    assert cut.states.shape[1] == int(cut.end.max()) + 1 < 77
    length = cut.states.shape[1]
    x = run_layers(clip.model.transformer, cut.states, 9, 12, clip.model.attn_mask[:length, :length])
    features = clip.model.ln_final(x[torch.arange(2), cut.end]) @ clip.model.text_projection
    torch.testing.assert_close(features, clip.encode_text(PROMPTS))
    torch.testing.assert_close(frozen_text_features(clip, cut, 9), features)
    monkeypatch.setattr("dearlib.clip.cut.TEXTS", 1)
    torch.testing.assert_close(text_prefix(clip, PROMPTS, 9).states, cut.states)
    torch.testing.assert_close(frozen_text_features(clip, cut, 9), features)


def test_two_classes_whose_prompts_become_the_same_tokens_are_refused(clip) -> None:
    """By what the tokenizer drops: blanks, case, and all beyond the 77th token."""
    long = "a photo of a " + "very " * 80
    for pair in ([f"{long} red cup.", f"{long} blue cup."], ["a photo of a Cup.", "a photo of a  cup."]):
        with pytest.raises(InputError) as error:
            text_prefix(clip, ["a photo of a key.", *pair], 9)
        assert "\n" not in str(error.value)
        for word in ("77 tokens", "classes 1 (", "and 2 (", "cup."):
            assert word in str(error.value)


def test_classes_are_told_apart_by_what_stands_before_the_end_of_text(clip) -> None:
    """Nothing behind it is read: two names that carry its sign would have one feature."""
    with pytest.raises(InputError, match=r"got the same for classes 0 .* and 1"):
        text_prefix(clip, ["a cup<end_of_text> of tea.", "a cup<end_of_text> of milk."], 9)


@pytest.mark.parametrize("gap", [0, 3])
def test_a_prompt_that_would_be_cut_short_is_refused(clip, gap: int) -> None:
    """A tokenizer cuts at 77 tokens without a word. `gap` positions are other tokens'."""
    fits, over = ("cup " * (75 - gap - more) for more in (0, -1))
    assert text_prefix(clip, [fits, "a key"], 9, gap=gap).states.shape[1] == 77 - gap
    with pytest.raises(InputError, match=rf"at most {77 - gap} tokens.* got more in 'cup cup .*shorten") as error:
        text_prefix(clip, ["a key", over], 9, gap=gap)
    assert "\n" not in str(error.value)


def test_cut_beyond_the_layers_is_refused(clip) -> None:
    check_cut(clip, 1), check_cut(clip, 12)
    for first_layer in (0, 13):
        with pytest.raises(InputError, match="expected 1 to 12"):
            check_cut(clip, first_layer)


def test_the_network_is_out_of_reach() -> None:
    with socket.socket() as s, pytest.raises(AssertionError, match="network"):
        s.connect(("192.0.2.1", 80))
    with pytest.raises(AssertionError, match="look up"):
        socket.getaddrinfo("example.org", 80)
