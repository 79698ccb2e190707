"""The Attribute World: pictures are pure functions, factors are true, and data sets get to disk whole or not at all."""

import errno
import json
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from dearlib.datasets import CATALOGUE, PUBLIC, SHIFTED_MINI, SOURCE_MINI, TARGETS_MINI, classnames, open_image, read_split
from dearlib.datasets.splits import PARTS
from dearlib.datasets.world import sets, vocabulary
from dearlib.datasets.world.__main__ import main
from dearlib.datasets.world.scene import _RGB, generator, scene
from dearlib.datasets.world.styles import STYLES


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two or three images a class instead of a hundred."""
    for name, how in list(sets.SETS.items()):
        few = replace(how, train=min(how.train, 3), val=min(how.val, 2), test=2)
        monkeypatch.setitem(sets.SETS, name, few)


def test_a_scene_is_a_pure_function_of_split_seed_and_index() -> None:
    pixels, factors = scene("train", 1, 2)
    again, same = scene("train", 1, 2)
    assert np.array_equal(pixels, again)
    assert factors == same
    assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)
    for other in (("test", 1, 2), ("train", 2, 2), ("train", 1, 3)):
        assert not np.array_equal(scene(*other)[0], pixels)


def test_pinned_factors_stay_and_the_others_vary() -> None:
    drawn = [scene("train", 0, i, color="red", texture="dotted")[1] for i in range(40)]
    assert {(f.color, f.texture) for f in drawn} == {("red", "dotted")}
    assert len({f.location for f in drawn}) > 6
    assert {f.kind for f in drawn} == {*vocabulary.SUBJECT_KINDS, vocabulary.CLOSE_UP}
    placed = [scene("train", 0, i, location="beach")[1] for i in range(40)]
    assert {f.kind for f in placed} == set(vocabulary.SUBJECT_KINDS)  # a close-up would hide the place


def test_a_subject_has_the_color_its_factor_names() -> None:
    """The mean inside a bright smooth square is nearer to the named colour than to five others far from it."""
    far = ("red", "green", "blue", "yellow", "black", "white")
    pinned = {"kind": "shape", "subject": "square", "texture": "smooth", "light": "bright", "size": "large"}
    for i, color in enumerate(far * 3):
        pixels, _ = scene("train", 0, i, color=color, **pinned)
        mean = pixels[26:38, 26:38].reshape(-1, 3).mean(0) / 255
        assert min(far, key=lambda c: float(np.linalg.norm(mean - _RGB[c]))) == color


def test_captions_and_the_phrase_pool_speak_of_the_factors() -> None:
    for i in range(60):
        rng = generator("captions", 0, i)
        factors = scene("captions", 0, i)[1]
        assert factors.subject in vocabulary.scene_caption(factors, rng)
        single = vocabulary.single_caption(factors, rng)
        assert any(v in single for v in (*asdict(factors).values(), "in dim light"))
    pool = vocabulary.phrase_pool()
    assert len(pool) == len(set(pool)) >= 300
    assert len({concept for _, concept in pool}) >= 8


def test_rendering_is_fast_enough() -> None:
    """At least 300 images a second of one core's time."""
    scene("speed", 0, 0)
    start = time.process_time()
    for i in range(60):
        scene("speed", 0, i)
    assert 60 / (time.process_time() - start) > 300


def test_sets_are_what_the_protocol_needs() -> None:
    assert set(sets.NAMES) == set(CATALOGUE) - set(PUBLIC) == {*TARGETS_MINI, *SHIFTED_MINI, SOURCE_MINI}
    for name, how in sets.SETS.items():
        classes = [classname for classname, _ in sets._CLASSES[how.classes]]
        assert len(classes) == len(set(classes)) >= 10
        if name in TARGETS_MINI:
            assert how.style not in ("render", *(sets.SETS[s].style for s in SHIFTED_MINI)), "a style that nothing else shows"
            assert min(how.train, how.test) >= 40
            assert how.val >= 8
        plain, style = STYLES["render"], STYLES[how.style]
        assert how.strength == 1 or (style.scale, style.rotation) == (plain.scale, plain.rotation), "mixing needs equal poses"


def test_colored_textures_share_factors_but_no_pair_between_halves() -> None:
    pairs = [classname.split() for classname, _ in sets._CLASSES["colored_textures"]]
    base, novel = pairs[:8], pairs[8:]
    for i in (0, 1):
        assert {p[i] for p in base} == {p[i] for p in novel}
    assert len({tuple(p) for p in pairs}) == 16


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_strength_mixes_a_style_with_the_plain_one(strength: float) -> None:
    how = replace(sets.SETS["shapes"], style="fog", strength=strength)
    mixed, _ = sets._draw(how, "any", 3, {"color": "red"})
    plain, _ = scene("any", sets.SEED, 3, color="red")
    styled, _ = scene("any", sets.SEED, 3, "fog", color="red")
    expected = plain + strength * (styled.astype(float) - plain)
    assert np.abs(mixed - expected).max() <= 0.51


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["source", "source_sketch", "colored_textures"])
def test_written_sets_read_back(tmp_path: Path, name: str) -> None:
    assert main(["--out", str(tmp_path), "--only", name]) == 0
    split = read_split(tmp_path, name)
    how = sets.SETS[name]
    n = len(classnames(split))
    assert [len(getattr(split, part)) for part in PARTS] == [n * how.train, n * how.val, n * how.test]
    factors = json.loads((tmp_path / name / "factors.json").read_text())
    assert len(factors) == sets.count(name) == len(split.items)
    pinned = dict(sets._CLASSES[how.classes])
    for item, picture in zip(split.items, sets.pictures(name), strict=True):
        true = factors[item.path.relative_to(tmp_path / name / "images").as_posix()]
        assert true.items() >= pinned[item.classname].items()
        assert np.array_equal(np.asarray(open_image(item.path)), picture.pixels)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_the_digits_are_real_and_split_once(tmp_path: Path) -> None:
    sets.write(tmp_path, "digits")
    split = read_split(tmp_path, "digits")
    assert classnames(split) == list(vocabulary.NUMBERS)
    assert len(split.items) == sets.count("digits") == 1797
    for part, least in zip(PARTS, (40, 8, 40), strict=True):
        assert min(Counter(i.label for i in getattr(split, part)).values()) >= least
    image = np.asarray(open_image(split.test[0].path))
    assert image.shape == (64, 64, 3)
    assert (image == image[..., :1]).all()
    assert not (tmp_path / "digits" / "factors.json").exists()


@pytest.mark.usefixtures("small")
def test_a_second_run_writes_nothing_and_a_damaged_or_stale_set_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["--out", str(tmp_path), "--only", "letters"]
    assert main(run) == 0
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    files = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert main(run) == 0
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == times
    assert "0 written now" in capsys.readouterr().out
    next((tmp_path / "letters" / "images").rglob("*.png")).unlink()
    (tmp_path / "letters.partial").mkdir()
    assert main(run) == 0
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files
    (tmp_path / "letters" / "world.json").write_text('{"version": 0}')
    assert sets.write(tmp_path, "letters")
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "a full disk"), (errno.EACCES, "Permission denied")])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, words: str
) -> None:
    left = iter(range(7))

    def write_bytes(path: Path, data: bytes) -> int:
        if next(left, None) is None:
            raise OSError(number, "Permission denied" if number == errno.EACCES else "No space left on device")
        with open(path, "wb") as file:
            return file.write(data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    assert main(["--out", str(tmp_path / "mini"), "--only", "shapes"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    for part in ("expected", words, str(tmp_path / "mini" / "shapes")):
        assert part in error
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_an_unknown_name_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "mini"), "--only", "shape"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "mini").exists()


def test_styles_change_the_picture_and_not_the_factors() -> None:
    plain, factors = scene("style", 0, 1)
    for style in STYLES.keys() - {"render"}:
        other, same = scene("style", 0, 1, style)
        assert same == factors
        assert not np.array_equal(other, plain), style
        assert other.shape == (64, 64, 3)
