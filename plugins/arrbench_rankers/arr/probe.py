"""Asks a model once whether it reads a packed tree as it reads every path alone."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch

from arrbench.errors import UsageError, one_line
from arrbench_rankers.arr.lm_config import padding, text_config, vocabulary
from arrbench_rankers.arr.packing import Row
from arrbench_rankers.arr.reader import PROMPT
from arrbench_rankers.arr.reading import ONE_BY_ONE, PACKED, Reading
from arrbench_rankers.arr.trie import PrefixTree

TOLERANCE = 1e-3  # log-probabilities, in float32; a wrong mask was seen to move them by 0.2 to 19
HALF_TOLERANCE = 128  # roundings of a half precision; they alone moved SmolLM2's by 36 in bfloat16
PROMPTS = (7, 5)  # tokens; the second one is padded
PATHS = ((0, 1, 2), (0, 2), (0, 1, 0, 1), (1, 0))  # of tokens drawn at random
WINDOW = 4  # tokens; shorter than the prompts


def reading(model: Any) -> tuple[Reading, str]:
    """How the model is to be read, and what is wrong with packing where that is one by one.

    Compares the log-probabilities of a small random tree's edges, packed and behind the prompt's
    cache, against one row a path with the model's own mask; once more, where the config names a
    window or a chunk, on a small random model of the same config whose windows the rows exceed.
    Warns where they differ.
    """
    fault = _fault(model)
    if not fault and (windows := _windows(text_config(model.config))):
        try:
            fault = _fault(_windowed(model, windows))
        except Exception as error:  # an unknown config may not bear being narrowed
            fault = f"a small model of its kind can't be tried: {one_line(error)[:200]}"
        fault = fault and f"{fault}, with {', '.join(windows)} = {WINDOW}"
    if not fault:
        return PACKED, ""
    fault = f"models of type {model.config.model_type!r} misread packed docIDs ({fault})"
    warnings.warn(f"{fault}; each docID takes a row of its own, at several times the cost", stacklevel=2)
    return ONE_BY_ONE, fault


@torch.inference_mode()
def _fault(model: Any) -> str:
    """How packed and cached reading differ from one row a path; "" where they don't."""
    rows = _rows(vocabulary(model.config))
    try:
        right = _read(model, ONE_BY_ONE, rows)
    except Exception as error:  # any model may refuse in its own way what it was not made for
        raise UsageError(
            f"a backbone of type {model.config.model_type!r} can't be read "
            f"({type(error).__name__}: {one_line(error)[:200]}); choose another causal language model"
        ) from error
    tolerance = HALF_TOLERANCE * torch.finfo(model.dtype).eps if model.dtype.itemsize < 4 else TOLERANCE
    for way, read in (("in one row", _read), ("behind a cache", _read_cached)):
        try:
            differ = float((read(model, PACKED, rows) - right).abs().max())
        except Exception as error:
            return f"{way}: {type(error).__name__}: {one_line(error)[:200]}"
        if not differ <= tolerance:
            return f"{way}: log-probabilities differ by {differ:.2g}"
    return ""


def _rows(vocabulary: int) -> list[Row]:
    """Random prompts, each with the same random tree, so that all edges are real ones."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randperm(vocabulary, generator=generator)
    tree = PrefixTree.build([tokens[list(path)].tolist() for path in PATHS])
    return [Row(torch.randint(vocabulary, (n,), generator=generator).tolist(), tree) for n in PROMPTS]


def _read(model: Any, reading: Reading, rows: list[Row]) -> torch.Tensor:
    batch = reading.collate(rows, padding(model.config))
    there = {name: tensor.to(model.device) for name, tensor in batch.items()}
    return reading.edge_log_probs(model, there).cpu()


def _read_cached(model: Any, reading: Reading, rows: list[Row]) -> torch.Tensor:
    """The same edges, each level of the tree read behind the prompts' cache."""
    tree = rows[0].tree
    parent, token = (
        torch.from_numpy(np.asarray(a, np.int64)).to(model.device) for a in (tree.parent, tree.token)
    )
    reader = reading.reader(model, [row.prompt for row in rows], len(tree.levels))
    logits, places = reader.first, torch.full((len(rows), 1), PROMPT, device=model.device)
    found: list[torch.Tensor] = []
    above = torch.zeros(1, dtype=torch.long, device=model.device)
    for level in tree.levels:
        log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        own = torch.searchsorted(above, parent[level])
        found.append(log_probs[:, own, token[level]])
        logits, places = reader.read(token[level].expand(len(rows), -1), places[:, own])
        above = torch.arange(level.start, level.stop, device=model.device)
    return torch.cat(found, 1).flatten().cpu()


def _windows(config: Any) -> list[str]:
    """The settings of a config that bound how far back some layer sees, in tokens."""
    named = [n for n in config.to_dict() if n.endswith(("window", "window_size", "attention_chunk_size"))]
    return [name for name in named if type(getattr(config, name)) is int]  # a switch is a bool


def _windowed(model: Any, windows: list[str]) -> Any:
    """A random model of the same layers, narrow, on the CPU in float32, with windows of WINDOW tokens."""
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(text_config(model.config))
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    grouped = getattr(config, "num_key_value_heads", heads) != heads
    narrow = {
        "num_attention_heads": 2,
        "num_key_value_heads": 1 if grouped else 2,
        "hidden_size": 2 * head,
        "intermediate_size": 2 * head,
        "moe_intermediate_size": head,
        "vocab_size": 64,
        "pad_token_id": 0,
        **dict.fromkeys(windows, WINDOW),
    }
    for name, value in narrow.items():
        if getattr(config, name, None) is not None:
            setattr(config, name, value)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        attention = config._attn_implementation
        made = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, attn_implementation=attention
        ).eval()
        for parameter in made.parameters():
            if parameter.dim() > 1:  # wide enough that every key counts
                torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return made
