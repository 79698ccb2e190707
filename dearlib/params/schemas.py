"""Parameter files: what every notebook may be told, checked before anything runs.

One YAML file per notebook and profile, one pydantic model per notebook. An unknown key, a wrong type or an impossible
value is one line that names file, key, what was expected and what came. A notebook's tagged parameters cell has
exactly the fields of its model; `validated` checks that cell by the same model.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from dearlib.params.types import Count, CropScale, Device, Fraction, Head, Layer, Name, NonNegative, OnClip, Positive, Run, Seed, Seeds


class PretrainMini(Run):
    """00: contrastive pre-training of DeAR-Mini, or a look at what it did.

    `masked_steps` on a random `keep` of the patches, then `full_steps` on all. `planted`: heads of layers `first_layer` … L that
    speak of a factor, by factor; the demands are shares in [0, 1] (`dearlib.mini.planting`). `stream`: standard deviation of both
    residual streams where they enter `first_layer`, `token` that of the tokens that ask planted heads. `bfloat16`: the
    encoders' products in that precision. `train`: pre-train anew, in hours; otherwise the packaged weights are looked at.
    """

    clip: Annotated[str, Field(min_length=1)]
    cache_root: Path
    seed: Seed
    device: Device
    images: Count
    batch: Annotated[int, Field(ge=2)]
    keep: Annotated[float, Field(gt=0, le=1)]
    masked_steps: Annotated[int, Field(ge=0)]
    full_steps: Count
    warmup_steps: Count
    lr_matrices: Positive
    lr_others: Positive
    weight_decay: NonNegative
    first_layer: Layer
    planted: dict[str, Count]
    demand_late: Fraction
    demand_purity: Fraction
    demand_owned: Fraction
    demand_silence: Fraction
    weight_answers: NonNegative
    weight_demands: NonNegative
    stream: Positive
    token: Positive
    bfloat16: bool
    train: bool
    checkpoint_every: Count
    held_out: Count  # pictures of the zero-shot check


class VitInternals(OnClip):
    """01: one picture through the image encoder; the head to look at is L`layer`, H`head`."""

    dataset: Name
    images: Count
    first_layer: Layer
    layer: Layer
    head: Head


class HeadRolesParams(OnClip):
    """02: contributions → TextSpan → concepts → Concept Entropy → roles.

    `images` pictures of `part` of the data set; test pictures are what the tables score, so they are no choice here.
    `rank` singular vectors and `steps` phrases per head (80 and 20 in TextSpan's publication). A head writes in at most
    d_head + 3 directions, and a `rank` above that is inert here: the rest is rounding, which the published code ranks by and
    this one leaves out. `pool`: a file with one phrase a line, "published" for the phrases published with TextSpan, null for the
    Attribute World's.
    `rule` "null": roles against phrases drawn blindly, `null_draws` times; "thresholds": `low` and `high`, fractions of log2 k, at
    or below `low` specialised, at or above `high` generalised. `words`: the phrases that describe each concept, its name among the
    keys; `nearest`, `floor`, `merge` and the cluster settings: `dearlib.roles.concepts.ConceptSettings`.
    """

    dataset: Name
    part: Literal["train", "val"]
    images: Count
    first_layer: Layer
    attributes: Annotated[tuple[str, ...], Field(min_length=1)]
    pool: Literal["published"] | Path | None
    rank: Count
    steps: Count
    least: Fraction
    rule: Annotated[Literal["null", "thresholds"], BeforeValidator(lambda rule: "null" if rule is None else rule)]
    low: Fraction
    high: Fraction
    concepts: Literal["all", "core"]
    encoder: Annotated[str, Field(min_length=1)]
    strip_carriers: bool
    pca: Count
    min_cluster_size: Annotated[int, Field(ge=2)]
    min_samples: Count
    selection: Literal["leaf", "eom"]
    nearest: Count
    floor: Annotated[float, Field(ge=-1, le=1, description="a cosine; -1: no phrase is far")]
    merge: bool
    bootstrap: Annotated[int, Field(ge=2, description="resamples over images")]
    null_draws: Annotated[int, Field(ge=20, description="blind lists of phrases")]
    ablation_images: Annotated[int, Field(ge=2)]
    words: Annotated[dict[str, Annotated[tuple[str, ...], Field(min_length=1)]], Field(min_length=1)]

    @model_validator(mode="after")
    def thresholds_in_order(self) -> "HeadRolesParams":
        if self.low >= self.high:
            raise PydanticCustomError("order", "low: expected less than high = {high}, got {low}", {"high": self.high, "low": self.low})
        return self


class RoleMasks(OnClip):
    """03: roles → masks. `roles` is the file that 02 wrote."""

    roles: Path
    tokens_per_attribute: Count


class Tokens(OnClip):
    """What DeAR adds to the frozen CLIP and how it is weighted; the paper's letters in brackets."""

    dataset: Name
    roles: Path
    first_layer: Layer  # J
    text_tokens: Annotated[int, Field(ge=0)]  # K
    tokens_per_attribute: Count
    beta: Fraction  # β: share of the raw token at the entrance of every layer after J
    alpha_cls: Annotated[float, Field(gt=0, lt=1)]  # α_cls before training
    init_std: Positive  # of the tokens before training
    routing: Literal["printed", "exclusive"]  # who may query in an attribute head
    lambda_reg: NonNegative
    lambda_fusion: NonNegative


class MethodFamily(OnClip):
    """16: every method's forward pass. `roles` is the file that 02 wrote; DeAR's masks are built from it."""

    roles: Path


class DearModel(Tokens):
    """04: one forward pass, the losses and a few steps of training on `images` pictures."""

    images: Count
    steps: Count
    lr: Positive


class Training(Tokens):
    """05: DeAR trained on one data set with several seeds.

    `views` augmented views per picture, 0 for the plain picture alone. States below layer J are kept in `cache_root`, as
    `cache_dtype`, up to `cache_gb` gigabytes in all; beyond that they are computed whenever they are needed. At most
    `together` runs are trained as one batch. That many `processes`, each with a device of its own, share every batch.

    `per_dataset`: values that one data set has in place of the file's, as {data set: {key: value}}. Reading the file puts
    those of `dataset` in place, so a notebook and a record hold the values that are used, and an empty mapping.
    """

    processes: Count
    cache_root: Path
    cache_dtype: Literal["float32", "float16", "bfloat16"]
    cache_gb: NonNegative
    together: Count
    shots: Count
    seeds: Seeds
    epochs: Count
    batch: Count
    lr: Positive
    lr_tokens: Positive | None  # null: lr
    lr_fusion: Positive | None
    warmup_epochs: Annotated[int, Field(ge=0)]
    warmup_lr: Positive  # of the warm-up epochs
    weight_decay: NonNegative
    views: Annotated[int, Field(ge=0)]
    crop_scale: CropScale
    flip: bool
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    per_dataset: dict[Name, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def consistent(self) -> "Training":
        if self.warmup_epochs >= self.epochs:
            told = {"epochs": self.epochs, "warmup": self.warmup_epochs}
            raise PydanticCustomError("order", "warmup_epochs: expected less than epochs = {epochs}, got {warmup}", told)
        return self


class Variant(Training):
    """One variant of a training run: its settings, and the role map it is given in place of the one that was found.

    `thresholds` [low, high] cut the found entropies anew; a shuffled map is dealt anew for each seed; `one_attribute` has one token
    that every attribute head listens to. `trained`: the parts that are; the others stay as they start. `attribute_scores` "mean": in
    the test each s_a is its mean over the plain training pictures.
    """

    role_map: Literal["found", "all_generalization", "all_mixed", "shuffled", "one_attribute"] = "found"
    trained: Annotated[tuple[Literal["attribute_tokens", "text_tokens", "projection", "fusion"], ...], Field(min_length=1)] = (
        "attribute_tokens",
        "text_tokens",
        "projection",
        "fusion",
    )
    attribute_scores: Literal["pictures", "mean"] = "pictures"
    thresholds: tuple[Fraction, Fraction] | None = None

    @property
    def as_trained(self) -> "Variant":
        """Without what is read only after training: variants that are equal in this train the same models."""
        return self.model_copy(update={key: Variant.model_fields[key].default for key in AFTER_TRAINING})


AFTER_TRAINING = ("attribute_scores",)


class FromRecords(Run):
    """06, 07, 09, 10, 15: tables and figures from the records of the profile's study, which says which these are."""


class DomainGeneralization(FromRecords):
    """08: shows pictures of the source and its shifts as well."""

    data_root: Path


class AttributeRetrieval(Run):
    """11: nearest neighbours by each token's feature among `gallery` test pictures of the source; null: all of them.

    Of `asked` pictures `shown` neighbours are kept to be looked at.
    """

    data_root: Path
    gallery: Count | None
    k: Count
    shown: Count
    asked: Count
    projected: Annotated[int, Field(ge=10)]


class PaperAudit(Run):
    """12: the paper's reported tables recomputed; they are part of the package, so there is nothing to choose."""


class Performance(Run):
    """13: what `make bench` measured (a folder of `bench` for each hardware), and where the run records' time went."""

    bench: Path
    repeats: Count


class Cost(Run):
    """14: what the profile `predicted` will cost, by the rates that `make bench` measured (a folder of `bench` for each hardware).

    `assumed_tflops`: a rate for a GPU of which there is no measurement, always shown as an assumption. `repeats`: of what the
    notebook times itself.
    """

    data_root: Path
    clip: Annotated[str, Field(min_length=1)]
    predicted: Name
    bench: Path
    assumed_tflops: Positive
    repeats: Count


MODELS: dict[str, type[Run]] = {
    "00_pretrain_mini": PretrainMini,
    "01_vit_internals": VitInternals,
    "02_head_roles": HeadRolesParams,
    "03_role_masks": RoleMasks,
    "04_dear_model": DearModel,
    "05_training": Training,
    "06_base_to_novel": FromRecords,
    "07_cross_dataset": FromRecords,
    "08_domain_generalization": DomainGeneralization,
    "09_few_shot": FromRecords,
    "10_ablations": FromRecords,
    "11_attribute_retrieval": AttributeRetrieval,
    "12_paper_audit": PaperAudit,
    "13_performance": Performance,
    "14_cost": Cost,
    "15_what_carries_the_gain": FromRecords,
    "16_the_family": MethodFamily,
}
