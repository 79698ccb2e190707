"""The doctor names all and only what is wrong; downloads come from a server on this machine, into the community's layout."""

import errno
import hashlib
import http.server
import os
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision.datasets as tv
from public_layout import WORDNET_IDS, Layout, bomb, build

from dearlib.commands import main
from dearlib.datasets import PUBLIC, SHIFTED, SOURCE, TARGETS, fetch, parse_split, read_split
from dearlib.datasets.catalogue import CATALOGUE, TABLES
from dearlib.datasets.doctor import examine, repeated

SPLITS = Path(__file__).parents[3] / "shared" / "data" / "splits"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Layout]]:
    """All fifteen, small and whole."""
    root = tmp_path_factory.mktemp("everything")
    return root, {name: build(root, name, per_class=1 if where.source == "folders" else 2) for name, where in PUBLIC.items()}


@pytest.fixture
def data(everything: tuple[Path, dict[str, Layout]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all fifteen (its pictures are links); the published counts are replaced by those of what was built."""
    root, layouts = everything
    for dataset, layout in layouts.items():
        monkeypatch.setitem(CATALOGUE, dataset, replace(PUBLIC[dataset], sizes=layout.sizes))

    def copy(source: str, target: str) -> None:
        (os.link if "jp" in Path(source).suffix.lower() else shutil.copy)(source, target)

    return Path(shutil.copytree(root, tmp_path / "data", copy_function=copy))


def states(out: str) -> dict[str, str]:
    return {line.split()[0]: line.split()[1] for line in out.splitlines() if line.split()[0] in PUBLIC}


def faults(out: str) -> list[str]:
    """Without remarks, which whole data sets have as well: the pictures of this layout are one picture many times."""
    return [line.strip() for line in out.splitlines() if line.startswith("    ") and not line.startswith(("    - ", "    remark: "))]


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--data", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert states(out) == dict.fromkeys(PUBLIC, "missing")
    assert len(faults(out)) == 15
    for where in PUBLIC.values():
        assert all(f"    - {line}\n" in out for line in where.obtain)
    assert "0 of 15" in out


def test_a_complete_folder(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(data.rglob("*"))
    assert main(["doctor", "--data", str(data), "--open"]) == 0
    out, err = capsys.readouterr()
    assert states(out) == dict.fromkeys(PUBLIC, "found")
    assert faults(out) == []
    assert "24 of 24 images" in out
    assert "2000 of 2000 images" in out
    assert "http" not in out
    assert err.count("100%") == 15, "a progress bar for each"
    assert sorted(data.rglob("*")) == before


def test_three_faults(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing picture, a corrupt one, and the split file of another data set."""
    gone = data / "dtd" / "images" / "banded" / "banded_0003.jpg"
    gone.unlink()
    corrupt = data / "eurosat" / "2750" / "Forest" / "Forest_2.jpg"
    half = corrupt.read_bytes()[:100]
    corrupt.unlink()
    corrupt.write_bytes(half)
    swapped = data / "oxford_flowers" / PUBLIC["oxford_flowers"].split_file
    shutil.copy(data / "ucf101" / PUBLIC["ucf101"].split_file, swapped)
    assert main(["doctor", "--data", str(data), "--open"]) == 1
    out = capsys.readouterr().out
    assert {name for name, state in states(out).items() if state != "found"} == {"dtd", "eurosat", "oxford_flowers"}
    by_path = {str(path): [line for line in faults(out) if str(path) in line] for path in (gone, corrupt, swapped)}
    assert [len(lines) for lines in by_path.values()] == [1, 1, 1]
    assert len(faults(out)) == 3
    assert "1 of 24 images missing" in by_path[str(gone)][0]
    assert "whole image" in by_path[str(corrupt)][0]
    assert "another data set" in by_path[str(swapped)][0]


def test_three_faults_of_folders_and_lists(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing class folder, a class without its picture, a missing list."""
    shutil.rmtree(data / "imagenet" / "images" / "val" / WORDNET_IDS[7])
    emptied = data / "imagenetv2" / PUBLIC["imagenetv2"].images / "41"
    next(emptied.iterdir()).unlink()
    (data / "fgvc_aircraft" / "images_variant_test.txt").unlink()
    assert main(["doctor", "--data", str(data)]) == 1
    first, second, third = faults(capsys.readouterr().out)
    assert "expected 1000 class folders, got 999" in first
    assert WORDNET_IDS[7] in first
    assert "images_variant_test.txt" in second
    assert "expected 1000 images, got 999; fewest in 41 (0)" in third


def test_more_faults_of_folders(data: Path) -> None:
    shutil.rmtree(data / "imagenet" / "images" / "train")
    assert examine(data, SOURCE).faults == (f"no folder {data / 'imagenet' / 'images' / 'train'}",)
    (data / "imagenet-sketch" / "images" / "misc").mkdir()
    assert examine(data, "imagenet_sketch").faults == (
        f"{data / 'imagenet-sketch' / 'images'}: expected folders called like ImageNet's classes, got misc",
    )
    shutil.rmtree(data / "imagenet-rendition" / "imagenet-r" / WORDNET_IDS[3])
    assert examine(data, "imagenet_r").faults == (f"{data / 'imagenet-rendition' / 'imagenet-r'}: expected 200 class folders, got 199",)


def test_more_faults_of_split_files(data: Path) -> None:
    split_file = data / "sun397" / PUBLIC["sun397"].split_file
    whole = split_file.read_text()
    split_file.write_text(whole[:200])
    (fault,) = examine(data, "sun397").faults
    assert "truncated" in fault
    (data / "sun397" / "ClassName.txt").touch()
    split_file.unlink()
    shutil.rmtree(data / "sun397" / "SUN397")
    first, second = examine(data, "sun397").faults
    assert "no such file" in first
    assert second == f"no folder {data / 'sun397' / 'SUN397'}"
    build(data, "dtd", per_class=3)
    assert [fault.split(": ", 1)[1] for fault in examine(data, "dtd").faults] == [
        "expected 8 train images, got 12",
        "expected 8 val images, got 12",
        "expected 8 test images, got 12",
    ]


def test_many_missing_pictures_are_counted_and_the_first_named(data: Path) -> None:
    for path in sorted((data / "food-101" / "images" / "waffles").iterdir())[:5]:
        path.unlink()
    (fault,) = examine(data, "food101").faults
    assert fault.startswith("5 of 24 images missing: ")
    assert fault.count(".jpg") == 3
    assert fault.endswith(" …")


def test_only_what_the_chosen_tables_need(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(data / "imagenet-rendition")
    assert main(["doctor", "--data", str(data), "--needs", "table2", "--needs", "figure4"]) == 0
    assert set(states(capsys.readouterr().out)) == {SOURCE, *TARGETS}
    assert main(["doctor", "--data", str(data), "--needs", "table4"]) == 1
    out = capsys.readouterr().out
    assert set(states(out)) == {SOURCE, *SHIFTED} == set(TABLES["table4"])
    assert states(out)["imagenet_r"] == "missing"


def test_wrong_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "nowhere", tmp_path / "file", ""):
        assert main(["doctor", "--data", str(wrong)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert f"expected a folder that holds data sets, got '{Path(wrong)}'" in err
    assert main(["doctor", "--data", str(tmp_path), "--needs", "table9"]) == 2
    assert "--needs: expected some of" in capsys.readouterr().err


@pytest.mark.parametrize("dataset", ["dtd", "oxford_flowers"])
def test_the_published_split_files_and_counts_agree(tmp_path: Path, dataset: str) -> None:
    """As many pictures as the real data set has, under their real names."""
    where = PUBLIC[dataset]
    source = SPLITS / where.split_file
    if not source.exists():
        pytest.skip("the published split files are not beside this checkout")
    folder = tmp_path / where.folder
    folder.mkdir()
    shutil.copy(source, folder)
    build(tmp_path / "pattern", "dtd", classes=1, per_class=1)
    picture = next((tmp_path / "pattern").rglob("*.jpg"))
    for item in parse_split(source, folder / where.images, dataset).items:
        item.path.parent.mkdir(parents=True, exist_ok=True)
        os.link(picture, item.path)
    report = examine(tmp_path, dataset)
    assert (report.state, report.faults, len(report.images)) == ("found", (), sum((where.sizes or ())[:3]))
    read_split(tmp_path, dataset)
    report.images[100].unlink()
    report.images[200].unlink()
    (fault,) = examine(tmp_path, dataset).faults
    assert f"2 of {len(report.images)} images missing" in fault
    assert all(str(report.images[i]) in fault for i in (100, 200))


# --- Downloads -------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of a server on this machine, and the folder that it serves."""
    served = tmp_path / "served"
    served.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/", served
        running.shutdown()
        thread.join()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def archive(served: Path, name: str, folder: Path, inside: str) -> tuple[str, str]:
    """Packs `folder` as `inside`; returns the file's name and checksum."""
    if name.endswith(".zip"):
        with zipfile.ZipFile(served / name, "w") as packed:
            for path in folder.rglob("*"):
                packed.write(path, f"{inside}/{path.relative_to(folder)}")
    else:
        with tarfile.open(served / name, "w:gz") as packed:
            packed.add(folder, inside)
    return name, md5(served / name)


def offered(dataset: str, at: str, served: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serves the data set under `made` as its home does, and points torchvision and the split file's address there."""
    where = PUBLIC[dataset]
    images = made / where.folder / where.images
    if dataset == "dtd":
        (made / "dtd" / "labels").mkdir()
        (made / "dtd" / "labels" / "train1.txt").write_text("banded/banded_0001.jpg\n")
        name, digest = archive(served, "dtd.tar.gz", made / "dtd", "dtd")
        monkeypatch.setattr(tv.DTD, "_URL", at + name)
        monkeypatch.setattr(tv.DTD, "_MD5", digest)
    elif dataset == "oxford_pets":
        (made / "annotations").mkdir()
        (made / "annotations" / "trainval.txt").write_text("Abyssinian_1 1 1 1\n")
        packed = [
            archive(served, "images.tar.gz", images, "images"),
            archive(served, "annotations.tar.gz", made / "annotations", "annotations"),
        ]
        monkeypatch.setattr(tv.OxfordIIITPet, "_RESOURCES", tuple((at + name, digest) for name, digest in packed))
    elif dataset == "oxford_flowers":
        packed = [archive(served, "102flowers.tgz", images, "jpg")]
        for name in ("imagelabels", "setid"):
            content = {"labels": np.ones(24), **{part: np.arange(1, 3) for part in ("trnid", "valid", "tstid")}}
            scipy.io.savemat(served / f"{name}.mat", content)
            packed.append((f"{name}.mat", md5(served / f"{name}.mat")))
        monkeypatch.setattr(tv.Flowers102, "_download_url_prefix", at)
        monkeypatch.setattr(tv.Flowers102, "_file_dict", dict(zip(("image", "label", "setid"), packed, strict=True)))
    elif dataset == "food101":
        (made / "food-101" / "meta").mkdir()
        (made / "food-101" / "meta" / "train.json").write_text("{}")
        name, digest = archive(served, "food.tar.gz", made / "food-101", "food-101")
        monkeypatch.setattr(tv.Food101, "_URL", at + name)
        monkeypatch.setattr(tv.Food101, "_MD5", digest)
    elif dataset == "fgvc_aircraft":
        shutil.copy(made / "fgvc_aircraft" / "images_variant_train.txt", made / "fgvc_aircraft" / "images_variant_trainval.txt")
        name, _ = archive(served, "fgvc-aircraft-2013b.tar.gz", made / "fgvc_aircraft", "fgvc-aircraft-2013b/data")
        monkeypatch.setattr(tv.FGVCAircraft, "_URL", at + name)
    elif dataset == "sun397":
        (images / "ClassName.txt").write_text("/a/abbey\n/c/church/indoor\n/c/church/outdoor\n/y/yard\n")
        name, digest = archive(served, "SUN397.tar.gz", images, "SUN397")
        monkeypatch.setattr(tv.SUN397, "_DATASET_URL", at + name)
        monkeypatch.setattr(tv.SUN397, "_DATASET_MD5", digest)
    else:  # Their addresses stand in the middle of torchvision's code.
        if dataset == "eurosat":
            name, digest = archive(served, "EuroSAT.zip", images, "2750")
            module = tv.eurosat
        else:
            (images / "BACKGROUND_Google").mkdir()
            inner = made / "caltech-101-archive"
            inner.mkdir()
            archive(inner, "101_ObjectCategories.tar.gz", images, "101_ObjectCategories")
            name, digest = archive(served, "caltech-101.zip", inner, "caltech-101")
            module = tv.caltech
        download = tv.utils.download_and_extract_archive
        monkeypatch.setattr(module, "download_and_extract_archive", lambda url, **given: download(at + name, **given | {"md5": digest}))
    if dataset in fetch.SPLITS_MD5:
        shutil.copy(made / where.folder / where.split_file, served)
        monkeypatch.setitem(fetch.SPLITS_MD5, dataset, md5(served / where.split_file))
    monkeypatch.setattr(fetch, "SPLITS_AT", at)


@pytest.mark.parametrize("dataset", fetch.DOWNLOADS)
def test_fetched_data_sets_are_whole(
    tmp_path: Path, server: tuple[str, Path], dataset: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at, served = server
    where, made, root = PUBLIC[dataset], tmp_path / "made", tmp_path / "data"
    layout = build(made, dataset)
    monkeypatch.setitem(CATALOGUE, dataset, replace(where, sizes=layout.sizes))
    offered(dataset, at, served, made, monkeypatch)
    root.mkdir()
    assert main(["doctor", "--data", str(root), "--fetch", dataset]) == 1, "the fourteen others are missing"
    out = capsys.readouterr().out
    if dataset in ("food101", "sun397"):  # Their split files are on Google Drive alone.
        assert states(out)[dataset] == "incomplete"
        shutil.copy(made / where.folder / where.split_file, root / where.folder)
    else:
        assert states(out)[dataset] == "found"
    assert examine(root, dataset).faults == ()
    assert len(read_split(root, dataset).train) == layout.sizes[0]
    assert [path.name for path in root.iterdir()] == [where.folder], "nothing is left over"


def test_what_was_tampered_with_is_not_kept(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at, served = server
    build(tmp_path / "made", "dtd")
    offered("dtd", at, served, tmp_path / "made", monkeypatch)
    root = tmp_path / "data"
    root.mkdir()
    split_file, pictures = served / PUBLIC["dtd"].split_file, served / "dtd.tar.gz"
    for wrong, content in ((pictures, b"other bytes"), (pictures, None), (split_file, b"{}"), (split_file, None)):
        whole = wrong.read_bytes()
        wrong.write_bytes(content) if content else wrong.unlink()
        assert main(["doctor", "--data", str(root), "--fetch", "dtd"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "dtd: expected" in err.splitlines()[-1]
        assert list(root.rglob("*.tar.gz")) == []
        assert not (root / "dtd" / split_file.name).exists()
        wrong.write_bytes(whole)
        shutil.rmtree(root / "dtd", ignore_errors=True)
    assert main(["doctor", "--data", str(root), "--fetch", "dtd"]) == 1


@pytest.mark.parametrize(("stopped", "told"), [(OSError("no route\nto it"), "got 'no route'"), (EOFError(), "got 'EOFError'")])
def test_why_a_download_stopped_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stopped: Exception, told: str
) -> None:
    """In one line, by the error's name where it says nothing."""

    def download(*given: object, **more: object) -> None:
        raise stopped

    monkeypatch.setattr("torchvision.datasets.DTD", download)
    assert main(["doctor", "--data", str(tmp_path), "--fetch", "dtd"]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_what_cannot_be_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is downloaded before all names have been looked at; the socket guard would say so."""
    build(tmp_path, "dtd")
    for names, words in (
        (["eurosat", "stanford_cars"], ("stanford_cars", "vision/issues/7545")),
        (["eurosat", "dtd"], (str(tmp_path / "dtd" / "images"), "delete it")),
        (["cifar10"], ("cifar10", "data set")),
    ):
        assert main(["doctor", "--data", str(tmp_path), *(word for name in names for word in ("--fetch", name))]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert all(word in err for word in words)


def test_what_a_killed_download_left_is_not_taken_for_whole(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, served = server
    layout = build(tmp_path / "made", "eurosat")
    offered("eurosat", at, served, tmp_path / "made", monkeypatch)
    root = tmp_path / "data"
    (root / ".fetch-eurosat" / "eurosat" / "2750" / "Forest").mkdir(parents=True)
    fetch.fetch(root, ["eurosat"])
    assert len(read_split(root, "eurosat").train) == layout.sizes[0]


def test_one_broken_data_set_leaves_the_others_checked(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lists nested too deeply, a variant in two lines; a picture over the limit against bombs, two damaged ones."""
    (data / "dtd" / PUBLIC["dtd"].split_file).write_text("[" * 10_000)
    with open(data / "fgvc_aircraft" / "variants.txt", "a") as file:
        file.write("MD-11\n")
    pictures = sorted((data / "food-101" / "images").rglob("*.jpg"))
    for picture, content in zip(pictures, (bomb(), b"GIF89a" + bytes(30), b"II*\0" + bytes(40)), strict=False):
        picture.unlink()
        picture.write_bytes(content)
    assert main(["doctor", "--data", str(data), "--open"]) == 1
    told = capsys.readouterr().out
    assert "12 of 15 data sets are whole" in told
    for words in ("nested too deeply", "'MD-11' again", *(f"{p}: expected a whole image" for p in pictures[:3])):
        assert words in told


def test_a_folder_that_may_not_be_read_leaves_the_others_checked(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path == data / "dtd":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert main(["doctor", "--data", str(data)]) == 1
    told = capsys.readouterr().out
    assert "14 of 15 data sets are whole" in told
    assert f"{data / 'dtd'}: expected a folder that can be read, got 'Permission denied'" in told


def test_pictures_that_train_and_test_share_under_two_names_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte; a picture of its own in each place is none of them."""
    layout = build(tmp_path, "dtd")
    monkeypatch.setitem(CATALOGUE, "dtd", replace(PUBLIC["dtd"], sizes=layout.sizes))
    split = read_split(tmp_path, "dtd")
    for number, item in enumerate(split.items):
        item.path.write_bytes(item.path.read_bytes() + bytes([number]))
    assert repeated(tmp_path, "dtd") == []
    for shown, trained in zip(split.test[1:3], split.train, strict=False):
        shutil.copy(trained.path, shown.path)
    (line,) = repeated(tmp_path, "dtd")
    assert line == f"2 of {len(split.test)} images of 'test' are in 'train' as well, first {split.test[1].path}"
