"""Folders from somebody else: code that they bring never runs, nothing is asked, a refusal is one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from arrbench.errors import UsageError
from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.arr.ranker import ArrStoical
from arrbench_rankers.cross_encoder import CrossEncoder
from arrbench_rankers.dual_encoder import DualEncoder

CORPUS = Corpus(Document(f"d{i}", name, name) for i, name in enumerate(["red", "blue", "grey"]))
SPLIT = Split((Query("q", "red"), Query("r", "blue")), Judgments({"q": {"d0": 1}, "r": {"d1": 1}}), CORPUS)
TRAINED = {
    DualEncoder: {"epochs": 1, "dim": 8},
    CrossEncoder: {"epochs": 1, "start_epochs": 1},
    ArrStoical: {"epochs": 1},
}
CODE = """
from pathlib import Path
Path(FOLDER, "ran").touch()
from transformers import LlamaConfig, LlamaModel, LlamaForCausalLM, PreTrainedTokenizerFast
class EvilConfig(LlamaConfig):
    model_type = "evil"
class EvilModel(LlamaModel):
    config_class = EvilConfig
class EvilLM(LlamaForCausalLM):
    config_class = EvilConfig
class EvilTokenizer(PreTrainedTokenizerFast):
    pass
"""
CONFIG = {
    "model_type": "evil",
    "auto_map": {
        "AutoConfig": "evil.EvilConfig",
        "AutoModel": "evil.EvilModel",
        "AutoModelForCausalLM": "evil.EvilLM",
    },
}
TOKENIZER = {
    "tokenizer_class": "EvilTokenizer",
    "auto_map": {"AutoTokenizer": ["evil.EvilTokenizer", "evil.EvilTokenizer"]},
}


@pytest.fixture(scope="module", params=TRAINED, ids=lambda cls: cls.__name__)
def saved(request, tmp_path_factory) -> tuple[type, Path]:
    folder = tmp_path_factory.mktemp("saved")
    ranker = request.param(request.param.Options(**TRAINED[request.param]), Context(cache=folder / "cache"))
    ranker.fit(SPLIT, SPLIT)
    ranker.index(CORPUS)
    ranker.save(folder / "model")
    return request.param, folder / "model"


@pytest.fixture(autouse=True)
def yes(monkeypatch: pytest.MonkeyPatch):
    """Whoever is asked says yes."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")


def craft(folder: Path, file: str, fields: dict[str, object]) -> None:
    """The file asks for the code that now lies beside it."""
    path = folder / file
    says = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**says, **fields}))
    bring_code(folder)


def bring_code(folder: Path) -> None:
    (folder / "evil.py").write_text(CODE.replace("FOLDER", repr(str(folder))))


def ran(folder: Path) -> bool:
    """Whether code in the folder, or below it, was executed."""
    return bool(list(folder.rglob("ran")))


def assert_refused(load, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    with pytest.raises(UsageError) as error:
        load()
    assert "\n" not in str(error.value)
    assert not ran(folder)
    assert "[y/N]" not in capfd.readouterr().out


@pytest.mark.parametrize("part", ["config.json", "tokenizer_config.json"])
def test_a_saved_model_runs_no_code(part, saved, tmp_path, capfd) -> None:
    cls, folder = saved
    shutil.copytree(folder, tmp_path / "crafted")
    craft(tmp_path / "crafted" / "model", part, CONFIG if part == "config.json" else TOKENIZER)
    assert_refused(lambda: cls.load(tmp_path / "crafted", Context(offline=True)), tmp_path, capfd)


def test_a_known_architecture_is_loaded_without_the_code_beside_it(saved, tmp_path, capfd) -> None:
    cls, folder = saved
    shutil.copytree(folder, tmp_path / "crafted")
    craft(tmp_path / "crafted" / "model", "config.json", {"auto_map": CONFIG["auto_map"]})
    loaded = cls.load(tmp_path / "crafted", Context(offline=True))
    assert loaded.rank(SPLIT.queries, 3) == cls.load(folder, Context(offline=True)).rank(SPLIT.queries, 3)
    assert not ran(tmp_path)
    assert "[y/N]" not in capfd.readouterr().out


@pytest.mark.parametrize("cls", TRAINED, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("part", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("modules", [False, True], ids=["backbone", "checkpoint"])
def test_a_backbone_runs_no_code(cls, part, modules, tmp_path, capfd) -> None:
    ranker = DualEncoder(DualEncoder.Options(epochs=1, dim=8), Context())
    ranker.fit(SPLIT, SPLIT)
    ranker.index(CORPUS)
    ranker.save(tmp_path / "saved")
    folder = tmp_path / "saved" / "model"
    if not modules:
        (folder / "modules.json").unlink()
    craft(folder, part, CONFIG if part == "config.json" else TOKENIZER)
    options = {**TRAINED[cls], "backbone": str(folder)}
    made = cls(cls.Options(**options), Context(offline=True, cache=tmp_path / "cache"))
    assert_refused(lambda: made.fit(SPLIT, SPLIT), tmp_path, capfd)


def test_a_checkpoint_s_own_module_does_not_run(tmp_path, capfd) -> None:
    ranker = DualEncoder(DualEncoder.Options(epochs=1, dim=8), Context())
    ranker.fit(SPLIT, SPLIT)
    ranker.index(CORPUS)
    ranker.save(tmp_path / "saved")
    folder = tmp_path / "saved" / "model"
    listed = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*listed, {**listed[-1], "type": "evil.EvilModel"}]))
    bring_code(folder)
    assert_refused(lambda: DualEncoder.load(tmp_path / "saved", Context()), tmp_path, capfd)


class Payload:
    """Unpickled it would leave a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


def test_pickled_weights_are_not_read_in_place_of_safetensors(saved, tmp_path, capfd) -> None:
    """Every file of weights, transformer and head, in turn."""
    cls, folder = saved
    weights = sorted(path.relative_to(folder) for path in folder.rglob("*.safetensors"))
    assert len(weights) == (1 if cls is ArrStoical else 2)
    for number, file in enumerate(weights):
        crafted = tmp_path / str(number)
        shutil.copytree(folder, crafted)
        (crafted / file).unlink()
        torch.save(Payload(crafted / "ran"), (crafted / file).with_name("pytorch_model.bin"))
        assert_refused(lambda crafted=crafted: cls.load(crafted, Context(offline=True)), crafted, capfd)
