"""`python -m dearlib.datasets.world --out DIR [--only NAME …] [--processes N]`: writes the Attribute World's data sets."""

import argparse
import os
import sys
from pathlib import Path

from dearlib.datasets.world import sets
from dearlib.datasets.world.writing import write_all
from dearlib.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Writes what is not there yet. Exit status 0, or 2 with one line on the standard error for a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m dearlib.datasets.world", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the data root: one folder for each data set")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(sets.NAMES), help=f"of {', '.join(sets.NAMES)}; all if left out")
    parser.add_argument("--processes", type=int, metavar="N", default=os.cpu_count() or 1, help="as many as cores if left out")
    given = parser.parse_args(arguments)
    try:
        written = write_all(given.out, given.only, given.processes)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{given.out}: {len(given.only)} data sets, {written} written now, {len(given.only) - written} there already")
    return 0


if __name__ == "__main__":
    sys.exit(main())
