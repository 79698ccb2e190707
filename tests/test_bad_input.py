"""A whole step on bad input: one line, status 2, and neither a record nor half an entry of the cache; on odd good input, its numbers."""

import errno
import json
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from public_layout import bomb, build
from role_maps import make_roles

from dearlib.clip.loading import load
from dearlib.commands import main
from dearlib.datasets import PUBLIC
from dearlib.study.records import RunRecord

ROOT = Path(__file__).parents[1]


def test_a_truncated_picture_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """DeAR-Mini on a public data set's layout, one test picture cut short."""
    build(tmp_path / "data", "dtd")
    make_roles(load("DeAR-Mini")).save(tmp_path / "roles.json")
    broken = tmp_path / "data" / "dtd" / PUBLIC["dtd"].images / "zigzagged" / "zigzagged_0006.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    small = {"shots": 2, "seeds": "[1]", "epochs": 2, "views": 1}
    where = {
        "data_root": tmp_path / "data",
        "roles": tmp_path / "roles.json",
        "cache_root": tmp_path / "cache",
        "runs_root": tmp_path / "runs",
    }
    given = [word for key, value in (small | where).items() for word in ("-p", f"{key}={value}")]
    monkeypatch.chdir(ROOT)
    assert main(["run", "mini", "base_to_novel", "dtd", "--methods", "DeAR", *given]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert f"{broken}: expected a whole image, got" in told[0]
    assert list(tmp_path.rglob("record.json")) == []
    kept = list((tmp_path / "cache").iterdir())
    assert all(p.suffix == ".safetensors" and not p.name.startswith(".") for p in kept)
    assert len(kept) == 2, "the base half's pictures are whole: their states and features stay"


PROFILE = {"profile": "tiny", "runs_root": "runs", "figures_root": "figures", "data_root": "data", "cache_root": "cache"}
PROFILE |= {"roles": "roles.json", "shots": "2", "seeds": "[1]", "epochs": "2", "views": "1"}
STUDY = "groups: {squares: {datasets: [squares], classes: halves, runs: {DeAR: {}}}}\n"
COUNTS = {"train": 4, "val": 2, "test": 4}
COLOURS = ((220, 30, 30), (30, 200, 40), (40, 60, 220), (230, 210, 40))
Rows = dict[str, list[list]]


@dataclass(frozen=True)
class Place:
    """A repository with a small group on four classes of coloured squares, a data set of its own."""

    root: Path

    @property
    def pictures(self) -> Path:
        return self.root / "data" / "squares" / "images"

    @property
    def split(self) -> Path:
        return self.root / "data" / "squares" / "split.json"

    def rows(self, change: Callable[[Rows], object]) -> None:
        """The split file with its rows changed in place."""
        rows: Rows = json.loads(self.split.read_text())
        change(rows)
        self.split.write_text(json.dumps(rows))

    def rename(self, *names: str) -> None:
        self.rows(lambda rows: [row.__setitem__(2, names[row[1]]) for part in rows.values() for row in part])


def paint(path: Path) -> Image.Image:
    """A noisy square: the colour of its class, 64 × 64 pixels."""
    label, part, number = path.stem.split("-")
    noise = np.random.default_rng([int(label), list(COUNTS).index(part), int(number)]).normal(0, 25, (64, 64, 3))
    return Image.fromarray((np.array(COLOURS[int(label)]) + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    for folder in (tmp_path / "notebooks", tmp_path / "params" / "tiny", made.pictures):
        folder.mkdir(parents=True)
    lines = [line for line in (ROOT / "params/mini/profile.yaml").read_text().splitlines() if line.split(":")[0] not in PROFILE]
    text = "\n".join([*lines, *(f"{key}: {value}" for key, value in PROFILE.items())])
    (tmp_path / "params" / "tiny" / "profile.yaml").write_text(f"{text}\n")
    (tmp_path / "params" / "tiny" / "study.yaml").write_text(STUDY)
    (tmp_path / "params" / "data_sets.yaml").write_text("squares: {template: 'a photo of a {}.'}\n")
    names = ("red", "green", "blue", "yellow")
    rows = {part: [[f"{c}-{part}-{i}.png", c, names[c]] for c in range(4) for i in range(n)] for part, n in COUNTS.items()}
    for row in (row for part in rows.values() for row in part):
        paint(made.pictures / row[0]).save(made.pictures / row[0])
    made.split.write_text(json.dumps(rows))
    make_roles(load("DeAR-Mini")).save(tmp_path / "roles.json")
    monkeypatch.chdir(tmp_path)
    return made


def link(picture: Path) -> None:
    picture.unlink()
    picture.symlink_to("nowhere.png")


def folder(picture: Path) -> None:
    picture.unlink()
    picture.mkdir()


LONG = " ".join(["square"] * 80)
TRAINED, TESTED = "0-train-1.png", "3-test-2.png"


def every(place: Place, save: Callable[[Image.Image, Path], object]) -> None:
    for path in place.pictures.iterdir():
        save(paint(path), path)


WRONG: dict[str, tuple[Callable[[Place], object], tuple[str, ...]]] = {
    "a link to nowhere": (lambda p: [link(p.pictures / f"0-train-{i}.png") for i in range(4)], ("0-train-", "expected an image")),
    "a folder": (lambda p: [folder(p.pictures / f"0-train-{i}.png") for i in range(4)], ("0-train-", "expected an image")),
    "a bomb": (lambda p: (p.pictures / TESTED).write_bytes(bomb()), (TESTED, "pixels")),
    "floating point": (
        lambda p: Image.fromarray(np.zeros((64, 64), np.float32)).save(p.pictures / TESTED, "TIFF"),
        (TESTED, "8 or 16 bits"),
    ),
    "no class to learn": (lambda p: p.rows(lambda r: r.update(train=[x for x in r["train"] if x[1] != 1])), ("'green'", "'val'")),
    "no validation": (lambda p: p.rows(lambda r: r.update(val=[])), ("squares", "'val'")),
    "no test": (lambda p: p.rows(lambda r: r.update(test=[])), ("expected at least one, got none",)),
    "one class": (
        lambda p: p.rows(lambda r: r.update({part: [x for x in rows if x[1] == 0] for part, rows in r.items()})),
        ("squares", "novel half"),
    ),
    "a picture twice": (lambda p: p.rows(lambda r: r["test"].append(r["train"][0])), ("'train' and 'test'",)),
    "an absolute path": (
        lambda p: p.rows(lambda r: r["test"][0].__setitem__(0, str(p.pictures / "0-test-0.png"))),
        ("test[0]", "absolute"),
    ),
    "a path upwards": (lambda p: p.rows(lambda r: r["test"][0].__setitem__(0, "../images/0-test-0.png")), ("test[0]", "'..'")),
    "deep JSON": (lambda p: p.split.write_text("[" * 10_000), ("split.json", "nested too deeply")),
    "one name": (lambda p: p.rename("red", "green", "red", "blue"), ("'red' for labels 0 and 2",)),
    "one name but for case": (lambda p: p.rename("red", "Red", "green", "blue"), ("'red' and 'Red', which read alike, for labels 0 and",)),
    "one name but for case in both halves": (
        lambda p: p.rename("red", "green", "Red", "blue"),
        ("'red' and 'Red', which read alike, for labels 0 and",),
    ),
    "one name but for blanks": (lambda p: p.rename("deep_red", "deep  red ", "green", "blue"), ("which read alike",)),
    "one name but for its letters' bytes": (
        lambda p: p.rename("café", unicodedata.normalize("NFD", "café"), "green", "blue"),
        ("which read alike",),
    ),
    "one name but for its letters' width": (lambda p: p.rename("red", "ｒｅｄ", "green", "blue"), ("which read alike",)),
    "one name but for a sign that nobody sees": (lambda p: p.rename("red", "re\u200bd", "green", "blue"), ("which read alike",)),
    "a name that nobody sees": (lambda p: p.rename("red", "\u200b", "green", "blue"), ("expected a class name",)),
    "half a letter": (lambda p: p.rename("red", "\ud800", "green", "blue"), ("expected a class name",)),
    "one name but for what the tokenizer mends": (
        lambda p: p.rename("rock & roll", "rock &amp; roll", "green", "blue"),
        ("the same for classes 0", "&amp;"),
    ),
    "a name over 77 tokens": (lambda p: p.rename(LONG, "red", "green", "blue"), ("at most 77 tokens", "square")),
    "a template over 77 tokens": (
        lambda p: (p.root / "params" / "data_sets.yaml").write_text(f"squares: {{template: 'a {{}} {LONG}'}}\n"),
        ("at most 77 tokens", "shorten the template"),
    ),
    "one beginning": (lambda p: p.rename(f"{LONG} one", f"{LONG} two", "green", "blue"), ("the same for classes 0", "two")),
    "two byte orders": (lambda p: p.split.write_bytes(p.split.read_text().encode("utf-16")), ("not UTF-8",)),
}


def told(place: Place, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The one line of a run that ends in status 2 and leaves no record."""
    capsys.readouterr()
    assert main(["run", "tiny", "squares", "squares", *more]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("dearlib: ")]) == 1
    assert [line for line in lines if line.strip() and not line.startswith(("dearlib: ", "epochs"))] == []
    assert list(place.root.rglob("record.json")) == list(place.root.rglob("batch-*")) == []
    return next(line for line in lines if line.startswith("dearlib: "))


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_data_set_is_one_line_and_no_record(place: Place, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, words = WRONG[case]
    spoil(place)
    line = told(place, capsys)
    for word in words:
        assert word in line


UNUSABLE = {
    "a long folder in the split file": (
        lambda p: p.rows(lambda r: r["test"][0].__setitem__(0, f"{'a' * 300}/0.png")),
        (),
        "File name too long",
    ),
    "long weights": (None, (f"clip_weights={'a' * 300}",), "File name too long"),
    "a long place of runs": (None, (f"runs_root={'a' * 300}",), "File name too long"),
    "a long place of the cache": (None, (f"cache_root={'a' * 300}",), "File name too long"),
    "a NUL": (None, ('roles="a\\0b"',), "a NUL, which no name and no path can have"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_path_that_the_system_refuses_is_one_line(place: Place, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, given, word = UNUSABLE[case]
    if spoil:
        spoil(place)
    assert word in told(place, capsys, *(word for pair in given for word in ("-p", pair)))


def test_a_folder_that_may_not_be_read_is_one_line(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listdir(path: Path) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", listdir)
    assert "squares/images: expected a path that can be used, got 'Permission denied'" in told(place, capsys)


@pytest.mark.parametrize(("classes", "count", "which"), [("all", 1, "all"), ("halves", 2, "base"), ("halves", 3, "novel")])
def test_a_part_of_one_class_is_refused(place: Place, classes: str, count: int, which: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every answer would be right."""
    study = place.root / "params" / "tiny" / "study.yaml"
    study.write_text(study.read_text().replace("halves", classes))
    place.rows(lambda rows: rows.update({part: [row for row in own if row[1] < count] for part, own in rows.items()}))
    assert f"squares: expected two classes or more to tell apart, got 1 among {which} classes" in told(place, capsys)


def test_a_precision_that_a_cpu_does_not_have_is_one_line(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """It would train in bf16-mixed and record 16-mixed."""
    assert "got 16-mixed" in told(place, capsys, "-p", "precision=16-mixed", "-p", "device=cpu")


def test_a_device_that_this_machine_does_not_have_is_one_line(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "mps"):
        said = f"device: expected what this machine has (cpu), got {device}; say `device: cpu`, or auto"
        assert said in told(place, capsys, "-p", f"device={device}")


def test_test_pictures_that_are_trained_on_under_another_name_are_told(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Some public data sets were published with a few, so the run goes on."""
    assert main(["run", "tiny", "squares", "squares"]) == 0
    assert "trained on as well" not in capsys.readouterr().err
    trained = sorted(place.pictures.glob("0-train-*"))  # two of the four are shots of seed 1
    for picture, shown in zip(trained, ("0-test-0.png", "0-test-1.png", "0-test-2.png", "3-test-2.png"), strict=True):
        (place.pictures / shown).unlink()
        (place.pictures / shown).symlink_to(picture)
    assert main(["run", "tiny", "squares", "squares"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "as well" in line]
    assert line.startswith("squares, squares: 2 of 16 test pictures are, byte for byte, trained on as well, first data/squares/images/")


LOST = {
    "in the middle": ("lr=1e4", "epochs=6"),
    "at once": ("lr=1e30", "epochs=6"),
    "in the last step": ("lr=1e30",),
    "by a gradient that moves nothing": ("lambda_reg=1e38",),
}


@pytest.mark.parametrize("given", LOST.values(), ids=LOST.keys())
def test_training_that_ends_in_no_number_is_one_line_and_no_record(
    place: Place, given: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    line = told(place, capsys, *(word for pair in given for word in ("-p", pair)))
    assert "training: expected finite numbers, got" in line
    assert "epoch" in line
    assert "learning rate" in line


def test_what_was_kept_of_a_batch_and_is_damaged_is_one_line(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "tiny", "squares", "squares"]) == 0
    (kept,) = place.root.rglob("batch-*.json")
    whole = kept.read_bytes()
    for damaged in (whole[:-20], b"", b"[]", b"\xff\xfe", whole.replace(b'"accuracy": ', b'"accuracy": -', 1)):
        kept.write_bytes(damaged)
        (place.root / "runs" / "squares-squares" / "record.json").unlink(missing_ok=True)
        capsys.readouterr()
        assert main(["run", "tiny", "squares", "squares"]) == 2
        assert f"{kept.name}: expected the finished runs of a batch" in capsys.readouterr().err


def numbers(place: Place, name: str) -> list[str]:
    """The metrics of a run whose cache and batches are its own."""
    assert main(["run", "tiny", "squares", "squares", "-p", f"runs_root={name}", "-p", f"cache_root={name}-cache"]) == 0
    return [m.model_dump_json() for m in RunRecord.load(place.root / name / "squares-squares" / "record.json").metrics]


def sixteen_bits(image: Image.Image, path: Path) -> None:
    """Grey levels times 257: what a scientific camera's software writes."""
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)


def test_odd_but_good_input_gives_the_plain_inputs_numbers(place: Place) -> None:
    """Depth, palette with transparency, byte-order mark, a turned EXIF flag, frames: none of them changes what a picture shows."""
    every(place, lambda image, path: image.convert("L").save(path))
    plain = numbers(place, "plain")
    every(place, sixteen_bits)
    assert numbers(place, "deep") == plain
    place.split.write_bytes(b"\xef\xbb\xbf" + place.split.read_bytes())
    every(place, lambda image, path: image.convert("L").convert("P").save(path, transparency=bytes(range(256))))
    assert numbers(place, "palette") == plain
    turned = Image.Exif()
    turned[0x112] = 3
    every(place, lambda image, path: image.convert("L").save(path, exif=turned, save_all=True, append_images=[Image.new("L", (64, 64))]))
    assert numbers(place, "frames") == plain
