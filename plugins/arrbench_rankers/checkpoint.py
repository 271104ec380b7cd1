"""Sentence-transformers checkpoints: what their files say, and the pipeline that their authors run.

Nothing of a checkpoint is executed: of its modules only those known here are taken, weights are read from
safetensors, and code that a folder brings is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from arrbench.errors import UsageError, one_line
from arrbench.ranker import Context
from arrbench_rankers import backbones

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LIBRARY = "sentence_transformers."
TRANSFORMER, POOLING = "Transformer", "Pooling"
WITH_WEIGHTS = ("Dense", "LayerNorm")
MODULES = (TRANSFORMER, POOLING, "Normalize", "Dropout", *WITH_WEIGHTS)
WEIGHTS = "model.safetensors"
PRODUCTS = (None, "dot", "cosine")  # similarities that an index by inner product can search by
BODY = "sentence_*_config.json"  # the transformer's, such as sentence_bert_config.json
POOLED = "pooling_mode_"  # how older checkpoints name each way of pooling, true or false


@dataclass(frozen=True)
class Checkpoint:
    """A folder with modules.json: each module's kind and subfolder, and how embeddings are compared.

    `dimension` is the length of an embedding, `length` the most tokens of a text; `similarity` and `length`
    are None where the checkpoint doesn't say.
    """

    name: str
    folder: Path
    modules: tuple[tuple[str, str], ...]
    similarity: str | None
    dimension: int
    length: int | None

    @property
    def kinds(self) -> str:
        """Its modules' kinds, in order."""
        return ", ".join(kind for kind, _ in self.modules)

    @property
    def transformer(self) -> str:
        """The folder of its first module: config, tokenizer and weights of a backbone."""
        return str(self.folder / self.modules[0][1])

    @classmethod
    def of(cls, backbone: str, context: Context) -> Checkpoint | None:
        """The checkpoint that a backbone is; None for one without modules.json, and for `tiny`.

        Of a Hugging Face id no weights are fetched. Raises UsageError as `at`.
        """
        folder = backbones.modules_folder(backbone, context, weights=False)
        return None if folder is None else cls.at(folder, backbone)

    @classmethod
    def at(cls, folder: Path, name: str = "") -> Checkpoint:
        """The checkpoint in a folder.

        Raises UsageError for files that can't be read, and for what can't be run here: a module of another
        kind or of the checkpoint's own, embeddings that are cut or aren't compared by a product.
        """
        name = name or str(folder)
        with _reading(name):
            listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
            modules = tuple(_kind(entry, name) for entry in listed)
        kinds = [kind for kind, _ in modules]
        if kinds[:2] != [TRANSFORMER, POOLING]:
            raise UsageError(
                f"the checkpoint {name!r} has the modules {', '.join(kinds) or 'none'}; "
                f"`de` runs those that begin with {TRANSFORMER}, {POOLING}"
            )
        with _reading(name):
            says = _json(folder / "config_sentence_transformers.json")
            similarity, cut = says.get("similarity_fn_name"), says.get("truncate_dim")
            lengths = [_json(f).get("max_seq_length") for f in sorted((folder / modules[0][1]).glob(BODY))]
            length = next((int(n) for n in lengths if n), None)
            made = cls(name, folder, modules, similarity, _dimension(folder, modules), length)
        if similarity not in PRODUCTS:
            raise UsageError(
                f"the checkpoint {name!r} compares embeddings by {similarity!r}; `de` searches by inner "
                "product or cosine"
            )
        if cut is not None:
            raise UsageError(
                f"the checkpoint {name!r} cuts its embeddings (truncate_dim in "
                "config_sentence_transformers.json); `de` takes whole ones"
            )
        return made

    def load(self, context: Context) -> SentenceTransformer:
        """Its pipeline in float32 on the context's device, in eval mode.

        Raises UsageError where weights are missing or pickled, or code of the folder's own would be needed.
        """
        from sentence_transformers import SentenceTransformer

        folder = backbones.modules_folder(self.name, context) or self.folder
        for kind, path in self.modules:
            if kind in WITH_WEIGHTS and not (folder / path / WEIGHTS).is_file():
                raise UsageError(
                    f"the checkpoint {self.name!r} has no {path}/{WEIGHTS}; weights are read from "
                    "safetensors only"
                )
        with backbones.refusals(f"the checkpoint {self.name!r}"):
            model = SentenceTransformer(
                str(folder),
                device=context.device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs=backbones.module_arguments()["model_kwargs"],
            )
        body: Any = model[0]
        if getattr(body.model.config, "is_causal", None) is False:
            backbones.make_bidirectional(model)
        return model.eval()


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turns what a wrong file does to its reader into one UsageError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"the sentence-transformers checkpoint {name!r} can't be read ({one_line(error)[:200]})"
        ) from error


def _kind(entry: Mapping[str, str], name: str) -> tuple[str, str]:
    """A module's kind and subfolder. Raises UsageError for one that isn't known."""
    kind, path = entry["type"].rpartition(".")[2], PurePosixPath(entry["path"])
    if not entry["type"].startswith(LIBRARY) or kind not in MODULES:
        raise UsageError(
            f"the checkpoint {name!r} has a module {entry['type']!r}; known: {', '.join(MODULES)} of "
            "sentence-transformers (code that a checkpoint brings is never run)"
        )
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"modules.json names {entry['path']!r}, which lies outside the folder")
    return kind, entry["path"]


def _json(file: Path) -> Mapping[str, Any]:
    """What an optional file says."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _dimension(folder: Path, modules: tuple[tuple[str, str], ...]) -> int:
    """The length of an embedding, by the last module that sets it."""
    for kind, path in reversed(modules):
        says = _json(folder / path / "config.json")
        if kind == "Dense":
            return int(says["out_features"])
        if kind == POOLING:
            width = says.get("embedding_dimension", says.get("word_embedding_dimension"))
            modes = says.get("pooling_mode", [k for k, on in says.items() if k.startswith(POOLED) and on])
            return int(width) * (1 if isinstance(modes, str) else max(1, len(modes)))
    raise ValueError("no module says how long an embedding is")
