"""A training for test_processes, run alone and under torchrun: `python shared_training.py FOLDER` writes what each process saw."""

import json
import sys
from pathlib import Path

import torch
from role_maps import make_roles

from dearlib.clip.cut import image_prefix, image_suffix, text_prefix
from dearlib.clip.loading import random_clip
from dearlib.clip.prefix import Prefix
from dearlib.methods.dear import DeAR, Settings
from dearlib.methods.training import Schedule, TrainingRun, TrainingSet, fit
from dearlib.workflow.processes import fabric

PROMPTS = ["a photo of a cup.", "a photo of a key.", "a photo of a ring."]


def main(folder: Path, block: int) -> None:
    made = fabric("cpu", "32-true")
    clip = random_clip()
    clip.model.double()  # what is exact stays exact: in float32 a step may magnify the rounding of the step before
    pictures = torch.randn(2 * 7, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    states = image_prefix(clip.visual, pictures, 9)
    data = TrainingSet(Prefix(states, image_suffix(clip.visual, states, 9), 9), torch.tensor([0, 0, 1, 1, 2, 2, 0]), block)
    weights = [{}, {"lambda_reg": 0.3, "lambda_fusion": 2.0}]
    schedules = [Schedule(epochs=3, batch=3, lr=1e-2, **w) for w in weights]
    models = [DeAR(clip, make_roles(clip), Settings(text_tokens=2), seed=s).double() for s in range(2)]
    runs = [TrainingRun(m, data, schedule, seed) for seed, (m, schedule) in enumerate(zip(models, schedules, strict=True))]
    asked = []

    def each_epoch(models: list[DeAR]) -> list[dict[str, float]]:
        asked.append(made.global_rank)
        return [{"asked": float(made.world_size)} for _ in models]

    text = text_prefix(clip, PROMPTS, 9)
    curves = fit(runs, text, clip.encode_text(PROMPTS), made, folder / "checkpoint.safetensors", each_epoch)
    tokens = [[p.tolist() for p in m.parameters()] for m in models]
    (folder / f"rank{made.global_rank}.json").write_text(json.dumps({"curves": curves, "asked": asked, "tokens": tokens}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), block=1)
