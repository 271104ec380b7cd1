"""`arr`'s exact scores of a query's candidates against the usual ways to get the same numbers.

- `forward`: one forward pass a candidate (goal: at least 10 x its speed);
- `expanded`: the prompt read once, its cache repeated for every candidate, the candidates as padded rows
  behind it (goal: at least 1.4 x).

The candidates are made-up names of one to three words. A prompt is a query of 20 tokens, or also shows
the candidates, as the paper's does (`shown`); a batch is eight of them, scored in one call. All sides run
in turn on one thread, in one process; a figure is the median of how many times faster we are. That all
give the same scores, to 1e-4 (relative, from 1 on), is checked first. `narrowed_head`: what
projecting onto the tree's tokens alone gains over the whole vocabulary (normalise=tree). `--backbone PATH`
takes a model other than the untrained tiny one, for two of the cases.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from figure import show
from interleaved import Call, ratios

from arrbench.ranker import Context
from arrbench_rankers import backbones
from arrbench_rankers.arr.exact import exact_scores
from arrbench_rankers.arr.ragged import DocId
from arrbench_rankers.arr.trie import PrefixTree

GOALS = {"forward": 10.0, "expanded": 1.4}
FEW = [(1, 20, False), (1, 20, True)]  # queries, candidates, whether these are shown
CASES = [*FEW, (1, 100, False), (1, 100, True), (8, 20, False), (8, 20, True), (8, 100, False)]
MORE = [(8, 100, True), (1, 1000, False)]
COSTLY = ("100_batch", "100_shown_batch", "1000")  # a forward pass a candidate takes too long
Prompts = list[list[int]]
Lists = list[list[DocId]]


def made_up_names(count: int) -> list[str]:
    """Different names whose words are as uneven in frequency as those of real ones."""
    rng = np.random.default_rng(0)
    syllables = [
        first + rest for first in "bdfgklmnprst" for rest in ("a", "e", "i", "o", "u", "an", "el", "or")
    ]
    words = ["".join(rng.choice(syllables, 2)) for _ in range(400)]
    frequency = 1 / np.arange(1, len(words) + 1)
    names: dict[str, None] = {}
    while len(names) < count:
        chosen = rng.choice(words, rng.integers(1, 4), p=frequency / frequency.sum())
        names[" ".join(chosen)] = None
    return list(names)


def ours(model: Any, prompts: Prompts, lists: Lists, renormalised: bool = False) -> list[np.ndarray]:
    return exact_scores(model, prompts, [PrefixTree.build(docids) for docids in lists], False, renormalised)


@torch.inference_mode()
def forward(model: Any, prompts: Prompts, lists: Lists) -> list[np.ndarray]:
    """One forward pass a candidate, logits at its own tokens alone."""
    scores = []
    for prompt, docids in zip(prompts, lists, strict=True):
        sums = []
        for docid in docids:
            ids = torch.tensor([[*prompt, *docid[:-1]]])
            log_probs = model(ids, use_cache=False, logits_to_keep=len(docid)).logits[0].log_softmax(-1)
            sums.append(log_probs[torch.arange(len(docid)), torch.tensor(docid)].sum())
        scores.append(torch.stack(sums).numpy())
    return scores


@torch.inference_mode()
def expanded(model: Any, prompts: Prompts, lists: Lists) -> list[np.ndarray]:
    """Candidates as padded rows behind the repeated cache of a prompt that was read once."""
    scores = []
    for prompt, docids in zip(prompts, lists, strict=True):
        first = model(torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
        first.past_key_values.batch_repeat_interleave(len(docids))
        longest = max(map(len, docids))
        tokens = torch.tensor([[*docid, *[0] * (longest - len(docid))] for docid in docids])
        real = torch.arange(longest) < torch.tensor([[len(docid)] for docid in docids])
        mask = torch.cat([torch.ones(len(docids), len(prompt)), real[:, :-1]], 1)
        rest = model(tokens[:, :-1], past_key_values=first.past_key_values, attention_mask=mask).logits
        normalisers = torch.cat([first.logits.logsumexp(-1).expand(len(docids), -1), rest.logsumexp(-1)], 1)
        head = first.logits[0, 0, tokens[:, :1]]
        chosen = torch.cat([head, rest.gather(2, tokens[:, 1:, None])[..., 0]], 1)
        scores.append(((chosen - normalisers) * real).sum(1).numpy())
    return scores


def worst_difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """The largest difference of two scores, relative to scores beyond 1."""
    pairs = zip(ours, theirs, strict=True)
    return max(float((np.abs(o - t) / np.maximum(1, np.abs(t))).max()) for o, t in pairs)


def measured(theirs: Call, our: Call, repeats: int) -> list[float]:
    """How many times as long their calls take, after a check that both give the same scores."""
    difference = worst_difference(our(), theirs())
    print(f"largest difference of scores: {difference:.1e}", file=sys.stderr)
    assert difference <= 1e-4, difference
    return ratios([theirs], [our], repeats)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="tiny", help="tiny, a Hugging Face id or a local folder")
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--full", action="store_true", help="more cases, 1,000 candidates among them")
    parser.add_argument("--repeats", type=int, help="how often each case is timed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = made_up_names(2000)
    context = Context()
    tokenizer = backbones.load_tokenizer(arguments.backbone, [], names, context)
    model: Any = backbones.load_causal_lm(arguments.backbone, tokenizer, context)
    written = tokenizer(names, add_special_tokens=False)["input_ids"]
    docids = [(*tokens, tokenizer.eos_token_id) for tokens in written]
    rng = np.random.default_rng(1)
    tiny = arguments.backbone == backbones.TINY
    repeats = arguments.repeats or (9 if arguments.full else 3 if tiny else 1)

    def asked(queries: int, candidates: int, shown: bool) -> tuple[Prompts, Lists]:
        texts = [" ".join(rng.choice(names, 12)) for _ in range(queries)]
        prompts = [ids[:20] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
        chosen = [rng.choice(len(docids), candidates, replace=False) for _ in range(queries)]
        lists = [[docids[i] for i in positions] for positions in chosen]
        if shown:
            prompts = [prompt + list(chain(*some)) for prompt, some in zip(prompts, lists, strict=True)]
        return prompts, lists

    cases = CASES + MORE if arguments.full else CASES if tiny else FEW
    for queries, candidates, shown in cases:
        given = asked(queries, candidates, shown)
        our = partial(ours, model, *given)
        size = f"{candidates}" + "_shown" * shown + "_batch" * (queries > 1)
        ways = {"expanded": expanded} if size in COSTLY else {"forward": forward, "expanded": expanded}
        for way, call in ways.items():
            values = measured(partial(call, model, *given), our, repeats)
            show(f"scoring_{way}_{size}", values, GOALS[way], "x", arguments.json, "higher")
    given = asked(1, 20, False)
    narrow = partial(ours, model, *given, renormalised=True)
    gains = ratios([partial(ours, model, *given)], [narrow], repeats)
    show("scoring_narrowed_head_20", gains, 1.0, "x", arguments.json, "higher")


if __name__ == "__main__":
    main()
