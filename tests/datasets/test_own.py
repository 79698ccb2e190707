"""A data set of one's own: named in one file, then read, trained on and tabled as any other; its mistakes are one line."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image
from role_maps import make_roles

from dearlib.clip.loading import load
from dearlib.commands import main
from dearlib.datasets import SOURCE, TARGETS, classnames, entry, prompts, read_split, split_sha256
from dearlib.errors import InputError
from dearlib.paper.reported import beside
from dearlib.study.averages import base_to_novel, presentable
from dearlib.study.records import RunRecord, tidy

ROOT = Path(__file__).parents[2]
NAMES = ("tulip", "rose_red", "daisy", "poppy")
WHERE = {"folder": "flowers", "images": "pictures", "split_file": "parts.json"}
SAID = {"my_flowers": {"template": "a photo of a {}, a type of flower.", **WHERE}}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the mini profile's study, and a data set of four classes of coloured squares."""
    for name in ("notebooks", "params/mini", "data/flowers/pictures"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("profile.yaml", "study.yaml"):
        shutil.copy(ROOT / "params" / "mini" / name, tmp_path / "params" / "mini")
    shutil.copytree(ROOT / "params" / "mini" / "methods", tmp_path / "params" / "mini" / "methods")
    split: dict[str, list[tuple[str, int, str]]] = {"train": [], "val": [], "test": []}
    for part, count in (("train", 2), ("val", 1), ("test", 2)):
        for label, name in enumerate(NAMES):
            for number in range(count):
                path = f"{name}-{part}{number}.png"
                Image.new("RGB", (64, 64), (60 * label, 40 * number, 200 - 50 * label)).save(tmp_path / "data/flowers/pictures" / path)
                split[part].append((path, label, name))
    (tmp_path / "data/flowers/parts.json").write_text(json.dumps(split))
    say(tmp_path, SAID)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def say(repository: Path, said: object) -> None:
    (repository / "params" / "data_sets.yaml").write_text(yaml.safe_dump(said))


def test_it_is_read_as_any_other(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = read_split("data", "my_flowers")
    assert classnames(split) == list(NAMES)
    assert prompts("my_flowers", classnames(split))[1] == "a photo of a rose red, a type of flower."
    main(["doctor", "--data", "data"])
    assert "my_flowers       found       20 of 20 images" in capsys.readouterr().out


def test_its_template_belongs_to_what_a_number_stands_for(repository: Path) -> None:
    before = split_sha256("data", "my_flowers")
    say(repository, {"my_flowers": {**SAID["my_flowers"], "template": "a flower, a {}."}})
    assert split_sha256("data", "my_flowers") != before


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"mine": {"folder": "x"}}, ("mine.template",)),
        ({"mine": {"template": "a photo"}}, ("mine.template", "one {}", "'a photo'")),
        ({"mine": {"template": "a {} {name}"}}, ("mine.template", "one {}")),
        ({"mine": {"template": "a {}", "imgs": "x"}}, ("mine.imgs", "an unknown key")),
        ({"mine": {"template": "a {}", "folder": "/etc"}}, ("mine.folder", "below the data root")),
        ({"mine": {"template": "a {}", "images": "../x"}}, ("mine.images", "below the data root")),
        ({"mine": "a {}"}, ("mine",)),
        ({"dtd": {"template": "a {}"}}, ("'dtd'", "not taken")),
        (["mine"], ("got list",)),
    ],
)
def test_a_mistake_in_the_file_is_one_line(repository: Path, said: object, words: tuple[str, ...]) -> None:
    say(repository, said)
    with pytest.raises(InputError) as error:
        entry("mine")
    assert "\n" not in str(error.value)
    for word in ("data_sets.yaml", *words):
        assert word in str(error.value)


def test_an_unknown_name_lists_like_ones_alone(repository: Path) -> None:
    for wrong, right in (("my_flower", "my_flowers"), ("oxford_pet", "oxford_pets"), ("food", "food101")):
        with pytest.raises(InputError, match=rf"expected {right}.*got '{wrong}'; .* is named in params/data_sets.yaml$") as error:
            entry(wrong)
        assert len(str(error.value)) < 200
    with pytest.raises(InputError, match=r"names of dearlib\.datasets\.catalogue, got 'zzz'"):
        entry("zzz")


def test_it_is_trained_on_and_has_a_row_beside_public_ones(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A group of the study by hand, then the rows of Table 2; its split file was saved with a byte-order mark."""
    parts = repository / "data/flowers/parts.json"
    parts.write_bytes(b"\xef\xbb\xbf" + parts.read_bytes())
    make_roles(load("DeAR-Mini")).save(Path("roles.json"))
    given = {"shots": 2, "seeds": "[1]", "epochs": 2, "views": 1, "data_root": "data", "roles": "roles.json"}
    words = [word for key, value in given.items() for word in ("-p", f"{key}={value}")]
    assert main(["run", "mini", "base_to_novel", "my_flowers", "--methods", "DeAR", *words]) == 0, capsys.readouterr().err
    record = RunRecord.load(Path("runs/mini/base_to_novel-my_flowers/record.json"))
    assert record.split_sha256 == {"my_flowers": split_sha256("data", "my_flowers")}
    table = base_to_novel(tidy([record]), ["my_flowers"], ["CLIP", "DeAR"])
    shown = beside(2, presentable(table), ["my_flowers"])
    assert set(shown["Method"]) == {"CLIP", "DeAR"}, "nothing is reported for it"


def test_the_papers_average_stands_beside_none_over_more_data_sets() -> None:
    shown = pd.DataFrame(columns=["Data set", "Method", "Base", "Novel", "HM"])
    public = [SOURCE, *TARGETS]
    assert "average" in set(beside(2, shown, public)["Data set"])
    assert "average" not in set(beside(2, shown, [*public, "my_flowers"])["Data set"])
