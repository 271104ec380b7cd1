"""Finding ESCI's files, and downloading them from a server on this machine: whole, cut, wrong, not there."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from arrbench.errors import UsageError
from arrbench.task import DataSource
from arrbench.tasks import esci_fetch
from arrbench.tasks.esci import ESCI
from arrbench.tasks.esci_fetch import EXAMPLES, PRODUCTS

CONTENT = {EXAMPLES: b"judgments " * 300_000, PRODUCTS: b"products " * 400_000}


@dataclass
class Server:
    """What the server holds, how it behaves, and what it was asked: (file, first byte asked for)."""

    content: dict[str, bytes]
    cut_after: int | None = None  # bytes of a body, then the connection ends
    resumes: bool = True
    asked: list[tuple[str, int]] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    state = Server(dict(CONTENT))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rsplit("/", 1)[1]
            body = state.content.get(name)
            if body is None:
                self.send_error(404)
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
            state.asked.append((name, start))
            resumed = state.resumes and start > 0
            rest = body[start:] if resumed else body
            self.send_response(206 if resumed else 200)
            self.send_header("Content-Length", str(len(rest)))
            if resumed:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            self.wfile.write(rest[: state.cut_after])

        def log_message(self, *words: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(esci_fetch, "BASE_URL", f"http://127.0.0.1:{httpd.server_port}/esci/")
        official = {n: (len(c), hashlib.sha256(c).hexdigest()) for n, c in CONTENT.items()}
        monkeypatch.setattr(esci_fetch, "OFFICIAL", official)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield state
        httpd.shutdown()
        thread.join()


def lay(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or (EXAMPLES, PRODUCTS):
        (folder / name).write_text("here")
    return folder


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("ARRBENCH_DATA", raising=False)


def test_places_are_searched_in_order(tmp_path, monkeypatch):
    source = DataSource(None, tmp_path / "cache")
    assert ESCI.find(source) is None
    cached = lay(tmp_path / "cache" / "data" / "esci")
    assert ESCI.find(source) == cached
    named = lay(tmp_path / "variable" / "shopping_queries_dataset")
    monkeypatch.setenv("ARRBENCH_DATA", str(tmp_path / "variable"))
    assert ESCI.find(source) == named
    given = lay(tmp_path / "given" / "esci")
    assert ESCI.find(DataSource(tmp_path / "given", tmp_path / "cache")) == given


def test_a_data_dir_that_lacks_a_file_is_not_silently_replaced(tmp_path):
    lay(tmp_path / "cache" / "data" / "esci")
    half = lay(tmp_path / "half", EXAMPLES)
    with pytest.raises(UsageError, match=f"half holds no ESCI: {PRODUCTS} not there"):
        ESCI.find(DataSource(half, tmp_path / "cache"))
    with pytest.raises(UsageError, match=r"--data-dir .*nowhere is no folder"):
        ESCI.find(DataSource(tmp_path / "nowhere", tmp_path / "cache"))


def test_both_files_are_fetched_once_and_found_afterwards(tmp_path, server, capfd):
    folder = ESCI.fetch(tmp_path)
    assert held(folder) == CONTENT
    assert ESCI.find(DataSource(None, tmp_path)) == folder
    assert ESCI.fetch(tmp_path) == folder
    assert server.asked == [(EXAMPLES, 0), (PRODUCTS, 0)]
    assert capfd.readouterr() == ("", "")  # no bar where nobody watches


def test_a_download_cut_short_is_resumed_where_it_ended(tmp_path, server):
    server.cut_after = 1_500_000
    with pytest.raises(UsageError, match=r"could not be fetched: .*again, which resumes") as error:
        ESCI.fetch(tmp_path)
    assert "\n" not in str(error.value)
    part = tmp_path / "data" / "esci" / f"{EXAMPLES}.part"
    got = part.stat().st_size
    assert 0 < got <= 1_500_000
    assert ESCI.find(DataSource(None, tmp_path)) is None
    server.cut_after = None
    assert held(ESCI.fetch(tmp_path)) == CONTENT
    assert server.asked == [(EXAMPLES, 0), (EXAMPLES, got), (PRODUCTS, 0)]


def test_a_server_that_can_not_resume_sends_all_again(tmp_path, server):
    folder = tmp_path / "data" / "esci"
    folder.mkdir(parents=True)
    (folder / f"{EXAMPLES}.part").write_bytes(CONTENT[EXAMPLES][:1_000])
    server.resumes = False
    assert held(ESCI.fetch(tmp_path)) == CONTENT


def test_a_part_that_is_whole_or_too_long_needs_no_special_care(tmp_path, server):
    folder = tmp_path / "data" / "esci"
    folder.mkdir(parents=True)
    (folder / f"{EXAMPLES}.part").write_bytes(CONTENT[EXAMPLES])
    (folder / f"{PRODUCTS}.part").write_bytes(CONTENT[PRODUCTS] + b"more")
    assert held(ESCI.fetch(tmp_path)) == CONTENT
    assert server.asked == [(PRODUCTS, 0)]


def test_another_file_than_the_official_is_refused_and_not_kept(tmp_path, server):
    server.content[PRODUCTS] = CONTENT[PRODUCTS].replace(b"p", b"q")
    with pytest.raises(UsageError, match=f"{PRODUCTS} is not the official file: its SHA-256 is not "):
        ESCI.fetch(tmp_path)
    assert held(tmp_path / "data" / "esci") == {EXAMPLES: CONTENT[EXAMPLES]}
    server.content[PRODUCTS] = CONTENT[PRODUCTS]
    assert held(ESCI.fetch(tmp_path)) == CONTENT


def test_a_server_that_lacks_the_file_or_is_not_there_is_one_clear_line(tmp_path, server, monkeypatch):
    del server.content[EXAMPLES]
    with pytest.raises(UsageError, match=f"{EXAMPLES} could not be fetched: 404 ") as error:
        ESCI.fetch(tmp_path)
    assert "\n" not in str(error.value)
    monkeypatch.setattr(esci_fetch, "BASE_URL", "http://127.0.0.1:9/")
    with pytest.raises(UsageError, match=r"could not be fetched: .*refused.*--data-dir"):
        ESCI.fetch(tmp_path)


def test_a_cache_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UsageError, match=r"cache .*file can't be written"):
        ESCI.fetch(tmp_path / "file")


def test_fetching_from_the_command_line_without_a_network(arrbench, tmp_path, monkeypatch):
    monkeypatch.setenv("ARRBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    answer = arrbench("data", "fetch", "esci")
    assert answer.status == 2
    assert answer.err.count("\n") == 1
    assert "could not be fetched" in answer.err


def test_doctor_says_how_each_task_s_data_come_here(arrbench, tmp_path, monkeypatch):
    monkeypatch.setenv("ARRBENCH_CACHE", str(tmp_path / "cache"))
    answer = arrbench("doctor")
    assert "arrbench data fetch esci, or name a folder with --data-dir" in answer.out
    folder = lay(tmp_path / "mine")
    answer = arrbench("doctor", "--data-dir", folder)
    assert answer.status == 0, answer.out  # that the folder holds no WordNet is no fault
    assert str(folder) in answer.out
