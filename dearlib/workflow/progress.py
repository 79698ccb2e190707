"""One line for the whole of a run: how many steps are done, and how long the rest will take.

A step that makes a record takes as long as the record beside the tables says, made on another machine perhaps; what such steps
have taken in this run corrects that. The others, which draw, are short.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

SHORT = 20.0  # seconds of a step of which no record tells [ours]
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
    _running: dict[str, tuple[str, float]] = field(init=False, default_factory=dict)  # Snakemake's number → message, begin
    _done: list[tuple[str, float]] = field(init=False, default_factory=list)  # message, seconds

    def __post_init__(self) -> None:
        self._began = self.clock()

    def expected(self) -> float:
        """Seconds of all steps, as many at once as there may be."""
        return self._left(self.messages)

    def heard(self, line: str) -> str | None:
        """The line of progress after one of Snakemake's, if that ends a step."""
        if (begun := _JOB.match(line)) and not begun[2].startswith(COPIES):
            self._running[begun[1]] = (begun[2], self.clock())
        ended = _DONE.match(line)
        if not ended or ended[1] not in self._running:
            return None
        message, since = self._running.pop(ended[1])
        self._done.append((message, self.clock() - since))
        return self.line()

    def line(self) -> str:
        """`12 of 88 steps, 3 min so far, about 20 min to go`."""
        done = {message for message, _ in self._done}
        waiting = [message for message in self.messages if message not in done]
        left = f"about {minutes(self._left(waiting))} to go" if waiting else "done"
        return f"{len(self._done)} of {len(self.messages)} steps, {minutes(self.clock() - self._began)} so far, {left}"

    def _left(self, messages: Iterable[str]) -> float:
        timed = [(seconds, known) for message, seconds in self._done if (known := self._known(message))]
        pace = sum(seconds for seconds, _ in timed) / sum(known for _, known in timed) if timed else 1.0
        return sum(pace * (self._known(message) or SHORT) for message in messages) / self.at_once

    def _known(self, message: str) -> float | None:
        """What a record says of a step, None of one that draws."""
        named = _RECORD.match(message)
        return self.known.get((named[1], named[2])) if named else None
