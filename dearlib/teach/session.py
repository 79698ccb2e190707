"""The grader's side of one submission: runs its cells, asks for its values and functions, starts it anew when it dies.

A cell that ends the process, or does not come back in time, is left out of the next start, so that what the other cells
define still gets its points.
"""

import builtins
import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dearlib.errors import InputError
from dearlib.teach import sandbox, wire

_LOOK = 0.2  # seconds between looks at the memory that a submission takes
_START = 120.0  # seconds for Python to come up; what takes longer is no process that could be graded


@dataclass(frozen=True)
class Limits:
    """What one submission may take: `seconds` in all, of which one cell `cell` and one call of a function `call`; bytes of memory.

    Starting Python does not count: on a busy machine that would be the machine's fault.
    """

    seconds: float = 45.0
    cell: float = 15.0
    call: float = 7.5
    memory: int = 4 << 30


class Died(Exception):
    """The submission's process ended, or was ended, while it was asked; the message says why."""


class Session:
    """One submission under way; a context manager, so that nothing of it stays behind.

    `notes` collects, in plain words, what went wrong: which cell raised, which one was ended and why. `broken` is set when the
    machine, not the submission, is at fault: no points may be given then, none taken.
    """

    def __init__(self, cells: Sequence[str], apart: bool, limits: Limits) -> None:
        self.cells, self.apart, self.limits = list(cells), apart, limits
        self.notes: list[str] = []
        self.broken: InputError | None = None
        self._deadly: set[int] = set()
        self._process: Any = None
        self._until = time.monotonic() + limits.seconds

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> int:
        """Ends the process, if there is one; its exit status."""
        process, self._process = self._process, None
        return sandbox.stop(process) if process else 0

    def get(self, name: str, default: Any = None) -> Any:
        """The submission's global `name`: a value, a `Function` or a reference. Otter's tests ask for their arguments here."""
        return self._ask({"get": name}, self.limits.call)

    def call(self, reference: wire.Reference, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a function of the submission's gives; raises what it raises, where that is an exception of Python's own."""
        return self._ask({"call": reference, "args": args, "kwargs": kwargs}, self.limits.call)

    def run(self) -> None:
        """Starts the process and runs the cells; again without the cell that ended it, until they come through or time is up."""
        while self._process is None:
            if time.monotonic() > self._until:
                raise Died("the time was up")
            self._start()
            for number, source in enumerate(self.cells, start=1):
                if number in self._deadly:
                    continue
                try:
                    self._exchange({"cell": source}, self.limits.cell)
                except Died as death:
                    self._deadly.add(number)
                    self._note(f"cell {number} left out: {death}")
                    break
                except Exception as error:
                    self._note(f"cell {number} raised {type(error).__name__}: {error}")

    def _start(self) -> None:
        """A process that answers; its clock stands while it comes up."""
        left, self._until = self._until - time.monotonic(), float("inf")
        try:
            self._process = sandbox.start(self.apart, self.limits.memory)
            self._exchange({"get": "In"}, _START)
        except (Died, OSError) as error:
            self.broken = InputError(
                f"grade: expected a process to start on this machine, got: {error}; free memory, or look at its rights"
            )
            raise self.broken from None
        self._until = time.monotonic() + left

    def _ask(self, message: dict[str, Any], seconds: float) -> Any:
        self.run()
        try:
            return self._exchange(message, seconds)
        except Died as death:
            self._note(f"a function was ended: {death}")
            raise

    def _note(self, text: str) -> None:
        line = " ".join(text.split())[:160]
        if line not in self.notes:
            self.notes.append(line)

    def _exchange(self, message: dict[str, Any], seconds: float) -> Any:
        """One question and its answer; ends the process and raises `Died` if none comes, or none that can be read."""
        until = min(self._until, time.monotonic() + seconds)
        try:
            self._write(wire.pack(message), until)
            lengths = wire.LENGTHS.unpack(self._read(wire.LENGTHS.size, until, seconds))
            if sum(lengths) > wire.MOST:
                raise Died(f"it answered with more than {wire.MOST >> 20} MB")
            tree, body = (self._read(n, until, seconds) for n in lengths)
        except (Died, OSError) as death:
            status = self.close()
            raise Died(str(death) if isinstance(death, Died) and str(death) else f"it ended its own process (status {status})") from None
        try:
            answer = wire.unpack(tree, body, self._stand_in)
            if "error" not in answer:
                return answer["ok"]
            kind, text = answer["error"]
        except Exception:  # whatever a process that pretends to be ours may have sent
            self.close()
            raise Died("it answered with something unreadable") from None
        raise _exception(str(kind), str(text))

    def _write(self, content: bytes, until: float) -> None:
        descriptor = self._process.stdin.fileno()
        while content:
            _, ready, _ = select.select([], [descriptor], [], _LOOK)
            content = content[os.write(descriptor, content) :] if ready else content
            if time.monotonic() > until:
                raise Died("it did not read what it was asked")

    def _read(self, count: int, until: float, seconds: float) -> bytes:
        """`count` bytes of the answer. `Died` without a reason where the stream ends."""
        parts: list[bytes] = []
        descriptor = self._process.stdout.fileno()
        while count:
            ready, _, _ = select.select([descriptor], [], [], _LOOK)
            if ready:
                part = self._process.stdout.read1(min(count, 1 << 20))
                if not part:
                    raise Died
                parts.append(part)
                count -= len(part)
            if time.monotonic() > until:
                raise Died("the time was up" if until == self._until else f"it took more than {seconds:g} s")
            if not ready and sandbox.memory_of(self._process) > self.limits.memory:
                raise Died(f"it took more than {self.limits.memory / 2**30:g} GB of memory")
        return b"".join(parts)

    def _stand_in(self, reference: wire.Reference) -> Any:
        return Function(self, reference) if reference.callable else reference


@dataclass(frozen=True)
class Function:
    """A function of the submission's: calling it here runs it there."""

    session: Session
    reference: wire.Reference

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.session.call(self.reference, tuple(_sent(a) for a in args), {k: _sent(v) for k, v in kwargs.items()})


def _sent(argument: Any) -> Any:
    """A function of the submission's goes back as what it is there."""
    return argument.reference if isinstance(argument, Function) else argument


def _exception(kind: str, text: str) -> Exception:
    found = getattr(builtins, kind, None)
    if isinstance(found, type) and issubclass(found, Exception) and not issubclass(found, UnicodeError):
        return found(text)
    return RuntimeError(f"{kind}: {text}")


@cache
def can_keep_apart() -> bool:
    """Whether this machine can (see `sandbox`): tried by starting a process without a cell."""
    try:
        with Session((), True, Limits()) as trial:
            trial.run()
    except InputError:
        return False
    return True
