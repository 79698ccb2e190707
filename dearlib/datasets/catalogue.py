"""The catalogue: where each data set's files lie under the data root, and the one prompt template it is read with.

The fifteen public data sets lie as the community lays them out (CoOp's DATASETS.md), so that folders made for other
methods are read as they are. Templates follow CoOp's rule, one a data set; those of the Attribute World are taken from
its captions [ours]. Class names are part of the split files, where the community had changed some of them for good:
Caltech101 has neither background nor easy faces, StanfordCars puts the year first, SUN397 turns `church/outdoor` to
"outdoor church", UCF101 parts its names at capitals, EuroSAT's are written out.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from dearlib.datasets.own import FILE, own_data_sets
from dearlib.datasets.world.targets import TARGETS as WORLD_TARGETS
from dearlib.errors import InputError


@dataclass(frozen=True)
class Entry:
    """One data set.

    `template` has one `{}` for the class name; `folder` is relative to the data root, `images` and `split_file` to
    the folder; `classes_of` names the data set whose trained model is tested on this one (shifted test sets).

    `source` says what tells training from test images: a split file, the official lists of FGVCAircraft, or the
    folders themselves, one a class. `sizes` are the published numbers of training, validation and test images and of
    classes, None where the data set is made here. `obtain`: where the files come from, which links are dead.
    """

    template: str
    folder: str
    images: str = "images"
    split_file: str = "split.json"
    classes_of: str | None = None
    source: Literal["split file", "lists", "folders"] = "split file"
    sizes: tuple[int, int, int, int] | None = None
    obtain: tuple[str, ...] = ()


TARGETS_MINI = (*WORLD_TARGETS, "digits")
SHIFTED_MINI = ("source_redrawn", "source_sketch", "source_adversarial", "source_renditions")
SOURCE_MINI = "source"

_TEMPLATES_MINI = {  # one a family; the handwritten digits have the rendered numbers' classes
    "colors": "a photo of something {}.",
    "objects": "a photo of a {}.",
    "textures": "a photo of a {} texture.",
    "letters": "a photo of the letter {}.",
    "colored_textures": "a photo of a {} texture.",
    "places": "a view of the {}.",
    "numbers": "a photo of the number {}.",
    "shapes": "a photo of a {}.",
    SOURCE_MINI: "a photo of a {}.",
}

_DRIVE = "split file: https://drive.google.com/file/d/"

# Sizes: counted in the split files, for Food101, SUN397 and ImageNet's family as their authors give them.
PUBLIC: dict[str, Entry] = {
    "imagenet": Entry(
        "a photo of a {}.",
        "imagenet",
        source="folders",
        sizes=(1281167, 50000, 50000, 1000),
        obtain=(
            "pictures: https://image-net.org (an account is needed), the training and validation sets of ILSVRC 2012",
            "lay out: imagenet/images/train and imagenet/images/val, each with one folder a class (n01440764 …)",
        ),
    ),
    "caltech101": Entry(
        "a photo of a {}.",
        "caltech-101",
        "101_ObjectCategories",
        "split_zhou_Caltech101.json",
        sizes=(4128, 1649, 2465, 100),
        obtain=(
            "pictures: https://data.caltech.edu/records/mzrjq-6wc02, or --fetch caltech101",
            "dead: www.vision.caltech.edu/Image_Datasets",
            _DRIVE + "1hyarUivQE36mY6jSomru6Fjd-JzwcCzN",
        ),
    ),
    "oxford_pets": Entry(
        "a photo of a {}, a type of pet.",
        "oxford_pets",
        split_file="split_zhou_OxfordPets.json",
        sizes=(2944, 736, 3669, 37),
        obtain=(
            "pictures: https://www.robots.ox.ac.uk/~vgg/data/pets, or --fetch oxford_pets",
            _DRIVE + "1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs",
        ),
    ),
    "stanford_cars": Entry(
        "a photo of a {}.",
        "stanford_cars",
        ".",  # the split file's paths begin with cars_train/ and cars_test/
        "split_zhou_StanfordCars.json",
        sizes=(6509, 1635, 8041, 196),
        obtain=(
            "pictures: the copies named in https://github.com/pytorch/vision/issues/7545 (cars_train/, cars_test/)",
            "dead: the home page ai.stanford.edu/~jkrause/cars; torchvision can no longer fetch it either",
            _DRIVE + "1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT",
        ),
    ),
    "oxford_flowers": Entry(
        "a photo of a {}, a type of flower.",
        "oxford_flowers",
        "jpg",
        "split_zhou_OxfordFlowers.json",
        sizes=(4093, 1633, 2463, 102),
        obtain=(
            "pictures: https://www.robots.ox.ac.uk/~vgg/data/flowers/102, or --fetch oxford_flowers",
            _DRIVE + "1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT",
        ),
    ),
    "food101": Entry(
        "a photo of {}, a type of food.",
        "food-101",
        split_file="split_zhou_Food101.json",
        sizes=(50500, 20200, 30300, 101),
        obtain=(
            "pictures: https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101, or --fetch food101",
            _DRIVE + "1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl",
        ),
    ),
    "fgvc_aircraft": Entry(
        "a photo of a {}, a type of aircraft.",
        "fgvc_aircraft",
        split_file="variants.txt",
        source="lists",
        sizes=(3334, 3333, 3333, 100),
        obtain=("pictures and lists: https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft (its data/), or --fetch fgvc_aircraft",),
    ),
    "sun397": Entry(
        "a photo of a {}.",
        "sun397",
        "SUN397",
        "split_zhou_SUN397.json",
        sizes=(15880, 3970, 19850, 397),
        obtain=(
            "pictures: SUN397.tar.gz of the copy at https://opendatalab.com/OpenDataLab/SUN397",
            "dead: vision.princeton.edu/projects/2010/SUN, which --fetch sun397 asks (https://github.com/pytorch/vision/issues/9348)",
            _DRIVE + "1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq",
        ),
    ),
    "dtd": Entry(
        "{} texture.",
        "dtd",
        split_file="split_zhou_DescribableTextures.json",
        sizes=(2820, 1128, 1692, 47),
        obtain=(
            "pictures: https://www.robots.ox.ac.uk/~vgg/data/dtd, or --fetch dtd",
            _DRIVE + "1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x",
        ),
    ),
    "eurosat": Entry(
        "a centered satellite photo of {}.",
        "eurosat",
        "2750",
        "split_zhou_EuroSAT.json",
        sizes=(13500, 5400, 8100, 10),
        obtain=(
            "pictures: EuroSAT.zip (RGB) of https://zenodo.org/records/7711810, or --fetch eurosat",
            "dead: madm.dfki.de, whose certificate has expired",
            _DRIVE + "1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o",
        ),
    ),
    "ucf101": Entry(
        "a photo of a person doing {}.",
        "ucf101",
        "UCF-101-midframes",
        "split_zhou_UCF101.json",
        sizes=(7639, 1898, 3783, 101),
        obtain=(
            "pictures: https://drive.google.com/file/d/10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O (the videos' middle frames)",
            _DRIVE + "1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y",
        ),
    ),
    "imagenetv2": Entry(
        "a photo of a {}.",
        "imagenetv2",
        "imagenetv2-matched-frequency-format-val",
        classes_of="imagenet",
        source="folders",
        sizes=(0, 0, 10000, 1000),
        obtain=(
            "pictures: imagenetv2-matched-frequency.tar.gz of https://huggingface.co/datasets/vaishaal/ImageNetV2",
            "dead: s3-us-west-2.amazonaws.com/imagenetv2public",
        ),
    ),
    "imagenet_sketch": Entry(
        "a photo of a {}.",
        "imagenet-sketch",
        classes_of="imagenet",
        source="folders",
        sizes=(0, 0, 50889, 1000),
        obtain=("pictures: https://github.com/HaohanWang/ImageNet-Sketch",),
    ),
    "imagenet_a": Entry(
        "a photo of a {}.",
        "imagenet-adversarial",
        "imagenet-a",
        classes_of="imagenet",
        source="folders",
        sizes=(0, 0, 7500, 200),
        obtain=("pictures: https://github.com/hendrycks/natural-adv-examples",),
    ),
    "imagenet_r": Entry(
        "a photo of a {}.",
        "imagenet-rendition",
        "imagenet-r",
        classes_of="imagenet",
        source="folders",
        sizes=(0, 0, 30000, 200),
        obtain=("pictures: https://github.com/hendrycks/imagenet-r",),
    ),
}
SOURCE = "imagenet"
SHIFTED = tuple(name for name, where in PUBLIC.items() if where.classes_of)
TARGETS = tuple(name for name in PUBLIC if name not in (SOURCE, *SHIFTED))
TABLES = {  # what the paper's tables and its figure of few-shot learning are made of
    "table2": (SOURCE, *TARGETS),
    "table3": (SOURCE, *TARGETS),
    "table4": (SOURCE, *SHIFTED),
    "figure4": (SOURCE, *TARGETS),
}

CATALOGUE: dict[str, Entry] = {
    **{name: Entry(_TEMPLATES_MINI[target.family], folder=name) for name, target in WORLD_TARGETS.items()},
    "digits": Entry(_TEMPLATES_MINI["numbers"], folder="digits"),
    SOURCE_MINI: Entry(_TEMPLATES_MINI[SOURCE_MINI], folder=SOURCE_MINI),
    **{name: Entry(_TEMPLATES_MINI[SOURCE_MINI], folder=name, classes_of=SOURCE_MINI) for name in SHIFTED_MINI},
    **PUBLIC,
}

# The data sets that are made here and not fetched.
GENERATED = (SOURCE_MINI, *SHIFTED_MINI, *TARGETS_MINI)


def entry(dataset: str) -> Entry:
    """The catalogue's entry, or that of a data set of the user's own (`dearlib.datasets.own`).

    Raises `InputError` naming like ones if there is none, or if an own data set takes a name of the catalogue.
    """
    own = own_data_sets()
    if taken := sorted(set(own) & set(CATALOGUE)):
        raise InputError(f"{FILE}: expected names that are not taken, got '{taken[0]}'; choose another")
    if dataset in CATALOGUE:
        return CATALOGUE[dataset]
    if dataset in own:
        said = own[dataset]
        return Entry(said.template, said.folder or dataset, said.images, said.split_file)
    known = [*CATALOGUE, *own]
    like = ", ".join(difflib.get_close_matches(dataset, known, n=3, cutoff=0.5)) or f"one of {len(known)} names of {__name__}"
    raise InputError(f"data set: expected {like}, got '{dataset}'; a data set of your own is named in {FILE}")


def prompts(dataset: str, classnames: Iterable[str]) -> list[str]:
    """One prompt for each class name; underscores in names become blanks."""
    template = entry(dataset).template
    return [template.format(name.replace("_", " ")) for name in classnames]
