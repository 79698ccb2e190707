"""Checks a built site: every link and picture leads to a file of the site, to an anchor that is there, and to no other host."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}


class _Page(HTMLParser):
    """What one page points to, what it would load by itself, and the anchors that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif value and (tag, name) in LOADED and dict(attrs).get("rel") not in ("canonical", "next", "prev", "index", "search"):
                self.loads.append(value)
            elif value and name == "href":
                self.links.append(value)


def broken_links(site: Path) -> list[str]:
    """One line for every link that leads nowhere and for everything that a page would load from another host."""
    own = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.relative_to(site).parts]  # there lie a theme's templates
    pages = {path: _read(path) for path in own}
    told = []
    for path, page in pages.items():
        where = path.relative_to(site).as_posix()
        told += [f"{where}: loads {url}" for url in page.loads if urlsplit(url).scheme in ("http", "https") or url.startswith("//")]
        told += [
            f"{where}: leads to {url}, which is not there" for url in (*page.links, *page.loads) if not _reached(url, path, site, pages)
        ]
    return told


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _reached(url: str, path: Path, site: Path, pages: dict[Path, _Page]) -> bool:
    """Whether a link on the page `path` leads to a file and an anchor of the site; other hosts' are not looked at."""
    parts = urlsplit(url)
    if parts.scheme or url.startswith("//"):
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_relative_to(site.resolve()) or not target.is_file():
        return False
    found = pages.get(site / target.relative_to(site.resolve()))
    return found is None or not parts.fragment or unquote(parts.fragment) in found.anchors | {"top", ""}
