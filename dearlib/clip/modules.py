"""open_clip's modules as a type checker may know them: of an `nn.Module` it would take every part for a tensor or a module.

Names of parts and what they are, as far as dearlib reads them. When run, each is torch's own base class: nothing here is
executed, and any class with these parts will do.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import overload

    class Mlp(nn.Module):
        """The perceptron of a layer, with its second linear map."""

        c_proj: nn.Linear

        def __call__(self, x: Tensor) -> Tensor: ...

    class Block(nn.Module):
        """A ResidualAttentionBlock."""

        ln_1: nn.LayerNorm
        ln_2: nn.LayerNorm
        ls_1: nn.Identity
        ls_2: nn.Identity
        attn: nn.MultiheadAttention
        mlp: Mlp

        def __call__(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor: ...

    class Blocks(nn.ModuleList):
        """The layers of a Transformer, or some of them."""

        def __iter__(self) -> Iterator[Block]: ...
        @overload
        def __getitem__(self, idx: slice) -> "Blocks": ...
        @overload
        def __getitem__(self, idx: int) -> Block: ...
        def __getitem__(self, idx: int | slice) -> "Block | Blocks": ...

    class Transformer(nn.Module):
        """A stack of blocks."""

        resblocks: Blocks
        batch_first: bool

        def __call__(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor: ...

    class Vision(nn.Module):
        """A VisionTransformer."""

        conv1: nn.Conv2d
        class_embedding: nn.Parameter
        positional_embedding: nn.Parameter
        patch_dropout: nn.Identity
        ln_pre: nn.LayerNorm
        transformer: Transformer
        ln_post: nn.LayerNorm
        proj: nn.Parameter
        image_size: tuple[int, int]
        preprocess_cfg: dict[str, object]

    class ClipModel(nn.Module):
        """A CLIP: the image encoder, and the text encoder's parts."""

        visual: Vision
        token_embedding: nn.Embedding
        positional_embedding: nn.Parameter
        transformer: Transformer
        ln_final: nn.LayerNorm
        text_projection: nn.Parameter
        attn_mask: Tensor
        logit_scale: nn.Parameter

        def encode_image(self, image: Tensor) -> Tensor: ...
        def encode_text(self, text: Tensor) -> Tensor: ...

else:
    Blocks = nn.ModuleList
    Block = Transformer = Vision = ClipModel = nn.Module
