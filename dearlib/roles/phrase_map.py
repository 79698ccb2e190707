"""Phrases in the plane, for the eye alone.

t-SNE magnifies rounding: the same embeddings give another picture on another processor. So a map is kept beside the records, and
drawn again from there.
"""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.manifold import TSNE
from torch import Tensor

from dearlib.errors import InputError
from dearlib.files import write_text

CLOSE = 1e-3  # of an embedding's first entry, on another processor


def phrase_map(vectors: Float[Tensor, "phrase dim"], phrases: Sequence[str], path: Path, seed: int) -> Float[np.ndarray, "phrase 2"]:
    """Where t-SNE puts the phrases: what the CSV file `path` has of these very embeddings, else computed and written there.

    Raises `InputError` for a file that is no such map.
    """
    first = vectors[:, 0].double().numpy()
    if path.exists():
        try:
            kept = pd.read_csv(path, dtype={"phrase": str}, keep_default_na=False)
            told = kept[["first", "x", "y"]].to_numpy(dtype=float)
        except (KeyError, ValueError, pd.errors.ParserError):
            raise InputError(f"{path}: expected the columns phrase, first, x, y, got something else; delete the file") from None
        if list(kept["phrase"]) == list(phrases) and np.allclose(told[:, 0], first, rtol=0, atol=CLOSE):
            return told[:, 1:]
    placed = TSNE(2, init="pca", perplexity=min(30, (len(phrases) - 1) / 3), random_state=seed).fit_transform(vectors.numpy())
    table = pd.DataFrame({"phrase": list(phrases), "first": first, "x": placed[:, 0], "y": placed[:, 1]})
    text = table.to_csv(index=False, float_format="%.4f")
    write_text(path, text)
    return pd.read_csv(StringIO(text))[["x", "y"]].to_numpy(dtype=float)  # as it will be read
