"""What parameters are made of: the kinds of values, and what all parameters of a run have in common."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Layer = Annotated[int, Field(ge=1, description="1-based")]
Head = Annotated[int, Field(ge=0, description="0-based")]
Device = Literal["auto", "cpu", "mps", "cuda"]
Share = Annotated[float, Field(gt=0, le=1)]


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise PydanticCustomError("distinct", "distinct seeds")
    return seeds


def _in_order(shares: tuple[float, float]) -> tuple[float, float]:
    if shares[0] > shares[1]:
        raise PydanticCustomError("order", "[smallest, largest] share")
    return shares


def _one_place(template: str) -> str:
    if template.count("{}") != 1 or template.count("{") + template.count("}") != 2:
        raise PydanticCustomError("template", "one {} for the class name")
    return template


Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)]
CropScale = Annotated[tuple[Share, Share], AfterValidator(_in_order)]
Template = Annotated[str, AfterValidator(_one_place)]  # a prompt; without a place for the name all classes would have one prompt


class Run(BaseModel):
    """What every notebook is told: the profile it belongs to and where it writes. Relative paths start at the repository's root."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    profile: Name
    runs_root: Path
    figures_root: Path


class OnClip(Run):
    """A notebook that looks into a frozen CLIP. `clip` is "DeAR-Mini" or "<open_clip model>/<tag>"; `clip_weights` a file, or null."""

    clip: Annotated[str, Field(min_length=1)]
    clip_weights: Path | None
    data_root: Path
    seed: Seed
    device: Device


def plain(params: Run) -> dict[str, Any]:
    """Parameters as JSON values: what papermill passes on and what a record keeps."""
    return params.model_dump(mode="json")
