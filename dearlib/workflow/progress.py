"""One line for the whole of a run: how many steps are done, and how long the rest will take.

What steps are expected to take (`expected`) is corrected by what steps of the same kind have taken in this run.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

COPIES = "the record of "  # how messages of steps begin that take no time
_RECORD = re.compile(r"^(\w+) on ([\w.-]+)$")
_JOB = re.compile(r"^Job (\d+): (.*)$")
_DONE = re.compile(r"^Finished jobid: (\d+)\b")


def steps(planned: str) -> list[str]:
    """The messages of the steps in what a dry run says, without those that take no time."""
    found = [job[2] for line in planned.splitlines() if (job := _JOB.match(line))]
    return [message for message in found if not message.startswith(COPIES)]


def record_of(message: str) -> tuple[str, str] | None:
    """The group and the data set of a step that makes a record, None of others."""
    named = _RECORD.match(message)
    return (named[1], named[2]) if named else None


def kind(message: str) -> str:
    """Steps of one kind are off by one factor: those that make a group's records, those that render, those that draw."""
    if named := record_of(message):
        return named[0]
    return "notebook" if message[:2].isdigit() else message.partition(":")[0]


def minutes(seconds: float) -> str:
    """`80` → "1 min"; below a minute in seconds, from two hours in hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@dataclass
class Progress:
    """Follows what Snakemake says. `expected`: seconds of the steps to be run, by their messages; `at_once`: steps at once."""

    expected: Mapping[str, float]
    at_once: int
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _running: dict[str, tuple[str, float]] = field(init=False, default_factory=dict)  # Snakemake's number → message, begin
    _done: dict[str, float] = field(init=False, default_factory=dict)  # message → seconds

    def __post_init__(self) -> None:
        self._began = self.clock()

    def heard(self, line: str) -> str | None:
        """The line of progress after one of Snakemake's, if that ends a step."""
        if (begun := _JOB.match(line)) and begun[2] in self.expected:
            self._running[begun[1]] = (begun[2], self.clock())
        ended = _DONE.match(line)
        if not ended or ended[1] not in self._running:
            return None
        message, since = self._running.pop(ended[1])
        self._done[message] = self.clock() - since
        return self.line()

    def line(self) -> str:
        """`12 of 88 steps, 3 min so far, about 20 min to go`."""
        left = f"about {minutes(self.left())} to go" if len(self._done) < len(self.expected) else "done"
        return f"{len(self._done)} of {len(self.expected)} steps, {minutes(self.clock() - self._began)} so far, {left}"

    def left(self) -> float:
        """Seconds until all is done, as many steps at once as there may be, and never less than the longest of them."""
        now, since = self.clock(), dict(self._running.values())
        paces = {one: self._pace(one) for one in {kind(message) for message in self.expected}}
        left = [
            max(paces[kind(message)] * seconds - (now - since.get(message, now)), 0.0)
            for message, seconds in self.expected.items()
            if message not in self._done
        ]
        return max([sum(left) / self.at_once, *left]) if left else 0.0

    def _pace(self, of: str) -> float:
        """How many times as long as expected steps of a kind take; until one is done, all steps.

        What was expected counts as one step more that took as long as it should [ours], so that a single odd step does not decide.
        """
        own = [message for message in self._done if kind(message) == of]
        seen = own or list(self._done)
        if not seen:
            return 1.0
        alike = [seconds for message, seconds in self.expected.items() if not own or kind(message) == of]
        usual = sum(alike) / len(alike)
        return (sum(self._done[m] for m in seen) + usual) / (sum(self.expected[m] for m in seen) + usual)
