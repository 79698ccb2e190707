"""`make reproduce` around Snakemake: what it checks first, what it says last, and the graph of steps."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from dearlib.params import reading
from dearlib.params import schemas as params
from dearlib.workflow import reproduce

ROOT = Path(__file__).parents[2]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone without data, runs or figures, its notebooks reduced to one import each."""
    for name in ("dearlib", "params"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    shutil.copy(ROOT / "Snakefile", tmp_path)
    (tmp_path / "notebooks").mkdir()
    for notebook in params.MODELS:
        (tmp_path / "notebooks" / f"{notebook}.py").write_text("# %%\nfrom dearlib import params\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_profile_with_a_mistake_stops_before_the_first_step(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main(["--profile", "nothing"]) == 2
    assert "expected a folder of params/, got nothing" in capsys.readouterr().err
    last = Path("params/mini/06_base_to_novel.yaml")
    last.write_text(last.read_text() + "shots: 16\n")
    assert reproduce.main([]) == 2
    assert capsys.readouterr().err.startswith(f"reproduce: {last}: shots: expected one of ")
    assert not Path(".snakemake").exists()


def test_two_at_once_are_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(".snakemake").mkdir()
    with open(".snakemake/reproduce.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert reproduce.main([]) == 2
    assert "expected no other `make reproduce` in this folder" in capsys.readouterr().err


def test_one_table_can_be_planned_and_nothing_runs(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main(["--only", "table2", "--dry-run"]) == 0
    told = capfd.readouterr()
    assert "05: training on objects" in told.out + told.err
    assert "07: from one data set to others" not in told.out + told.err
    assert not Path("runs").exists()


def test_an_executor_without_a_profile_or_plugin_is_refused(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reproduce.main(["--executor", "nowhere"]) == 2
    assert "expected local or a folder of profiles/, got nowhere" in capsys.readouterr().err
    monkeypatch.setattr(reproduce.importlib.util, "find_spec", lambda name: None)
    assert reproduce.main(["--executor", "slurm"]) == 2
    assert "pip install 'dearlib[cluster]'" in capsys.readouterr().err


def test_jobs_that_a_killed_run_left_in_slurm_are_named(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for squeue: two jobs of ours in this folder, one of ours elsewhere, one of somebody else's making."""
    here = repository.resolve()
    lines = f"7|dearlib_ab|{here}\n9_[1-3]|dearlib_ab|{here}\n10|dearlib_ab|{here.parent}\n11|other|{here}\n"
    program = repository / "bin" / "squeue"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    assert reproduce.main([]) == 2
    assert capsys.readouterr().err == (
        "reproduce: expected no jobs of an earlier run, got SLURM jobs 7 9_[1-3]; wait for them or `scancel 7 9_[1-3]`\n"
    )


def test_the_slurm_profile_is_ready_for_every_rule(repository: Path) -> None:
    """What the profile may leave out, each rule says itself; what guards against two runs at once depends on the jobs' names."""
    profile = yaml.safe_load(Path("profiles/slurm/config.yaml").read_text())
    assert profile["executor"] == "slurm"
    assert profile["slurm-jobname-prefix"] == "dearlib"
    rules = re.split(r"\nrule ", Path("Snakefile").read_text())[1:]
    computing = [rule for rule in rules if "\n    shell:" in rule]
    assert len(computing) == 14
    for rule in computing:
        assert f'**needs("{rule.partition(":")[0]}"' in rule


def test_the_summary_is_the_table_or_what_failed(repository: Path) -> None:
    Path("figures/mini").mkdir(parents=True)
    Path("figures/mini/table2.md").write_text("| a table |\n")
    assert "| a table |" in reproduce.summary("mini", complete=True)
    error = nbformat.v4.new_output("error", ename="KeyError", evalue="7", traceback=[])
    cells = [nbformat.v4.new_markdown_cell("# Heads"), nbformat.v4.new_code_cell("d[7]", outputs=[error])]
    Path("runs/mini/02_head_roles").mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), "runs/mini/02_head_roles/failed.ipynb")
    told = reproduce.summary("mini", complete=False)
    assert "FAILED 02_head_roles: cell 2 of 2 (Heads) failed: KeyError: 7" in told
    assert "| a table |" not in told


def planned(repository: Path, *options: str) -> dict[str, int]:
    """Jobs that Snakemake would run, by rule."""
    command = [sys.executable, "-m", "snakemake", *options, "--cores", "2", "--quiet", "host", "reason"]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    jobs = [line.split() for line in (done.stdout + done.stderr).splitlines() if re.fullmatch(r"\w+ +\d+", line.strip())]
    return {rule: int(count) for rule, count in jobs}


def test_a_fresh_clone_runs_every_step_once(repository: Path) -> None:
    once = ("world", "vit_internals", "head_roles", "role_masks", "dear_model", "base_to_novel", "cross_dataset", "domain_generalization")
    once += ("few_shot", "ablations", "attribute_retrieval", "paper_audit")
    # variants: few shots on eight data sets, ablations on five, sweeps on three, the source once
    assert planned(repository, "--dry-run") == {**dict.fromkeys([*once, "all"], 1), "training": 8, "variants": 17, "total": 38}
    assert not Path("runs").exists()


def test_a_record_that_is_gone_is_made_again_and_what_depends_on_it(repository: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "snakemake", "--summary", "--cores", "2"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(repository)},
        check=True,
    ).stdout
    for made in (Path(line.split("\t")[0]) for line in listed.splitlines()[1:]):
        made.parent.mkdir(parents=True, exist_ok=True)
        made.touch()
    planned(repository, "--touch")
    assert planned(repository, "--dry-run") == {}
    Path("runs/mini/05_training-objects/record.json").unlink()
    assert planned(repository, "--dry-run") == {"training": 1, "base_to_novel": 1, "ablations": 1, "all": 1, "total": 4}
    assert planned(repository, "table3", "--dry-run") == {}
    Path("runs/mini/05_training-objects/record.json").touch()
    planned(repository, "--touch")
    Path("runs/mini/few_shot-digits/record.json").unlink()
    # seven of the eight data sets that few shots are shown on are not asked again
    assert planned(repository, "figure4", "--dry-run") == {"variants": 1, "few_shot": 1, "figure4": 1, "total": 3}


def test_a_profile_differs_from_mini_in_size_alone() -> None:
    """`make quick` is the same study with fewer seeds, data sets and resamples: settings that change results stay."""
    size = {"profile", "runs_root", "figures_root", "roles", "seeds", "dataset", "datasets", "sweep_datasets", "trained", "targets"}
    size |= {"shifted", "bootstrap", "null_draws", "variants"}
    mini, quick = ROOT / "params" / "mini", ROOT / "params" / "quick"
    steps = {p.name for p in mini.glob("[0-9]*.yaml")} - {"00_pretrain_mini.yaml", "13_performance.yaml", "14_cost.yaml"}
    assert {p.name for p in quick.glob("[0-9]*.yaml")} == steps
    for name in steps:
        notebook = name.removesuffix(".yaml").partition("-")[0]
        ours, theirs = (params.plain(reading.load_params(notebook, folder / name)) for folder in (quick, mini))
        assert {k for k in ours if ours[k] != theirs[k]} <= size, name
