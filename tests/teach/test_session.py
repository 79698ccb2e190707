"""A submission's process: what it can see, what it leaves behind, and how the grader talks with it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dearlib.errors import InputError
from dearlib.teach import sandbox
from dearlib.teach.grading import Assignment, examine
from dearlib.teach.masters import Question
from dearlib.teach.session import Died, Limits, Session
from dearlib.teach.submissions import Submission

pytest_plugins = ["course"]

LOOK = """
import os, socket, sys
def walk():
    found, kinds = [], (".ipynb", ".zip", ".csv", "small.py")
    for folder, below, files in os.walk("/"):
        below[:] = [b for b in below if os.path.join(folder, b) not in ("/proc", "/usr", sys.prefix, sys.base_prefix)]
        found += [os.path.join(folder, f) for f in files if f.endswith(kinds)]
    return found
def network():
    try: socket.create_connection(("192.0.2.1", 80), 2); return "connected"
    except OSError as error: return error.errno
def writes(path):
    try: open(path, "w").close(); return True
    except OSError: return False
me = [os.getuid(), os.listdir("."), [p for p in os.listdir("/proc") if p.isdigit()], dict(os.environ)]
capabilities = [line for line in open("/proc/self/status") if line.startswith("CapEff")]
"""


@pytest.fixture(scope="module")
def session(apart: bool) -> Iterator[Session]:
    os.environ["A_SECRET_OF_THE_LECTURER"] = "token"
    with Session([LOOK], True, Limits(seconds=300)) as opened:
        opened.run()
        yield opened
    del os.environ["A_SECRET_OF_THE_LECTURER"]


def test_no_answer_is_in_its_file_system(session: Session) -> None:
    own = session.get("me")[3]["HOME"]
    inside = [p for p in session.get("walk")() if not p.startswith(f"{own}/")]
    shipped = [p for p in inside if "/dearlib/" in p]
    assert not [p for p in shipped if not p.endswith(".csv")], "notebooks in the package"
    root = str(Path(__file__).parents[2])
    assert not [p for p in inside if p.startswith(root) and p not in shipped]


def test_it_has_no_network(session: Session) -> None:
    import errno

    assert session.get("network")() == errno.ENETUNREACH


def test_it_has_no_privilege_and_sees_nobody(session: Session) -> None:
    user, files, processes, environment = session.get("me")
    assert user != 0 or os.geteuid() != 0
    assert session.get("capabilities")[0].split()[1] == "0" * 16
    checkout = Path(sandbox.__file__).parts  # shown where it lies below /tmp
    assert not [f for f in files if not f.startswith(".") and f not in checkout]
    assert processes == ["1"]
    assert "token" not in environment.values()


@pytest.mark.parametrize("path", ["/usr/x", "/etc/x", f"{Path(sandbox.__file__).parent}/x"])
def test_it_writes_in_its_own_folder_alone(session: Session, path: str) -> None:
    assert session.get("writes")("x")
    assert not session.get("writes")(path)


def test_nothing_of_it_stays(apart: bool) -> None:
    cell = "import subprocess\nsleeper = subprocess.Popen(['sleep', '987'], start_new_session=True).pid"
    with Session([cell], True, Limits(seconds=300)) as opened:
        assert opened.get("sleeper") > 1
        folder = opened._process.folder
        assert folder.exists()
        for _ in range(50):  # between fork and exec it still has its parent's name
            sleeping = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "987"]]
            if sleeping:
                break
            time.sleep(0.1)
        assert sleeping
    assert not folder.exists()
    for _ in range(50):
        if not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in sleeping):
            break
        time.sleep(0.1)
    else:
        raise AssertionError("a process of the submission is still there")


def test_shared_memory_counts(apart: bool) -> None:
    cell = "import mmap\nhog = mmap.mmap(-1, 2 << 30)\nfor i in range(0, 2 << 30, 4096): hog[i] = 1\nwhile True: pass"
    with Session([cell, "after = 1"], True, Limits(seconds=300, cell=60, memory=1 << 29)) as opened:
        opened.run()
        assert opened.notes == ["cell 1 left out: it took more than 0.5 GB of memory"]
        assert opened.get("after") == 1


def test_functions_and_objects_go_back_as_what_they_are(apart: bool) -> None:
    cell = """
class Model:
    size = 7
model = Model()
def size_of(m, more=0): return m.size + more
def apply(f, x): return f(x)
def fails(): raise ValueError("no")
"""
    with Session([cell], True, Limits(seconds=300)) as opened:
        model, size_of = opened.get("model"), opened.get("size_of")
        assert size_of(model, more=3) == 10
        assert opened.get("apply")(size_of, model) == 7
        assert opened.get("missing") is None
        with pytest.raises(ValueError, match="no"):
            opened.get("fails")()


def test_who_does_not_answer_is_ended_and_starts_anew(apart: bool) -> None:
    cells = ["import sys, os\nanswer = 3\ndef silent():\n    os.close(0)\n    while True: pass\ndef long(): return 'x' * (80 << 20)"]
    with Session(cells, True, Limits(seconds=300, call=2)) as opened:
        with pytest.raises(Died, match="more than 2 s"):
            opened.get("silent")()
        assert opened.get("answer") == 3
        with pytest.raises(Died, match="more than 64 MB"):
            opened.get("long")()
        assert opened.get("answer") == 3


def test_a_machine_that_cannot_start_it_is_no_fault_of_the_submission(apart: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a process there are no points and no zeros: grading stops."""
    monkeypatch.setattr(sandbox, "_NEW_ROOT", "exit 3")
    assignment = Assignment("x", (Question("q1", 1, False),), {"q1": "name = 'q1'\npoints = 1"})
    with pytest.raises(InputError, match=r"process to start .* \(status 3\)"):
        examine(Submission("a", ("1",)), assignment, True, Limits())


def test_time_is_up_for_all_of_it(apart: bool) -> None:
    cell = "def doze():\n    while True: pass"
    with Session([cell], True, Limits(seconds=6, call=300)) as opened:
        with pytest.raises(Died, match="time was up"):
            opened.get("doze")()
        with pytest.raises(Died, match="time was up"):
            opened.get("doze")
