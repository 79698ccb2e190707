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

from dearlib.commands import main
from dearlib.params import reading
from dearlib.params import schemas as params
from dearlib.params.study import read_study
from dearlib.params.types import plain
from dearlib.workflow import reproduce
from dearlib.workflow.expected import Expected

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
    assert main(["reproduce", "--profile", "nothing"]) == 2
    assert "expected a folder of params/ with a profile.yaml, got nothing" in capsys.readouterr().err
    last = Path("params/mini/14_cost.yaml")
    whole = last.read_text()
    last.write_text(whole + "shots: 16\n")
    assert main(["reproduce"]) == 2
    assert capsys.readouterr().err.startswith(f"dearlib: {last}: shots: expected one of ")
    last.write_text(whole)
    study = Path("params/mini/study.yaml")
    study.write_text(study.read_text().replace("DeAR: {}", "DeAR: {bet: 1}", 1))
    assert main(["reproduce"]) == 2
    assert "study.yaml: base_to_novel: runs.DeAR: bet: expected beta, got an unknown key" in capsys.readouterr().err
    assert not Path(".snakemake").exists()


FEW = '      "CoOp, 1 shot": {method: coop, shots: 1}'


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("quick/study.yaml", "{method: mmrl}", "{method: mmlr}", "runs.MMRL: method: expected mmrl, got 'mmlr'; correct the name"),
        (
            "quick/study.yaml",
            FEW,
            FEW.replace("coop", "promptkd"),
            "few_shot: runs.CoOp, 1 shot: promptkd: expected a table from base to novel",
        ),
        ("mini/methods/promptkd.yaml", "teacher: {method: promptsrc}", "", "runs.PromptKD: promptkd: expected a teacher, got none"),
        ("mini/methods/tac.yaml", "recipe:", "descriptions: {digits: none.json}\nrecipe:", "runs.TAC: descriptions: expected sentences"),
    ],
)
def test_a_method_that_cannot_be_stops_before_the_first_step(
    repository: Path, capsys: pytest.CaptureFixture[str], file: str, old: str, new: str, message: str
) -> None:
    """Unknown; in a table that it cannot have; without a teacher, or without the descriptions that are promised."""
    Path("params/quick/methods/promptkd.yaml").unlink()
    path = Path("params") / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert main(["reproduce", "--profile", "quick"]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not Path(".snakemake").exists()


def test_two_at_once_are_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(".snakemake").mkdir()
    with open(".snakemake/reproduce.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["reproduce"]) == 2
    assert "expected no other `make reproduce` in this folder" in capsys.readouterr().err


def test_one_table_can_be_planned_and_nothing_runs(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--only", "table2", "--plan"]) == 0
    told = capfd.readouterr()
    assert "base_to_novel on objects_chalk" in told.out + told.err
    assert "07_cross_dataset" not in told.out + told.err
    assert not Path("runs").exists()


def test_neither_a_home_nor_a_profile_of_the_users_own_is_needed_or_heeded(
    repository: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home that cannot be, as for a service's user or on a compute node; a cluster user's default profile for all his workflows."""
    monkeypatch.setenv("HOME", "/dev/null/home")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "somebodys-cluster")
    assert main(["reproduce", "--only", "audit", "--plan"]) == 0
    said = capfd.readouterr()
    assert "12_paper_audit" in said.out + said.err


def test_weights_in_a_users_cache_stay_where_they_are(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere/somebody")
    for name in ("XDG_CACHE_HOME", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert reproduce._environment()["HF_HOME"] == "/nowhere/somebody/.cache/huggingface"
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/somebody")
    assert reproduce._environment()["HF_HOME"] == "/scratch/somebody/huggingface"
    monkeypatch.setenv("HF_HOME", "/weights")
    assert reproduce._environment()["HF_HOME"] == "/weights"


def test_a_disk_that_is_full_for_snakemakes_own_notes_is_one_line(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(repository)
    monkeypatch.setattr(reproduce, "followed", lambda *_: 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
    assert main(["reproduce", "--only", "audit"]) == 2
    line = f"dearlib: expected free disk space, got a full disk under {repository}; free some and run again\n"
    assert capsys.readouterr().err == line


def test_an_executor_without_a_profile_or_plugin_is_refused(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["reproduce", "--executor", "nowhere"]) == 2
    assert "expected local or a folder of profiles/, got nowhere" in capsys.readouterr().err
    monkeypatch.setattr(reproduce.importlib.util, "find_spec", lambda name: None)
    assert main(["reproduce", "--executor", "slurm"]) == 2
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
    assert main(["reproduce"]) == 2
    assert capsys.readouterr().err.endswith(
        "dearlib: expected no jobs of an earlier run, got SLURM jobs 7 9_[1-3]; wait for them or `scancel 7 9_[1-3]`\n"
    )


def test_the_slurm_profile_says_what_a_job_takes_and_how_it_is_named() -> None:
    """What guards against two runs at once depends on the jobs' names."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    assert profile["executor"] == "slurm"
    assert profile["slurm-jobname-prefix"] == "dearlib"
    assert {"mem_mb", "runtime"} <= set(profile["default-resources"])


@pytest.mark.parametrize(("device", "processes", "cards"), [("auto", 1, 0), ("cpu", 2, 0), ("cuda", 1, 1), ("cuda", 4, 4)])
def test_a_step_asks_for_the_gpus_that_the_profile_names(device: str, processes: int, cards: int) -> None:
    """A dry run does not tell what a step asks for, so the Snakefile's own line is evaluated."""
    text = (ROOT / "Snakefile").read_text()
    line = re.search(r"^GPUS = (.+)$", text, re.MULTILINE)
    assert line is not None
    assert eval(line[1], {"SETTINGS": {"device": device, "processes": processes}}) == cards
    asked = re.search(r"^CLIP = (.+)$", text, re.MULTILINE)
    told = {"SETTINGS": {"processes": processes, "memory_gb": 24.0}, "MEMORY": "memory_gb", "GPUS": cards, "DECODERS": 8}
    assert asked is not None
    assert eval(asked[1], told) == {"gpu": cards, "cpus_per_task": 8 * cards or processes, "mem_mb": 24000}, (
        "a GPU decodes on several cores"
    )
    assert text.count("**CLIP") + text.count("**(CLIP") == 5, "01, 02, runs, neighbours, and of those that draw those that look into CLIP"


SNAKEMAKE = """
import sys
jobs = {"1": "sweeps on digits", "2": "the record of sweeps on digits", "3": "10_ablations: table5"}
for number, message in jobs.items():
    print(f"Job {number}: {message}", file=sys.stdout if "--dry-run" in sys.argv else sys.stderr)
    if "--dry-run" not in sys.argv:
        print(f"Finished jobid: {number} (Rule: any)", file=sys.stderr)
"""


def test_a_run_says_at_the_start_how_long_and_after_every_step_how_far(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for Snakemake that says what Snakemake says."""
    Path(".snakemake").mkdir()
    monkeypatch.setattr(reproduce, "_program", lambda options: [sys.executable, "-c", SNAKEMAKE, *options])
    told: list[list[str]] = []

    def ahead(messages: list[str]) -> Expected:
        told.append(messages)
        return Expected(dict.fromkeys(messages, 300.0), guessed=1)

    assert reproduce.run([], 2, ahead) == 0
    assert told == [["sweeps on digits", "10_ablations: table5"]]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "2 steps, 2 at once: about 5 min; of 1 no record tells, so they are guessed from the plan until some are done"
    lines = [line for line in said if line.startswith("== ")]
    assert [line.partition(",")[0] for line in lines] == ["== 1 of 2 steps", "== 2 of 2 steps"]


def test_a_profile_folder_says_how_many_jobs_run_at_once(repository: Path) -> None:
    assert reproduce.jobs("slurm", 3) == yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())["jobs"] == 50
    assert reproduce.jobs("local", 3) == 3


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


DRAWING = ("role_masks", "dear_model", "base_to_novel", "cross_dataset", "domain_generalization", "few_shot", "ablations")
DRAWING += ("attribute_retrieval", "paper_audit", "what_carries_the_gain")


def test_a_fresh_clone_runs_every_step_once(repository: Path) -> None:
    study = read_study(Path("params/mini"))
    records = sum(len(group.datasets) for group in study.groups.values())
    rendered = len({"source", *(d for group in study.groups.values() for d in (*group.datasets, *group.targets))})
    once = dict.fromkeys(["vit_internals", "head_roles", "neighbours", "all", *DRAWING], 1)
    expected = {**once, "run": records, "publish": records + 1, "world": rendered}
    assert planned(repository, "--dry-run") == {**expected, "total": sum(expected.values())}
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
    Path("figures/mini/records/base_to_novel-objects_chalk.json").unlink()
    assert planned(repository, "--dry-run") == {"publish": 1, "base_to_novel": 1, "ablations": 1, "all": 1, "total": 4}
    assert planned(repository, "table3", "--dry-run") == {}
    planned(repository, "--touch")
    Path("runs/mini/few_shot-digits/record.json").unlink()
    Path("figures/mini/records/few_shot-digits.json").unlink()
    assert planned(repository, "figure4", "--dry-run") == {"run": 1, "publish": 1, "few_shot": 1, "figure4": 1, "total": 4}


def test_quick_is_mini_with_fewer_seeds_and_resamples() -> None:
    """`make quick` is the same study, smaller: settings that change results stay."""
    size = {"profile", "runs_root", "figures_root", "roles", "seeds", "bootstrap", "null_draws", "images", "gallery", "steps"}
    mini, quick = ROOT / "params" / "mini", ROOT / "params" / "quick"
    for notebook in params.MODELS:
        ours, theirs = (plain(reading.load_params(notebook, folder / f"{notebook}.yaml")) for folder in (quick, mini))
        assert {k for k in ours if ours[k] != theirs[k]} <= size | {"projected", "ablation_images"}, notebook
    whole, part = (read_study(folder).groups for folder in (mini, quick))
    assert part.keys() == whole.keys()
    for name, group in part.items():
        assert set(group.dear) <= set(whole[name].dear), name  # quick trains every other method as well, so that each is tried
