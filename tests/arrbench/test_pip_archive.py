"""A pinned file out of pip's indexes: found where pip would look, by its hash, and never run."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from arrbench.pip_archive import CannotFetchError, download
from arrbench.pip_settings import as_settings, parse_config

SDIST = "dangerous-1.0.tar.gz"
WANTED = "dangerous==1.0"


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip with no settings but those of a test, and no index unless it names one."""
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What the package's code would write if any of it ran."""
    return tmp_path / "it-ran"


@pytest.fixture
def sdist(tmp_path: Path, mark: Path) -> tuple[Path, str]:
    """A source package in a folder of its own, all of whose code leaves a mark; and its SHA-256."""
    leaves = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n".encode()
    backend = b"[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
    file = tmp_path / "packages" / SDIST
    file.parent.mkdir()
    with tarfile.open(file, "w:gz") as tar:
        for name, content in (("setup.py", leaves), ("backend.py", leaves), ("pyproject.toml", backend)):
            member = tarfile.TarInfo(f"dangerous-1.0/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file, hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def serve(sdist: tuple[Path, str], tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Starts a simple index (PEP 503) of the package below /simple; called with its link's fragment."""
    root = tmp_path / "www"
    (root / "simple" / "dangerous").mkdir(parents=True)
    (root / "files").mkdir()
    (root / "files" / SDIST).write_bytes(sdist[0].read_bytes())

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *words: object) -> None:
            super().__init__(*words, directory=str(root))  # type: ignore[arg-type]

        def log_message(self, *words: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()

        def started(fragment: str) -> str:
            link = f'<a href="../../files/{SDIST}{fragment}">{SDIST}</a>'
            (root / "simple" / "dangerous" / "index.html").write_text(f"<html><body>{link}</body></html>")
            return f"http://127.0.0.1:{httpd.server_port}/simple"

        yield started
        httpd.shutdown()
        thread.join()


def test_a_source_package_in_a_folder_is_read_and_not_run(
    sdist: tuple[Path, str], mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'nowhere'} {sdist[0].parent}")
    found = download(WANTED, sdist[1], "sdist", tmp_path)
    assert found.read_bytes() == sdist[0].read_bytes()
    assert not mark.exists()


@pytest.mark.parametrize("announced", [True, False])
def test_a_source_package_on_an_index_is_read_and_not_run(
    sdist: tuple[Path, str],
    serve: Callable[[str], str],
    mark: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    announced: bool,
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", serve(f"#sha256={sdist[1]}" if announced else ""))
    (tmp_path / "scratch").mkdir()
    found = download(WANTED, sdist[1], "sdist", tmp_path / "scratch")
    assert found == tmp_path / "scratch" / SDIST
    assert found.read_bytes() == sdist[0].read_bytes()
    assert not mark.exists()


def test_an_index_that_can_t_be_reached_keeps_no_other_from_being_asked(
    sdist: tuple[Path, str], serve: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(CannotFetchError, match=r"dangerous==1\.0 .*127\.0\.0\.1:9/simple: .*refused"):
        download(WANTED, sdist[1], "sdist", tmp_path)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", serve(f"#sha256={sdist[1]}"))
    assert download(WANTED, sdist[1], "sdist", tmp_path).name == SDIST


@pytest.mark.parametrize("announced", ["#sha256={good}", "#sha256={bad}", ""])
def test_another_file_under_the_same_name_is_refused(
    sdist: tuple[Path, str],
    serve: Callable[[str], str],
    mark: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    announced: str,
) -> None:
    good, bad = "0" * 64, sdist[1]  # the index has another file than the one that is pinned
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", serve(announced.format(good=good, bad=bad)))
    (tmp_path / "scratch").mkdir()
    with pytest.raises(CannotFetchError, match=r"SHA-256|Hash mismatch") as error:
        download(WANTED, good, "sdist", tmp_path / "scratch")
    assert "\n" not in str(error.value)
    assert not mark.exists()


def test_a_password_in_an_index_s_url_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:9/simple")
    with pytest.raises(CannotFetchError) as error:
        download(WANTED, "0" * 64, "sdist", tmp_path)
    assert "secret" not in str(error.value)


def test_a_module_called_pip_in_the_working_folder_is_not_run(
    sdist: tuple[Path, str], mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text(f"open({str(mark)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_FIND_LINKS", str(sdist[0].parent))
    download(WANTED, sdist[1], "sdist", tmp_path)
    assert not mark.exists()


def test_settings_are_those_of_pip_download(tmp_path: Path) -> None:
    listed = (
        ":env:.find-links='/nowhere'\n"
        "download.index-url='https://mine/simple'\n"
        "global.index-url='https://all/simple'\n"
        f"global.extra-index-url='https://a/simple\\nfile://{tmp_path}'\n"
        f"global.find-links='{tmp_path}'\n"
        "install.no-index='yes'\n"
        ":env:.default-timeout='180'\n"
        "WARNING: no setting\n"
    )
    settings = as_settings(parse_config(listed))
    assert settings.index_url == "https://mine/simple"
    assert settings.extra_index_urls == ("https://a/simple", f"file://{tmp_path}")
    assert settings.find_links == ()  # the variable has the last word
    assert not settings.no_index
    assert settings.timeout_s == 180.0


def test_settings_that_make_no_sense_are_named(
    sdist: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(sdist[0].parent))
    monkeypatch.setenv("PIP_CERT", "/no/such/certificate")
    with pytest.raises(CannotFetchError, match="/no/such/certificate"):
        download(WANTED, sdist[1], "sdist", tmp_path)
    monkeypatch.delenv("PIP_CERT")
    monkeypatch.setenv("PIP_TIMEOUT", "soon")
    with pytest.raises(CannotFetchError, match="soon"):
        download(WANTED, sdist[1], "sdist", tmp_path)
