"""Opening pictures: the right grey whatever the depth, and one line with the file's name for what cannot be opened."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from public_layout import bomb

from dearlib.datasets import doctor, open_image
from dearlib.errors import InputError

RAMP = np.repeat(np.arange(64)[None] * 257 * 4, 8, axis=0).astype(np.uint16)  # 64 levels of 16 bits, each a level of 8 bits × 257


def one_line(error: pytest.ExceptionInfo[InputError], *words: str) -> None:
    assert "\n" not in str(error.value)
    for word in ("expected", "got", *words):
        assert word in str(error.value)


@pytest.mark.parametrize("name", ["ramp.png", "ramp.tiff", "ramp.jp2", "big-endian.tiff", "ramp.pgm"])
def test_sixteen_bits_are_scaled(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("pgm"):
        path.write_bytes(b"P5 64 8 65535 " + RAMP.byteswap().tobytes())
    elif name.startswith("big"):
        Image.frombytes("I;16B", (64, 8), RAMP.byteswap().tobytes()).save(path)
    else:
        Image.fromarray(RAMP).save(path, **({"irreversible": False} if name.endswith("jp2") else {}))
    found = open_image(path)
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), np.repeat((RAMP // 257).astype(np.uint8)[..., None], 3, axis=2))


def test_a_sixteen_bit_picture_whose_zero_is_white(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "plain.tiff", tiffinfo={262: 0})
    assert np.array_equal(np.asarray(open_image(tmp_path / "plain.tiff"))[..., 0], 255 - RAMP // 257)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_types_without_a_range_are_refused(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "deep.tiff"
    Image.fromarray((RAMP / RAMP.max()).astype(dtype)).save(path)
    with pytest.raises(InputError) as error:
        open_image(path)
    one_line(error, str(path), "convert it to 8 bits")


def test_eight_bit_kinds_open_as_pillow_converts_them(tmp_path: Path) -> None:
    colours = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    for mode in ("RGB", "L", "P", "1", "CMYK", "RGBA", "LA", "YCbCr"):
        suffix = "tiff" if mode in ("CMYK", "YCbCr") else "png"
        made = colours.convert("L").convert("LA") if mode == "LA" else colours.convert(mode)
        made.save(tmp_path / f"x.{suffix}")
        assert np.array_equal(np.asarray(open_image(tmp_path / f"x.{suffix}")), np.asarray(made.convert("RGB"))), mode


def png(path: Path, samples: np.ndarray, colour: int) -> None:
    """A PNG of 16 bits a sample, [height, width, channel], which Pillow writes of grey alone; `colour`: 2 RGB, 4 grey and alpha, 6 RGBA."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b""))


@pytest.mark.parametrize(("colour", "alpha"), [(2, False), (6, True), (4, True)])
def test_sixteen_bits_a_channel_are_scaled_in_colour_and_beside_transparency_too(tmp_path: Path, colour: int, alpha: bool) -> None:
    shown = [RAMP] if colour == 4 else [RAMP, RAMP[:, ::-1], RAMP // 3]
    png(tmp_path / "x.png", np.stack([*shown, *([np.full_like(RAMP, 9000)] if alpha else [])], axis=2), colour)
    expected = np.stack(shown if colour != 4 else shown * 3, axis=2) >> 8
    assert np.array_equal(np.asarray(open_image(tmp_path / "x.png")), expected)


def test_a_telescopes_numbers_are_refused(tmp_path: Path) -> None:
    """FITS holds signed numbers and says in its header what to add to them, which nobody does on reading."""
    cards = ["SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 64", "NAXIS2  = 8", "BZERO   = 32768", "END"]
    head = "".join(card.ljust(80) for card in cards).ljust(2880).encode()
    path = tmp_path / "sky.fits"
    path.write_bytes(head + (RAMP.astype(int) - 32768).astype(">i2").tobytes().ljust(2880, b"\0"))
    with pytest.raises(InputError) as error:
        open_image(path)
    one_line(error, str(path), "FITS", "16")


def tiff(path: Path, numbers: np.ndarray, kind: int) -> None:
    """A grey TIFF as no writer at hand makes it: `kind` 1 unsigned, 2 signed, 3 floating point."""
    height, width = numbers.shape
    entries = {256: width, 257: height, 258: 8 * numbers.itemsize, 259: 1, 262: 1, 273: 8 + 2 + 12 * 11 + 4, 277: 1, 278: height}
    entries |= {279: numbers.nbytes, 284: 1, 339: kind}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4) + numbers.tobytes())


@pytest.mark.parametrize(("dtype", "kind"), [("<i1", 2), ("<i2", 2), ("<i4", 2), ("<u4", 1), ("<f2", 3), ("<f4", 3), ("<f8", 3)])
def test_numbers_that_are_no_levels_of_grey_are_refused(tmp_path: Path, dtype: str, kind: int) -> None:
    """Signed ones among them: their negative half would come out as the brighter one."""
    path = tmp_path / "science.tiff"
    tiff(path, np.arange(-8, 8).reshape(2, 8).astype(dtype), kind)
    with pytest.raises(InputError) as error:
        open_image(path)
    one_line(error, str(path))
    tiff(path, (RAMP >> 8).astype("<u1"), 1)
    assert np.array_equal(np.asarray(open_image(path))[..., 0], RAMP >> 8), "the writer above is right"


def test_what_a_file_has_beside_its_first_picture_is_left_out(tmp_path: Path) -> None:
    """Further frames, transparency of every kind, the turn that EXIF asks for: as in CoOp's data sets, with whose numbers ours compare."""
    colours = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    few, grey, turned = colours.convert("P"), colours.convert("L"), Image.Exif()
    turned[0x112] = 6
    kinds: list[tuple[str, Image.Image, dict]] = [
        ("frames.png", colours, {"save_all": True, "append_images": [colours.rotate(180)]}),
        ("frames.tiff", colours, {"save_all": True, "append_images": [colours.rotate(180)]}),
        ("frames.webp", colours, {"save_all": True, "append_images": [colours.rotate(180)], "lossless": True}),
        ("turned.png", colours, {"exif": turned}),
        ("one.png", few, {"transparency": 3}),
        ("each.png", few, {"transparency": bytes(range(256))}),
        ("grey.png", grey, {"transparency": 0}),
        ("colour.png", colours, {"transparency": (0, 0, 0)}),
    ]
    for name, image, more in kinds:
        image.copy().save(tmp_path / name, **more)
        assert np.array_equal(np.asarray(open_image(tmp_path / name)), np.asarray(image.convert("RGB"))), name


def test_a_picture_over_the_bomb_limit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(bomb())
    with pytest.raises(InputError) as error:
        open_image(path)
    one_line(error, str(path), "pixels")
    Image.new("RGB", (3, 3)).save(tmp_path / "good.png")
    faults = doctor.corrupt([path, tmp_path / "good.png"])
    assert len(faults) == 1, "the doctor goes on"


def test_truncated_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path, compress_level=1)
    whole = path.read_bytes()
    for keep in (0, 5, 30, len(whole) // 2, len(whole) - 100):
        path.write_bytes(whole[:keep])
        with pytest.raises(InputError) as error:
            open_image(path)
        one_line(error, str(path))
    path.unlink()
    with pytest.raises(InputError) as error:
        open_image(path)
    one_line(error, str(path), "no such file")


def outcome(path: Path) -> str:
    """The mode of the opened picture, or how the one line begins."""
    try:
        return open_image(path).mode
    except InputError as error:
        return str(error)[: len(f"{path}: expected")] if len(str(error).splitlines()) == 1 else str(error)


KINDS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "JPEG2000", "WEBP")
WHOLE: dict[str, bytes] = {}


def whole(kind: str, folder: Path) -> bytes:
    if kind not in WHOLE:
        made = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8))
        (made.convert("P") if kind == "GIF" else made).save(folder / "x", kind)
        WHOLE[kind] = (folder / "x").read_bytes()
    return WHOLE[kind]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS))
def test_damaged_pictures_open_or_are_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str) -> None:
    """Some bytes changed, most of them in the header, perhaps cut short: a picture in RGB or an InputError with the file's name."""
    folder = tmp_path_factory.getbasetemp()
    damaged = bytearray(whole(kind, folder))
    for _ in range(data.draw(st.integers(0, 6), label="changes")):
        at = data.draw(st.one_of(st.integers(0, min(80, len(damaged) - 1)), st.integers(0, len(damaged) - 1)))
        damaged[at] = data.draw(st.integers(0, 255))
    path = folder / "damaged.jpg"
    path.write_bytes(damaged[: data.draw(st.one_of(st.just(len(damaged)), st.integers(0, len(damaged))), label="kept")])
    assert outcome(path) in ("RGB", f"{path}: expected")
