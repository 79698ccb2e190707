"""Downloads of public data sets, where torchvision has one: its downloader and checksums, the community's layout."""

import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from dearlib.datasets.catalogue import entry
from dearlib.errors import InputError

# Data set → torchvision's class, and which of what it writes is moved to the data set's folder. torchvision knows no
# checksum of FGVCAircraft; there the doctor's counts have to do.
DOWNLOADS = {
    "caltech101": ("Caltech101", "caltech101/101_ObjectCategories"),
    "oxford_pets": ("OxfordIIITPet", "oxford-iiit-pet/images"),
    "oxford_flowers": ("Flowers102", "flowers-102/jpg"),
    "food101": ("Food101", "food-101/images"),
    "fgvc_aircraft": ("FGVCAircraft", "fgvc-aircraft-2013b/data/*"),
    "sun397": ("SUN397", "SUN397"),
    "dtd": ("DTD", "dtd/dtd/images"),
    "eurosat": ("EuroSAT", "eurosat/2750"),
}
SPLITS_AT = "https://raw.githubusercontent.com/linzhiqiu/cross_modal_adaptation/c7e7e68ae4eeadfab98e7886b2d6c9cf48a7ceb5/splits/"
SPLITS_MD5 = {  # of the split files that are found there, besides Google Drive
    "caltech101": "385cabeb25ebeebaa36167d7028ebc52",
    "oxford_pets": "fadad0caba06c4d0d2baf192015f50b4",
    "oxford_flowers": "cfeaf0508c398ca993bf48ca5f034569",
    "dtd": "02ff57f1bbd002a43320737a3ecbc113",
    "eurosat": "989e1eca757dec43cfcee28faf6b28fc",
}


def fetch(root: Path, names: Iterable[str]) -> None:
    """Downloads the pictures, and the split file where it can be had without an account. Checks all names before."""
    names = list(names)
    for name in names:
        where = entry(name)
        images = root / where.folder / where.images
        if name not in DOWNLOADS:
            by_hand = "; ".join(where.obtain)
            raise InputError(f"--fetch: expected data sets among {', '.join(DOWNLOADS)}, got '{name}'; get it by hand: {by_hand}")
        if images.exists():
            raise InputError(f"--fetch: expected no folder {images} yet, got one; delete it to fetch it anew, or leave out '{name}'")
    for name in names:
        _pictures(root, name)
        _split_file(root, name)


def _pictures(root: Path, name: str) -> None:
    """Downloads into a folder beside the data set's, then moves: what carries the final name is whole."""
    from torchvision import datasets  # here, because it needs torch

    downloader, found = DOWNLOADS[name]
    staging, target = root / f".fetch-{name}", root / entry(name).folder
    shutil.rmtree(staging, ignore_errors=True)  # what a killed download left may be half unpacked
    try:
        getattr(datasets, downloader)(str(staging), download=True)
        target.mkdir(exist_ok=True)
        for path in sorted(staging.glob(found)):
            shutil.move(path, target / path.name)
    except (OSError, RuntimeError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise InputError(f"{name}: expected torchvision to fetch it, got '{_line(error)}'; {'; '.join(entry(name).obtain)}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _split_file(root: Path, name: str) -> None:
    from torchvision.datasets.utils import download_url  # here, because it needs torch

    if name not in SPLITS_MD5:
        return
    where = entry(name)
    try:
        download_url(SPLITS_AT + where.split_file, root / where.folder, where.split_file, SPLITS_MD5[name])
    except (OSError, RuntimeError) as error:
        (root / where.folder / where.split_file).unlink(missing_ok=True)
        raise InputError(f"{name}: expected {SPLITS_AT}{where.split_file}, got '{_line(error)}'; {where.obtain[-1]}") from error


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
