"""Opening a picture: eight bits of red, green and blue whatever the file holds, or one line that names the file.

Deeper pictures are scaled by their type. Pillow's own conversion cuts at 255 instead, which turns a 16-bit picture white;
for numbers whose range the file does not say (32-bit integers, floating point) there is no right answer, so they are refused.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from dearlib.errors import InputError
from dearlib.texts import read_bytes, regular

_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS, _PHOTOMETRIC, _FORMAT = 258, 262, 339  # tags of TIFF: bits a sample, whether 0 is white, and what the bits mean
_SIGNED = 2
_FROM_ZERO = ("PNG", "TIFF", "JPEG2000", "PPM")  # formats whose grey levels of 16 bits count from 0; FITS' are signed and have an offset


def open_image(path: Path) -> Image.Image:
    """The image in RGB, fully decoded, as the community reads it: its first frame, no transparency, not turned by its EXIF notes.

    Raises `InputError` naming the file if it is missing, truncated, no image, larger than Pillow's limit against bombs
    (twice `Image.MAX_IMAGE_PIXELS`), or of a type without a range.
    """
    try:
        with Image.open(regular(path)) as image:
            return _eight_bits(image).convert("RGB")
    except FileNotFoundError:
        raise InputError(f"{path}: expected an image, got no such file; fetch or make the data set again") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a decoder of foreign bytes: on a damaged file it raises whatever its parser stumbles over
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).split(" '")[0].splitlines()[0]
        raise InputError(f"{path}: expected a whole image, got '{reason}'; delete this file, then fetch or make it again") from None


def picture_bytes(path: Path) -> bytes:
    """The file as it is. Raises `InputError` naming the file if it cannot be read."""
    try:
        return read_bytes(path)
    except OSError as error:
        raise InputError(f"{path}: expected an image, got '{error.strerror}'; fetch or make the data set again") from None


def picture_size(path: Path) -> int:
    """The file's length in bytes, without reading it. Raises `InputError` naming the file if it cannot be had."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: expected an image, got '{error.strerror}'; fetch or make the data set again") from None


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image itself, or a grey picture of 16 bits scaled to eight."""
    if _SIGNED in getattr(image, "tag_v2", {}).get(_FORMAT, ()):
        raise InputError("expected a picture of numbers from 0 on, got signed ones, whose range it does not say; convert it to 8 bits")
    if image.mode in _SIXTEEN and image.format not in _FROM_ZERO:
        raise InputError(
            f"expected a picture of 8 bits a channel from {image.format}, got 16, whose range is not known; convert it to 8 bits"
        )
    if image.mode in _SIXTEEN or (image.mode == "I" and image.format in ("PNG", "PPM")):
        levels, white_is_zero = _range(image)
        grey = np.asarray(image).astype(np.float64) * (255 / levels)
        return Image.fromarray((255 - grey if white_is_zero else grey).round().clip(0, 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        kind = "32-bit integers" if image.mode == "I" else "floating-point numbers"
        raise InputError(f"expected a picture of 8 or 16 bits a channel, got {kind}, whose range it does not say; convert it to 8 bits")
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        return image.convert("RGBA")  # the same colours; Pillow warns of the short way, once for every process
    return image


def _range(image: Image.Image) -> tuple[int, bool]:
    """The largest value of a deep grey picture, and whether it stands for black, as some TIFF files have it."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, (16,))[0]
    return 2**bits - 1, tags.get(_PHOTOMETRIC) == 0
