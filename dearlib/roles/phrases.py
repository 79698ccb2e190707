"""The phrases that TextSpan describes heads with: a file, the Attribute World's own, or the pool published with TextSpan.

The published pool (3,498 phrases) is fetched once, checked by its SHA-256 and kept under the cache folder.
"""

import codecs
import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from dearlib.clip.weights import offline
from dearlib.datasets.world import vocabulary
from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.texts import read_bytes, read_text

PUBLISHED: Literal["published"] = "published"
URL = "https://raw.githubusercontent.com/yossigandelsman/clip_text_span/main/text_descriptions/image_descriptions_general.txt"
SHA256 = "39c6bf3e788684d9e0e8afa902c13aae1ee8eafefdbab94ba923fd05b9038630"
KEPT = Path("cache/textspan/image_descriptions_general.txt")
_SECONDS = 30  # without a byte, before a download is given up
_CHUNK = 1 << 14


def read_pool(pool: Path | str | None) -> list[str]:
    """The phrases of a parameter `pool`: 'published', a file with one phrase a line, or None for the Attribute World's.

    Raises `InputError` if the file is missing, is no text or holds no phrase, or if the published pool cannot be had.
    """
    if pool is None:
        return [phrase for phrase, _ in vocabulary.phrase_pool()]
    path = published_pool() if str(pool) == PUBLISHED else Path(pool)
    try:
        phrases = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        got = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise InputError(f"pool: expected a text file with one phrase a line, got {path} ({got}); correct the path") from None
    if not phrases:
        raise InputError(f"pool: expected one phrase a line, got none in {path}; name another file")
    return phrases


def published_pool(kept: Path = KEPT, url: str = URL) -> Path:
    """The published pool's file; fetched if it is not there yet, and never used unless its hash is right."""
    if not kept.is_file():
        if offline():
            raise InputError(
                f"pool: expected the published phrases in {kept}, got none (HF_HUB_OFFLINE forbids to fetch them); "
                "run `make fetch` once with a network, or name a file of phrases"
            )
        content = _download(url)
        if _sha256(content) != SHA256:
            got = f"{_sha256(content)[:12]}… ({len(content):,} bytes)"
            raise InputError(f"pool: expected phrases with SHA-256 {SHA256[:12]}…, got {got} from {url}; name a file of phrases")
        write_text(kept, content.decode())
    elif _sha256(read_bytes(kept).removeprefix(codecs.BOM_UTF8)) != SHA256:  # an editor may have put the mark there
        raise InputError(f"pool: expected phrases with SHA-256 {SHA256[:12]}…, got others in {kept}; delete it to fetch it anew")
    return kept


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _download(url: str) -> bytes:
    content = b""
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            total = int(answer.headers.get("Content-Length") or 0) or None
            with tqdm(total=total, desc="TextSpan's phrases", unit="B", unit_scale=True) as bar:
                while some := answer.read(_CHUNK):
                    content += some
                    bar.update(len(some))
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer, too
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"pool: expected phrases at {url}, got '{reason}'; go online and run `make fetch`, or name a file") from None
    return content
