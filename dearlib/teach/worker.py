"""The process of one submission: runs its cells and answers what the grader asks for. It holds no test and no solution.

`python -m dearlib.teach.worker BYTES PROCESSES`, messages on standard input and output. What the submission itself prints
goes nowhere. The limits are taken before its first cell runs, and a process cannot take its own hard limits back.
"""

import os
import resource
import sys
import types
from collections.abc import Callable
from typing import Any, BinaryIO

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from dearlib.teach import wire

_FILE = 64 << 20  # bytes of the largest file that a submission may write
_SAID = 200  # characters of an error message that are passed on


def main(arguments: list[str]) -> None:
    incoming, outgoing = _channel()
    _limit(int(arguments[0]), int(arguments[1]))
    sys.modules["otter"] = _silent_otter()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.ask_exit = lambda: None  # `exit()` ends a notebook's session; here the cells behind it still count
    shell.history_manager.outputs = _Forgetful()
    me, objects = os.getpid(), list[Any]()

    def keep(value: Any) -> wire.Reference:
        objects.append(value)
        return wire.Reference(len(objects) - 1, type(value).__name__, callable(value))

    def resolve(reference: wire.Reference) -> Any:
        return objects[reference.number]

    while lengths := incoming.read(wire.LENGTHS.size):
        tree, body = (incoming.read(n) for n in wire.LENGTHS.unpack(lengths))
        answer = _answer(shell, wire.unpack(tree, body, resolve), keep)
        if os.getpid() != me:
            os._exit(0)  # a fork of the submission's, which came back from its cell
        outgoing.write(answer)
        outgoing.flush()


class _Forgetful(dict[int, list[Any]]):
    """IPython keeps all that cells print, by cell; a gigabyte of it would count as the submission's memory."""

    def __missing__(self, cell: int) -> list[Any]:
        return []


def _channel() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output moved away, so that nothing the submission reads or prints meets the messages."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    return incoming, outgoing


def _limit(memory: int, processes: int) -> None:
    """Memory that can be written to, file size, no core files; `processes` 0 leaves their number alone."""
    limits = {resource.RLIMIT_DATA: memory, resource.RLIMIT_FSIZE: _FILE, resource.RLIMIT_CORE: 0}
    if processes:
        limits[resource.RLIMIT_NPROC] = processes
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))


def _silent_otter() -> types.ModuleType:
    """A stand-in: the hand-out's own check cells do nothing here, the grader's tests decide."""

    class Notebook:
        def __init__(self, *args: object, **kwargs: object) -> None: ...

        def check(self, *args: object, **kwargs: object) -> None: ...

        check_all = export = check

    module = types.ModuleType("otter")
    module.Notebook = Notebook  # type: ignore[attr-defined]
    return module


def _answer(shell: InteractiveShell, asked: dict[str, Any], keep: Callable[[Any], wire.Reference]) -> bytes:
    """The message that answers one request: {"ok": value} or {"error": [type, text]}."""
    try:
        match asked:
            case {"cell": source}:
                result = shell.run_cell(source, store_history=False)
                error = result.error_before_exec or result.error_in_exec
                return wire.pack({"ok": None} if error is None else _failed(error))
            case {"get": name}:
                return wire.pack({"ok": shell.user_ns.get(name)}, keep)
            case {"call": function, "args": args, "kwargs": kwargs}:
                return wire.pack({"ok": function(*args, **kwargs)}, keep)
            case _:
                raise ValueError(f"expected a cell, a name or a call, got {sorted(asked)}")
    except BaseException as error:  # `exit()` and an interrupt are the submission's own as well
        return wire.pack(_failed(error))


def _failed(error: BaseException) -> dict[str, list[str]]:
    try:
        text = str(error)[:_SAID]
    except Exception:  # an exception class of the submission's own
        text = ""
    return {"error": [type(error).__name__, text]}


if __name__ == "__main__":
    main(sys.argv[1:])
