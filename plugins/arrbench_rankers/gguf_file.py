"""GGUF files, read once: converted into a folder of float32 safetensors in the cache."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from arrbench.errors import UsageError, one_line
from arrbench.kept import keep

MAGIC = b"GGUF"


def is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def content_hash(path: Path) -> str:
    """SHA-256 of a file, taken once a process unless the file is written again."""
    status = path.stat()
    return _hash(path.resolve(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _hash(path: Path, _written: int, _size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def converted(path: Path, cache: Path) -> Path:
    """The folder of the same weights and tokenizer in float32, made at the first call (20 s for 100 MB).

    It is named by the file's content. Raises UsageError where transformers can't read the file.
    """

    def fill(folder: Path) -> None:
        try:
            _convert(path, folder)
        except Exception as error:  # a damaged file fails in as many ways as its reader has lines
            reason = one_line(error)[:200] or type(error).__name__
            raise UsageError(
                f"backbone {str(path)!r} is a GGUF file that can't be read ({reason})"
            ) from error

    return keep(cache / "models" / f"gguf-{content_hash(path)}", "config.json", fill)


def _convert(path: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), **place)
    read = AutoModelForCausalLM.from_pretrained(str(path.parent), dtype=torch.float32, **place)
    config = read.config
    # a model that says it is quantized refuses to be saved, though its weights are plain by now
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
