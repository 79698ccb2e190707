"""What `make reproduce` checks before its first step: data under the root that is given, weights, phrases."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import miniature
import pytest
from public_layout import build

from dearlib.commands import main
from dearlib.datasets import PUBLIC, SOURCE, TARGETS, classnames, read_split
from dearlib.datasets.doctor import examine
from dearlib.datasets.generated import FILE, Declaration, declaration
from dearlib.errors import InputError
from dearlib.methods import catalogue, controls
from dearlib.params import reading
from dearlib.params import schemas as params
from dearlib.params.methods import MethodRun
from dearlib.params.study import read_study, run_settings
from dearlib.params.types import plain
from dearlib.roles import phrases as pool
from dearlib.study import others
from dearlib.workflow import inputs, reproduce

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All fifteen, small and whole, in a root that says how small."""
    root = tmp_path_factory.mktemp("everything")
    sizes = {name: build(root, name, per_class=1 if where.source == "folders" else 2).sizes for name, where in PUBLIC.items()}
    (root / FILE).write_text(Declaration(note="a test", sizes=sizes).model_dump_json())
    return root


@pytest.fixture
def data(everything: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(everything, tmp_path / "data", copy_function=os.link))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone, its notebooks reduced to one import each, with the weights that the paper profile names."""
    at = tmp_path / "clone"
    for name in ("dearlib", "params"):
        shutil.copytree(ROOT / name, at / name, ignore=shutil.ignore_patterns("__pycache__", "miniature"))
    shutil.copy(ROOT / "Snakefile", at)
    (at / "notebooks").mkdir()
    for notebook in params.MODELS:
        (at / "notebooks" / f"{notebook}.py").write_text("# %%\nfrom dearlib import params\n")
    monkeypatch.chdir(at)
    return at


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str) -> None:
    """One line, status 2, nothing begun."""
    assert main(["reproduce", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert all(word in err for word in ("dearlib: ", "expected", "got", *words)), err
    assert not Path(".snakemake").exists()
    assert not Path("runs").exists()


def test_which_data_sets_a_table_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    paper = inputs.load_profile("paper")
    assert set(paper.datasets()) == set(PUBLIC)
    assert set(paper.datasets("table2")) == set(paper.datasets("figure4")) == {SOURCE, *TARGETS}
    assert set(paper.datasets("table4")) == set(PUBLIC), "one record of the source run serves Tables 3 and 4"
    assert set(paper.datasets("table5")) == set(PUBLIC)
    assert paper.datasets("figure1") == [SOURCE]
    assert paper.datasets("audit") == []


def test_wrong_data(repository: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, ["--profile", "paper", "--data", "a {b}"], "DATA", "braces")
    for wrong in (repository / "nowhere", repository / "Snakefile"):
        refused(capsys, ["--profile", "paper", "--data", str(wrong)], "DATA", wrong.name)
    refused(capsys, ["--profile", "paper"], "DATA", "data/public")
    (repository / "empty").mkdir()
    refused(capsys, ["--profile", "paper", "--data", "empty"], "15 data sets", "15 not so", "imagenet missing", "make doctor DATA=empty")
    refused(capsys, ["--profile", "mini", "--data", "empty"], "source missing")
    shutil.rmtree(data / "imagenet-rendition")
    (data / "dtd" / "images" / "banded" / "banded_0003.jpg").unlink()
    refused(capsys, ["--profile", "paper", "--data", str(data)], "got 2 not so: dtd incomplete, imagenet_r missing;")
    refused(capsys, ["--profile", "paper", "--only", "table2", "--data", str(data)], "got 1 not so: dtd incomplete;")


def test_a_split_file_of_another_data_set(repository: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where all of its pictures are there, too: the published counts know it."""
    split = data / "dtd" / PUBLIC["dtd"].split_file
    split.unlink()
    shutil.copy(data / "eurosat" / PUBLIC["eurosat"].split_file, split)
    refused(capsys, ["--profile", "paper", "--data", str(data)], "got 1 not so: dtd incomplete;")
    (data / FILE).unlink()
    shutil.copytree(data / "eurosat" / "2750", data / "dtd" / "images", dirs_exist_ok=True)
    (data / "eurosat" / PUBLIC["eurosat"].split_file).unlink()
    faults = examine(data, "dtd").faults
    assert [fault.partition(": ")[2] for fault in faults] == [
        "expected 2820 train images, got 8",
        "expected 1128 val images, got 8",
        "expected 1692 test images, got 8",
        "expected 47 classes, got 4",
    ]


def test_weights_and_phrases_are_asked_for_before_the_first_step(
    repository: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["--profile", "paper", "--data", str(data)]

    def nothing(source: str) -> Path:
        raise InputError(f"clip: expected the weights of {source} on this machine, got none; run `make fetch`")

    monkeypatch.setattr("dearlib.clip.weights.pretrained_file", nothing)
    refused(capsys, given, "ViT-B-16-quickgelu/openai", "make fetch")
    monkeypatch.setattr("dearlib.clip.weights.pretrained_file", lambda source: Path("there"))
    refused(capsys, given, str(pool.KEPT), "make fetch")
    path = Path("params/paper/profile.yaml")
    path.write_text(path.read_text().replace("clip_weights: null", "clip_weights: gone.safetensors"))
    refused(capsys, given, "gone.safetensors", "clip_weights")


def test_fetch_says_what_it_has(repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["fetch", "--profile", "mini"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out
    assert main(["fetch", "--profile", "nothing"]) == 2
    assert "expected a folder of params/" in capsys.readouterr().err
    monkeypatch.setattr("dearlib.clip.weights.pretrained_file", lambda source: Path("there"))
    monkeypatch.setattr("dearlib.roles.phrases.published_pool", lambda: Path("here"))
    assert main(["fetch", "--profile", "paper"]) == 0
    lines = ["weights of ViT-B-16-quickgelu/openai: there", "phrases: here", "weights of ViT-L-14-quickgelu/openai, a teacher: there"]
    assert capsys.readouterr().out.splitlines() == lines


def test_the_paper_profile_plans_every_step_and_hands_the_data_root_on(repository: Path, data: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(repository)}
    spaced = data.rename(data.with_name("my data"))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--dry-run",
        "--cores",
        "2",
        "--printshellcmds",
        "--config",
        "profile=paper",
        f"data={spaced}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    once = ("vit_internals", "head_roles", "role_masks", "dear_model", "base_to_novel", "cross_dataset", "domain_generalization")
    once += ("few_shot", "ablations", "attribute_retrieval", "neighbours", "paper_audit", "what_carries_the_gain", "all")
    # records: Table 2, ablations and few shots on eleven data sets, sweeps on three, the source once, and its neighbours
    assert counts == {**dict.fromkeys(once, "1"), "run": "37", "publish": "38", "total": "89"}
    commands = [line for line in done.stdout.splitlines() if "dearlib.commands" in line]
    reading = [line for line in commands if not re.search(r"notebooks/(06|07|09|10|12|15)_", line)]
    assert len(reading) == len(commands) - 6 == 6 + 37 + 1  # 01 to 04, 08 and 11; runs; neighbours
    assert all(f"""-p 'data_root="{spaced}"'""" in line for line in reading)
    assert not any("data_root" in line for line in commands if line not in reading)


def test_the_data_root_travels_if_it_lies_in_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert reproduce._from(tmp_path, Path("data/mine")) == Path("data/mine")
    assert reproduce._from(tmp_path, tmp_path / "data") == Path("data")
    assert reproduce._from(tmp_path / "repository", Path("data")) == tmp_path / "data"


def test_the_miniature_is_the_paper_profile_with_smaller_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "params" / "miniature"
    shutil.copytree(ROOT / "params", tmp_path / "params", ignore=shutil.ignore_patterns("miniature"))
    monkeypatch.setattr(miniature, "PARAMS", folder)
    miniature.write_params()
    for notebook in params.MODELS:
        if notebook not in inputs.ONLY_MINI:
            small, whole = (plain(reading.load_params(notebook, at / f"{notebook}.yaml")) for at in (folder, ROOT / "params/paper"))
            for key in ("dataset", "first_layer", "attributes", "encoder", "part", "routing"):
                assert small.get(key) == whole.get(key), (notebook, key)
    small, whole = (read_study(at).groups for at in (folder, ROOT / "params/paper"))
    assert small.keys() == whole.keys()
    for name, group in small.items():
        runs = {run: {**own, "recipe": whole[name].runs[run].get("recipe")} for run, own in group.runs.items()}
        same = [one.model_dump(exclude={"settings", "runs"}) for one in (group, whole[name])]
        assert same[0] == same[1], "the same data sets"
        assert runs == {run: {**own, "recipe": own.get("recipe")} for run, own in whole[name].runs.items()}, "the same runs"
    sizes = miniature.thinned(_folders(tmp_path / "folders", 30), 1)
    assert sizes == 10 == len(list((tmp_path / "folders").rglob("*.jpg")))


def test_the_miniatures_pictures_are_read_and_have_the_sizes_that_they_declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miniature, "DATA", tmp_path)
    monkeypatch.setattr(miniature, "SHOTS", (1, 2))
    monkeypatch.setattr(miniature, "picture", lambda path: None)
    miniature.write_data()
    said = declaration(tmp_path)
    assert said is not None
    for name in PUBLIC:
        split = read_split(tmp_path, name)
        assert (len(split.train), len(split.val), len(split.test)) == said.sizes[name][:3], name
        assert len(classnames(split)) == (10 if PUBLIC[name].source == "folders" else said.sizes[name][3]), name
        assert examine(tmp_path, name).state == "found", name


def test_the_miniature_has_one_epoch_of_every_method_and_a_teacher_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the data set and the number of shots; and the teacher needs no weights of its own."""
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "params" / "miniature"
    shutil.copytree(ROOT / "params", tmp_path / "params", ignore=shutil.ignore_patterns("miniature"))
    monkeypatch.setattr(miniature, "PARAMS", folder)
    miniature.write_params()
    seen = set()
    for name, group in read_study(folder).groups.items():
        own_recipes = [name for name in ("dtd", "imagenet", "sun397") if name in group.datasets]  # of some methods, on the last two
        for run, dataset in ((run, dataset) for run, own in group.runs.items() if "method" in own for dataset in own_recipes):
            p = run_settings(folder, group, run, dataset)
            assert isinstance(p, MethodRun)
            others.check(p, group.classes == "halves", group.targets, name)
            recipe = catalogue.recipe(p.method, p.recipe)
            assert (recipe.epochs, recipe.warmup_epochs) == (1, 0), (name, run, dataset)
            assert recipe.batch == (2 if p.method == "skiptuning" else 4)
            assert p.teacher is None or (p.teacher.clip, p.teacher.recipe["epochs"]) == (None, 1)
            seen.add(p.method)
    assert seen == {*catalogue.names(), *catalogue.names(controls)} - {"clip", "dear"}


def _folders(at: Path, count: int) -> Path:
    for i in range(count):
        (at / f"n{i:02}").mkdir(parents=True)
        for j in range(2):
            (at / f"n{i:02}" / f"{j}.jpg").touch()
    (at / "README.txt").touch()
    return at
