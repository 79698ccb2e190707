"""One line for the whole of a run: how many steps are done, and how long the rest will take.

A step that makes a record takes as long as the record beside the tables says, made on another machine perhaps; what has been
measured in this run corrects that.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

UNKNOWN = 20.0  # seconds of a step that no record tells of, [ours]
COPIES = "the record of "  # how messages of steps begin that take no time
_RECORD = re.compile(r"^(\w+) on ([\w.-]+)$")
_JOB = re.compile(r"^Job (\d+): (.*)$")
_DONE = re.compile(r"^Finished jobid: (\d+)\b")


def steps(planned: str) -> list[str]:
    """The messages of the steps in what a dry run says, without those that take no time."""
    found = [job[2] for line in planned.splitlines() if (job := _JOB.match(line))]
    return [message for message in found if not message.startswith(COPIES)]


def minutes(seconds: float) -> str:
    """`80` → "1 min"; below a minute in seconds, from two hours in hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@dataclass
class Progress:
    """Follows what Snakemake says. `known`: seconds of a record by (group, data set); `messages`: of the steps to be run; `at_once`."""

    known: Mapping[tuple[str, str], float]
    messages: list[str]
    at_once: int
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _running: dict[str, str] = field(init=False, default_factory=dict)
    _done: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def expected(self) -> float:
        """Seconds of all steps, as many at once as there may be."""
        return self._seconds(self.messages) / self.at_once

    def heard(self, line: str) -> str | None:
        """The line of progress after one of Snakemake's, if that ends a step."""
        if (begun := _JOB.match(line)) and not begun[2].startswith(COPIES):
            self._running[begun[1]] = begun[2]
        ended = _DONE.match(line)
        if not ended or ended[1] not in self._running:
            return None
        self._done.append(self._running.pop(ended[1]))
        return self.line()

    def line(self) -> str:
        """`12 of 88 steps, 3 min so far, about 20 min to go`."""
        spent = self.clock() - self._began
        waiting = list(self.messages)
        for message in self._done:
            if message in waiting:
                waiting.remove(message)
        before = self._seconds(self._done) / self.at_once
        pace = spent / before if before else 1.0
        left = f"about {minutes(pace * self._seconds(waiting) / self.at_once)} to go" if waiting else "done"
        return f"{len(self._done)} of {len(self.messages)} steps, {minutes(spent)} so far, {left}"

    def _seconds(self, messages: Iterable[str]) -> float:
        found = [_RECORD.match(message) for message in messages]
        return sum(self.known.get((m[1], m[2]), UNKNOWN) if m else UNKNOWN for m in found)
