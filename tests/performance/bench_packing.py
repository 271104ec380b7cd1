"""Training on packed lists of 20 docIDs against one row a docID and against plain NTP on the first docID.

Forward and backward passes, one thread, lists of made-up names (short, sharing first words) and of made-up
product titles (12 to 16 words), with the candidates in the prompt. Sides, over the same queries:

- packed: all queries' trees in shared lines, SToICaL with α = 1;
- a row a docID: the same loss, a query's 20 docIDs as 20 rows behind copies of its prompt, padded right;
- NTP: an ordinary padded batch of one row a query, prompt and first docID, padded left.

All three make logits at docID tokens alone. Figures are ratios of times: to NTP divided by the ratio of the
tokens that pass the model (goal: at most 1.1), and a row a docID to packed (goal: at least 10).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from figure import show
from interleaved import ratios
from torch.nn.functional import cross_entropy

from arrbench.ranker import Context
from arrbench_rankers import backbones
from arrbench_rankers.arr.packing import Row, collate, edge_log_probs
from arrbench_rankers.arr.stoical import edge_targets, item_weights, stoical_loss
from arrbench_rankers.arr.trie import PrefixTree

K, ALPHA = 20, 1.0
COMMON = """
time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work government number night point home
water room mother area money story fact month lot right study book eye job word business issue side kind
head house service friend father power hour game line end member law car city community name president
team minute idea body information back parent face others level office door health person art war history
party result change morning reason research girl guy moment air teacher force education red blue green
small large light
"""
WORDS = COMMON.split()


@dataclass(frozen=True)
class Asked:
    """A query: its prompt, its ranked docIDs and the rows of both."""

    prompt: list[int]
    docids: list[tuple[int, ...]]


def names(rng: np.random.Generator) -> list[str]:
    """One to three words each, the first of eight, the second of four that follow it."""
    found: dict[str, None] = {}
    while len(found) < K:
        first, second, third = int(rng.integers(8)), int(rng.integers(4)), int(rng.integers(len(WORDS)))
        words = [WORDS[first], WORDS[8 + 4 * first + second], WORDS[third]]
        found[" ".join(words[: rng.integers(1, 4)])] = None
    return list(found)


def titles(rng: np.random.Generator) -> list[str]:
    """Twelve to sixteen words each, the first two of six makers and their three products."""
    found: dict[str, None] = {}
    while len(found) < K:
        maker, product = int(rng.integers(6)), int(rng.integers(3))
        rest = rng.choice(WORDS, rng.integers(10, 15)).tolist()
        found[" ".join([WORDS[maker], WORDS[20 + product], *rest])] = None
    return list(found)


def queries(tokenizer: Any, make: Any, count: int) -> list[Asked]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        spelt = tokenizer([f" {text}" for text in make(rng)], add_special_tokens=False)["input_ids"]
        text = tokenizer(" ".join(rng.choice(WORDS, 15)), add_special_tokens=False)["input_ids"]
        docids = [(*ids, tokenizer.eos_token_id) for ids in spelt]
        shown = [token for i in rng.permutation(K) for token in docids[i]]
        made.append(Asked([*text, *shown], docids))
    return made


def rows(asked: Sequence[Asked]) -> list[Row]:
    return [Row(one.prompt, PrefixTree.build(one.docids)) for one in asked]


def packed(model: Any, packed_rows: Sequence[Row]) -> float:
    model.zero_grad()
    weights = item_weights(K, "fractional", ALPHA)
    targets = np.concatenate([edge_targets(row.tree, weights, None)[1:] for row in packed_rows])
    log_probs = edge_log_probs(model, collate(packed_rows, 0))
    loss = stoical_loss(log_probs, torch.from_numpy(targets).float(), len(packed_rows))
    loss.backward()
    return loss.item()


def a_row_a_docid(model: Any, asked: Sequence[Asked]) -> float:
    model.zero_grad()
    weights = torch.from_numpy(item_weights(K, "fractional", ALPHA)).float()[:, None]
    total = 0.0
    for one in asked:
        longest = max(map(len, one.docids))
        ids = torch.tensor([[*one.prompt, *docid, *[0] * (longest - len(docid))] for docid in one.docids])
        real = torch.tensor([[t < len(docid) for t in range(longest)] for docid in one.docids])
        seen = torch.cat([torch.ones(K, len(one.prompt), dtype=torch.bool), real], 1)
        logits = model(
            ids[:, :-1], attention_mask=seen[:, :-1], use_cache=False, logits_to_keep=longest
        ).logits
        each = cross_entropy(logits.transpose(1, 2), ids[:, -longest:], reduction="none")
        loss = (weights * each * real).sum() / len(asked)
        loss.backward()
        total += loss.item()
    return total


def ntp(model: Any, asked: Sequence[Asked]) -> float:
    model.zero_grad()
    texts = [[*one.prompt, *one.docids[0]] for one in asked]
    width, longest = max(map(len, texts)), max(len(one.docids[0]) for one in asked)
    ids = torch.tensor([[0] * (width - len(text)) + text for text in texts])
    seen = torch.tensor([[t >= width - len(text) for t in range(width)] for text in texts])
    labels = torch.tensor([[-100] * (longest - len(one.docids[0])) + list(one.docids[0]) for one in asked])
    logits = model(
        ids[:, :-1],
        attention_mask=seen[:, :-1],
        position_ids=(seen.cumsum(1) - 1).clamp(min=0)[:, :-1],
        use_cache=False,
        logits_to_keep=longest,
    ).logits
    loss = cross_entropy(logits.transpose(1, 2), labels, reduction="sum") / len(asked)
    loss.backward()
    return loss.item()


def tokens(asked: Sequence[Asked]) -> float:
    """Tokens that pass the model: packed over NTP."""
    ours = sum(len(row.block.ids) for row in rows(asked))
    return ours / sum(len(one.prompt) + len(one.docids[0]) - 1 for one in asked)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--full", action="store_true", help="more repeats and queries")
    parser.add_argument("--backbone", default="tiny", help="tiny, a Hugging Face id or a local folder")
    parser.add_argument("--queries", type=int, help="queries a batch")
    parser.add_argument("--repeats", type=int)
    arguments = parser.parse_args()
    small = arguments.backbone == "tiny"
    count = arguments.queries or ((32 if arguments.full else 6) if small else 1)
    repeats = arguments.repeats or ((15 if arguments.full else 5) if small else 1)
    torch.set_num_threads(1)
    tokenizer = backbones.load_tokenizer(arguments.backbone, [], WORDS, Context())
    model = backbones.load_causal_lm(arguments.backbone, tokenizer, Context()).train()
    called = "tiny" if small else "model"
    for lists in (names, titles):
        asked = queries(tokenizer, lists, count)
        ours = partial(packed, model, rows(asked))
        np.testing.assert_allclose(ours(), a_row_a_docid(model, asked), rtol=1e-4)
        name, share = f"packing_{lists.__name__}_{called}", tokens(asked)
        over_ntp = ratios([ours], [partial(ntp, model, asked)], repeats)
        show(f"{name}_over_ntp", [r / share for r in over_ntp], 1.1, "x", arguments.json)
        over_packed = ratios([partial(a_row_a_docid, model, asked)], [ours], repeats)
        show(f"{name}_row_a_docid", over_packed, 10, "x", arguments.json, better="higher")
        if not arguments.json:
            print(f"  time of packed over NTP {np.median(over_ntp):.3g} x, tokens {share:.3g} x")


if __name__ == "__main__":
    main()
