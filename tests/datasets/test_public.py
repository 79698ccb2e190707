"""The public data sets: readers on folders of their real structure, and samples against the community's published ones."""

import csv
import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from open_clip import IMAGENET_CLASSNAMES
from public_layout import CLASSES, NOT_SORTED, SUBSETS, VARIANTS, WORDNET_IDS, Layout, build

from dearlib.commands import main
from dearlib.datasets import (
    PUBLIC,
    SHIFTED,
    SOURCE,
    TARGETS,
    Item,
    Split,
    classnames,
    few_shot,
    half,
    parse_split,
    prompts,
    read_split,
    split_sha256,
)
from dearlib.datasets.catalogue import TABLES
from dearlib.datasets.folders import imagenet_classnames
from dearlib.errors import InputError

SPLITS = Path(__file__).parents[3] / "shared" / "data" / "splits"
SAMPLES = Path(__file__).parents[1] / "published_samples.csv"
RUNS = SAMPLES.with_name("published_runs.csv")


def published(dataset: str) -> Path:
    path = SPLITS / PUBLIC[dataset].split_file
    if not path.exists():
        pytest.skip("the published split files are not beside this checkout")
    return path


def one_line(error: pytest.ExceptionInfo[InputError], *words: str) -> None:
    assert "\n" not in str(error.value)
    for word in ("expected", "got", *words):
        assert word in str(error.value)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Layout]]:
    """ImageNet and its shifted test sets."""
    root = tmp_path_factory.mktemp("family")
    return root, {name: build(root, name, per_class=1 if name == SOURCE else 2) for name in (SOURCE, *SHIFTED)}


def test_the_fifteen_and_what_the_tables_need() -> None:
    assert len(PUBLIC) == 15
    assert (len(TABLES["table2"]), len(TABLES["table3"]), len(TABLES["table4"])) == (11, 11, 5)
    assert {SOURCE, *TARGETS, *SHIFTED} == set(PUBLIC)


SIZES = """
imagenet 1281167 50000 50000 1000
caltech101 4128 1649 2465 100
oxford_pets 2944 736 3669 37
stanford_cars 6509 1635 8041 196
oxford_flowers 4093 1633 2463 102
food101 50500 20200 30300 101
fgvc_aircraft 3334 3333 3333 100
sun397 15880 3970 19850 397
dtd 2820 1128 1692 47
eurosat 13500 5400 8100 10
ucf101 7639 1898 3783 101
imagenetv2 0 0 10000 1000
imagenet_sketch 0 0 50889 1000
imagenet_a 0 0 7500 200
imagenet_r 0 0 30000 200
"""


def test_the_sizes_by_which_the_doctor_calls_a_folder_whole() -> None:
    """Training, validation and test pictures and classes, as CoOp's appendix lists them and the papers of ImageNet's variants say;
    ImageNet's validation pictures, which CoOp calls test, are both here."""
    told = {name: tuple(map(int, numbers)) for name, *numbers in map(str.split, SIZES.split("\n")[1:-1])}
    assert {name: entry.sizes for name, entry in PUBLIC.items()} == told
    labels: dict[str, set[str]] = {}
    for row in csv.DictReader(RUNS.read_text(encoding="utf-8").splitlines()):
        labels.setdefault(row["dataset"], set()).update(run.partition(":")[0] for run in row["label:pictures"].split())
    assert labels
    assert {name: told[name][3] for name in labels} == {name: len(own) for name, own in labels.items()}


@pytest.mark.parametrize("dataset", [name for name in PUBLIC if PUBLIC[name].source != "folders"])
def test_readers_of_split_files_and_lists(tmp_path: Path, dataset: str) -> None:
    layout = build(tmp_path, dataset, per_class=3)
    split = read_split(tmp_path, dataset)
    expected = list(VARIANTS) if dataset == "fgvc_aircraft" else [name for _, name in CLASSES[dataset]]
    assert classnames(split) == layout.classes == expected
    assert (len(split.train), len(split.val), len(split.test), len(expected)) == layout.sizes == (12, 12, 12, 4)
    assert all(item.path.is_file() for item in split.items)
    assert len({item.path for item in split.items}) == 36


@pytest.mark.parametrize("dataset", SHIFTED)
def test_readers_of_class_folders(family: tuple[Path, dict[str, Layout]], dataset: str) -> None:
    root, layout = family[0], family[1][dataset]
    split = read_split(root, dataset)
    assert (len(split.train), len(split.val), len(split.test), len(classnames(split))) == layout.sizes
    folders = SUBSETS.get(dataset, WORDNET_IDS)
    assert classnames(split) == [imagenet_classnames()[WORDNET_IDS.index(wordnet_id)] for wordnet_id in folders]
    assert [item.path.parent.name for item in split.test[::2]] == layout.classes
    assert [item.label for item in split.test[::2]] == list(range(layout.sizes[3]))
    assert all(one.path.name < other.path.name for one, other in zip(split.test[::2], split.test[1::2], strict=True))


def test_imagenet_has_its_validation_images_as_test_and_validation_part(family: tuple[Path, dict[str, Layout]]) -> None:
    root, layouts = family
    split = read_split(root, SOURCE)
    assert (len(split.train), len(split.val), len(split.test), len(classnames(split))) == layouts[SOURCE].sizes == (1000,) * 4
    assert split.val == split.test
    assert {item.path.parents[1].name for item in split.test} == {"val"}
    assert {item.path.parents[1].name for item in split.train} == {"train"}
    assert [item.path.parent.name for item in split.train] == [item.path.parent.name for item in split.test] == WORDNET_IDS
    assert classnames(split) == imagenet_classnames()
    assert classnames(split)[:3] == ["tench", "goldfish", "great white shark"]


def test_a_class_folder_that_one_part_of_imagenet_lacks_shifts_no_label(tmp_path: Path) -> None:
    """Counted by the folders that are there, every later class would have another's label, and every answer be wrong."""
    build(tmp_path, SOURCE, per_class=1)
    images = tmp_path / "imagenet" / "images"
    (picture,) = (images / "train" / WORDNET_IDS[1]).iterdir()
    picture.unlink()
    with pytest.raises(InputError) as error:
        few_shot(read_split(tmp_path, SOURCE), 1, 1)
    one_line(error, "0 of class 'goldfish'")
    shutil.rmtree(images / "val" / WORDNET_IDS[1])
    with pytest.raises(InputError) as error:
        read_split(tmp_path, SOURCE)
    one_line(error, str(images), "for label 2")
    (images / "train" / WORDNET_IDS[1]).rmdir()
    with pytest.raises(InputError) as error:
        read_split(tmp_path, SOURCE)
    one_line(error, "1000 class folders", "999")


def test_only_a_root_that_declares_itself_generated_may_leave_class_folders_empty(tmp_path: Path) -> None:
    """As tests/miniature.py does: the other folders name the classes; real pictures that lack a class are refused."""
    build(tmp_path, SOURCE, per_class=1)
    kept = [100, 700]
    for part in ("train", "val"):
        for label in {*range(1000)} - {*kept}:
            (picture,) = (tmp_path / "imagenet" / "images" / part / WORDNET_IDS[label]).iterdir()
            picture.unlink()
    with pytest.raises(InputError) as error:
        read_split(tmp_path, SOURCE)
    one_line(error, "labels 0 … n-1", "[100, 700]")
    (tmp_path / "GENERATED.json").write_text('{"note": "noise"}')
    split = read_split(tmp_path, SOURCE)
    assert classnames(split) == [imagenet_classnames()[label] for label in kept]
    assert [(item.path.parent.name, item.label) for item in split.train] == [(WORDNET_IDS[label], i) for i, label in enumerate(kept)]


def test_imagenetv2_folders_are_numbers_not_words(tmp_path: Path) -> None:
    """As words, folder 10 would come before folder 2 and be taken for class 2. No other data set is needed to read it."""
    build(tmp_path, "imagenetv2", classes=12, per_class=1)
    split = read_split(tmp_path, "imagenetv2")
    assert all(item.label == int(item.path.parent.name) for item in split.test)
    assert [item.classname for item in split.test if item.path.parent.name == "10"] == [imagenet_classnames()[10]]


def test_class_names_of_the_200_need_imagenet(tmp_path: Path) -> None:
    build(tmp_path, "imagenet_a", per_class=1)
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "imagenet_a")
    one_line(error, "imagenet/images/train")
    build(tmp_path, SOURCE, classes=999, per_class=1)
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "imagenet_a")
    one_line(error, "1000", "999")
    build(tmp_path, SOURCE, per_class=1)
    (tmp_path / "imagenet-adversarial" / "imagenet-a" / "misc").mkdir()
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "imagenet_a")
    one_line(error, "'misc'")


@pytest.mark.parametrize("dataset", NOT_SORTED)
def test_samples_follow_the_train_list_not_the_labels(tmp_path: Path, dataset: str) -> None:
    build(tmp_path, dataset)
    split = read_split(tmp_path, dataset)
    assert [item.label for item in few_shot(split, 1, 1).train] == [3, 2, 1, 0]
    if (SPLITS / PUBLIC[dataset].split_file).exists():
        first = [item.label for item in parse_split(published(dataset), Path(), dataset).train]
        assert list(dict.fromkeys(first)) != sorted(set(first)), "so it is in the published file"


def test_prompts_of_the_public_data_sets() -> None:
    assert prompts("dtd", ["polka-dotted"]) == ["polka-dotted texture."]
    assert prompts("food101", ["apple_pie"]) == ["a photo of apple pie, a type of food."]
    assert prompts("ucf101", ["Tai_Chi"]) == ["a photo of a person doing Tai Chi."]
    assert prompts("oxford_pets", ["basset_hound"]) == ["a photo of a basset hound, a type of pet."]
    assert prompts("oxford_flowers", ["yellow iris"]) == ["a photo of a yellow iris, a type of flower."]
    assert prompts("fgvc_aircraft", ["707-320"]) == ["a photo of a 707-320, a type of aircraft."]
    assert prompts("eurosat", ["Forest"]) == ["a centered satellite photo of Forest."]
    for dataset in ("caltech101", "stanford_cars", "sun397", SOURCE, *SHIFTED):
        assert prompts(dataset, ["yin_yang"]) == ["a photo of a yin yang."]


def test_lists_of_another_layout(tmp_path: Path) -> None:
    build(tmp_path, "fgvc_aircraft")
    lists = tmp_path / "fgvc_aircraft"
    whole = (lists / "images_variant_val.txt").read_text()
    for content in (whole.replace("MD-11", "MD-12"), "1234567\n"):
        (lists / "images_variant_val.txt").write_text(content)
        with pytest.raises(InputError) as error:
            read_split(tmp_path, "fgvc_aircraft")
        one_line(error, "images_variant_val.txt", "line")
    (lists / "images_variant_val.txt").unlink()
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "fgvc_aircraft")
    one_line(error, "images_variant_val.txt", "No such file")


def test_split_file_of_another_data_set(tmp_path: Path) -> None:
    for dataset in ("dtd", "eurosat"):
        build(tmp_path, dataset)
    foreign = tmp_path / "eurosat" / PUBLIC["eurosat"].split_file
    foreign.rename(tmp_path / "dtd" / PUBLIC["dtd"].split_file)
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "dtd")
    one_line(error, "another data set", "AnnualCrop_1.jpg")


def test_a_missing_folder_of_classes(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "imagenet_sketch")
    one_line(error, str(tmp_path / "imagenet-sketch"), "doctor")


@pytest.mark.parametrize("dataset", ["dtd", "fgvc_aircraft", "imagenetv2"])
def test_the_hash_tells_splits_apart_and_travels(tmp_path: Path, dataset: str) -> None:
    for root, per_class in ((tmp_path / "here", 2), (tmp_path / "there", 2), (tmp_path / "more", 3)):
        build(root, dataset, classes=4, per_class=per_class)
    here, there, more = (split_sha256(tmp_path / root, dataset) for root in ("here", "there", "more"))
    assert here == there != more


def index_file(dataset: str, split: Split, sample: Split) -> str:
    """The text of the community's file of this sample: the pictures drawn and their numbers in the split file."""
    content = {}
    for part in ("train", "val"):
        number = {item: i for i, item in enumerate(getattr(split, part))}
        drawn = getattr(sample, part)
        content[part] = {
            "data": [{"impath": f"./data/{item.path.as_posix()}", "label": item.label, "classname": item.classname} for item in drawn],
            "indices": [number[item] for item in drawn],
        }
    return json.dumps(content, indent=4)


@pytest.mark.parametrize("dataset", ["caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "dtd", "eurosat", "ucf101"])
def test_samples_are_the_published_ones(dataset: str) -> None:
    """published_samples.csv: of every index file of github.com/linzhiqiu/cross_modal_adaptation (indices/, commit 0ba1f73)
    its length and the last two validation numbers, which hang on every draw before them; the hash is of the training
    paths of the sample that gives just that text."""
    where = PUBLIC[dataset]
    split = parse_split(published(dataset), Path(where.folder) / where.images, dataset)
    with SAMPLES.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == dataset]
    assert {(int(row["shots"]), int(row["seed"])) for row in rows} == {(k, s) for k in (1, 2, 4, 8, 16) for s in (1, 2, 3)}
    for row in rows:
        sample = few_shot(split, int(row["shots"]), int(row["seed"]))
        text = index_file(dataset, split, sample)
        assert len(text) == int(row["characters"])
        assert json.loads(text)["val"]["indices"][-2:] == [int(number) for number in row["last_val"].split()]
        paths = "\n".join(item.path.relative_to(Path(where.folder) / where.images).as_posix() for item in sample.train)
        assert sha256(paths.encode()).hexdigest()[:12] == row["train_sha256_12"]


@pytest.mark.parametrize("dataset", ["caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "dtd", "eurosat", "ucf101"])
def test_samples_of_classes_of_the_published_sizes_are_the_published_ones(dataset: str) -> None:
    """The same for who has no published split file: draws hang on nothing but how many pictures each class has, in which order.

    published_runs.csv: label and number of pictures, class after class, of the files' train and val lists.
    """
    with RUNS.open(newline="") as file:
        runs = {row["part"]: row["label:pictures"].split() for row in csv.DictReader(file) if row["dataset"] == dataset}
    parts: dict[str, list[Item]] = {"train": [], "val": []}
    for part, items in parts.items():
        for label, count in (map(int, run.split(":")) for run in runs[part]):
            items += [Item(Path(part, str(len(items) + n)), label, f"class {label}") for n in range(count)]
    split = Split(dataset, tuple(parts["train"]), tuple(parts["val"]), ())
    assert (len(split.train), len(split.val)) == PUBLIC[dataset].sizes[:2]  # type: ignore[index]
    with SAMPLES.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == dataset]
    assert len(rows) == 15
    for row in rows:
        sample = few_shot(split, int(row["shots"]), int(row["seed"]))
        assert " ".join(item.path.name for item in sample.val[-2:]) == row["last_val"]


def test_the_published_sample_drawn_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The ten training pictures of indices/eurosat/shot_1-seed_1.json."""
    assert main(["sample", str(published("eurosat")), "--shots", "1", "--seed", "1"]) == 0
    names = {
        "AnnualCrop": 2365,
        "Forest": 2046,
        "HerbaceousVegetation": 503,
        "Highway": 125,
        "Industrial": 2006,
        "Pasture": 573,
        "PermanentCrop": 1476,
        "Residential": 1520,
        "River": 882,
        "SeaLake": 1624,
    }
    assert capsys.readouterr().out.splitlines() == [f"{name}/{name}_{number}.jpg" for name, number in names.items()]


def test_the_command_draws_from_all_classes_and_keeps_a_half(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path, "oxford_flowers", per_class=5)
    path = tmp_path / "oxford_flowers" / PUBLIC["oxford_flowers"].split_file
    drawn = {}
    for which in ("all", "base", "novel"):
        assert main(["sample", str(path), "--shots", "2", "--seed", "3", "--classes", which]) == 0
        drawn[which] = capsys.readouterr().out.splitlines()
    assert drawn["all"] == drawn["novel"] + drawn["base"], "label 3 comes first in this train list"
    assert set(drawn["all"]) <= {row[0] for row in json.loads(path.read_text())["train"]}
    split = few_shot(parse_split(path, Path(), "flowers"), 2, 3)
    assert drawn["base"] == [item.path.as_posix() for item in half(split, "base").train]


def test_wrong_input_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path, "dtd")
    path = str(tmp_path / "dtd" / PUBLIC["dtd"].split_file)
    for arguments, word in (
        ([path, "--shots", "9"], "at least 9"),
        ([path, "--shots", "0"], "1 or more"),
        (["no.json", "--shots", "1"], "no.json"),
    ):
        assert main(["sample", *arguments, "--seed", "1"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert word in err


def test_importing_the_data_sets_does_not_import_torch() -> None:
    code = "import sys, dearlib.datasets, dearlib.datasets.commands; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_imagenet_classes_of_one_name_are_told_apart() -> None:
    """CLIP's list has two pairs of one name, whose second class no prompt could ever win; all other names are CLIP's."""
    ours = imagenet_classnames()
    twice = {name for name in IMAGENET_CLASSNAMES if IMAGENET_CLASSNAMES.count(name) > 1}
    assert twice == {"missile", "sunglasses"}
    assert len(set(ours)) == len(ours) == 1000
    changed = {i: name for i, name in enumerate(ours) if name != IMAGENET_CLASSNAMES[i]}
    assert changed == {744: "projectile", 836: "sunglass"}
    assert {IMAGENET_CLASSNAMES[i] for i in changed} == twice
