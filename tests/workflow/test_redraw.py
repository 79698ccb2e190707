"""`make figures`: the notebooks as drawing programs, run without kernels and without training."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from dearlib.commands import main
from dearlib.params import schemas as params
from dearlib.params.reading import load_params
from dearlib.params.types import plain
from dearlib.study.records import Metric, RunRecord
from dearlib.workflow import redraw, runner
from dearlib.workflow.inputs import load_profile

ROOT = Path(__file__).parents[2]
# Each notebook says in a file what it was told and which files it found, so that order can be read from them.
STUB = """# %% tags=["parameters"]
profile: str = "none"

# %%
from pathlib import Path
Path("drawn").mkdir(exist_ok=True)
Path("drawn/{name}").write_text(f"{{profile}} {{Path('runs/roles').exists()}}")
{more}
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The quick profile's parameters, notebooks of a line or two, a record for all that the study wants."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in params.MODELS:
        stub(name, 'Path("runs").mkdir(); Path("runs/roles").touch()' if name == "02_head_roles" else "")
    plan = load_profile("quick").plan
    for group in plan.study.groups:
        for dataset in plan.group(group).datasets:
            record(group, dataset).save(plan.record(group, dataset))
    monkeypatch.setattr(redraw, "write_all", lambda root, names, processes: len(names))
    monkeypatch.setattr(redraw, "IMPORTED", ())
    return tmp_path


def stub(name: str, more: str) -> None:
    Path("notebooks", f"{name}.py").write_text(STUB.format(name=name, more=more))


def record(group: str, dataset: str) -> RunRecord:
    metric = Metric(dataset=dataset, split="all", part="test", method="CLIP", seed=None, accuracy=50.0)
    same = dict.fromkeys(("parameters_sha256", "weights_sha256", "identity", "roles_sha256", "commit"), "x")
    empty = {"runs": {}, "split_sha256": {}, "versions": {}, "hardware": {}, "last": {}}
    return RunRecord(profile="quick", group=group, dataset=dataset, wall_seconds=1.0, metrics=(metric,), **same, **empty)


def test_every_notebook_draws_with_the_profiles_values_and_after_the_role_file(repository: Path) -> None:
    assert main(["figures", "--profile", "quick", "--cores", "2"]) == 0
    drawn = {path.name: path.read_text() for path in Path("drawn").iterdir()}
    assert {name[:2] for name in drawn} == {"01", "02", "03", "04", "06", "07", "08", "09", "10", "11", "12", "15", "16"}
    assert {said.split()[0] for said in drawn.values()} == {"quick"}
    for reader in ("03_role_masks", "04_dear_model", "10_ablations"):
        assert drawn[reader] == "quick True", "it reads what 02 writes"


def test_a_notebook_that_fails_is_named_and_the_others_go_on(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stub("06_base_to_novel", "{}['base']")
    stub("12_paper_audit", "from dearlib.errors import InputError; raise InputError('expected 9, got 13; lower it')")
    assert main(["figures", "--profile", "quick", "--cores", "1"]) == 1
    said = capfd.readouterr()
    assert "06_base_to_novel: KeyError in 06_base_to_novel.py, line 4: 'base'" in said.err
    assert "12_paper_audit: expected 9, got 13; lower it\n" in said.err
    assert "11 of 13 notebooks drew their figures" in said.out
    assert Path("drawn/10_ablations").exists()


def test_a_record_that_is_missing_is_one_line_before_anything_is_drawn(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("figures/quick/records/few_shot-numbers_night.json").unlink()
    assert main(["figures", "--profile", "quick"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "few_shot-numbers_night.json: expected a run record, found none" in said
    assert not Path("drawn").exists()


def test_without_a_kernel_a_notebook_draws_the_bytes_that_it_draws_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Independent form: the runner. The audit needs no records."""
    monkeypatch.chdir(ROOT)
    name, files = "12_paper_audit", {}
    for way in ("runner", "redraw"):
        folder = tmp_path / way / "params"
        folder.mkdir(parents=True)
        values = plain(load_params(name, ROOT / "params" / "mini" / f"{name}.yaml")) | {"figures_root": str(tmp_path / way / "figures")}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
        if way == "runner":
            runner.run(ROOT / "notebooks" / f"{name}.py", folder / f"{name}.yaml", tmp_path / way / "out")
        else:
            assert redraw.draw(name, values)[1] == ""
        figures = tmp_path / way / "figures"
        files[way] = {p.name: p.read_bytes() for p in figures.iterdir()}
        files[way]["audit.json"] = json.dumps(json.loads(files[way]["audit.json"]) | {"parameters_sha256": ""}).encode()
    assert len(files["redraw"]) >= 5
    assert files["redraw"] == files["runner"]
