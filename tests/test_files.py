"""Files written whole or not at all: on a full disk, and by two writers at once."""

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from dearlib.clip import cache, prefix
from dearlib.clip.cache import Cache
from dearlib.clip.loading import FrozenClip, random_clip
from dearlib.datasets.pictures import open_image, picture_bytes, picture_size
from dearlib.datasets.splits import parse_split
from dearlib.errors import InputError
from dearlib.files import filled_tensors, mapped_tensors, read_tensors, sweep, write_tensors, write_text
from dearlib.mini.pretraining import export
from dearlib.params.yaml12 import read_yaml
from dearlib.plots import style
from dearlib.roles.phrases import read_pool
from dearlib.roles.rolefile import HeadRoles
from dearlib.study.records import RunRecord


@pytest.fixture(scope="module")
def mini() -> FrozenClip:
    return random_clip()


@pytest.fixture
def _little_room() -> Iterator[None]:
    """No file may grow beyond 100 kB: a write that really fails, as on a full disk or over a quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(path: Path) -> None:
    with filled_tensors(path, {"a": (torch.float32, (100_000,))}, {}) as tensors:
        tensors["a"].fill_(1.0)


def draw(path: Path) -> None:
    """A figure whose .svg alone is more than 100 kB. It is called as the file is, whose folder's other files it leaves."""
    fig, ax = style.figure()
    ax.plot(torch.rand(5000, generator=torch.Generator().manual_seed(1)))
    try:
        style.save(fig, path.parent, path.name)
    except InputError as error:
        raise InputError(str(error).replace(".svg:", ":")) from error


@pytest.mark.parametrize(
    "write",
    [
        lambda p: write_text(p, "x" * 400_000),
        lambda p: write_tensors(p, {"a": torch.zeros(100_000)}),
        fill,
        draw,
        lambda p: export(nn.Linear(300, 300), p),
    ],
    ids=["text", "tensors", "filled in place", "figure", "weights"],
)
@pytest.mark.usefixtures("_little_room")
def test_a_failed_write_is_one_line_and_leaves_the_old_file(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    with pytest.raises(InputError, match=r"kept: could not be written \(.*\); make room or choose another folder$"):
        write(path)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert path.read_text() == "old"


@pytest.mark.usefixtures("_little_room")
def test_a_prefix_that_does_not_fit_on_the_disk_is_refused_before_it_is_computed(mini: FrozenClip, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make room or choose another folder"):
        cache.cached(Cache(tmp_path), mini, 9, "x", 50, lambda i: pytest.fail("computed for nothing"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_device_is_the_same_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC itself, at the moment when the buffer is written out."""
    monkeypatch.setattr("dearlib.files._partial", lambda path: Path("/dev/full"))
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
    with pytest.raises(InputError, match="No space left on device"):
        write_text(tmp_path / "x", "some text")


def test_two_jobs_that_make_one_prefix_at_once(mini: FrozenClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find it missing and both compute; neither harms the other, although on two nodes they may have the same process number."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    both_there = threading.Barrier(2, timeout=60)
    compute = prefix.compute
    made: list[prefix.Prefix] = []

    def compute_when_both_are_there(*args: object) -> None:
        both_there.wait()
        compute(*args)  # type: ignore[arg-type]

    def job() -> None:
        made.append(cache.cached(Cache(tmp_path), mini, 9, "x", 3, lambda i: torch.full((1, 3, 64, 64), i / 4)))  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "compute", compute_when_both_are_there)
    jobs = [threading.Thread(target=job) for _ in range(2)]
    for thread in jobs:
        thread.start()
    for thread in jobs:
        thread.join()
    monkeypatch.undo()
    entries = list(tmp_path.iterdir())
    assert len(entries) == 2, "features and states"
    alone = cache.cached(Cache(tmp_path / "alone"), mini, 9, "x", 3, lambda i: torch.full((1, 3, 64, 64), i / 4))
    for one in (*made, prefix.Prefix(**{k: v for e in entries for k, v in mapped_tensors(e)[0].items()}, first_layer=9)):
        assert torch.equal(one.states, alone.states)  # type: ignore[union-attr]
        assert torch.equal(one.features, alone.features)
    assert len(made) == 2


KILLED = """
import sys, time, torch
from pathlib import Path
from dearlib.files import filled_folder, filled_tensors
path, shapes = Path(sys.argv[1]) / "x.safetensors", {"a": (torch.float32, (1000,))}
with filled_tensors(path, shapes, {}) if sys.argv[2] == "file" else filled_folder(path, lambda: False) as made:
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_kill_9_left_is_swept_and_what_is_being_written_is_not(tmp_path: Path, kind: str) -> None:
    """A cache's budget must not shrink for ever. Both look an hour old."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), kind], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    (partial,) = tmp_path.iterdir()
    os.utime(partial, (0, 0))
    sweep(tmp_path)
    assert partial.exists(), "its writer lives"
    process.kill()
    process.communicate()
    os.utime(partial)
    sweep(tmp_path)
    assert partial.exists(), "young: its writer may be on another machine"
    os.utime(partial, (0, 0))
    assert Cache(tmp_path, gigabytes=1e-6).has_room(1000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [lambda p: write_text(p, "x"), lambda p: write_tensors(p, {"a": torch.zeros(1)}), lambda p: fill(p)])
def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="could not be written") as error:
        write(tmp_path / "file" / "below" / "x")
    assert "\n" not in str(error.value)


def test_a_kill_midway_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(KeyboardInterrupt), filled_tensors(path, {"a": (torch.float32, (3,))}, {}):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    write_tensors(path, {"a": torch.ones(3)}, {"n": 1})
    tensors, notes = read_tensors(path)
    assert tensors["a"].tolist() == [1, 1, 1]
    assert notes == {"n": 1}


KEPT = {"a": torch.arange(5.0), "b": torch.ones(2, 3, dtype=torch.float16), "c": torch.arange(3)}


@settings(max_examples=150, deadline=None)
@given(data=st.data(), mapped=st.booleans())
def test_damaged_tensors_are_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, mapped: bool) -> None:
    """Bytes changed anywhere, or cut: what can be read is what was written."""
    path = tmp_path_factory.getbasetemp() / "kept.safetensors"
    if mapped:
        with filled_tensors(path, {"a": (torch.float32, (5,))}, {"n": [1]}) as tensors:
            tensors["a"].copy_(KEPT["a"])
    else:
        write_tensors(path, KEPT, {"n": [1]})
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3), label="changes")):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged[: data.draw(st.one_of(st.just(len(damaged)), st.integers(0, len(damaged))), label="kept")])
    try:
        found, notes = (mapped_tensors if mapped else read_tensors)(path)
    except InputError as error:
        told = str(error)
    else:
        told = "whole"
        assert found.keys() == (KEPT.keys() if not mapped else {"a"})
        assert all(torch.equal(found[name], KEPT[name]) for name in found)
        assert notes == {"n": [1]}
    assert len(told.splitlines()) == 1


DEEP = "[" * 10_000


def test_notes_that_are_nested_too_deeply_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    save_file({"a": torch.ones(3)}, path, {"notes": DEEP})
    with pytest.raises(InputError, match=r"kept\.safetensors: expected a safetensors file of this program, got"):
        read_tensors(path)
    with filled_tensors(path, {"a": (torch.float32, (3,))}, {"n": 1}):
        pass
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:start])
    header["__metadata__"]["notes"] = DEEP
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[start:])
    with pytest.raises(InputError, match=r"kept\.safetensors: expected a safetensors file, got"):
        mapped_tensors(path)


READERS: dict[str, Callable[[Path], object]] = {
    "parameters": read_yaml,
    "split": lambda path: parse_split(path, path.parent, "dtd"),
    "phrases": lambda path: read_pool(str(path)),
    "roles": HeadRoles.load,
    "record": RunRecord.load,
    "picture": open_image,
    "picture's bytes": picture_bytes,
}


@pytest.mark.parametrize("of", [open_image, picture_bytes, picture_size])
def test_a_picture_that_is_not_there_is_one_line(tmp_path: Path, of: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match=r"gone\.png: expected an image, got .*[Nn]o such file") as refused:
        of(tmp_path / "gone.png")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("kind", READERS)
def test_a_name_with_a_nul_is_one_line(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError) as refused:
        READERS[kind](tmp_path / "a\0b")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("kind", READERS)
def test_a_pipe_in_a_files_place_is_refused_not_waited_on(tmp_path: Path, kind: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.open("wb").close(), daemon=True).start()  # whoever does open it meets an empty file, not a hang
    with pytest.raises(InputError) as refused:
        READERS[kind](pipe)
    assert str(pipe) in str(refused.value)
    assert "\n" not in str(refused.value)
    if kind != "record":  # which says what to do and not what came
        assert "a pipe or a device, no file" in str(refused.value)
