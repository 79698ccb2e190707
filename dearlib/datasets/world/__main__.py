"""`python -m dearlib.datasets.world --out DIR [--only NAME …]`: writes the Attribute World's data sets."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from dearlib.datasets.world import sets
from dearlib.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Writes what is not there yet. Exit status 0, or 2 with one line on the standard error for a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m dearlib.datasets.world", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the data root: one folder for each data set")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(sets.NAMES), help=f"of {', '.join(sets.NAMES)}; all if left out")
    given = parser.parse_args(arguments)
    try:
        written = _write_all(given.out, given.only)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{given.out}: {len(given.only)} data sets, {written} written now, {len(given.only) - written} there already")
    return 0


def _write_all(out: Path, names: list[str]) -> int:
    unknown = [name for name in names if name not in sets.NAMES]
    if unknown:
        raise InputError(f"--only: expected names among {', '.join(sets.NAMES)}, got '{unknown[0]}'")
    missing = [name for name in names if not sets.is_complete(out, name)]
    with tqdm(total=sum(map(sets.count, missing)), desc="world", unit="image", mininterval=1, disable=not missing) as bar:
        for name in missing:
            bar.set_postfix_str(name)
            sets.write(out, name, bar.update)
    return len(missing)


if __name__ == "__main__":
    sys.exit(main())
