"""The frozen CLIP: loading, checking, tokenising. open_clip's modules are used as they are, by composition.

Layers are numbered from 1; the cut at layer J into what is computed once and what is adapted is `dearlib.clip.cut`'s.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from importlib.resources import files
from pathlib import Path

import open_clip
import torch
from jaxtyping import Float, Int
from open_clip.transform import merge_preprocess_dict
from torch import Tensor

from dearlib.clip.finite import check_finite
from dearlib.clip.modules import ClipModel, Vision
from dearlib.clip.weights import check_activation, check_positions, check_tag, pretrained_file, refuse_programs, trained_config
from dearlib.datasets.transforms import Preprocessing
from dearlib.errors import InputError

ASSETS = Path(str(files("dearlib") / "mini" / "assets"))
MINI = "DeAR-Mini"
MINI_SHA256 = "4799924e21ba9c5685f68f626a6588cfcb46eb2b6cb261a3bc94ab8696c72a34"  # of the weights in the package


@dataclass(frozen=True)
class FrozenClip:
    """A CLIP whose parameters have no gradient.

    `preprocess` turns a PIL picture into the encoder's input, with the tag's own size, mean, std, interpolation and resize
    mode. `weights_sha256` identifies the weights (of the file, or of the tensors where they are random) and goes into every
    record; `identity` identifies all that features depend on.
    """

    name: str
    model: ClipModel
    preprocess: Preprocessing
    tokenizer: Callable[..., Tensor]
    weights_sha256: str

    @cached_property
    def identity(self) -> str:
        """A hash of name, architecture (its activation included), preprocessing and weights.

        One weights file can be read as a model with GELU or QuickGELU, or under tags that normalise differently: each is a
        model of its own, with features of its own.
        """
        parts = [self.name, open_clip.get_model_config(self.name), asdict(self.preprocess), self.weights_sha256]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def visual(self) -> Vision:
        """The image encoder, an open_clip VisionTransformer."""
        return self.model.visual

    @cached_property
    def layers(self) -> int:
        """Number of vision layers (12 for ViT-B/16)."""
        return len(self.visual.transformer.resblocks)

    @cached_property
    def heads(self) -> int:
        """Attention heads per vision layer."""
        return int(self.visual.transformer.resblocks[0].attn.num_heads)

    @cached_property
    def d_model(self) -> int:
        """Width of the vision layers, D_v."""
        return int(self.visual.class_embedding.shape[0])

    @cached_property
    def d_text(self) -> int:
        """Width of the text layers, D_t."""
        return int(self.model.ln_final.weight.shape[0])

    @cached_property
    def d_embed(self) -> int:
        """Dimension of the joint space."""
        return int(self.visual.proj.shape[1])

    @cached_property
    def patches(self) -> int:
        """Number of patch tokens."""
        return int(self.visual.positional_embedding.shape[0]) - 1

    @property
    def scale(self) -> float:
        """τ: the frozen temperature that multiplies cosine similarities."""
        return float(self.model.logit_scale.exp())

    def tokenize(self, texts: Sequence[str]) -> Int[Tensor, "text context"]:
        """open_clip's tokens, start and end included, padded with zeros."""
        return self.tokenizer(list(texts))

    @torch.no_grad()
    def encode_image(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch d_embed"]:
        """open_clip's image feature before normalisation. Raises `InputError` if it is no finite number."""
        found: Tensor = self.model.encode_image(images)
        check_finite(f"{self.name}: features of pictures [picture, dimension]", found)
        return found

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "text d_embed"]:
        """open_clip's text feature before normalisation. Raises `InputError` if it is no finite number."""
        found: Tensor = self.model.encode_text(self.tokenize(texts).to(self.model.positional_embedding.device))
        check_finite(f"{self.name}: features of texts [text, dimension]", found)
        return found


def load(source: str, weights: str | Path | None = None, sha256: str | None = None) -> FrozenClip:
    """A frozen CLIP by open_clip name.

    Args:
        source: 'DeAR-Mini', or 'NAME/TAG' as open_clip lists them, e.g. 'ViT-B-16-quickgelu/openai'.
        weights: a safetensors file to read instead of the packaged or the tagged weights. A file does not say which
            activation and which normalisation it was trained with, but the tag does: name it even where the file is given.
            Without one, pictures are normalised as OpenAI's models want them.
        sha256: the expected hash of the weights file; anything else is refused. The package's own weights are always checked.

    Raises:
        InputError: unknown name or tag, missing file, weights of another model or another activation, wrong hash, a ViT
            without [CLS], weights that are neither on this machine nor to be had.
    """
    name, _, tag = source.partition("/")
    _check_name(name)
    _check_text(name, "hf_model_name" not in open_clip.get_model_config(name)["text_cfg"])  # before open_clip goes to fetch it
    check_activation(name, tag)
    if weights is not None:
        check_tag(name, tag)
    if name == MINI and weights is None:
        weights, sha256 = ASSETS / f"{MINI}.safetensors", sha256 or MINI_SHA256
    path = pretrained_file(source) if weights is None else Path(weights)
    if not path.is_file():
        raise InputError(f"clip: expected a weights file at {path}, found none; check clip_weights")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"clip: expected a weights file that can be read, got '{error.strerror}' at {path}; check clip_weights") from None
    if sha256 and digest != sha256:
        raise InputError(
            f"clip: expected weights with SHA-256 {sha256[:12]}…, got {digest[:12]}… in {path.name}; fetch the file again, "
            "or name weights of your own as clip_weights"
        )
    refuse_programs(path, digest)
    return _build(name, path, tag, digest)


def random_clip(name: str = MINI, seed: int = 0) -> FrozenClip:
    """The architecture with random weights: for tests and timing."""
    _check_name(name)
    with torch.random.fork_rng(), _no_talk_of_random_weights():
        torch.manual_seed(seed)
        model = open_clip.create_model(name)
    _check_architecture(name, model)
    hasher = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        hasher.update(key.encode())
        hasher.update(value.contiguous().numpy())
    return _freeze(name, model, "", hasher.hexdigest())


def _check_name(name: str) -> None:
    if MINI not in open_clip.list_models():
        open_clip.add_model_config(ASSETS)
    if name not in open_clip.list_models():
        raise InputError(f"clip: expected a model that open_clip knows, got {name!r}; see open_clip.list_models()")


def _build(name: str, path: Path, tag: str, digest: str) -> FrozenClip:
    """The model around the weights in `path`; a tag says how its pictures were normalised.

    The model is laid out without memory and the file's tensors become its parameters, mapped: no second copy while it loads,
    and layers that nobody runs (those below J, on a kept prefix) never enter memory.
    """
    with torch.device("meta"), _no_talk_of_random_weights():
        model = open_clip.create_model(name, device="meta")
    _check_architecture(name, model)
    model.load_state_dict = partial(model.load_state_dict, assign=True)
    context = len(model.positional_embedding)
    try:
        check_positions(path, {"visual.positional_embedding": len(model.visual.positional_embedding), "positional_embedding": context})
        open_clip.load_checkpoint(model, str(path))  # knows older layouts, and reads no pickled programs
        del model.load_state_dict
        _check_numbers(model.float())
    except InputError:
        raise
    except Exception as error:  # readers of foreign bytes: on a damaged file they raise whatever their parsers stumble over
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]  # torch goes on with advice to trust the file
        got = f"a damaged file or another model's ({reason})"
        raise InputError(f"clip: expected weights of {name}, got {got}; check clip and clip_weights") from error
    model.attn_mask = torch.full((context, context), float("-inf")).triu(1)  # the one buffer that no weights file holds
    return _freeze(name, model, tag, digest)


def _check_numbers(model: ClipModel) -> None:
    """Refuses kinds of numbers that nothing can be computed with, and a temperature that makes every logit NaN."""
    odd = {str(p.dtype) for p in model.parameters() if p.dtype is not torch.float32}
    if odd:
        raise InputError(f"clip: expected weights of real numbers, got {', '.join(sorted(odd))}; check clip_weights")
    check_finite("clip: temperature", model.logit_scale.exp())


@contextmanager
def _no_talk_of_random_weights() -> Iterator[None]:
    """open_clip warns of a model without weights, which here is as meant, or gets them a moment later."""

    def other(record: logging.LogRecord) -> bool:
        return "initialized randomly" not in record.getMessage()

    logging.root.addFilter(other)
    try:
        yield
    finally:
        logging.root.removeFilter(other)


def _check_architecture(name: str, model: ClipModel) -> None:
    """Refuses encoders that the method has no reading of."""
    _check_text(name, isinstance(model, open_clip.CLIP) and model.attn_mask is not None and model.text_pool_type == "argmax")
    visual = model.visual
    if not isinstance(visual, open_clip.transformer.VisionTransformer) or visual.pool_type != "tok" or visual.attn_pool is not None:
        raise InputError(f"clip: expected a ViT that pools its [CLS] token, got {name}; choose a ViT without attention pooling")


def _check_text(name: str, good: bool) -> None:
    if not good:
        raise InputError(
            f"clip: expected a causal text encoder that is read at the end of text, got {name}; choose a CLIP such as OpenAI's"
        )


def _freeze(name: str, model: ClipModel, tag: str, digest: str) -> FrozenClip:
    model.eval().requires_grad_(False)
    config = merge_preprocess_dict(model.visual.preprocess_cfg, trained_config(name, tag))
    return FrozenClip(name, model, Preprocessing.of_config(config), open_clip.get_tokenizer(name), digest)
