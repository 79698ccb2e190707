"""`python -m dearlib.site --out site`: builds the site from the committed notebooks, docs and figures; nothing is executed."""

import argparse
import sys
import time
from pathlib import Path

from dearlib.errors import InputError
from dearlib.params.reading import repository
from dearlib.site.build import build


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 2 with one line on the standard error for a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m dearlib.site", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("site"), metavar="DIR", help="the site's folder; an older site in it is replaced")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        root = repository(Path.cwd())
        size = build(root, given.out, root / "cache" / "site")
    except InputError as error:
        print(f"site: {error}", file=sys.stderr)
        return 2
    print(f"{given.out / 'index.html'}: {size / 1e6:.1f} MB in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
