"""The look at every link of a built site: it finds each kind of fault, and nothing else."""

from pathlib import Path

import pytest

from dearlib.site.links import broken_links


def site(folder: Path, body: str) -> Path:
    (folder / "sub").mkdir()
    (folder / "index.html").write_text(f'<html><body id="start">{body}</body></html>')
    (folder / "sub" / "page.html").write_text('<a href="../index.html#start">up</a><h1 id="here">x</h1>')
    (folder / "a.png").write_bytes(b"x")
    return folder


GOOD = """<a href="sub/page.html#here"></a> <a href="#start"></a> <a href="#"></a> <a href="https://arxiv.org/abs/1"></a>
<a href="mailto:a@b.c"></a> <img src="a.png"> <img src="data:image/png;base64,AA"> <a href="a.png"></a>"""


def test_a_whole_site_has_none(tmp_path: Path) -> None:
    assert broken_links(site(tmp_path, GOOD)) == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ('<a href="gone.html">', "index.html: leads to gone.html"),
        ('<a href="sub/page.html#gone">', "leads to sub/page.html#gone"),
        ('<a href="#gone">', "leads to #gone"),
        ('<img src="gone.png">', "leads to gone.png"),
        ('<a href="../../outside.html">', "leads to ../../outside.html"),
        ('<script src="https://cdn.example/x.js"></script>', "loads https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//fonts.example/f.css">', "loads //fonts.example/f.css"),
        ('<img src="http://example.org/a.png">', "loads http://example.org/a.png"),
    ],
)
def test_every_kind_of_fault_is_told(tmp_path: Path, fault: str, told: str) -> None:
    found = broken_links(site(tmp_path, GOOD + fault))
    assert len(found) == 1
    assert told in found[0]


def test_a_themes_templates_are_no_pages(tmp_path: Path) -> None:
    made = site(tmp_path, GOOD)
    (made / "_static").mkdir()
    (made / "_static" / "macros.html").write_text('<link href="{{ pathto(\'x.css\') }}" rel="stylesheet">')
    assert broken_links(made) == []
