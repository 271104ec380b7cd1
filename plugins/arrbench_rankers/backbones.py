"""Where models come from: `tiny`, a Hugging Face id, a local folder or a GGUF file.

Nothing else loads one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from arrbench.errors import UsageError, one_line
from arrbench.ranker import Context
from arrbench_rankers import gguf_file

if TYPE_CHECKING:
    import torch
    from transformers import LlamaConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

Made = TypeVar("Made")
TINY = "tiny"
VOCABULARY = 1200  # words of the tiny model, special tokens and kept words included
DESCRIBED = ("*.json", "*.txt", "*.model", "*.jinja")  # files of a checkpoint beside its weights
PAD, UNK, BOS, EOS, SEP = SPECIALS = ("<pad>", "<unk>", "<s>", "</s>", "<sep>")


def load_tokenizer(
    backbone: str, texts: Iterable[str], keep: Iterable[str], context: Context
) -> PreTrainedTokenizerFast:
    """The backbone's tokenizer; a pad token is guaranteed.

    For `tiny` it is made here: lower-cased words and single punctuation marks of `texts`, the most
    frequent first (ties in alphabetical order), after every word of `keep`, up to VOCABULARY entries
    unless `keep` alone has more. A text is `<s> text`, a pair `<s> first <s> second`: each part of a
    pair looks as it would alone.

    Raises UsageError for an id or folder that has no tokenizer, or is not cached when offline.
    """
    if backbone == TINY:
        return _tiny_tokenizer(texts, keep)
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerFast = _loaded(
        backbone, context, "tokenizer", AutoTokenizer.from_pretrained
    )
    if not tokenizer.is_fast:
        raise UsageError(f"backbone {backbone!r} has no fast tokenizer (tokenizer.json); choose one that has")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            tokenizer.add_special_tokens({"pad_token": PAD})
        else:
            tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(backbone: str, tokenizer: PreTrainedTokenizerFast, context: Context) -> PreTrainedConfig:
    """The model's config, without its weights. Raises UsageError as load_tokenizer."""
    if backbone == TINY:
        return _tiny_config(tokenizer)
    from transformers import AutoConfig

    config: PreTrainedConfig = _loaded(backbone, context, "config.json", AutoConfig.from_pretrained)
    return config


def load_causal_lm(backbone: str, tokenizer: PreTrainedTokenizerFast, context: Context) -> PreTrainedModel:
    """A causal language model in eval mode, on the context's device and in its dtype.

    What is to be trained is loaded with a context of dtype float32. Raises UsageError as load_tokenizer.
    """
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    if backbone == TINY:
        model: PreTrainedModel = _seeded(lambda: LlamaForCausalLM(_tiny_config(tokenizer)), context)
    else:
        model = _loaded(backbone, context, "causal language model", _weights_reader(AutoModelForCausalLM))
    return _placed(model, tokenizer, context)


def load_encoder(backbone: str, tokenizer: PreTrainedTokenizerFast, context: Context) -> PreTrainedModel:
    """A transformer body without a head whose tokens all see each other; otherwise as load_causal_lm."""
    from transformers import AutoModel, LlamaModel

    if backbone == TINY:
        model: PreTrainedModel = _seeded(lambda: LlamaModel(_tiny_config(tokenizer)), context)
    else:
        model = _loaded(backbone, context, "encoder", _weights_reader(AutoModel))
    make_bidirectional(model)
    return _placed(model, tokenizer, context)


def make_bidirectional(model: torch.nn.Module) -> None:
    """Lets every token see every other.

    Two switches: the config's decides which mask is built, each attention module's decides what
    scaled_dot_product_attention does when no mask is needed.
    """
    for module in model.modules():
        if getattr(module, "is_causal", False):
            setattr(module, "is_causal", False)  # noqa: B010 - nn.Module's stubs know only tensors
        if hasattr(module, "config"):
            setattr(module.config, "is_causal", False)  # noqa: B010


def weights(backbone: str, context: Context) -> dict[str, str]:
    """What is loaded from outside, by name: an id's commit, a folder's or file's content hash; {} for `tiny`.

    Raises UsageError as load_tokenizer.
    """
    if backbone == TINY:
        return {}
    path = _local(backbone)
    if path is not None:
        return {backbone: gguf_file.content_hash(path) if path.is_file() else _content_hash(path)}
    from huggingface_hub import hf_hub_download

    def commit(name: str, *, local_files_only: bool, **_: Any) -> str:
        return Path(hf_hub_download(name, "config.json", local_files_only=local_files_only)).parent.name

    return {backbone: _loaded(backbone, context, "config.json", commit)}


def inputs(backbone: str) -> dict[str, str]:
    """The version of what reads the backbone, where transformers does not read it alone."""
    path = None if backbone == TINY else _local(backbone)
    return {"gguf": version("gguf")} if path is not None and path.is_file() else {}


def modules_folder(backbone: str, context: Context, weights: bool = True) -> Path | None:
    """The folder of a sentence-transformers checkpoint, of an id its snapshot; None without modules.json.

    `weights=False` fetches none. Raises UsageError as load_tokenizer.
    """
    if backbone == TINY:
        return None
    path = _local(backbone)
    if path is not None:
        return path if (path / "modules.json").is_file() else None
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError

    wanted = [*DESCRIBED, "*.safetensors"] if weights else list(DESCRIBED)

    def snapshot(name: str, *, local_files_only: bool, **_: Any) -> Path | None:
        try:
            hf_hub_download(name, "modules.json", local_files_only=local_files_only)
        except EntryNotFoundError:
            return None
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=local_files_only))

    folder: Path | None = _loaded(backbone, context, "modules.json", snapshot)
    return folder


def module_arguments() -> dict[str, dict[str, Any]]:
    """How sentence-transformers' Transformer reads a folder: safetensors, float32, no code, no network."""
    import torch

    place = {"local_files_only": True, "trust_remote_code": False}
    return {
        "model_kwargs": {**place, "use_safetensors": True, "dtype": torch.float32},
        "processor_kwargs": place,
        "config_kwargs": place,
    }


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turns the ways in which a library fails to load a folder into one UsageError that names it."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as its reader has lines
        raise UsageError(
            f"{what} can't be loaded; a model is config.json, tokenizer.json and safetensors, and code that "
            f"it brings is never run ({one_line(error)[:200]})"
        ) from error


def parameter_count(model: torch.nn.Module) -> int:
    """Learnt numbers in a model; tied weights count once."""
    return sum(p.numel() for p in model.parameters())


def _tiny_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The one from-scratch architecture of every learnt ranker in the box: 0.6M parameters."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def _tiny_tokenizer(texts: Iterable[str], keep: Iterable[str]) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import WordLevel
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    splitter = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])

    def words(text: str) -> list[str]:
        return [word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]

    counts = Counter(word for text in texts for word in words(text))
    kept = dict.fromkeys((*SPECIALS, *sorted({word for text in keep for word in words(text)})))
    frequent = sorted(counts.keys() - kept.keys(), key=lambda word: (-counts[word], word))
    vocabulary = [*kept, *frequent[: max(0, VOCABULARY - len(kept))]]
    ids = {word: number for number, word in enumerate(vocabulary)}
    core = Tokenizer(WordLevel(ids, unk_token=UNK))
    core.normalizer, core.pre_tokenizer = normalizer, splitter
    core.post_processor = TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A {BOS}:1 $B:1",
        special_tokens=[(BOS, ids[BOS])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        unk_token=UNK,
        bos_token=BOS,
        eos_token=EOS,
        sep_token=SEP,
        model_max_length=4096,
        model_input_names=["input_ids", "attention_mask"],
    )


def _seeded(make: Callable[[], Made], context: Context) -> Made:
    """Made on the CPU, so that one seed gives one initialisation on every device."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        return make()


def _placed(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, context: Context) -> PreTrainedModel:
    import torch

    embeddings: Any = model.get_input_embeddings()
    if len(tokenizer) > embeddings.num_embeddings:
        _seeded(lambda: model.resize_token_embeddings(len(tokenizer)), context)
    torch.nn.Module.to(model, torch.device(context.device), getattr(torch, context.dtype))
    torch.nn.Module.eval(model)
    return model


def _weights_reader(auto_class: Any) -> Callable[..., Any]:
    def read(name: str, **arguments: Any) -> Any:
        return auto_class.from_pretrained(name, use_safetensors=True, **arguments)

    return read


def _loaded(backbone: str, context: Context, part: str, load: Callable[..., Any]) -> Any:
    """What `load` gives for an id or a folder; every way in which it fails becomes one line."""
    path = _local(backbone)
    if path is not None and path.is_file():
        path = gguf_file.converted(path, context.cache)
    try:
        return load(
            str(path or backbone),
            local_files_only=path is not None or context.offline,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        if path is not None:
            where = "that local folder"
        elif context.offline:
            where = "the local Hugging Face cache (offline: nothing is fetched)"
        else:
            where = "the Hugging Face hub"
        reason = one_line(error)[:200]
        raise UsageError(
            f"no {part} for backbone {backbone!r} in {where}; give `{TINY}`, a Hugging Face id, "
            f"a folder with config.json, tokenizer.json and safetensors, or a GGUF file ({reason})"
        ) from error


def _local(backbone: str) -> Path | None:
    """The folder or GGUF file that a backbone names; None for a Hugging Face id.

    Raises UsageError where it is written as a path and nothing usable is there.
    """
    path = Path(backbone).expanduser()
    if path.is_dir():
        files = sorted(path.glob("*.gguf"))
        if files and not (path / "config.json").exists():
            raise UsageError(
                f"backbone {backbone!r} is a folder without config.json; give its file {files[0]}"
            )
        return path
    if path.is_file() and gguf_file.is_gguf(path):
        return path
    if path.is_absolute() or backbone.startswith((".", "~")) or path.exists():
        found = "is no GGUF file" if path.is_file() else "is no folder and no file"
        raise UsageError(
            f"backbone {backbone!r} {found}; give `{TINY}`, a Hugging Face id, a folder or a GGUF file"
        )
    return None


def _content_hash(folder: Path) -> str:
    """SHA-256 over the relative path and content of every file that is not hidden."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder)
        if file.is_file() and not any(part.startswith(".") for part in relative.parts):
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{relative.as_posix()}\x00{content}\n".encode())
    return digest.hexdigest()
