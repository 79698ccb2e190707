"""The published phrases: fetched once from a server on this machine, checked, kept whole or not at all."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dearlib.errors import InputError
from dearlib.roles import phrases as pool

COPY = Path(__file__).parents[3] / "shared" / "data" / "textspan_general.txt"
PHRASES = "A badge\nA bag\nWoven textile design"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of a file of phrases on a server on this machine, and the file; its hash is the expected one."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "phrases.txt").write_text(PHRASES)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(pool, "SHA256", hashlib.sha256(PHRASES.encode()).hexdigest())

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/phrases.txt", folder / "phrases.txt"
        running.shutdown()
        thread.join()


def refused(*words: str, kept: Path, url: str = "http://127.0.0.1:9/none") -> None:
    with pytest.raises(InputError) as error:
        pool.published_pool(kept, url)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in ("pool: expected", "got", *words)), error.value


def test_fetched_once(served: tuple[str, Path], tmp_path: Path) -> None:
    url, file = served
    kept = tmp_path / "cache" / "phrases.txt"
    assert pool.published_pool(kept, url) == kept
    file.unlink()
    assert pool.published_pool(kept, url).read_text() == PHRASES
    assert [path.name for path in kept.parent.iterdir()] == ["phrases.txt"]
    assert pool.read_pool(kept) == PHRASES.splitlines()


def test_other_phrases_are_not_kept(served: tuple[str, Path], tmp_path: Path) -> None:
    url, file = served
    kept = tmp_path / "cache" / "phrases.txt"
    file.write_text(PHRASES[:-1])
    refused("SHA-256", kept=kept, url=url)
    assert not kept.exists()
    kept.parent.mkdir()
    kept.write_text("half a")
    refused("delete it", str(kept), kept=kept, url=url)


def test_no_network_is_one_line(served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, _ = served
    kept = tmp_path / "phrases.txt"
    refused("404", "make fetch", kept=kept, url=url + ".none")
    refused("refused", "make fetch", kept=kept)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused("HF_HUB_OFFLINE", "make fetch", str(kept), kept=kept, url=url)
    assert not kept.exists()


def test_files_of_phrases(tmp_path: Path) -> None:
    (tmp_path / "phrases.txt").write_text("red things\n\n  green things \n")
    assert pool.read_pool(tmp_path / "phrases.txt") == ["red things", "green things"]
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for name, word in (("empty.txt", "none"), ("binary.txt", "UTF-8"), ("nowhere.txt", "No such file")):
        with pytest.raises(InputError, match=f"pool: expected.*{word}"):
            pool.read_pool(tmp_path / name)
    assert "a photo of" in " ".join(pool.read_pool(None))


def test_the_hash_is_the_published_pools() -> None:
    if not COPY.exists():
        pytest.skip("a copy of the published pool is not beside this checkout")
    assert hashlib.sha256(COPY.read_bytes()).hexdigest() == pool.SHA256
    assert len(pool.read_pool(COPY)) == 3498


def test_a_byte_order_mark_is_no_part_of_the_first_phrase(tmp_path: Path) -> None:
    (tmp_path / "pool.txt").write_bytes(b"\xef\xbb\xbfa red cup\na key\n")
    assert pool.read_pool(tmp_path / "pool.txt") == ["a red cup", "a key"]


def test_a_byte_order_mark_makes_no_other_pool_of_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an editor saves it."""
    monkeypatch.setattr(pool, "SHA256", hashlib.sha256(PHRASES.encode()).hexdigest())
    (tmp_path / "kept.txt").write_bytes(b"\xef\xbb\xbf" + PHRASES.encode())
    assert pool.published_pool(tmp_path / "kept.txt") == tmp_path / "kept.txt"
