"""The head explorer as a page: one HTML file with its data, style and script inside, which asks nobody for anything.

The page's parts lie in `dearlib/plots/page/`: plain HTML, CSS and JavaScript, put together here.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from dearlib.errors import InputError
from dearlib.files import write_text
from dearlib.plots.style import ROLE_COLORS, ROLE_NAMES, concept_color
from dearlib.study.explorer import Explorer

LARGEST = 3_000_000  # bytes of the page
SCRIPTS = ("rules", "elements", "map", "head", "masks", "neighbours", "main")  # in the order in which they need one another


def write_page(explorer: Explorer, path: Path, home: str | None = None) -> None:
    """Writes the page to `path`, whole or not at all.

    `home` is where the page's link to the lessons leads, seen from `path`; None leaves the link out.
    Raises `InputError` where the page would be larger than 3 MB.
    """
    text = page(explorer, home)
    if (size := len(text.encode())) > LARGEST:
        raise InputError(f"{path}: expected a page of at most {LARGEST / 1e6:.0f} MB, got {size / 1e6:.1f}; show fewer or smaller pictures")
    write_text(path, text)


def page(explorer: Explorer, home: str | None = None) -> str:
    """The page's HTML."""
    roles = explorer.roles
    concepts = {name: concept_color(name) for name in sorted({*roles.concepts, *roles.attributes, *_factors(explorer)})}
    colors = {"roles": ROLE_COLORS, "names": ROLE_NAMES, "concepts": concepts}
    data = json.dumps({"explorer": explorer.model_dump(mode="json"), "colors": colors}, ensure_ascii=False, separators=(",", ":"))
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(_part("explorer.html"))
    return template.render(
        style=_part("explorer.css").strip(),
        script="\n".join(_part(f"{name}.js").strip() for name in SCRIPTS),
        data=data.replace("<", "\\u003c"),  # nothing in the data may end its element
        home=home,
    )


def _part(name: str) -> str:
    return (files("dearlib") / "plots" / "page" / name).read_text(encoding="utf-8")


def _factors(explorer: Explorer) -> Sequence[str]:
    """Factors on which an effect was measured; they need not be concepts of the role file."""
    return [name for head in explorer.heads for name in (head.effects or {})]
