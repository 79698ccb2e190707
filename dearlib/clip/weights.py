"""Pretrained weights by their tag: which activation they go with, and where they lie on this machine."""

import difflib
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import safe_open

from dearlib.errors import InputError


def offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids downloads, in the hub's own spelling of yes."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def trained_config(name: str, tag: str) -> dict[str, Any]:
    """What open_clip knows of the tagged weights (normalisation, interpolation, resize mode, activation); empty if nothing."""
    return open_clip.get_pretrained_cfg(name, tag) or open_clip.get_pretrained_cfg(name.removesuffix("-quickgelu"), tag) or {}


def check_tag(name: str, tag: str) -> None:
    """Refuses a tag that open_clip does not know beside a file: its normalisation would be OpenAI's, without a word."""
    if tag and not trained_config(name, tag):
        known = open_clip.list_pretrained_tags_by_model(name) or ["none"]
        like = difflib.get_close_matches(tag, known) or known
        raise InputError(
            f"clip: expected a tag of {name} that open_clip knows, e.g. {', '.join(like[:3])}, got {tag!r}; "
            f"for weights of your own write '{name}'"
        )


def check_activation(name: str, tag: str) -> None:
    """Refuses weights in a model of another activation than they were trained with; open_clip only warns.

    A model's name ends in '-quickgelu' where it computes x · σ(1.702 x) in place of GELU. The two differ so little that
    everything runs, one or two points worse.
    """
    plain = name.removesuffix("-quickgelu")
    trained = trained_config(name, tag)
    if not trained:
        return
    quick = bool(trained.get("quick_gelu"))
    if quick != bool((open_clip.get_model_config(name) or {}).get("quick_gelu")):
        right = f"{plain}{'-quickgelu' if quick else ''}/{tag}"
        how = "QuickGELU" if quick else "GELU, not QuickGELU"
        raise InputError(f"clip: expected the activation that the weights were trained with, {how}, got '{name}/{tag}'; use '{right}'")


def pretrained_file(source: str) -> Path:
    """Where the tagged weights lie on this machine; downloads them, with a progress bar, where they do not and it may.

    HF_HUB_OFFLINE=1, which `make` sets for all but `make fetch`, forbids it. Raises `InputError` in one line.
    """
    name, _, tag = source.partition("/")
    if name not in open_clip.list_models():
        raise InputError(f"clip: expected a model that open_clip knows, got {name!r}; see open_clip.list_models()")
    check_activation(name, tag)
    config = open_clip.get_pretrained_cfg(name, tag)
    if not config:
        raise InputError(f"clip: expected NAME/TAG of pretrained weights, got {source!r}; see open_clip.list_pretrained()")
    try:
        return Path(open_clip.download_pretrained(config))
    except (OSError, RuntimeError) as error:
        reason = "HF_HUB_OFFLINE forbids to fetch them" if offline() else str(error).strip().splitlines()[0]
        raise InputError(
            f"clip: expected the weights of {source} on this machine, got none ({reason}); run `make fetch` once with a network, "
            "or name a file by clip_weights"
        ) from error


def check_positions(path: Path, expected: Mapping[str, int]) -> None:
    """Refuses weights of a model for larger or smaller pictures or other lengths of text: open_clip stretches their positions in silence.

    `expected`: how many positions each parameter is to have.
    """
    for name, shape in _shapes(path).items():
        key = name.removeprefix("module.")
        if key in expected and shape[0] != expected[key]:
            raise InputError(
                f"clip: expected weights with {expected[key]} rows of {key}, got {shape[0]} in {path.name}, the weights of a model for "
                "pictures of another size or texts of another length; name that model as clip"
            )


def _shapes(path: Path) -> dict[str, Sequence[int]]:
    """The shapes of a file's tensors, without their numbers."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    if path.suffix in (".npz", ".npy"):
        return {}
    found = torch.load(path, map_location="meta", weights_only=True)
    found = found.get("state_dict", found)
    return {name: value.shape for name, value in found.items() if isinstance(value, torch.Tensor) and value.ndim}


def refuse_programs(path: Path, sha256: str) -> None:
    """Refuses the files that OpenAI published: each holds a program beside its weights, and wants QuickGELU."""
    addresses = (open_clip.get_pretrained_url(name, tag) for name, tag in open_clip.list_pretrained())
    published = {address.split("/")[-2] for address in addresses if "openaipublic" in address}  # the hash is part of the address
    if sha256 in published or _is_torchscript(path):
        raise InputError(
            f"clip: expected a file of tensors, got {path.name}, a program as OpenAI published it, to be run with QuickGELU; "
            "use e.g. 'ViT-B-16-quickgelu/openai' and no clip_weights"
        )


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):  # no archive, or a damaged one, which loading refuses
        return False
