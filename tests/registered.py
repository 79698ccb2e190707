"""Models of DeAR-Mini's shape under names, tags and activations of a test's own, all reading one file of random weights."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
from safetensors.torch import save_file

from dearlib.clip.loading import ASSETS, random_clip


class Tiny:
    """`tiny(name, ...)` registers a model, `tiny.tag(name, tag, **config)` a tag of it; both are gone after the test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        random_clip()  # registers DeAR-Mini first, for good
        monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [*open_clip.factory._MODEL_CONFIG_PATHS])
        monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {**open_clip.factory._MODEL_CONFIGS})
        self.folder, self.monkeypatch, self.weights = folder, monkeypatch, folder / "weights.safetensors"
        save_file(random_clip(seed=3).model.state_dict(), self.weights)

    def __call__(self, name: str, **config: Any) -> str:
        """The name of a registered model of DeAR-Mini's shape."""
        whole = json.loads((ASSETS / "DeAR-Mini.json").read_text()) | config
        (self.folder / f"{name}.json").write_text(json.dumps(whole))
        open_clip.add_model_config(self.folder / f"{name}.json")
        return name

    def tag(self, name: str, tag: str, **config: Any) -> str:
        """'NAME/TAG' of the same weights, trained with what `config` says."""
        given = {"file": str(self.weights), "quick_gelu": False, **config}
        known = open_clip.pretrained._PRETRAINED.get(name, {})
        self.monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, {**known, tag: given})
        return f"{name}/{tag}"
