"""The key changes with whatever changes a figure: code, data files, versions; and with nothing else."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from arrbench import source, versions
from arrbench.choosing import choose, inputs
from arrbench.options import BaseOptions, named_files
from arrbench.ranker import Context
from arrbench.spec import parse
from arrbench_rankers.arr.ranker import Arr

RANKER = """
from pathlib import Path
from typing import ClassVar
from pydantic import Field
from arrbench.options import BaseOptions
from trouble import Counter, CounterOptions

class MadeOptions(CounterOptions):
    prompt: Path | None = Field(None, description="a file")

class Made(Counter):
    Options: ClassVar[type[BaseOptions]] = MadeOptions
    libraries = ("made_library.part",)
"""


def install(
    site: Path,
    name: str,
    release: str,
    files: dict[str, str],
    requires: tuple[str, ...] = (),
    points: str = "",
) -> None:
    """A distribution as pip leaves it: its files, its metadata, and the list of both."""
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    info = f"{name.replace('-', '_')}.dist-info"
    (site / info).mkdir(exist_ok=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {release}"]
    (site / info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {r}" for r in requires), ""]))
    (site / info / "entry_points.txt").write_text(points)
    (site / info / "RECORD").write_text("".join(f"{path},,\n" for path in [*files, f"{info}/METADATA"]))


def upgrade(site: Path, name: str) -> None:
    """The same distribution in version 1.1."""
    metadata = site / f"{name.replace('-', '_')}.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A third party's ranker, the library that it names, and what either requires."""
    point = "[arrbench.rankers]\nmade = made_plugin.deep.ranker:Made\n"
    files = {"made_plugin/__init__.py": "", "made_plugin/deep/__init__.py": "", "made_plugin/prompt.txt": "a"}
    files["made_plugin/deep/ranker.py"] = RANKER
    requires = ("Own-Need>=1", 'absent; extra == "more"', 'extra-need; extra == "more"')
    install(tmp_path, "made-plugin", "1.0", files, requires, point)
    install(tmp_path, "Made-Library-Dist", "1.0", {"made_library/part.py": ""}, ("its-need",))
    for name in ("own-need", "its-need", "extra-need", "other"):
        install(tmp_path, name, "1.0", {f"{name.replace('-', '_')}.py": ""})
    return tmp_path


@pytest.fixture
def key(arrbench: Any, site: Path) -> Any:
    """The key of the ranker of that name, or of one with options, as a dry run prints it."""

    def ask(words: str = "made") -> str:
        asked = ("run", "--rankers", words, "--task", "toy", "--device", "cpu", "--dry-run", "--json")
        answer = arrbench(*asked, distributions=("trouble", str(site)))
        assert answer.status == 0, answer.err
        return str(
            {line["ranker"].partition(":")[0]: line["key"] for line in json.loads(answer.out)["plan"]}["made"]
        )

    return ask


def test_versions_of_libraries_and_requirements_are_in_the_key(site: Path, key: Any) -> None:
    keys = [key()]
    for name in ("Made-Library-Dist", "its-need", "own-need"):
        upgrade(site, name)
        keys.append(key())
    assert len(set(keys)) == 4
    for name in ("other", "extra-need"):
        upgrade(site, name)
    assert key() == keys[-1]


def test_every_file_of_the_package_is_in_the_key(site: Path, key: Any) -> None:
    before = key()
    (site / "made_plugin" / "prompt.txt").write_text("b")
    after = key()
    assert after != before
    (site / "made_plugin" / "__pycache__").mkdir(exist_ok=True)
    (site / "made_plugin" / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"compiled")
    (site / "made_plugin" / "__pycache__" / "x.nbi").write_bytes(b"kernels")
    assert key() == after


def test_a_file_that_an_option_names_is_in_the_key_by_its_content(
    site: Path, key: Any, tmp_path: Path
) -> None:
    file = tmp_path / "words.txt"
    file.write_text("red")
    before = key(f"made:prompt={file}")
    file.write_text("green")
    assert key(f"made:prompt={file}") != before


def test_files_that_options_name_are_told_apart_by_content(tmp_path: Path) -> None:
    class Files(BaseOptions):
        one: Path | None = None
        many: tuple[Path, ...] = ()
        text: str = ""

    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("a")
    folder.mkdir()
    (folder / "inside").write_text("b")
    options = Files(one=file, many=(folder, tmp_path / "absent"), text=str(file))
    before = named_files(options)
    assert set(before) == {"option one", "option many[0]", "option many[1]"}
    assert before["option many[1]"] == "no file"
    (folder / "inside").write_text("c")
    after = named_files(options)
    assert {name for name in before if before[name] != after[name]} == {"option many[0]"}
    assert named_files(Files()) == {}


def test_the_same_content_in_another_file_is_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"swapped/__init__.py": "", "swapped/a/x.py": "1", "swapped/b/x.py": "2"}
    install(tmp_path, "swapped", "1.0", files)
    monkeypatch.syspath_prepend(tmp_path)
    before = source.of("swapped.a.x", "swapped")
    (tmp_path / "swapped/a/x.py").write_text("2")
    (tmp_path / "swapped/b/x.py").write_text("1")
    assert source.of("swapped.a.x", "swapped") != before


def test_a_module_that_stands_alone_counts_with_what_its_distribution_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "lone-dist", "1.0", {"lone_module.py": "", "lone_data/words.txt": "a"})
    monkeypatch.syspath_prepend(tmp_path)
    before = source.of("lone_module", "lone-dist")
    (tmp_path / "lone_data/words.txt").write_text("b")
    after = source.of("lone_module", "lone-dist")
    assert after != before
    (tmp_path / "lone_module.py").write_text("x = 1")
    assert source.of("lone_module", "lone-dist") not in (before, after)
    assert source.of("lone_module", "no-such-distribution")


def test_of_a_namespace_only_the_plugin_s_own_part_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    install(ours, "space-own", "1.0", {"space/own/__init__.py": "", "space/own/data.bin": "a"})
    install(other, "space-other", "1.0", {"space/other/__init__.py": ""})
    for folder in (ours, other):
        monkeypatch.syspath_prepend(folder)
    before = source.of("space.own", "space-own")
    (other / "space/other/__init__.py").write_text("x = 1")
    assert source.of("space.own", "space-own") == before
    (ours / "space/own/data.bin").write_text("b")
    assert source.of("space.own", "space-own") != before
    with pytest.raises(ModuleNotFoundError, match=r"there is no module 'space\.absent'"):
        source.of("space.absent", "space-own")


def test_versions_of_a_module_s_distribution_are_found_under_any_name() -> None:
    assert versions.of_libraries(("Stemmer",)) == {"pystemmer": version("PyStemmer")}
    learning = versions.of_libraries(("sklearn.cluster",))
    assert learning["scikit-learn"] == version("scikit-learn")
    assert learning["scipy"] == version("scipy")
    assert versions.of_libraries(("json", "no_such_module")) == {}


@pytest.mark.parametrize(
    ("words", "has", "lacks"),
    [
        ("bm25", {"bm25s", "pystemmer", "numba"}, {"torch", "peft", "transformers", "scikit-learn"}),
        (
            "de",
            {"torch", "sentence-transformers", "scikit-learn", "scipy", "tokenizers", "accelerate"},
            {"peft"},
        ),
        ("ce", {"torch", "sentence-transformers", "tokenizers", "accelerate"}, {"faiss-cpu", "peft"}),
        ("arr", {"torch", "transformers", "tokenizers", "accelerate"}, {"peft", "pystemmer", "faiss-cpu"}),
        ("random", {"numpy"}, {"torch"}),
    ],
)
def test_a_ranker_s_versions_are_those_that_matter_to_it(words: str, has: set[str], lacks: set[str]) -> None:
    software = choose(parse(words)).software
    assert has <= software.keys()
    assert not lacks & software.keys()


def test_libraries_that_only_some_options_need_are_inputs() -> None:
    weights, always = inputs(choose(parse("arr")), Context())
    assert set(always) == {"docid"}
    assert weights == {}
    _, clustered = inputs(choose(parse("arr:docid=kmeans")), Context())
    assert clustered["docid: scikit-learn"] == version("scikit-learn")
    adapted = Arr.inputs(Arr.Options(lora_rank=4, backbone="some/model"), Context())
    assert adapted["peft"] == version("peft")
