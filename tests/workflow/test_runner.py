"""The runner on a notebook of a few cells: what it leaves behind when all is well, and when it is not."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest
import yaml

from dearlib.commands import main
from dearlib.errors import InputError
from dearlib.files import alone
from dearlib.params import reading
from dearlib.params.types import plain
from dearlib.workflow import pairs, runner

NAME = "06_base_to_novel"
MINI = Path(__file__).parents[2] / "params" / "mini" / f"{NAME}.yaml"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with nothing but one parameter file, in a path of blanks and accents; the caller's directory is elsewhere."""
    tmp_path = tmp_path / "eine Übung – été"
    tmp_path.mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "params").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "params" / "p.yaml").write_text(yaml.safe_dump(plain(reading.load_params(NAME, MINI))))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def write(repository: Path, *cells: str, extra: str = "") -> list[str]:
    """Writes the notebook: title, parameters cell, `cells`; returns the runner's arguments."""
    values = plain(reading.load_params(NAME, MINI))
    parameters = "".join(f"{key} = {value!r}  # explained\n" for key, value in values.items())
    text = f'# %% [markdown]\n# # The title\n\n# %% tags=["parameters"]\n{parameters}{extra}\n'
    for cell in cells:
        text += f"# %% [markdown]\n# ## A step\n\n# %%\n{cell}\n\n"
    (repository / "notebooks" / f"{NAME}.py").write_text(text)
    return [f"../notebooks/{NAME}.py", "../params/p.yaml", "--out", "../runs/step"]


def notebook(arguments: list[str]) -> int:
    return main(["notebook", *arguments])


def left(repository: Path) -> list[str]:
    return sorted(p.name for p in (repository / "runs" / "step").glob("*"))


def test_a_run_uses_the_validated_values_and_commits_stable_outputs(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noise = (
        "import os, sys, time\nprint(f'{profile} {runs_root}')\nprint(time.time(), file=sys.stderr)\nprint(os.path.isdir('params'))\n7 * 6"
    )
    arguments = [*write(repository, noise), "-p", "profile=other", "-p", "runs_root=a b", "--update-pair"]
    assert notebook(arguments) == 0
    assert left(repository) == ["notebook.ipynb"]
    committed = (repository / "notebooks" / f"{NAME}.ipynb").read_text()
    node = nbformat.reads(committed, as_version=4)
    assert [c.id for c in node.cells] == ["cell-000", "cell-001", "cell-002", "cell-003"]
    assert [c.execution_count for c in node.cells if c.cell_type == "code"] == [1, 2]
    assert node.cells[3].outputs[0].text == "other a b\nTrue\n"
    assert node.cells[3].outputs[1].data["text/plain"] == "42"
    assert pairs.inputs(node) == pairs.inputs(jupytext.read(repository / "notebooks" / f"{NAME}.py"))
    assert "A step" in capfd.readouterr().err
    assert notebook(arguments) == 0
    assert (repository / "notebooks" / f"{NAME}.ipynb").read_text() == committed


def test_wrong_parameters_leave_nothing_behind(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = write(repository, "1")
    assert notebook([*arguments, "-p", "profil=x"]) == 2
    assert capfd.readouterr().err == "dearlib: ../params/p.yaml: profil: expected profile, got an unknown key\n"
    assert notebook([*arguments, "-p", "profile"]) == 2
    assert not (repository / "runs").exists()


def test_a_parameters_cell_that_differs_from_its_model_is_refused(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert notebook(write(repository, "1", extra="color = 'red'\n")) == 2
    assert "got without [] and with ['color']" in capfd.readouterr().err
    assert notebook(["../notebooks/05_training.py", str(MINI.with_name("05_training.yaml")), "--out", "../runs/step"]) == 2
    assert "expected a notebook, got nothing there" in capfd.readouterr().err
    assert not (repository / "runs").exists()


def test_a_failing_cell_is_named_and_kept_until_a_run_succeeds(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert notebook(write(repository, "1", "{}['heads']")) == 1
    assert left(repository) == ["failed.ipynb"]
    line = "step: cell 7 of 7 (A step) failed: KeyError: 'heads'"
    assert f"{line}; it is kept in ../runs/step/failed.ipynb\n" in capfd.readouterr().err
    assert runner.failure(repository / "runs" / "step" / "failed.ipynb") == line
    assert notebook(write(repository, "1")) == 0
    assert left(repository) == ["notebook.ipynb"]


def test_an_input_error_in_a_cell_is_its_one_line_and_status_2(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert notebook(write(repository, "from dearlib.errors import InputError\nraise InputError('expected 9, got 13; lower it')")) == 2
    assert capfd.readouterr().err.splitlines()[-1] == f"dearlib: {NAME}: expected 9, got 13; lower it"
    assert left(repository) == ["failed.ipynb"]


def test_a_full_disk_is_status_2(repository: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(papermill, "execute_notebook", full)
    assert notebook(write(repository, "1")) == 2
    assert "expected free disk space, got a full disk" in capfd.readouterr().err
    assert left(repository) == []


def test_a_dead_kernel_is_a_failure(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert notebook(write(repository, "import os\nos._exit(9)", "2")) == 1
    assert "step: the kernel died in cell 5 of 7 (A step)" in capfd.readouterr().err
    assert left(repository) == ["failed.ipynb"]


def test_kill_9_leaves_no_notebook_that_looks_done_and_no_kernel(repository: Path) -> None:
    cell = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)"
    command = [sys.executable, "-m", "dearlib.commands", "notebook", *write(repository, cell)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    pid = repository / "pid"
    until(lambda: pid.exists() and pid.read_text() != "", seconds=60)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert left(repository) == ["running.ipynb"]
    until(lambda: not alive(int(pid.read_text())), seconds=20)


WHICH = "import sys\nopen('which', 'w').write(sys.executable)"


@pytest.mark.parametrize("place", ["path", "user"])
def test_this_interpreter_runs_the_notebook_whatever_kernel_has_its_name(
    repository: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Another `python3`, first on JUPYTER_PATH, or the user's own where JUPYTER_PREFER_ENV_PATH=0 puts it before the environment's."""
    folder = repository / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text('{"argv": ["/bin/false", "{connection_file}"], "display_name": "other", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH" if place == "path" else "JUPYTER_DATA_DIR", str(repository / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    assert notebook(write(repository, WHICH)) == 0
    assert (repository / "which").read_text() == sys.executable


def test_nothing_of_the_users_own_runs_before_the_first_cell(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile's startup file or PYTHONSTARTUP could set a default type or a seed, and with it every number."""
    startup = repository / "home" / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    spoil = "import builtins; builtins.spoiled = True"
    (startup / "00.py").write_text(spoil)
    (startup.parent / "ipython_config.py").write_text(f"c = get_config()\nc.InteractiveShellApp.exec_lines = ['{spoil}']\n")
    (repository / "startup.py").write_text(spoil)
    monkeypatch.setenv("HOME", str(repository / "home"))
    monkeypatch.setenv("PYTHONSTARTUP", str(repository / "startup.py"))
    cell = "import builtins\nassert not hasattr(builtins, 'spoiled')"
    assert notebook(write(repository, cell)) == 0
    monkeypatch.setenv("IPYTHONDIR", str(startup.parents[1]))
    assert notebook(write(repository, cell)) == 0


def test_a_kernel_that_never_starts_is_a_failure(
    repository: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"argv": ["/bin/false", "{connection_file}"], "display_name": "none", "language": "python"}
    monkeypatch.setattr(runner, "get_kernel_dict", lambda: broken)
    assert notebook(write(repository, "1")) == 1
    assert "step: the kernel died in cell 0" in capfd.readouterr().err
    assert left(repository) == ["failed.ipynb"]


def test_a_long_temporary_folder_is_no_hindrance(
    repository: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = repository / ("t" * 109)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert notebook(write(repository, "1")) == 0
    monkeypatch.setattr(os, "access", lambda folder, _: folder != "/tmp")
    assert notebook(write(repository, "1")) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith(f"dearlib: {NAME}: TMPDIR: expected a folder of at most")
    assert str(long) in line


def test_a_folder_that_cannot_be_written_is_status_2(
    repository: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a read-only checkout; root, who may run this, is stopped by no mode bits."""
    arguments = write(repository, "1")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert notebook(arguments) == 2
    assert "runs/step: expected a folder that can be written, got 'Read-only file system'" in capfd.readouterr().err


def until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Whether a process runs (an unreaped one does not)."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return state != "" and not state.startswith("Z")


def test_two_runs_at_once(repository: Path) -> None:
    arguments = write(repository, "1 + 1")
    command = [sys.executable, "-m", "dearlib.commands", "notebook", *arguments[:-1]]
    both = [subprocess.Popen([*command, f"../runs/{i}"], stderr=subprocess.PIPE) for i in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors


def test_two_runs_into_one_folder_are_refused(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each would write the other's half of the notebook."""
    arguments = write(repository, "1")
    folder = repository / "runs" / "step"
    folder.mkdir(parents=True)
    with alone(folder, "test"):
        assert notebook(arguments) == 2
    line = f"dearlib: {NAME}: ../runs/step: expected no other run of a notebook into it, got one still running; wait for it or end it"
    assert capfd.readouterr().err.splitlines()[-1] == line
    assert left(repository) == []
    assert notebook(arguments) == 0


def executed(*outputs: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=list(outputs), execution_count=5)])


def test_stable_outputs_join_standard_output_and_drop_standard_error() -> None:
    stream = [nbformat.v4.new_output("stream", name=n, text=t) for n, t in (("stdout", "a"), ("stderr", "!"), ("stdout", "b"))]
    result = nbformat.v4.new_output("execute_result", data={"text/plain": "3"}, execution_count=5)
    node = pairs.paired(executed(), executed(*stream, result))
    assert [o.get("text", o.get("execution_count")) for o in node.cells[0].outputs] == ["ab", 1]


def test_outputs_that_tell_this_machine_or_another_notebook_are_refused(repository: Path) -> None:
    notebook = repository / "notebooks" / "x.py"
    notebook.write_text("# %%\n1\n")
    told = nbformat.v4.new_output("display_data", data={"text/html": f"<b>{repository.resolve()}</b>"})
    with pytest.raises(InputError, match=r"x\.py: cell-000: expected output without paths of this machine"):
        pairs.update_pair(notebook, executed(told))
    notebook.write_text("# %%\n2\n")
    with pytest.raises(InputError, match="run it again"):
        pairs.update_pair(notebook, executed())
    assert not notebook.with_suffix(".ipynb").exists()


@pytest.mark.parametrize("home", ["/", None])
def test_a_home_that_tells_no_machine_refuses_no_output(repository: Path, monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    """In a container it may be the root, or of a user whom nobody knows."""
    notebook = repository / "notebooks" / "x.py"
    notebook.write_text("# %%\n1\n")
    told = nbformat.v4.new_output("stream", name="stdout", text="3 / 4 ~ 1\n")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", home or "~"))
    pairs.update_pair(notebook, executed(told))
    assert "3 / 4" in notebook.with_suffix(".ipynb").read_text()


def test_parameters_cell_reads_literals_only() -> None:
    node = jupytext.reads('# %% tags=["parameters"]\na: int = 1  # one\nb = [1e-3, None]\n# %%\nc = 2\n', fmt="py:percent")
    assert runner.parameters_cell(node) == {"a": 1, "b": [1e-3, None]}
    with pytest.raises(ValueError, match="malformed"):
        runner.parameters_cell(jupytext.reads('# %% tags=["parameters"]\na = 2 * b\n', fmt="py:percent"))
