"""Split files: reading and its errors, the few-shot sample, the halves; on the published files where they lie near."""

import json
import math
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dearlib.datasets import CATALOGUE, Item, Split, classnames, few_shot, half, open_image, parse_split, prompts, read_split
from dearlib.datasets.splits import PARTS
from dearlib.errors import InputError

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "splits"
SIZES = {  # train, val, test, classes: counted in the published files
    "Caltech101": (4128, 1649, 2465, 100),
    "DescribableTextures": (2820, 1128, 1692, 47),
    "EuroSAT": (13500, 5400, 8100, 10),
    "OxfordFlowers": (4093, 1633, 2463, 102),
    "OxfordPets": (2944, 736, 3669, 37),
    "StanfordCars": (6509, 1635, 8041, 196),
    "UCF101": (7639, 1898, 3783, 101),
}


def published(name: str) -> Split:
    path = PUBLISHED / f"split_zhou_{name}.json"
    if not path.exists():
        pytest.skip("the published split files are not beside this checkout")
    return parse_split(path, Path("images"), name)


def on_disk(root: Path, rows: object = None) -> Path:
    """A data set of three classes under `root`, as the catalogue's `objects_chalk`; returns its split file."""
    folder = root / "objects_chalk"
    given: dict[str, list[tuple[str, int, str]]] = {
        part: [(f"{c}/{part}_{i}.png", c, f"class_{c}") for c in range(3) for i in range(5)] for part in PARTS
    }
    for path, _, _ in (row for part in given.values() for row in part):
        (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (7, 5)).save(folder / "images" / path)
    (folder / "split.json").write_text(json.dumps(given if rows is None else rows))
    return folder / "split.json"


def community_few_shot(split: Split, shots: int, seed: int) -> tuple[list[Item], list[Item]]:
    """CoOp's code path in its own words: the global generator, dictionaries of lists."""
    random.seed(seed)
    out = []
    for items, k in ((split.train, shots), (split.val, min(shots, 4))):
        tracker: dict[int, list[Item]] = {}
        for item in items:
            tracker.setdefault(item.label, []).append(item)
        chosen: list[Item] = []
        for group in tracker.values():
            chosen.extend(random.sample(group, k) if len(group) >= k else group)
        out.append(chosen)
    return out[0], out[1]


@st.composite
def labels(draw: st.DrawFn) -> list[list[int]]:
    """Labels of the three parts, in any order of first appearance, with at least 5 training images a class."""
    n = draw(st.integers(2, 11))
    return [draw(st.permutations([c for c in range(n) for _ in range(draw(st.integers(least, least + 3)))])) for least in (5, 1, 1)]


def split_of(parts: list[list[int]]) -> Split:
    return Split("any", *(tuple(Item(Path(f"{i}.png"), c, f"c{c}") for i, c in enumerate(part)) for part in parts))


def refuse(*_: object) -> None:
    raise AssertionError("the global generator was used")


@settings(max_examples=60, deadline=None)
@given(parts=labels(), shots=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_few_shot_is_the_communitys_and_leaves_the_global_generator_alone(parts: list[list[int]], shots: int, seed: int) -> None:
    split = split_of(parts)
    train, val = community_few_shot(split, shots, seed)
    with pytest.MonkeyPatch.context() as patch:  # Comparing its state would not do: beartype's own checks draw from it.
        for name in ("seed", "sample", "choice", "choices", "shuffle"):
            patch.setattr(random, name, refuse)
        ours = few_shot(split, shots, seed)
    assert (list(ours.train), list(ours.val), ours.test) == (train, val, split.test)
    assert ours == few_shot(split, shots, seed)
    assert set(Counter(item.label for item in ours.train).values()) == {shots}
    assert len(set(ours.train)) == len(ours.train), "sampled without repetition"


@settings(max_examples=60, deadline=None)
@given(parts=labels())
def test_halves_share_no_class_and_lose_no_image(parts: list[list[int]]) -> None:
    split = split_of(parts)
    base, novel = half(split, "base"), half(split, "novel")
    n = len(classnames(split))
    assert len(classnames(base)) == math.ceil(n / 2)
    assert classnames(base) + classnames(novel) == classnames(split)
    for part in PARTS:
        whole = getattr(split, part)
        assert sorted(i.path for h in (base, novel) for i in getattr(h, part)) == sorted(i.path for i in whole)
        for h in (base, novel):
            assert [i.classname for i in getattr(h, part)] == [i.classname for i in whole if i.classname in {x.classname for x in h.items}]
    assert {i.label for i in novel.items} == set(range(n // 2))
    assert half(split, "all") == split


@pytest.mark.parametrize("name", SIZES)
def test_published_splits(name: str) -> None:
    split = published(name)
    assert (len(split.train), len(split.val), len(split.test), len(classnames(split))) == SIZES[name]
    state = random.getstate()
    for seed in (1, 2, 3):
        train, val = community_few_shot(split, 16, seed)
        ours = few_shot(split, 16, seed)
        assert (list(ours.train), list(ours.val)) == (train, val)
    random.setstate(state)
    middle = math.ceil(SIZES[name][3] / 2)
    assert len(half(split, "base").train) == sum(item.label < middle for item in split.train)
    assert len(half(split, "novel").test) == sum(item.label >= middle for item in split.test)
    assert len(half(few_shot(split, 16, 1), "base").train) == 16 * middle


def test_first_sample_by_hand() -> None:
    """Label 1 appears first, so it takes the stream's first draw."""
    items = tuple(Item(Path(f"{c}{i}"), c, str(c)) for c in (1, 0) for i in range(4))
    stream = random.Random(7)
    first, second = stream.sample(range(4), 2), stream.sample(range(4), 2)
    ours = few_shot(Split("two", items, items, ()), 2, 7)
    assert [i.path.name for i in ours.train] == [f"1{i}" for i in first] + [f"0{i}" for i in second]


def test_a_sample_written_down() -> None:
    """The draws themselves, whatever Python draws them: seed 1, labels 2, 0, 1 of five training and three validation pictures."""
    train, val = (tuple(Item(Path(f"{part}{c}{i}"), c, str(c)) for c in (2, 0, 1) for i in range(n)) for part, n in (("t", 5), ("v", 3)))
    ours = few_shot(Split("three", train, val, ()), 2, 1)
    assert " ".join(i.path.name for i in ours.train) == "t21 t20 t02 t00 t13 t14"
    assert " ".join(i.path.name for i in ours.val) == "v21 v22 v00 v02 v11 v10"


def test_reads_what_is_on_disk(tmp_path: Path) -> None:
    on_disk(tmp_path)
    split = read_split(tmp_path, "objects_chalk")
    assert (split.name, [len(getattr(split, p)) for p in PARTS]) == ("objects_chalk", [15, 15, 15])
    assert classnames(split) == ["class_0", "class_1", "class_2"]
    assert prompts("objects_chalk", classnames(split))[1] == "a photo of a class 1."
    image = open_image(split.test[0].path)
    assert (image.mode, image.size) == ("RGB", (7, 5))


def one_line(error: pytest.ExceptionInfo[InputError], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for word in ("expected", "got", *words):
        assert word in text


def test_missing_split_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "objects_chalk")
    one_line(error, str(tmp_path / "objects_chalk" / "split.json"), "no such file")


def test_truncated_split_file(tmp_path: Path) -> None:
    path = on_disk(tmp_path)
    whole = path.read_bytes()
    for keep in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(InputError) as error:
            read_split(tmp_path, "objects_chalk")
        one_line(error, str(path), "truncated")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"train": [["/etc/a.png", 0, "a"]], "val": [], "test": []}, ("train[0]", "an absolute one", "images")),
        ({"train": [["b/../../a.png", 0, "a"]], "val": [], "test": []}, ("train[0]", "leaves it by '..'")),
        ({"train": [["", 0, "a"]], "val": [], "test": []}, ("train[0]", "got none")),
        ({"train": [["a\0.png", 0, "a"]], "val": [], "test": []}, ("train[0]", "got none")),
        ({"train": [["\ud800.png", 0, "a"]], "val": [], "test": []}, ("train[0]", "letters that no file name")),
        ({"train": [["a.png", 0, "_ "]], "val": [], "test": []}, ("train[0]", "a class name")),
        (
            {"train": [["a.png", 0, "a_b"], ["b.png", 1, "a b"]], "val": [], "test": []},
            ("'a_b' and 'a b', which read alike, for labels 0 and 1",),
        ),
        ({"train": [["a.png", 0, "a"], ["b.png", 1, "a"]], "val": [], "test": []}, ("'a' for labels 0 and 1",)),
        ({"train": [["a.png", 0, "a"], ["b.png", 1, "A"]], "val": [], "test": []}, ("'a' and 'A'",)),
        ({"train": [["a.png", 0, "\u200b"]], "val": [], "test": []}, ("train[0]", "a class name")),
        ({"train": [["a.png", 0, "\ud800"]], "val": [], "test": []}, ("train[0]", "a class name")),
        ({"train": [["a.png", 0, "a"]], "val": [["a.png", 0, "a"]], "test": []}, ("1 in two", "a.png in 'train' and 'val'")),
        ({"train": [["a.png", 0, "a"]], "val": [], "test": [["a.png", 0, "a"]]}, ("1 in two", "a.png in 'train' and 'test'")),
        ({"train": [["a.png", 0, "a"], ["./a.png", 0, "a"]], "val": [], "test": []}, ("every picture once", "1 again", "a.png")),
        ([], ("a JSON list",)),
        ({"train": [], "test": []}, ("['test', 'train']",)),
        ({"train": {}, "val": [], "test": []}, ("'train'", "dict")),
        ({"train": [["a.png", "0", "a"]], "val": [], "test": []}, ("train[0]",)),
        ({"train": [], "val": [], "test": [["a.png", True, "a"]]}, ("test[0]",)),
        ({"train": [["a.png", 0]], "val": [], "test": []}, ("train[0]",)),
        ({"train": [["a.png", 0, "a"], ["b.png", 0, "b"]], "val": [], "test": []}, ("'a' and 'b'",)),
        ({"train": [["a.png", 1, "a"]], "val": [], "test": []}, ("labels 0",)),
        ({"train": [], "val": [], "test": []}, ("labels 0",)),
    ],
)
def test_wrong_layout(tmp_path: Path, rows: object, words: tuple[str, ...]) -> None:
    path = on_disk(tmp_path, rows)
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "objects_chalk")
    one_line(error, str(path), *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 10_000, ("nested too deeply",)),
        ('{"train": ' + "[" * 10_000 + "]" * 10_000 + ', "val": [], "test": []}', ("nested too deeply",)),
        ('{"train": [], "train": [["a.png", 0, "a"]], "val": [], "test": []}', ("given twice",)),
        ('{"train": [["a.png", ' + "1" * 5000 + ', "a"]], "val": [], "test": []}', ("broken",)),
        ('{"train": [["a.png", NaN, "a"]], "val": [], "test": []}', ("train[0]",)),
    ],
    ids=["deep", "deep and whole", "a key twice", "a huge number", "NaN"],
)
def test_strange_json_is_one_line(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = on_disk(tmp_path)
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "objects_chalk")
    one_line(error, str(path), *words)


def test_a_split_file_is_read_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = on_disk(tmp_path)
    plain = read_split(tmp_path, "objects_chalk")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_split(tmp_path, "objects_chalk") == plain
    path.write_bytes(path.read_text(encoding="utf-8-sig").encode("utf-16"))
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "objects_chalk")
    one_line(error, "not UTF-8")


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_class_without_training_pictures_is_never_trained_in_silence(part: str) -> None:
    seen = {"train": (0,), "val": (0,), "test": (0,)} | {part: (0, 1)}
    split = Split("two", *(tuple(Item(Path(f"{name}{c}.png"), c, f"class {c}") for c in seen[name]) for name in PARTS))
    with pytest.raises(InputError) as error:
        few_shot(split, 1, 1)
    one_line(error, "two", "0 of class 'class 1'", f"part '{part}'", "take the class out")


def test_no_validation_pictures_and_no_novel_class_are_one_line() -> None:
    items = tuple(Item(Path(f"{i}.png"), 0, "only") for i in range(3))
    with pytest.raises(InputError) as error:
        few_shot(Split("one", items[:2], (), items[2:]), 1, 1)
    one_line(error, "one", "validation", "'val'")
    one = Split("one", items[:1], items[1:2], items[2:])
    assert half(one, "base") == half(one, "all") == few_shot(one, 1, 1)
    with pytest.raises(InputError) as error:
        half(one, "novel")
    one_line(error, "two classes", "got 1")


ROWS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["a.png", "b/c.png", "/a", "../a", "", "ü.png", "\ud800"]),
            st.integers(-1, 2),
            st.sampled_from(["x", "y", "", "X", "x_", "\u200b", "\ud800"]),
        ),
        st.recursive(st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=3)), lambda inner: st.lists(inner, max_size=3)),
    ),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(content=st.one_of(st.fixed_dictionaries(dict.fromkeys(PARTS, ROWS)), ROWS), cut=st.integers(0, 30), flip=st.integers(0, 10**6))
def test_any_split_file_is_one_that_holds_the_rules_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: object, cut: int, flip: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "split.json"
    whole = bytearray(json.dumps(content).encode())
    if cut == 1:
        del whole[flip % len(whole) :]
    elif cut == 2:
        whole[flip % len(whole)] ^= 1 << flip % 8
    path.write_bytes(whole)
    try:
        split = parse_split(path, Path("images"), "any")
    except InputError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
        return
    names = {i.label: i.classname for i in split.items}
    assert sorted(names) == list(range(len(names)))
    assert len({name.strip("_\u200b").casefold() for name in names.values()} - {""}) == len(names) > 0
    assert "\ud800" not in names.values()
    assert len({i.path for i in split.items}) == len(split.items)
    assert all(i.path.is_relative_to("images") and ".." not in i.path.parts for i in split.items)


def test_missing_image_is_named(tmp_path: Path) -> None:
    on_disk(tmp_path)
    gone = tmp_path / "objects_chalk" / "images" / "2" / "val_3.png"
    gone.unlink()
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "objects_chalk")
    one_line(error, str(gone))


def test_unknown_data_set_and_half_and_shots(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_split(tmp_path, "object")
    one_line(error, "'object'", "objects_chalk")
    on_disk(tmp_path)
    split = read_split(tmp_path, "objects_chalk")
    with pytest.raises(InputError) as error:
        few_shot(split, 6, 1)
    one_line(error, "objects_chalk", "class_0", "5", "lower shots")
    with pytest.raises(InputError) as error:
        few_shot(split, 0, 1)
    one_line(error, "shots")
    with pytest.raises(InputError) as error:
        few_shot(split, 1, -1)
    one_line(error, "seed", "got -1")


def test_catalogue_entries_are_whole() -> None:
    for name, entry in CATALOGUE.items():
        assert entry.template.count("{}") == 1, name
        assert entry.classes_of is None or entry.classes_of in CATALOGUE
